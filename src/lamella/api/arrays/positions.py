"""Where a mask holds, over nodes: what results whose extent depends on values are made of."""

from __future__ import annotations

from ...base.errors import TraceError
from ...base.extents import product
from ...ir.node import Node, literal
from ...ops import cumulative as scan
from ...ops import index as ix
from ...ops import move
from ...ops.iota import iota
from ...ops.pointwise import apply, cast
from ...ops.sort import position_dtype
from .values import error, unknown, value


def known(name: str, node: Node, size) -> int:
    """`size`, or the value of the node if it has one."""
    if size is not None:
        return size
    if unknown([node]):
        raise error(TraceError, f"{name}: the number of results is not known while the function is "
                                f"traced; say it by size=, or choose by lamella.where(cond, a, b)")
    return int(value(node))


def compacted(size, rank: Node, parts: list[tuple[Node, Node]], mask: Node) -> list[Node]:
    """Of each (elements, filling) those under the mask, packed: element k goes to place rank[k]."""
    outside = literal(size, rank.dtype) if isinstance(size, int) else size
    place = apply("where", mask, apply("min", rank, outside), outside)
    out = []
    for elements, fill in parts:
        base = move.broadcast(fill, (size + 1,))
        out.append(move.slice_(ix.scatter(base, place, elements, 0, "set"), (0,), (size,), (1,)))
    return out


def ranks(mask: Node) -> tuple[Node, Node]:
    """(the flat mask, for each element how many before it and itself hold, less one)."""
    flat = move.reshape(mask, (product(mask.shape),))
    d = position_dtype(flat.shape[0])
    return flat, scan.cumulative(cast(flat, d), 0, "sum") - 1


def places(name: str, mask: Node, size: int | None, fill: int = 0) -> list[Node]:
    """The positions along each axis where a bool node (of one axis at least) holds, in row-major
    order: [size], or as many as there are; `fill` where there are fewer."""
    shape = mask.shape
    count = product(shape)
    d = position_dtype(count)
    if isinstance(count, int) and count == 0:
        return [literal(fill, d, (size or 0,)) for _ in shape]
    flat, rank = ranks(mask)
    last = move.reshape(move.slice_(rank, (count - 1,), (count,), (1,)), ())
    size = known(name, last + 1, size)
    parts = []
    for axis in range(len(shape)):
        own = tuple(e if k == axis else 1 for k, e in enumerate(shape))
        at = move.broadcast(iota(own, axis, d), shape)
        parts.append((move.reshape(at, (count,)), literal(fill, d)))
    return compacted(size, rank, parts, flat)
