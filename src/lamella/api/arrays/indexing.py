"""x[index] and x[index] = v over nodes: positions to slices, flips, reshapes, gathers, scatters.

An index is a tuple of integers, slices, None, Ellipsis, nodes of integers or bools, and NumPy
arrays of them. Negative positions count from the end. One policy for what is outside of an axis:
positions that are known when they are written (Python integers, lists, NumPy arrays) raise;
computed ones (nodes) are clamped to the nearest end, compiled or not. Slices are cut, as Python's;
of an axis whose extent is a symbol, positions and bounds must lie inside at its least value.
Masks that are read are looked at, since the result's extent is their number of ones; to write by a
mask it need not be known.
"""

from __future__ import annotations

import operator

import numpy as np

from ...base.dtypes import bool_, int32, int64
from ...base.errors import DTypeError, PositionError, TraceError
from ...base.extents import Extent, Size, lower, product, upper
from ...ir.node import Node, literal
from ...ops import index as ix
from ...ops import move, window
from ...ops import reduce as red
from ...ops.pointwise import apply, broadcast_shapes, broadcast_to, cast
from .positions import places, ranks
from .values import error, leaf, unknown, value

_ALL = slice(None)


def normal(x: Node, key) -> list:
    """The index as one item per axis of x plus Nones: masks as positions, Ellipsis spelled out."""
    given = key if isinstance(key, tuple) else (key,)
    if sum(item is Ellipsis for item in given) > 1:
        raise error(PositionError, "index: more than one ... leaves the axes undecided")
    used = sum(_axes_of(item) for item in given)
    rank = len(x.type.shape)
    if used > rank:
        raise error(PositionError, f"index: {used} positions for an array of {rank} axes, shape "
                                   f"{x.shape}")
    items: list = []
    axis = 0
    dots = False
    for item in given:
        if item is Ellipsis:
            dots = True
            items += [_ALL] * (rank - used)
            axis += rank - used
        elif item is None:
            items.append(item)
        else:
            items += _resolved(item, x.shape, axis)
            axis += _axes_of(item)
    return items if dots else items + [_ALL] * (rank - used)


def _is_mask(item) -> bool:
    if isinstance(item, Node):
        return item.type.dtype is bool_
    return isinstance(item, np.ndarray) and item.dtype == np.bool_


def _axes_of(item) -> int:
    """How many axes an item takes."""
    if item is None or item is Ellipsis:
        return 0
    return len(item.shape) if _is_mask(item) else 1


def _resolved(item, shape, axis: int) -> list:
    """An item as positions, integers or slices; what is known is checked against the axis."""
    if isinstance(item, Node | np.ndarray):
        if _is_mask(item):
            return list(_mask_positions(item, shape, axis))
        return [leaf(checked(item, shape, axis)) if isinstance(item, np.ndarray) else item]
    if isinstance(item, slice | Size):
        return [item]
    try:
        return [operator.index(item)]
    except TypeError:
        raise error(DTypeError, "index: takes integers, slices, ..., None and arrays of integers "
                                f"or bools, got {item!r}") from None


def checked(item: np.ndarray, shape, axis: int, name: str = "index") -> np.ndarray:
    """Positions known on the host; raises where one is outside of the axis."""
    extent = upper(shape[axis])
    if item.dtype.kind not in "iu":
        raise error(DTypeError, f"{name}: positions must be integers or bools, got {item.dtype}; "
                                "cast with astype")
    if item.size and not (-extent <= int(item.min()) and int(item.max()) < extent):
        bad = item.max() if int(item.max()) >= extent else item.min()
        raise error(PositionError, f"{name}: {bad} is outside of axis {axis} of shape {shape}")
    return item


def _mask_positions(mask, shape, axis: int) -> tuple[Node, ...]:
    """The positions of a mask's ones along each of its axes."""
    if not mask.shape:
        raise error(DTypeError, "index: a single bool stands alone; use lamella.where")
    own = shape[axis:axis + len(mask.shape)]
    if any(m not in (0, e) for m, e in zip(mask.shape, own)):
        raise error(PositionError, f"index: a mask of shape {mask.shape} for axes {own} of shape "
                                   f"{shape}; they must agree")
    node = mask if isinstance(mask, Node) else leaf(mask)
    if unknown([node]):
        raise error(TraceError, "index: the number of ones in a mask is not known while the "
                                "function is traced; use lamella.where(mask, a, b), or "
                                "lamella.nonzero(mask, size=n)")
    return tuple(places("index", node, None))


def _position(i, extent, axis: int, shape) -> Extent:
    """A Python integer as a position counted from the start."""
    if isinstance(i, Size):
        return i
    if isinstance(extent, Size):
        _require(i + 1 if i >= 0 else -i, extent, f"{i}")
        return i if i >= 0 else extent + i
    if not -extent <= i < extent:
        raise error(PositionError, f"index: {i} is outside of axis {axis} of shape {shape}")
    return i % extent


def _require(least: int, extent: Size, shown: str) -> None:
    """Raise unless a symbolic extent is known to be so large."""
    if lower(extent) < least:
        raise error(PositionError, f"index: {shown} needs an extent of {least} or more, and "
                                   f"{extent} may be {max(lower(extent), 0)}; raise the symbol's "
                                   f"lower bound")


def _bounds(s: slice, extent) -> tuple:
    """(start, stop, step, flipped) with step >= 1 for a slice of an axis."""
    if s is _ALL:
        return (0, extent, 1, False)
    try:
        step = 1 if s.step is None else operator.index(s.step)
        if isinstance(extent, int) and not isinstance(s.start, Size) \
                and not isinstance(s.stop, Size):
            run = range(*s.indices(extent))
            if step > 0:
                return (run.start, max(run.stop, run.start), step, False)
            return (run[-1], run[0] + 1, -step, True) if len(run) else (0, 0, -step, True)
    except TypeError:
        raise error(DTypeError, f"index: {s} has bounds that are not integers") from None
    except ValueError:
        raise error(PositionError, f"index: {s} has a step of 0, which never ends") from None
    for e in (s.start, s.stop):
        if isinstance(e, int) and isinstance(extent, Size):
            _require(abs(e), extent, f"the bound {e} of a slice")
    first, last = (default if e is None else (extent + e if isinstance(e, int) and e < 0 else e)
                   for e, default in zip((s.start, s.stop), _ends(extent, step), strict=True))
    if step > 0:
        return (first, last, step, False)
    count = (first - last - step - 1) // -step
    return (first + (count - 1) * step, first + 1, -step, True)


def _ends(extent, step: int) -> tuple:
    """Where a slice begins and before what it ends, if nothing is said."""
    return (0, extent) if step > 0 else (extent - 1, -1)


def _flag(key) -> Node | None:
    """The single bool that is the whole index, if it is one."""
    item = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if not _is_mask(item) or item.shape:
        return None
    return item if isinstance(item, Node) else leaf(item)


def get(x: Node, key) -> Node:
    """x[key]."""
    flag = _flag(key)
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
    flat, front, back = _flat(x, items, axes)
    y = move.transpose(x, front)
    y = ix.take(move.reshape(y, (product(x.shape[d] for d in axes), *y.shape[len(axes):])),
                flat, 0)
    if axes != list(range(axes[0], axes[0] + len(axes))):
        return y
    first, new = axes[0], len(flat.shape)
    return move.transpose(y, (*range(new, new + first), *range(new),
                              *range(new + first, y.type.rank)))


def _flat(x: Node, items: list, axes: list[int]) -> tuple[Node, tuple, tuple]:
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
        p = _clamped(cast(p, dtype), x.shape[d])
        flat = p if d == axes[0] else flat * _number(x.shape[d], dtype) + p
    front = (*axes, *(d for d in range(x.type.rank) if d not in axes))
    return broadcast_to(flat, shape), front, move.inverse(front)


def _number(extent, dtype) -> Node:
    """An extent as a number; what no dtype of the positions can hold stands at its end."""
    if isinstance(extent, Size):
        return red.extent_value(extent, literal(0, dtype))
    return literal(extent, dtype)


def _clamped(p: Node, extent) -> Node:
    last = _number(extent, p.dtype) - 1 if isinstance(extent, Size) else literal(
        max(extent - 1, 0), p.dtype)
    return apply("max", apply("min", p, last), literal(0, p.dtype))


def wrapped(item, extent, axis: int, shape) -> Node:
    """A position node with negative positions counted from the end."""
    if not isinstance(item, Node):
        at = _position(item, extent, axis, shape)
        if isinstance(at, Size):
            return _number(at, int64)
        return literal(at, int64 if at >= 1 << 31 else int32)
    if not item.dtype.is_int:
        raise error(DTypeError,
            f"index: positions must be integers or bools, got {item.type}; cast "
            "with astype")
    if item.dtype.kind == "uint":
        return item if item.dtype.bits >= 32 else cast(item, int32)
    item = cast(item, int32) if item.dtype.bits < 32 else item
    if upper(extent) >= 1 << 31:
        item = cast(item, int64)
    zero = literal(0, item.dtype)
    return apply("where", item < zero, item + _number(extent, item.dtype), item)


# ---- writing ------------------------------------------------------------------------------------

def put(x: Node, key, v: Node) -> Node:
    """x with v (of x's dtype) at the positions key; v broadcasts to the shape of x[key]. Of several
    values for one place the last one stays."""
    flag = _flag(key)
    if flag is not None:
        return apply("where", flag, broadcast_to(v, x.shape), x)
    whole = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if _is_mask(whole):
        return _put_masked(x, whole if isinstance(whole, Node) else leaf(whole), v)
    items = normal(x, key)
    axes = [i for i in items if i is not None]
    nodes = [i for i in axes if isinstance(i, Node)]
    steps = any(isinstance(i, slice) and i.step not in (None, 1) for i in axes)
    if all(n.type.rank == 0 for n in nodes) and not (nodes and steps):
        return _put_box(x, items, v)
    return _put_positions(x, items, v)


def _put_masked(x: Node, mask: Node, v: Node) -> Node:
    """v wherever the mask, over x's first axes, holds: v[k] at its k-th one, or the one v."""
    if mask.shape != x.shape[:mask.type.rank]:
        raise error(PositionError, f"index: a mask of shape {mask.shape} for an array of shape "
                                   f"{x.shape}; its axes must be the array's first")
    rest = x.shape[mask.type.rank:]
    if v.type.rank > len(rest) and v.shape[0] != 1 and mask.type.size != 0:
        flat, rank = ranks(mask)
        _check_count(mask, v.shape[0])
        v = broadcast_to(v, (v.shape[0], *rest))
        if v.shape[0] == 0:
            return x
        v = ix.take(v, move.reshape(rank, mask.shape), 0)
    elif v.type.rank > len(rest):
        v = broadcast_to(move.reshape(v, v.shape[1:]), rest)
    mask = move.reshape(mask, (*mask.shape, *(1,) * len(rest)))
    return apply("where", broadcast_to(mask, x.shape), broadcast_to(v, x.shape), x)


def _check_count(mask: Node, given) -> None:
    """Raise where a mask, looked at if it is known, has not as many ones as there are values."""
    if unknown([mask]):
        return
    count = int(value(red.reduce("sum", cast(mask, int64), tuple(range(mask.type.rank)))))
    if count != given:
        raise error(PositionError, f"index: {given} values for a mask with {count} ones; give as "
                                   "many, or one")


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
    return window.update_slice(x, v, at)


def _put_grid(x: Node, v: Node, starts: list, steps: list[int]) -> Node:
    """Every steps-th element from starts on."""
    inner = tuple(s - 1 for s in steps)
    high = tuple(e - a - ((n - 1) * s + 1) for e, a, n, s in
                 zip(x.shape, starts, v.shape, steps, strict=True))
    here = move.pad(literal(True, bool_, v.shape), tuple(starts), high, inner, 0)
    return apply("where", here, move.pad(v, tuple(starts), high, inner), x)


def _put_positions(x: Node, items: list, v: Node) -> Node:
    """Arrays of positions beside slices: the slices' box is written as a whole."""
    axes = [i for i in items if i is not None]
    box = tuple(i if isinstance(i, slice) else _ALL for i in axes)
    inner = get(x, box)
    places = [_ALL if isinstance(i, slice) else i for i in axes]
    at = [d for d, i in enumerate(places) if not isinstance(i, slice)]
    flat, front, back = _flat(inner, places, at)
    rest = tuple(inner.shape[d] for d in front[len(at):])
    moved = move.transpose(inner, front)
    rows = move.reshape(moved, (product(moved.shape[:len(at)]), *rest))
    new = ix.scatter(rows, flat, _in_front(v, items, len(flat.shape), (*flat.shape, *rest)), 0,
                     "set")
    return put(x, box, move.transpose(move.reshape(new, moved.shape), back))


def _in_front(v: Node, items: list, new: int, shape: tuple) -> Node:
    """v, which broadcasts to x[items], with the axes of the positions in front: `shape`."""
    order = ["new" if i is not None and not isinstance(i, slice) else "kept" if i is not None
             else "one" for i in items]
    first, last = order.index("new"), len(order) - 1 - order[::-1].index("new")
    together = all(o == "new" for o in order[first:last + 1])
    lead = order[:first] if together else []
    after = [o for o in (order[last + 1:] if together else order) if o != "new"]
    kept = iter(shape[new:])
    spread = [1 if o == "one" else next(kept) for o in (*lead, *after)]
    full = (*spread[:len(lead)], *shape[:new], *spread[len(lead):])
    v = broadcast_to(v, full)
    axes = (*range(len(lead), len(lead) + new), *range(len(lead)),
            *range(len(lead) + new, len(full)))
    return move.reshape(move.transpose(v, axes), shape)
