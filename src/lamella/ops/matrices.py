"""Factorizations and solutions of matrices: LAPACK's, by way of numpy.linalg, over leading axes.

Derivatives: Giles, "An extended collection of matrix derivative results for forward and reverse
mode algorithmic differentiation" (2008), unless a function names another source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from ..base.errors import LamellaError, ShapeError
from ..ir.node import Node, literal, zeros_like
from ..ir.op import one_of
from ..ir.types import TensorType, TupleType, tensor
from .contract import matmul
from .foreign import Foreign
from .lapack import (
    descending,
    is_flag,
    lapack_work,
    normal,
    positive,
    require_matrix,
    several,
    single,
)
from .matrix_algebra import (
    adjoint,
    as_kind,
    eye_like,
    hermitian,
    on_diagonal,
    product,
    swapped,
    triangle,
)
from .move import concat, reshape, slice_
from .pointwise import apply

# ---- solutions ----------------------------------------------------------------------------------

def _solve_rule(name: str) -> Callable:
    def rule(a: TensorType, b: TensorType, **options) -> TensorType:
        require_matrix(name, a, square=True)
        require_matrix(name, b)
        if a.dtype is not b.dtype or a.shape[:-1] != b.shape[:-1]:
            raise ShapeError(f"{name}: {a} and {b} disagree: the matrix [..., n, n] needs right "
                             f"sides [..., n, k] of its dtype")
        return b
    return rule


def _solve_vjp(node: Node, g: Node):
    """Transposes, so that nothing is conjugated: g_b = A^-T g, g_A = -g_b X^T."""
    b = SOLVE(swapped(node.inputs[0]), g)
    return -matmul(b, swapped(node)), b


SOLVE = Foreign("solve", np.linalg.solve, _solve_rule("solve"), arity=2,
                doc="X of A X = B.", vjp=_solve_vjp, batch="leading", threads=None,
                workspace=lapack_work(),
                samples=lambda: [({}, [positive(5, 5), normal(5, 3)]),
                                 ({}, [positive(2, 4, 4, dtype=np.complex64),
                                       normal(2, 4, 2, dtype=np.complex64)]),
                                 ({}, [normal(0, 0), normal(0, 2)])])

_BLOCK = 64


def _solve_triangular(a: np.ndarray, b: np.ndarray, lower: bool, unit_diagonal: bool) -> np.ndarray:
    """Substitution by blocks of rows; the other triangle is not read."""
    a = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        a = a.copy()
        np.einsum("...ii->...i", a)[...] = 1
    n, x = a.shape[-1], b.copy()
    starts = range(0, n, _BLOCK) if lower else range((n - 1) // _BLOCK * _BLOCK, -1, -_BLOCK)
    for s in starts:
        block, done = slice(s, s + _BLOCK), slice(0, s) if lower else slice(s + _BLOCK, n)
        rest = x[..., block, :] - a[..., block, done] @ x[..., done, :]
        x[..., block, :] = np.linalg.solve(a[..., block, block], rest)
    return x


def _triangular_vjp(node: Node, g: Node):
    o = dict(node.params["options"])
    b = SOLVE_TRIANGULAR(swapped(node.inputs[0]), g, lower=not o["lower"],
                         unit_diagonal=o["unit_diagonal"])
    k = (-1 if o["lower"] else 1) if o["unit_diagonal"] else 0
    return triangle(-matmul(b, swapped(node)), o["lower"], k), b


SOLVE_TRIANGULAR = Foreign(
    "solve_triangular", _solve_triangular, _solve_rule("solve_triangular"), arity=2,
    doc="X of A X = B for triangular A.", options={"lower": is_flag, "unit_diagonal": is_flag},
    vjp=_triangular_vjp, batch="leading", threads=None, workspace=lapack_work(3),
    samples=lambda: [({"lower": low, "unit_diagonal": unit}, [positive(5, 5), normal(5, 3)])
                     for low in (True, False) for unit in (True, False)])


# ---- determinants -------------------------------------------------------------------------------

def _slogdet_rule(a: TensorType) -> TupleType:
    require_matrix("slogdet", a, square=True)
    return TupleType((tensor(a.dtype, a.shape[:-2]), tensor(a.dtype.real, a.shape[:-2])))


def _slogdet_vjp(node: Node, out, g):
    """d log|det A| = Re tr(A^-1 dA); a complex sign turns by Im tr(A^-1 dA)."""
    a, = node.inputs
    weight = as_kind(g[1], a)
    if a.dtype.is_complex:
        turn = apply("imag", g[0] * out[0])
        weight = weight + as_kind(turn, a) * 1j
    inverse = SOLVE(a, eye_like(a))
    return (swapped(inverse) * reshape(weight, (*weight.shape, 1, 1)),)


SLOGDET = Foreign("slogdet", lambda a: tuple(np.linalg.slogdet(a)), _slogdet_rule,
                  doc="(sign, log of the size) of the determinant.", vjp=several(_slogdet_vjp),
                  batch="leading", threads=None, workspace=lapack_work())


# ---- Cholesky -----------------------------------------------------------------------------------

def _square_rule(name: str) -> Callable:
    def rule(a: TensorType) -> TensorType:
        require_matrix(name, a, square=True)
        return a
    return rule


def _cholesky_vjp(node: Node, out: Node, g: Node):
    """Murray, "Differentiation of the Cholesky decomposition", arXiv 1602.07527 (2016): the lower
    triangle of L^H g, its diagonal halved, between L^-H and L^-1; A is taken as Hermitian."""
    middle = triangle(matmul(adjoint(out), g), True)
    half = apply("where", on_diagonal(*out.shape[-2:]), literal(0.5, out.dtype),
                 literal(1, out.dtype))
    solve = partial(SOLVE_TRIANGULAR, adjoint(out), lower=False, unit_diagonal=False)
    left = solve(middle * half)
    return (hermitian(adjoint(solve(adjoint(left)))),)


CHOLESKY = Foreign("cholesky", np.linalg.cholesky, _square_rule("cholesky"),
                   doc="L of A = L L^H, lower; reads the lower triangle.",
                   vjp=single(_cholesky_vjp), batch="leading", threads=None,
                   workspace=lapack_work())


# ---- QR -----------------------------------------------------------------------------------------

def _qr_rule(a: TensorType, mode: str) -> TupleType:
    require_matrix("qr", a)
    m, n = a.shape[-2:]
    if not (isinstance(m, int) and isinstance(n, int)):
        raise ShapeError(f"qr: needs fixed extents of the matrix, got {a.shape}")
    k = m if mode == "complete" else min(m, n)
    return TupleType((a.with_shape((*a.shape[:-1], k)), a.with_shape((*a.shape[:-2], k, n))))


def _qr_vjp(node: Node, out, g):
    """Walter, Lehmann & Lamour, "On evaluating higher-order derivatives of the QR decomposition"
    (2012); wide matrices by their square part: A = [X Y], Q U = X, V = Q^H Y."""
    a, (q, r), (gq, gr) = node.inputs[0], out, g
    m, n = a.shape[-2:]
    if q.shape[-1] == m and m > n:
        raise LamellaError("qr: the complete Q of a tall matrix is not unique, and has no "
                           "derivative; use mode='reduced'")
    if m >= n:
        return (_qr_tall(q, r, gq, gr),)
    lead = (0,) * (a.type.rank - 1)
    y, u, gu, gv = (slice_(x, (*lead, start), (*x.shape[:-1], stop))
                    for x, start, stop in ((a, m, n), (r, 0, m), (gr, 0, m), (gr, m, n)))
    gx = _qr_tall(q, u, gq + matmul(y, adjoint(gv)), gu)
    return (concat([gx, matmul(q, gv)], a.type.rank - 1),)


def _qr_tall(q: Node, r: Node, gq: Node, gr: Node) -> Node:
    upper = triangle(matmul(gr, adjoint(r)) - matmul(adjoint(q), gq), False)
    whole = upper + adjoint(upper)
    half = apply("where", on_diagonal(*r.shape[-2:]), literal(0.5, r.dtype), literal(1, r.dtype))
    right = gq + matmul(q, whole * half)
    found = SOLVE_TRIANGULAR(r, adjoint(right), lower=False, unit_diagonal=False)
    return adjoint(found)


QR = Foreign("qr", lambda a, mode: tuple(np.linalg.qr(a, mode)), _qr_rule,
             doc="(Q, R) of A = Q R.", options={"mode": one_of("reduced", "complete")},
             vjp=several(descending(_qr_vjp)), batch="leading", threads=None,
             workspace=lapack_work(3))


# ---- exponential --------------------------------------------------------------------------------

_PADE = [math.factorial(26 - k) * math.factorial(13) / (
    math.factorial(26) * math.factorial(k) * math.factorial(13 - k)) for k in range(14)]


def _expm(a: np.ndarray) -> np.ndarray:
    """Higham, "The scaling and squaring method for the matrix exponential revisited" (2005), in
    double precision: Pade's approximant of order 13 of A / 2^s, squared s times."""
    wide = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    norm = np.max(np.sum(abs(wide), axis=-2), axis=-1, initial=0.0)
    norm = norm if np.isfinite(norm).all() else np.zeros_like(norm)
    s = np.maximum(np.ceil(np.log2(np.maximum(norm, 1e-300) / 5.371920351148152)), 0).astype(int)
    x = wide / (2.0 ** s)[..., None, None]
    power = one = np.broadcast_to(np.eye(a.shape[-1]), x.shape)
    odd, even = np.zeros_like(x), np.zeros_like(x) + _PADE[0] * one
    for k in range(1, 14):
        power = power @ x
        even, odd = (even, odd + _PADE[k] * power) if k % 2 else (even + _PADE[k] * power, odd)
    y = np.linalg.solve(even - odd, even + odd)
    for k in range(int(s.max(initial=0))):
        y = np.where((k < s)[..., None, None], y @ y, y)
    return y.astype(a.dtype)


def _expm_vjp(node: Node, g: Node):
    """The corner of the exponential of [[A^T, g], [0, A^T]]: Najfeld & Havel, "Derivatives of the
    matrix exponential and their computation" (1995)."""
    a = swapped(node.inputs[0])
    n, axis = a.shape[-1], a.type.rank - 1
    top, bottom = concat([a, g], axis), concat([zeros_like(a), a], axis)
    whole = EXPM(concat([top, bottom], axis - 1))
    lead = (0,) * (axis - 1)
    return (slice_(whole, (*lead, 0, n), (*a.shape[:-1], n * 2)),)


EXPM = Foreign("expm", _expm, _square_rule("expm"), doc="The exponential of a matrix.",
               vjp=_expm_vjp, batch="leading", threads=None, workspace=lapack_work(16),
               samples=lambda: [({}, [normal(4, 4)]), ({}, [normal(2, 3, 3) / 9])])


# ---- pseudo-inverse -----------------------------------------------------------------------------

def _pinv_rule(a: TensorType, rtol: TensorType) -> TensorType:
    require_matrix("pinv", a)
    if rtol.shape != a.shape[:-2] or rtol.dtype is not a.dtype.real:
        raise ShapeError(f"pinv: {a} needs one rtol of {a.dtype.real} for each matrix, got {rtol}")
    return a.with_shape((*a.shape[:-2], a.shape[-1], a.shape[-2]))


def _pinv_vjp(node: Node, p: Node, g: Node):
    """Golub & Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems
    whose variables separate" (1973), where the rank stays the same."""
    a, _ = node.inputs
    ph, gh = adjoint(p), adjoint(g)
    left = product(gh, p, ph)
    right = product(ph, p, gh)
    return (left - product(a, p, left) + right - product(right, p, a) - product(ph, g, ph), None)


PINV = Foreign("pinv", lambda a, rtol: np.linalg.pinv(a, rtol), _pinv_rule, arity=2,
               doc="The Moore-Penrose inverse; singular values up to rtol of the largest are 0.",
               vjp=single(_pinv_vjp), batch="leading", threads=None,
               workspace=lapack_work(8))
