"""x[index] and x[index] = v over nodes: positions to slices, flips, reshapes and gathers.

An index is a tuple of integers, slices, None, Ellipsis, and nodes of integers or bools. Integer
positions outside of an axis raise where they are Python integers and are clamped where they are
computed; negative ones count from the end. Masks are looked at, since the result's extent is their
number of ones.
"""

from __future__ import annotations

import operator

import numpy as np

from ..base.dtypes import bool_, int32, int64
from ..base.errors import DTypeError, ShapeError, TraceError
from ..base.extents import Size, product, upper
from ..ir.node import Node, literal
from ..ops import index as ix
from ..ops import move
from ..ops.pointwise import apply, broadcast_shapes, broadcast_to, cast
from .values import error, leaf, unknown, value

_ALL = slice(None)


class PositionError(ShapeError, IndexError):
    """A position outside of an axis."""


def normal(x: Node, key) -> list:
    """The index as one item per axis of x plus Nones: masks as positions, Ellipsis spelled out."""
    items: list = []
    used, dots = 0, -1
    for item in key if isinstance(key, tuple) else (key,):
        if item is Ellipsis:
            if dots >= 0:
                raise error(PositionError, "index: more than one ... leaves the axes undecided")
            dots = len(items)
        elif item is None:
            items.append(item)
        elif isinstance(item, Node) and item.type.dtype is bool_:
            items.extend(_mask_positions(x, item))
            used += item.type.rank
        else:
            items.append(item)
            used += 1
    rank = len(x.type.shape)
    if used > rank:
        raise error(PositionError, f"index: {used} positions for an array of {rank} axes, shape "
                                   f"{x.shape}")
    at = dots if dots >= 0 else len(items)
    return items[:at] + [_ALL] * (rank - used) + items[at:]


def _mask_positions(x: Node, mask: Node) -> list[Node]:
    if not mask.type.shape:
        raise error(DTypeError, "index: a single bool selects nothing; use lamella.where")
    if unknown([mask]):
        raise error(TraceError, "index: the number of ones in a mask is not known while the "
                                "function is traced; use lamella.where(mask, a, b)")
    return [leaf(p.astype(np.int64)) for p in np.nonzero(value(mask))]


def _position(i, extent, axis: int, shape) -> int:
    """A Python integer as a position counted from the start."""
    i = operator.index(i)
    if isinstance(extent, Size):
        return i if i >= 0 else extent + i
    if not -extent <= i < extent:
        raise error(PositionError, f"index: {i} is outside of axis {axis} of shape {shape}")
    return i % extent


def _bounds(s: slice, extent) -> tuple:
    """(start, stop, step, flipped) with step >= 1 for a slice of an axis."""
    if s is _ALL:
        return (0, extent, 1, False)
    step = 1 if s.step is None else operator.index(s.step)
    if isinstance(extent, int) and not isinstance(s.start, Size) and not isinstance(s.stop, Size):
        run = range(*s.indices(extent))
        if step > 0:
            return (run.start, max(run.stop, run.start), step, False)
        return (run[-1], run[0] + 1, -step, True) if len(run) else (0, 0, -step, True)
    if step != 1:
        raise error(ShapeError, f"index: a step over the symbolic extent {extent} is not supported")
    ends = [default if e is None else (extent + e if isinstance(e, int) and e < 0 else e)
            for e, default in ((s.start, 0), (s.stop, extent))]
    return (*ends, 1, False)


def get(x: Node, key) -> Node:
    """x[key]."""
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
            a, b, step, flipped = _bounds(item, extent)
            flips += [d] if flipped else []
            shape.append((b - a + step - 1) // step)
        elif isinstance(item, Node) or gathers:
            a, b, step = 0, extent, 1
            shape.append(extent)
        else:
            a = _position(item, extent, d, x.shape)
            b, step = a + 1, 1
        if gathers or isinstance(item, slice):
            kept.append(item)
        starts.append(a)
        stops.append(b)
        steps.append(step)
    y = move.flip(move.slice_(x, tuple(starts), tuple(stops), tuple(steps)), tuple(flips))
    y = move.reshape(y, tuple(shape))
    return _gather(y, kept) if gathers else y


def _gather(x: Node, items: list) -> Node:
    """Positions along some axes, one item per axis; as in NumPy the result's new axes stand where
    the indexed ones did if those are neighbours, else in front."""
    axes = [d for d, i in enumerate(items) if i is not None and not isinstance(i, slice)]
    positions = [wrapped(items[d], x.shape[d], d, x.shape) for d in axes]
    if len(axes) == 1:
        return ix.take(x, positions[0], axes[0])
    shape = broadcast_shapes("index", [p.shape for p in positions])
    count = product(x.shape[d] for d in axes)
    big = any(p.dtype.bits == 64 for p in positions) or upper(count) >= 1 << 31
    flat = literal(0, int64 if big else int32)
    for p, d in zip(positions, axes, strict=True):
        p = cast(p, flat.dtype)
        flat = p if d == axes[0] else flat * x.shape[d] + p
    rest = [d for d in range(x.type.rank) if d not in axes]
    y = move.transpose(x, (*axes, *rest))
    y = move.reshape(y, (count, *(x.shape[d] for d in rest)))
    y = ix.take(y, broadcast_to(flat, shape), 0)
    if axes != list(range(axes[0], axes[0] + len(axes))):
        return y
    first, new = axes[0], len(shape)
    return move.transpose(y, (*range(new, new + first), *range(new),
                              *range(new + first, y.type.rank)))


def wrapped(item, extent, axis: int, shape) -> Node:
    """A position node with negative positions counted from the end, inside of the axis."""
    if not isinstance(item, Node):
        return literal(_position(item, extent, axis, shape), int32)
    if not item.dtype.is_int:
        raise error(DTypeError,
            f"index: positions must be integers or bools, got {item.type}; cast "
            "with astype")
    if item.dtype.bits < 32:
        item = cast(item, int32)
    if item.dtype.kind == "uint" or isinstance(extent, Size):
        return item
    zero = literal(0, item.dtype)
    item = apply("where", item < zero, item + extent, item)
    return apply("max", apply("min", item, literal(max(extent - 1, 0), item.dtype)), zero)


# ---- writing ------------------------------------------------------------------------------------

def put(x: Node, key, v: Node) -> Node:
    """x with v (of x's dtype) at the positions key; v broadcasts to the shape of x[key]."""
    if isinstance(key, Node) and key.dtype is bool_ and v.type.rank == 0:
        mask = move.reshape(key, (*key.shape, *(1,) * (x.type.rank - key.type.rank)))
        return apply("where", broadcast_to(mask, x.shape), v, x)
    items = normal(x, key)
    axes = [i for i in items if i is not None]
    scalar = [isinstance(i, Node) and i.type.rank == 0 for i in axes]
    if all(flag or not isinstance(i, Node) for i, flag in zip(axes, scalar, strict=True)):
        return _put_box(x, items, v)
    return _put_positions(x, key, v)


def _put_box(x: Node, items: list, v: Node) -> Node:
    """A box of x: integers (computed ones too) and slices with any step."""
    axes = [i for i in items if i is not None]
    bounds = [_bounds(i, e) if isinstance(i, slice) else None
              for i, e in zip(axes, x.shape, strict=True)]
    box = tuple(1 if b is None else (b[1] - b[0] + b[2] - 1) // b[2] for b in bounds)
    d = 0
    shown: list = []
    for i in items:
        shown += [1] if i is None else ([box[d]] if isinstance(i, slice) else [])
        d += i is not None
    v = move.reshape(broadcast_to(v, tuple(shown)), box)
    v = move.flip(v, tuple(d for d, b in enumerate(bounds) if b and b[3]))
    if any(e == 0 for e in box):
        return x
    starts = [b[0] if b else (i if isinstance(i, Node) else _position(i, x.shape[d], d, x.shape))
              for d, (i, b) in enumerate(zip(axes, bounds, strict=True))]
    if any(b and b[2] > 1 for b in bounds):
        return _put_grid(x, v, starts, [b[2] if b else 1 for b in bounds])
    if box == x.shape:
        return v
    at = [wrapped(s, e, d, x.shape) if isinstance(s, Node) else literal(s, int32)
          for d, (s, e) in enumerate(zip(starts, x.shape, strict=True))]
    return ix.update_slice(x, v, at)


def _put_grid(x: Node, v: Node, starts: list, steps: list[int]) -> Node:
    """Every steps-th element from starts on."""
    if any(isinstance(s, Node) for s in starts):
        raise error(ShapeError, "index: a computed position cannot be mixed with a step; write the "
                                "positions one after another")
    inner = tuple(s - 1 for s in steps)
    high = tuple(e - a - ((n - 1) * s + 1) for e, a, n, s in
                 zip(x.shape, starts, v.shape, steps, strict=True))
    here = move.pad(literal(True, bool_, v.shape), tuple(starts), high, inner, 0)
    return apply("where", here, move.pad(v, tuple(starts), high, inner), x)


def _put_positions(x: Node, key, v: Node) -> Node:
    """Arrays of positions: the same index of the elements' numbers says what is written; where two
    updates hit one element, the later one stays."""
    places = get(move.reshape(ix.iota((x.type.size,), 0, int64), x.shape), key)
    flat = (places.type.size,)
    y = ix.scatter(move.reshape(x, (x.type.size,)), move.reshape(places, flat),
                   move.reshape(broadcast_to(v, places.shape), flat), 0, "set")
    return move.reshape(y, x.shape)
