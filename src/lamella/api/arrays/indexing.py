"""x[key] over nodes: keys to slices, flips, reshapes and gathers."""

from __future__ import annotations

from ...base.dtypes import int32, int64
from ...base.errors import PositionError, TraceError
from ...base.extents import product, upper
from ...ir.node import Node, literal
from ...ops import index as ix
from ...ops import move
from ...ops.pointwise import broadcast_shapes, broadcast_to, cast
from .keys import bounds_of, clamped, flag_of, normal, number_of, position_of, wrapped
from .values import error, unknown, value


def get(x: Node, key) -> Node:
    """x[key]."""
    flag = flag_of(key)
    if flag is not None:
        return _kept_or_not(x, flag)
    items = normal(x, key)
    gathers = any(isinstance(i, Node) for i in items)
    starts: list = []
    kept: list = []
    stops, steps, flips, shape = [], [], [], []
    for item in items:
        if item is None:
            shape.append(1)
            kept.append(None)
            continue
        d = len(starts)
        extent = x.shape[d]
        if isinstance(item, slice):
            a, b, step, flipped = bounds_of(item, extent)
            flips += [d] if flipped else []
            shape.append((b - a + step - 1) // step)
        elif isinstance(item, Node) or gathers:
            a, b, step = 0, extent, 1
            shape.append(extent)
        else:
            a = position_of(item, extent, d, x.shape)
            b, step = a + 1, 1
        if gathers or isinstance(item, slice):
            kept.append(item)
        starts.append(a)
        stops.append(b)
        steps.append(step)
    y = move.flip(move.slice_(x, tuple(starts), tuple(stops), tuple(steps)), tuple(flips))
    y = move.reshape(y, tuple(shape))
    return _gather(y, kept) if gathers else y


def _kept_or_not(x: Node, flag: Node) -> Node:
    """x as the one member of a new leading axis where the flag holds, else none."""
    if unknown([flag]):
        raise error(TraceError, "index: a single bool gives 0 or 1 members, which is not known "
                                "while the function is traced; use lamella.where(cond, a, b)")
    return get(move.reshape(x, (1, *x.shape)), slice(0, int(value(flag))))


def _gather(x: Node, items: list) -> Node:
    """Positions along some axes, one item per axis; as in NumPy the result's new axes stand where
    the indexed ones did if those are neighbours, else in front."""
    axes = [d for d, i in enumerate(items) if i is not None and not isinstance(i, slice)]
    if len(axes) == 1:
        return ix.take(x, wrapped(items[axes[0]], x.shape[axes[0]], axes[0], x.shape), axes[0])
    flat, front, _ = flat_positions(x, items, axes)
    y = move.transpose(x, front)
    y = ix.take(move.reshape(y, (product(x.shape[d] for d in axes), *y.shape[len(axes):])),
                flat, 0)
    if axes != list(range(axes[0], axes[0] + len(axes))):
        return y
    first, new = axes[0], len(flat.shape)
    return move.transpose(y, (*range(new, new + first), *range(new),
                              *range(new + first, y.type.rank)))


def flat_positions(x: Node, items: list, axes: list[int]) -> tuple[Node, tuple, tuple]:
    """The positions along several axes as one number each, clamped axis by axis; the permutation
    that moves these axes to the front, and the one back."""
    positions = [wrapped(items[d], x.shape[d], d, x.shape) for d in axes]
    shape = broadcast_shapes("index", [p.shape for p in positions])
    count = product(x.shape[d] for d in axes)
    if x.type.size == 0 and product(shape) != 0 and any(x.shape[d] == 0 for d in axes):
        raise error(PositionError, f"index: there is nothing to index along an axis of {x.shape}")
    big = any(p.dtype.bits == 64 for p in positions) or upper(count) >= 1 << 31
    dtype = int64 if big else int32
    flat = literal(0, dtype)
    for p, d in zip(positions, axes, strict=True):
        p = clamped(cast(p, dtype), x.shape[d])
        flat = p if d == axes[0] else flat * number_of(x.shape[d], dtype) + p
    front = (*axes, *(d for d in range(x.type.rank) if d not in axes))
    return broadcast_to(flat, shape), front, move.inverse(front)
