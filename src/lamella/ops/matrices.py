"""Factorizations and solutions of matrices: LAPACK's, by way of numpy.linalg, over leading axes.

Derivatives: Giles, "An extended collection of matrix derivative results for forward and reverse
mode algorithmic differentiation" (2008), unless a function names another source. They are written
for the gradients that descend (cotangents conjugated); `_descending` makes transposes of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from ..base.dtypes import float64
from ..base.errors import DTypeError, LamellaError, ShapeError
from ..base.extents import Extent
from ..ir.node import Node, items, literal, zeros_like
from ..ir.op import one_of
from ..ir.types import TensorType, TupleType, tensor
from .contract import matmul
from .foreign import Foreign
from .iota import iota
from .move import concat, reshape, slice_, transpose
from .pointwise import apply, broadcast_to, cast
from .reduce import reduce

is_flag = one_of(True, False)

# ---- small helpers over [..., m, n] -------------------------------------------------------------


def swapped(x: Node) -> Node:
    """The last two axes exchanged."""
    n = x.type.rank
    return transpose(x, (*range(n - 2), n - 1, n - 2))


def conjugate(x: Node) -> Node:
    """x conjugated; itself where it is real."""
    return apply("conj", x) if x.dtype.is_complex else x


def adjoint(x: Node) -> Node:
    """The conjugate transpose."""
    return conjugate(swapped(x))


def as_kind(x: Node, like: Node) -> Node:
    """A real x as a complex number where `like` is one."""
    return cast(x, like.dtype)


def product(*factors: Node) -> Node:
    """The matrices multiplied from left to right."""
    out = factors[0]
    for f in factors[1:]:
        out = matmul(out, f)
    return out


def _rows_and_columns(m: Extent, n: Extent) -> tuple[Node, Node]:
    return iota((m, 1), 0), iota((1, n), 1)


def on_diagonal(m: Extent, n: Extent) -> Node:
    """A bool node [m, n]: the diagonal."""
    return apply("eq", *_rows_and_columns(m, n))


def kept(x: Node, condition: Node) -> Node:
    """x where a condition over its last two axes holds, else 0."""
    return apply("where", condition, x, literal(0, x.dtype))


def triangle(x: Node, lower: bool, k: int = 0) -> Node:
    """x on and below (or above) the k-th diagonal, else 0."""
    rows, columns = _rows_and_columns(*x.shape[-2:])
    return kept(x, columns <= rows + k if lower else rows + k <= columns)


def diagonal(x: Node) -> Node:
    """The diagonal of the last two axes, as the last axis: [..., min(m, n)]."""
    m, n = x.shape[-2:]
    wide = isinstance(m, int) and isinstance(n, int) and m < n
    return reduce("sum", kept(x, on_diagonal(m, n)), (x.type.rank - (1 if wide else 2),))


def as_diagonal(x: Node) -> Node:
    """[..., n] as the diagonal of [..., n, n]."""
    n = x.shape[-1]
    return kept(broadcast_to(reshape(x, (*x.shape[:-1], 1, n)), (*x.shape[:-1], n, n)),
                on_diagonal(n, n))


def column(x: Node) -> Node:
    """[..., n] as [..., n, 1]."""
    return reshape(x, (*x.shape, 1))


def row(x: Node) -> Node:
    """[..., n] as [..., 1, n]."""
    return reshape(x, (*x.shape[:-1], 1, x.shape[-1]))


def eye_like(x: Node) -> Node:
    """The identity in the shape of square matrices x."""
    n = x.shape[-1]
    one = apply("where", on_diagonal(n, n), literal(1, x.dtype), literal(0, x.dtype))
    return broadcast_to(one, x.shape)


def hermitian(x: Node) -> Node:
    """(x + x^H) / 2."""
    return (x + adjoint(x)) * 0.5


def inverse_gaps(w: Node) -> Node:
    """1 / (w[j] - w[i]) at [i, j], and 0 where they are equal: what is the same for every basis of
    a space of equal values has no part there."""
    gap = row(w) - column(w)
    same = apply("eq", gap, literal(0, gap.dtype))
    return apply("where", same, literal(0, gap.dtype),
                 literal(1, gap.dtype) / apply("where", same, literal(1, gap.dtype), gap))


# ---- types --------------------------------------------------------------------------------------

def require_matrix(name: str, t: TensorType, square: bool = False) -> None:
    """Raise unless t is [..., m, n] of float32, float64 or complex numbers."""
    if not t.dtype.is_inexact or t.dtype.bits < 32:
        raise DTypeError(f"{name}: takes float32, float64 or complex matrices, got {t.dtype}; cast "
                         f"with astype")
    if t.rank < 2:
        raise ShapeError(f"{name}: takes matrices [..., m, n], got shape {t.shape}")
    if square and t.shape[-1] != t.shape[-2]:
        raise ShapeError(f"{name}: takes square matrices, got shape {t.shape}")


def lapack_work(copies: int = 2) -> Callable:
    """A bound on LAPACK's workspace: some copies of one matrix of each operand."""
    def workspace(*types: TensorType, **options) -> Extent:
        total: Extent = 4096
        for t in types:
            m, n = t.shape[-2:] if t.rank > 1 else (1, 1)
            total = total + (m + 64) * (n + 64) * t.dtype.bytes * copies + t.bytes * 2
        return total
    return workspace


def _several(f: Callable) -> Callable:
    """A rule that takes all cotangents, zeros where there are none."""
    def rule(node: Node, cotangents):
        out = items(node)
        return f(node, out, [zeros_like(o) if g is None else g
                             for o, g in zip(out, cotangents, strict=True)])
    return rule


def _descending(rule: Callable) -> Callable:
    """The transposed rule (node, out, cotangents) of one for gradients that descend."""
    def transposed(node: Node, out, g):
        given = [conjugate(x) for x in g] if isinstance(g, list) else conjugate(g)
        return tuple(None if p is None else conjugate(p) for p in rule(node, out, given))
    return transposed


def _one(rule: Callable) -> Callable:
    return lambda node, g: _descending(rule)(node, node, g)


def _normal(*shape: int, seed: int = 0, dtype=np.float32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def _positive(*shape: int, dtype=np.float32) -> np.ndarray:
    x = _normal(*shape, dtype=dtype)
    return x @ np.conj(np.swapaxes(x, -1, -2)) + np.eye(shape[-1], dtype=dtype) * shape[-1]


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
                samples=lambda: [({}, [_positive(5, 5), _normal(5, 3)]),
                                 ({}, [_positive(2, 4, 4, dtype=np.complex64),
                                       _normal(2, 4, 2, dtype=np.complex64)]),
                                 ({}, [_normal(0, 0), _normal(0, 2)])])

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
    samples=lambda: [({"lower": low, "unit_diagonal": unit}, [_positive(5, 5), _normal(5, 3)])
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
                  doc="(sign, log of the size) of the determinant.", vjp=_several(_slogdet_vjp),
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
                   vjp=_one(_cholesky_vjp), batch="leading", threads=None, workspace=lapack_work())


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
             vjp=_several(_descending(_qr_vjp)), batch="leading", threads=None,
             workspace=lapack_work(3))


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
               vjp=_several(_descending(_eigh_vjp)), batch="leading", threads=None,
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
              vjp=_several(_descending(_eig_vjp)), batch="leading", threads=None,
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
              options={"full_matrices": is_flag}, vjp=_several(_descending(_svd_vjp)),
              batch="leading", threads=None, workspace=lapack_work(6))


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
               samples=lambda: [({}, [_normal(4, 4)]), ({}, [_normal(2, 3, 3) / 9])])


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
               vjp=_one(_pinv_vjp), batch="leading", threads=None,
               workspace=lapack_work(8))
