"""Arrays laid out again and again: whole ones, or each element."""

from __future__ import annotations

import operator

from ...base.errors import DTypeError, ShapeError
from ...ops import move
from ...ops.pointwise import broadcast_to, normal_axis
from ..arrays.array import Array, asarray, wrap
from ..arrays.positions import known
from ..arrays.shapes import as_shape
from ..arrays.values import error, unknown
from .creation import arange
from .manipulation import take
from .reductions import min as smallest
from .scans import cumulative_sum
from .sorting import searchsorted

__all__ = ["repeat", "tile"]


def tile(x, repetitions, /) -> Array:
    """x laid out repetitions[d] times along each axis, aligned at the last."""
    x = asarray(x)
    times = as_shape(repetitions, "tile")
    rank = max(x.ndim, len(times))
    shape = (1,) * (rank - x.ndim) + x.shape
    times = (1,) * (rank - len(times)) + times
    spread = tuple(e for pair in zip((1,) * rank, shape, strict=True) for e in pair)
    full = tuple(e for pair in zip(times, shape, strict=True) for e in pair)
    y = broadcast_to(move.reshape(x.node, spread), full)
    return wrap(move.reshape(y, tuple(t * e for t, e in zip(times, shape, strict=True))))


def repeat(x, repeats, /, *, axis: int | None = None, size: int | None = None) -> Array:
    """Each element so many times in a row along the axis (of the flat array for None).

    repeats: one number, or integers, one for each element along the axis; their sum is the result's
    extent, which compiled functions state by `size` (what is missing repeats the last element).
    """
    x = asarray(x)
    if axis is None:
        return repeat(x.reshape(-1), repeats, axis=0, size=size)
    a = normal_axis("repeat", axis, x.ndim)
    if isinstance(repeats, list | tuple | Array) or hasattr(repeats, "__array__"):
        return _repeated(x, asarray(repeats), a, size)
    count, = as_shape(operator.index(repeats), "repeat")
    lead, rest = x.shape[:a + 1], x.shape[a + 1:]
    y = broadcast_to(move.reshape(x.node, (*lead, 1, *rest)), (*lead, count, *rest))
    return wrap(move.reshape(y, (*lead[:-1], lead[-1] * count, *rest)))


def _repeated(x: Array, repeats: Array, axis: int, size: int | None) -> Array:
    """Each element its own number of times: the k-th of the result is the first element at which
    the running sum of the numbers exceeds k."""
    extent = x.shape[axis]
    if not repeats.dtype.is_int or repeats.ndim > 1 or repeats.size not in (1, extent):
        raise error(DTypeError if not repeats.dtype.is_int else ShapeError,
                    f"repeat: takes one integer, or {extent} for axis {axis} of {x.shape}, got "
                    f"{repeats.node.type}")
    repeats = wrap(broadcast_to(repeats.reshape(-1).node, (extent,)))
    if extent == 0:
        return x
    if repeats.dtype.kind == "int" and not unknown([repeats.node]) and int(smallest(repeats)) < 0:
        raise error(ShapeError, "repeat: there are negative numbers of repetitions")
    ends = cumulative_sum(repeats)
    total = known("repeat", ends[-1].node, size)
    at = searchsorted(ends, arange(total, dtype=ends.dtype), side="right")
    return take(x, at, axis=axis)
