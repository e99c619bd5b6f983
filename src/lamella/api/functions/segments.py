"""Slices joined by group: segment k of the result joins the slices whose id is k.

ids are integers [extent of the axis], in any order; ids outside of 0..segments - 1 are left out.
Slices of one group are joined in ascending position.
"""

from __future__ import annotations

import math

from ...base.errors import ShapeError
from ...ops.pointwise import normal_axis
from ..arrays.array import Array, asarray
from ..arrays.values import error
from .creation import full
from .datatypes import iinfo
from .elementwise import maximum, where
from .scatters import scatter

__all__ = ["segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum"]


def _joined(name: str, x, ids, segments: int, axis: int, mode: str, start) -> Array:
    """One more segment takes what is left out."""
    x, ids = asarray(x), asarray(ids)
    a = normal_axis(name, axis, x.ndim)
    if ids.shape != (x.shape[a],) or not ids.dtype.is_int:
        raise error(ShapeError, f"{name}: axis {a} of {x.shape} needs as many integer ids, got "
                                f"{ids.node.type}")
    at = where((ids >= 0) & (ids < segments), ids, segments)
    shape = (*x.shape[:a], segments + 1, *x.shape[a + 1:])
    y = scatter(full(shape, start, dtype=x.dtype), at, x, axis=a, mode=mode)
    return y[(*(slice(None),) * a, slice(0, segments))]


def segment_sum(x, ids, segments: int, *, axis: int = 0) -> Array:
    """The sums of the groups along the axis; 0 where a group is empty."""
    return _joined("segment_sum", x, ids, segments, axis, "add", 0)


def segment_prod(x, ids, segments: int, *, axis: int = 0) -> Array:
    """The products of the groups along the axis; 1 where a group is empty."""
    return _joined("segment_prod", x, ids, segments, axis, "mul", 1)


def segment_max(x, ids, segments: int, *, axis: int = 0) -> Array:
    """The largest of each group along the axis; -inf (the least integer) where one is empty."""
    x = asarray(x)
    low = -math.inf if x.dtype.is_float else iinfo(x.dtype).min
    return _joined("segment_max", x, ids, segments, axis, "max", low)


def segment_min(x, ids, segments: int, *, axis: int = 0) -> Array:
    """The smallest of each group along the axis; inf (the largest integer) where one is empty."""
    x = asarray(x)
    high = math.inf if x.dtype.is_float else iinfo(x.dtype).max
    return _joined("segment_min", x, ids, segments, axis, "min", high)


def segment_mean(x, ids, segments: int, *, axis: int = 0) -> Array:
    """The means of the groups along the axis, floating; 0 where a group is empty."""
    x = asarray(x)
    x = x if x.dtype.is_float else x.astype("float32")
    a = normal_axis("segment_mean", axis, x.ndim)
    ones = full((x.shape[a],), 1, dtype=x.dtype)
    counts = maximum(segment_sum(ones, ids, segments), 1)
    return segment_sum(x, ids, segments, axis=a) / counts.reshape(-1, *(1,) * (x.ndim - 1 - a))
