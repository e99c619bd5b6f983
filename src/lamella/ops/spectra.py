"""Eigenvalues and singular values: LAPACK's, by way of numpy.linalg, over leading axes.

Derivatives: Giles, "An extended collection of matrix derivative results for forward and reverse
mode algorithmic differentiation" (2008), unless a function names another source.
"""

from __future__ import annotations

import numpy as np

from ..base.dtypes import float64
from ..base.errors import LamellaError, ShapeError
from ..ir.node import Node, literal
from ..ir.types import TensorType, TupleType, tensor
from .contract import matmul
from .foreign import Foreign
from .lapack import descending, is_flag, lapack_work, require_matrix, several
from .matrices import SOLVE
from .matrix_algebra import (
    adjoint,
    as_diagonal,
    as_kind,
    column,
    conjugate,
    diagonal,
    hermitian,
    inverse_gaps,
    product,
    row,
)
from .pointwise import apply

# ---- eigenvalues --------------------------------------------------------------------------------

def _eigh_rule(a: TensorType) -> TupleType:
    require_matrix("eigh", a, square=True)
    return TupleType((tensor(a.dtype.real, a.shape[:-1]), a))


def _eigh_vjp(node: Node, out, g):
    """V (diag(gw) + (V^H gV) / gaps) V^H; A is taken as Hermitian."""
    (w, v), (gw, gv) = out, g
    inner = matmul(adjoint(v), gv) * as_kind(inverse_gaps(w), v) + as_diagonal(as_kind(gw, v))
    return (hermitian(product(v, inner, adjoint(v))),)


EIGH = Foreign("eigh", lambda a: tuple(np.linalg.eigh(a)), _eigh_rule,
               doc="(w, V) of Hermitian A = V diag(w) V^H, w ascending; reads the lower triangle.",
               vjp=several(descending(_eigh_vjp)), batch="leading", threads=None,
               workspace=lapack_work(4))


def _eig_rule(a: TensorType) -> TupleType:
    require_matrix("eig", a, square=True)
    made = "complex128" if a.dtype.real is float64 else "complex64"
    return TupleType((tensor(made, a.shape[:-1]), tensor(made, a.shape)))


def _eig(a: np.ndarray):
    w, v = np.linalg.eig(a)
    kind = np.complex128 if a.dtype in (np.float64, np.complex128) else np.complex64
    return w.astype(kind), v.astype(kind)


def _eig_vjp(node: Node, out, g):
    """V^-H (diag(gw) + (V^H gV - V^H V Re diag(V^H gV)) / conj(gaps)) V^H: vectors of length 1."""
    a, (w, v), (gw, gv) = node.inputs[0], out, g
    inner = matmul(adjoint(v), gv)
    length = as_kind(apply("real", diagonal(inner)), v)
    inner = inner - matmul(adjoint(v), v) * row(length)
    inner = inner * conjugate(inverse_gaps(w)) + as_diagonal(gw)
    found = SOLVE(adjoint(v), matmul(inner, adjoint(v)))
    return (found if a.dtype.is_complex else apply("real", found),)


EIG = Foreign("eig", _eig, _eig_rule, doc="(w, V) of A V = V diag(w), complex.",
              vjp=several(descending(_eig_vjp)), batch="leading", threads=None,
              workspace=lapack_work(6))


# ---- singular values ----------------------------------------------------------------------------

def _svd_rule(a: TensorType, full_matrices: bool) -> TupleType:
    require_matrix("svd", a)
    m, n = a.shape[-2:]
    if not (isinstance(m, int) and isinstance(n, int)):
        raise ShapeError(f"svd: needs fixed extents of the matrix, got {a.shape}")
    k = min(m, n)
    left, right = (m, n) if full_matrices else (k, k)
    lead = a.shape[:-2]
    return TupleType((tensor(a.dtype, (*lead, m, left)), tensor(a.dtype.real, (*lead, k)),
                      tensor(a.dtype, (*lead, right, n))))


def _svd_vjp(node: Node, out, g):
    """Townsend, "Differentiating the singular value decomposition" (2016); complex numbers: Wan &
    Zhang, "Automatic differentiation for complex valued SVD", arXiv 1909.02659 (2019)."""
    (u, s, vh), (gu, gs, gvh) = out, g
    m, n, k = u.shape[-2], vh.shape[-1], s.shape[-1]
    if u.shape[-1] != k or vh.shape[-2] != k:
        raise LamellaError("svd: the full matrices of one that is not square are not unique, and "
                           "have no derivative; use full_matrices=False")
    v, gv = adjoint(vh), adjoint(gvh)
    size = as_kind(s, u)
    gaps = as_kind(inverse_gaps(s * s), u)
    left, right = matmul(adjoint(u), gu), matmul(adjoint(v), gv)
    inner = (left - adjoint(left)) * gaps * row(size) + column(size) * (
        (right - adjoint(right)) * gaps)
    straight = as_kind(gs, u)
    safe = apply("where", apply("eq", s, literal(0, s.dtype)), literal(1, s.dtype), s)
    over = literal(1, u.dtype) / as_kind(safe, u)
    if u.dtype.is_complex:
        turned = apply("complex", literal(0, s.dtype, s.shape), apply("imag", diagonal(left)))
        straight = straight + turned * over
    found = product(u, inner + as_diagonal(straight), vh)
    if m > k:
        found = found + matmul((gu - matmul(u, left)) * row(over), vh)
    if n > k:
        rest = adjoint(gv - matmul(v, right))
        found = found + matmul(u, column(over) * rest)
    return (found,)


SVD = Foreign("svd", lambda a, full_matrices: tuple(np.linalg.svd(a, full_matrices)), _svd_rule,
              doc="(U, s, V^H) of A = U diag(s) V^H, s descending.",
              options={"full_matrices": is_flag}, vjp=several(descending(_svd_vjp)),
              batch="leading", threads=None, workspace=lapack_work(6))


