"""`lamella.linalg`: the array API standard's extension (2024.12), and a few more functions.

Factorizations and solutions are LAPACK's, called by way of numpy.linalg as host steps
(ops/matrices.py and spectra.py, with the sources of their derivatives); the rest is made of our own
ops. All take stacks of matrices [..., m, n] of float32, float64 or complex numbers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...base import dtypes
from ...base.dtypes import as_dtype
from ...base.errors import LamellaError, ShapeError
from ...ir.node import items
from ...ops import matrices, move, spectra
from ...ops.determinant import DET
from ...ops.lapack import require_matrix
from ...ops.matrix_algebra import eye_like
from ...ops.pointwise import broadcast_shapes, broadcast_to, normal_axis
from ..arrays.array import Array, asarray, operands, wrap
from ..arrays.kinds import floating
from ..arrays.values import error, located
from ..functions.creation import eye
from ..functions.elementwise import abs, conj, imag, real, sqrt, where
from ..functions.manipulation import stack
from ..functions.products import matmul, outer, tensordot, vecdot

__all__ = ["cholesky", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "expm",
           "inv", "lstsq", "matmul", "matrix_norm", "matrix_power", "matrix_rank",
           "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd",
           "svdvals", "tensordot", "trace", "vecdot", "vector_norm"]


class Eigen(NamedTuple):
    """What `eigh` and `eig` give."""

    eigenvalues: Array
    eigenvectors: Array


class QR(NamedTuple):
    """What `qr` gives."""

    Q: Array
    R: Array


class Slogdet(NamedTuple):
    """What `slogdet` gives."""

    sign: Array
    logabsdet: Array


class SVD(NamedTuple):
    """What `svd` gives."""

    U: Array
    S: Array
    Vh: Array


def _several(node) -> tuple[Array, ...]:
    return tuple(map(wrap, items(node)))


# ---- factorizations -----------------------------------------------------------------------------

@located
def cholesky(x, /, *, upper: bool = False) -> Array:
    """L of Hermitian, positive definite x = L L^H, lower triangular; with `upper` its adjoint.

    Reads the lower triangle. ExecutionError where x is not positive definite.
    """
    low = wrap(matrices.CHOLESKY(asarray(x).node))
    return conj(low).mT if upper else low


@located
def qr(x, /, *, mode: str = "reduced") -> QR:
    """(Q, R) of x = Q R: Q [..., m, k] with orthonormal columns, R [..., k, n] upper triangular;
    k = min(m, n), or m where mode is "complete"."""
    if mode not in ("reduced", "complete"):
        raise error(LamellaError, f"qr: mode is 'reduced' or 'complete', got {mode!r}")
    return QR(*_several(matrices.QR(asarray(x).node, mode=mode)))


@located
def svd(x, /, *, full_matrices: bool = True) -> SVD:
    """(U, S, Vh) of x = U diag(S) Vh, S descending; U and Vh square where `full_matrices`, else of
    min(m, n) columns and rows (which alone has derivatives where m and n differ)."""
    return SVD(*_several(spectra.SVD(asarray(x).node, full_matrices=bool(full_matrices))))


def svdvals(x, /) -> Array:
    """The singular values, descending: [..., min(m, n)]."""
    return svd(x, full_matrices=False).S


@located
def eigh(x, /) -> Eigen:
    """(w, v) of Hermitian x = v diag(w) v^H, w ascending. Reads the lower triangle."""
    return Eigen(*_several(spectra.EIGH(asarray(x).node)))


def eigvalsh(x, /) -> Array:
    """The eigenvalues of Hermitian x, ascending."""
    return eigh(x).eigenvalues


@located
def eig(x, /) -> Eigen:
    """(w, v) of x v = v diag(w), both complex, columns of v of length 1; in no order."""
    return Eigen(*_several(spectra.EIG(asarray(x).node)))


def eigvals(x, /) -> Array:
    """The eigenvalues of any square matrix, complex, in no order."""
    return eig(x).eigenvalues


# ---- solutions ----------------------------------------------------------------------------------

def _sides(name: str, a, b) -> tuple[Array, Array, bool]:
    """Both with the same leading axes, b as columns, and whether b was one vector."""
    a, b = map(wrap, operands(name, (a, b)))
    vector = b.ndim == 1
    if vector:
        b = b.reshape((*b.shape, 1))
    if a.ndim < 2:
        raise error(ShapeError, f"{name}: takes matrices [..., n, n], got shape {a.shape}")
    lead = broadcast_shapes(name, [a.shape[:-2], b.shape[:-2]])
    a, b = (wrap(broadcast_to(x.node, (*lead, *x.shape[-2:]))) for x in (a, b))
    return a, b, vector


def _column(x: Array, vector: bool) -> Array:
    return x.reshape(x.shape[:-1]) if vector else x


@located
def solve(x1, x2, /) -> Array:
    """X of x1 X = x2: x1 [..., n, n]; x2 [..., n, k], or one vector [n]."""
    a, b, vector = _sides("solve", x1, x2)
    return _column(wrap(matrices.SOLVE(a.node, b.node)), vector)


@located
def solve_triangular(x1, x2, /, *, lower: bool = True, unit_diagonal: bool = False) -> Array:
    """X of x1 X = x2 for triangular x1, of which the other triangle is not read (nor the diagonal,
    where it is 1 by `unit_diagonal`)."""
    a, b, vector = _sides("solve_triangular", x1, x2)
    found = matrices.SOLVE_TRIANGULAR(a.node, b.node, lower=bool(lower),
                                      unit_diagonal=bool(unit_diagonal))
    return _column(wrap(found), vector)


@located
def inv(x, /) -> Array:
    """The inverse of square matrices; ExecutionError where one is singular."""
    x = asarray(x)
    require_matrix("inv", x.node.type, square=True)
    return wrap(matrices.SOLVE(x.node, eye_like(x.node)))


@located
def pinv(x, /, *, rtol=None) -> Array:
    """The Moore-Penrose inverse; singular values up to rtol times the largest count as 0. rtol is
    max(m, n) eps by default; a number, or an array with one for each matrix."""
    x = asarray(x)
    return wrap(matrices.PINV(x.node, _rtol("pinv", x, rtol).node))


def _rtol(name: str, x: Array, rtol) -> Array:
    """One tolerance for each matrix."""
    require_matrix(name, x.node.type)
    dtype = x.dtype.real
    if rtol is None:
        rtol = float(np.finfo(dtype.numpy).eps) * max(map(int, x.shape[-2:]))
    found = asarray(rtol, dtype=dtype).node
    return wrap(broadcast_to(found, broadcast_shapes(name, [found.shape, x.shape[:-2]])))


@located
def lstsq(x1, x2, /, *, rtol=None) -> Array:
    """The X of least norm among those that make |x1 X - x2| least; x2 [..., m, k] or [m]."""
    a, b, vector = _sides("lstsq", x1, x2)
    return _column(pinv(a, rtol=rtol) @ b, vector)


@located
def slogdet(x, /) -> Slogdet:
    """(sign, log|det|) of square matrices; the sign is a complex number of length 1 where x is
    complex, and (0, -inf) stands for a determinant of 0."""
    return Slogdet(*_several(matrices.SLOGDET(asarray(x).node)))


@located
def det(x, /) -> Array:
    """The determinant of square matrices. Second derivatives need them to be regular."""
    return wrap(DET(asarray(x).node))


@located
def expm(x, /) -> Array:
    """The exponential of square matrices."""
    return wrap(matrices.EXPM(asarray(x).node))


@located
def matrix_power(x, n: int, /) -> Array:
    """x multiplied by itself n times; its inverse -n times where n is negative."""
    x = asarray(x)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise error(ShapeError, f"matrix_power: takes square matrices, got shape {x.shape}")
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        return wrap(broadcast_to(eye(x.shape[-1], dtype=x.dtype).node, x.shape))
    found, power = None, x
    while n:
        if n & 1:
            found = power if found is None else found @ power
        n >>= 1
        power = power @ power if n else power
    assert found is not None
    return found


def matrix_rank(x, /, *, rtol=None) -> Array:
    """How many singular values exceed rtol times the largest (max(m, n) eps by default)."""
    x = asarray(x)
    s = svdvals(x)
    if 0 in x.shape[-2:]:
        return s.sum(-1).astype(dtypes.int32)
    limit = s.max(-1) * _rtol("matrix_rank", x, rtol)
    return (s > limit[..., None]).astype(dtypes.int32).sum(-1)


# ---- norms --------------------------------------------------------------------------------------

def _size(x: Array) -> Array:
    """|x|^2, real."""
    return real(x) * real(x) + imag(x) * imag(x) if x.dtype.is_complex else x * x


def _root(x: Array) -> Array:
    """sqrt(x), whose derivative at 0 is 0."""
    zero = x == 0
    return where(zero, 0.0, sqrt(where(zero, 1.0, x)))


_OVER_SUMS = {1: -2, -1: -2, math.inf: -1, -math.inf: -1}   # the axis that is summed first


@located
def matrix_norm(x, /, *, keepdims: bool = False, ord="fro") -> Array:
    """A norm of matrices: "fro", "nuc", 1 and -1 (columns), inf and -inf (rows), 2 and -2."""
    x = asarray(x)
    require_matrix("matrix_norm", x.node.type)
    if ord == "fro":
        found = _root(_size(x).sum((-2, -1)))
    elif ord == "nuc":
        found = svdvals(x).sum(-1)
    elif ord in (2, -2):
        s = svdvals(x)
        found = s.max(-1) if ord == 2 else s.min(-1)
    elif ord in _OVER_SUMS:
        sums = abs(x).sum(_OVER_SUMS[ord])
        found = sums.max(-1) if ord > 0 else sums.min(-1)
    else:
        raise error(LamellaError, f"matrix_norm: no order {ord!r}; known: 'fro', 'nuc', 1, -1, 2, "
                                  "-2, inf, -inf")
    return found.reshape((*found.shape, 1, 1)) if keepdims else found


@located
def vector_norm(x, /, *, axis=None, keepdims: bool = False, ord=2) -> Array:
    """A norm over `axis` (one, several, or all where None): sum(|x|^ord)^(1/ord); inf, -inf: the
    largest and least; 0: how many are not 0."""
    x = asarray(x)
    x = wrap(floating(x.node))
    if ord == 2:
        return _root(_size(x).sum(axis, keepdims=keepdims))
    a = abs(x)
    if ord in (math.inf, -math.inf):
        return (a.max if ord > 0 else a.min)(axis, keepdims=keepdims)
    if ord == 0:
        return (x != 0).astype(a.dtype).sum(axis, keepdims=keepdims)
    if ord == 1:
        return a.sum(axis, keepdims=keepdims)
    return (a ** float(ord)).sum(axis, keepdims=keepdims) ** (1.0 / ord)


# ---- products and diagonals ---------------------------------------------------------------------

def matrix_transpose(x, /) -> Array:
    """The last two axes exchanged."""
    return asarray(x).mT


@located
def cross(x1, x2, /, *, axis: int = -1) -> Array:
    """The cross product of vectors of three elements along an axis counted from the end; the other
    axes broadcast."""
    x1, x2 = map(wrap, operands("cross", (x1, x2)))
    shape = broadcast_shapes("cross", [x1.shape, x2.shape])
    at = normal_axis("cross", axis, min(x1.ndim, x2.ndim)) - min(x1.ndim, x2.ndim)
    if x1.shape[at] != 3 or x2.shape[at] != 3:
        raise error(ShapeError, f"cross: takes three elements along axis {axis}, got shapes "
                                f"{x1.shape} and {x2.shape}")
    parts = []
    for x in (x1, x2):
        x = wrap(broadcast_to(x.node, shape))
        at = at % len(shape)
        parts.append([x[(slice(None),) * at + (k,)] for k in range(3)])
    (a, b, c), (d, e, f) = parts
    return stack([b * f - c * e, c * d - a * f, a * e - b * d], axis=at)


@located
def diagonal(x, /, *, offset: int = 0) -> Array:
    """A diagonal of the last two axes, `offset` right of the main one, as the last axis."""
    x = asarray(x)
    if x.ndim < 2:
        raise error(ShapeError, f"diagonal: takes at least two axes, got shape {x.shape}")
    m, n = (_static(e) for e in x.shape[-2:])
    row, column = max(-offset, 0), max(offset, 0)
    count = max(min(m - row, n - column), 0)
    flat = x.reshape((*x.shape[:-2], m * n))
    first = row * n + column
    lead = (0,) * (x.ndim - 2)
    if count == 0:
        return flat[..., :0]
    stops = (*flat.shape[:-1], first + (count - 1) * (n + 1) + 1)
    steps = (1,) * (x.ndim - 2) + (n + 1,)
    return wrap(move.slice_(flat.node, (*lead, first), stops, steps))


def _static(e) -> int:
    """An extent that must be an integer."""
    if not isinstance(e, int):
        raise error(ShapeError, f"diagonal: needs fixed extents of the matrix, got {e}")
    return e


def trace(x, /, *, offset: int = 0, dtype=None) -> Array:
    """The sum of a diagonal of the last two axes; small integers add up as 32 bits."""
    found = diagonal(x, offset=offset)
    return (found if dtype is None else found.astype(as_dtype(dtype))).sum(-1)
