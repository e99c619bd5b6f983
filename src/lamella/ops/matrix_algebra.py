"""Matrices [..., m, n] as nodes: transposes, products, diagonals, triangles."""

from __future__ import annotations

from ..base.extents import Extent
from ..ir.node import Node, literal
from .contract import matmul
from .iota import iota
from .move import reshape, transpose
from .pointwise import apply, broadcast_to, cast
from .reduce import reduce


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
