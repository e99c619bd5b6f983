"""What stands in brackets, over nodes: positions, slices, masks, checked against the axes.

A key is a tuple of integers, slices, None, Ellipsis, nodes of integers or bools, and NumPy arrays
of them. Negative positions count from the end. One policy for what is outside of an axis: positions
that are known when they are written (Python integers, lists, NumPy arrays) raise; computed ones
(nodes) are clamped to the nearest end, compiled or not. Slices are cut, as Python's; of an axis
whose extent is a symbol, positions and bounds must lie inside at its least value. Masks that are
read are looked at, since the result's extent is their number of ones; to write by a mask it need
not be known.
"""

from __future__ import annotations

import operator

import numpy as np

from ...base.dtypes import bool_, int32, int64
from ...base.errors import DTypeError, PositionError, TraceError
from ...base.extents import Extent, Size, lower, upper
from ...ir.node import Node, literal
from ...ops import reduce as red
from ...ops.pointwise import apply, cast
from .positions import places
from .values import error, leaf, unknown

ALL = slice(None)


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
            items += [ALL] * (rank - used)
            axis += rank - used
        elif item is None:
            items.append(item)
        else:
            items += _resolved(item, x.shape, axis)
            axis += _axes_of(item)
    return items if dots else items + [ALL] * (rank - used)


def is_mask(item) -> bool:
    """Whether an item is of bools."""
    if isinstance(item, Node):
        return item.type.dtype is bool_
    return isinstance(item, np.ndarray) and item.dtype == np.bool_


def _axes_of(item) -> int:
    """How many axes an item takes."""
    if item is None or item is Ellipsis:
        return 0
    return len(item.shape) if is_mask(item) else 1


def _resolved(item, shape, axis: int) -> list:
    """An item as positions, integers or slices; what is known is checked against the axis."""
    if isinstance(item, Node | np.ndarray):
        if is_mask(item):
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


def position_of(i, extent, axis: int, shape) -> Extent:
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


def bounds_of(s: slice, extent) -> tuple:
    """(start, stop, step, flipped) with step >= 1 for a slice of an axis."""
    if s is ALL:
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


def flag_of(key) -> Node | None:
    """The single bool that is the whole index, if it is one."""
    item = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if not is_mask(item) or item.shape:
        return None
    return item if isinstance(item, Node) else leaf(item)


def number_of(extent, dtype) -> Node:
    """An extent as a number; what no dtype of the positions can hold stands at its end."""
    if isinstance(extent, Size):
        return red.extent_value(extent, literal(0, dtype))
    return literal(extent, dtype)


def clamped(p: Node, extent) -> Node:
    """The positions, those outside of the axis moved to its nearest end."""
    last = number_of(extent, p.dtype) - 1 if isinstance(extent, Size) else literal(
        max(extent - 1, 0), p.dtype)
    return apply("max", apply("min", p, last), literal(0, p.dtype))


def wrapped(item, extent, axis: int, shape) -> Node:
    """A position node with negative positions counted from the end."""
    if not isinstance(item, Node):
        at = position_of(item, extent, axis, shape)
        if isinstance(at, Size):
            return number_of(at, int64)
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
    return apply("where", item < zero, item + number_of(extent, item.dtype), item)
