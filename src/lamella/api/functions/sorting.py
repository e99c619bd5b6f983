"""Sorting, and what follows from it: the first few, medians and quantiles, places in sorted rows.

The order is that of NumPy's stable sorts: NaN comes last, with `descending` too, and -0 equals +0;
equal elements keep their order. Gradients go to the elements that were chosen.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ...base import dtypes
from ...base.dtypes import promote
from ...base.errors import LamellaError, ShapeError
from ...base.extents import lower, upper
from ...ir.node import Node
from ...ops import bisect as search
from ...ops import index as ix
from ...ops import move
from ...ops import sort as order
from ...ops.iota import iota
from ...ops.pointwise import cast, normal_axis
from ..arrays.array import Array, asarray, wrap
from ..arrays.kinds import floating
from ..arrays.values import error, located
from . import scans
from .elementwise import floor, isnan, where
from .reductions import any as any_of
from .reductions import argmax

__all__ = ["argsort", "isin", "kthvalue", "median", "mode", "quantile", "searchsorted", "sort",
           "top_k"]


class Chosen(NamedTuple):
    """Elements and the positions that they had."""

    values: Array
    indices: Array


class Counted(NamedTuple):
    """Elements and how often they occur."""

    values: Array
    counts: Array


def _axis(name: str, x: Array, axis: int) -> int:
    if x.ndim == 0:
        raise error(ShapeError, f"{name}: a scalar has no axis")
    return normal_axis(name, axis, x.ndim)


def sort(x, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """x in ascending (descending) order along an axis; always stable."""
    x = asarray(x)
    return wrap(located(order.sort)(x.node, _axis("sort", x, axis), descending))


def argsort(x, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Array:
    """The positions that sort x along an axis; always stable."""
    x = asarray(x)
    return wrap(located(order.argsort)(x.node, _axis("argsort", x, axis), descending))


def top_k(x, k: int, *, axis: int = -1, largest: bool = True) -> Chosen:
    """The k largest (or smallest) along an axis in order, and their positions; NaN comes last."""
    x = asarray(x)
    a = _axis("top_k", x, axis)
    if not 0 <= k <= lower(x.shape[a]):
        raise error(ShapeError, f"top_k: an axis of {x.shape[a]} has no {k} elements")
    at = located(order.argsort)(x.node, a, largest, k)
    return Chosen(wrap(ix.take_along(x.node, at, a)), wrap(at))


def kthvalue(x, k: int, *, axis: int = -1, keepdims: bool = False) -> Chosen:
    """The k-th smallest along an axis (k from 1), and its position."""
    x = asarray(x)
    a = _axis("kthvalue", x, axis)
    if not 1 <= k <= lower(x.shape[a]):
        raise error(ShapeError, f"kthvalue: an axis of {x.shape[a]} has no element number {k}")
    found = top_k(x, k, axis=a, largest=False)
    lead = (slice(None),) * a
    key = (*lead, slice(k - 1, k)) if keepdims else (*lead, k - 1)
    return Chosen(found.values[key], found.indices[key])


# ---- medians and quantiles ----------------------------------------------------------------------

_METHODS = ("linear", "lower", "higher", "nearest", "midpoint")


def _flat(x, axis: int | None) -> tuple[Array, int]:
    x = asarray(x)
    return (x.reshape(-1), 0) if axis is None else (x, normal_axis("quantile", axis, x.ndim))


def quantile(x, q, *, axis: int | None = None, keepdims: bool = False,
             method: str = "linear") -> Array:
    """The elements that fractions q of the others lie below, floating; NaN where there is one.

    q (0..1) may have axes, which come first. `method`: how to choose between two neighbours:
    linear, lower, higher, nearest or midpoint. Raises ShapeError for an empty axis.
    """
    if method not in _METHODS:
        raise error(LamellaError, f"quantile: method {method!r} is not one of "
                                  f"{', '.join(_METHODS)}")
    rank = asarray(x).ndim
    flat, a = _flat(wrap(floating(asarray(x).node)), axis)
    if lower(flat.shape[a]) == 0:
        raise error(ShapeError, f"quantile: axis {a} of shape {flat.shape} is empty")
    rows = sort(flat, axis=a)
    rows = wrap(move.transpose(rows.node, (a, *(d for d in range(flat.ndim) if d != a))))
    last = flat.shape[a] - 1
    at = asarray(q, dtype=None if isinstance(q, Array) else rows.dtype)
    place = (at.astype("float32") if at.dtype.bits < 32 else at) * last
    below = floor(place)
    part = (place - below).reshape(*at.shape, *(1,) * (rows.ndim - 1))
    low, high = (_at(rows, below), _at(rows, below + 1))
    y = _between(low, high, part, method)
    y = where(any_of(isnan(rows), axis=0), math.nan, y).astype(rows.dtype)
    if keepdims:
        kept = (1,) * rank if axis is None else tuple(
            1 if d == a else e for d, e in enumerate(flat.shape))
        y = y.reshape(*at.shape, *kept)
    return y


def _at(rows: Array, place: Array) -> Array:
    bounded = ix.cast(place.node, dtypes.int64)
    return wrap(ix.take(rows.node, bounded, 0))


def _between(low: Array, high: Array, part: Array, method: str) -> Array:
    """A number between two neighbours; exactly one of them where the part is 0."""
    if method == "linear":
        return where(part == 0, low, low + (high - low) * part.astype(low.dtype))
    if method == "midpoint":
        return where(part == 0, low, (low + high) * 0.5)
    if method == "lower":
        return low
    if method == "higher":
        return where(part == 0, low, high)
    return where(part > 0.5, high, low)


def median(x, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """The middle element, or the mean of the middle two, floating; NaN where there is one."""
    return quantile(x, 0.5, axis=axis, keepdims=keepdims, method="midpoint")


def mode(x, *, axis: int = -1, keepdims: bool = False) -> Counted:
    """The most frequent element along an axis, of equally frequent ones the smallest, and how often
    it occurs. Each NaN is an element of its own."""
    x = asarray(x)
    a = _axis("mode", x, axis)
    if lower(x.shape[a]) == 0:
        raise error(ShapeError, f"mode: axis {a} of shape {x.shape} is empty")
    lead = (slice(None),) * a
    rows = sort(x, axis=a)
    inner, before = rows[(*lead, slice(1, None))], rows[(*lead, slice(0, -1))]
    place = wrap(iota(tuple(e if d == a else 1 for d, e in enumerate(x.shape)), a))
    new = wrap(move.concat([(rows[(*lead, slice(0, 1))] == rows[(*lead, slice(0, 1))]).node,
                            (inner != before).node], a))
    start = scans.cummax(where(new, place, 0), axis=a)
    length = place - start + 1
    best = argmax(length, axis=a, keepdims=True)
    values, counts = (wrap(ix.take_along(n.node, best.node, a)) for n in (rows, length))
    return Counted(values, counts) if keepdims else Counted(values[(*lead, 0)], counts[(*lead, 0)])


# ---- places in sorted rows ----------------------------------------------------------------------

def searchsorted(x1, x2, /, *, side: str = "left", sorter=None) -> Array:
    """Where the elements of x2 go in sorted x1 so that it stays sorted: before equal elements
    (left) or after them (right).

    x1 is one sorted row, or rows [*b, n] for x2 [*b, ...]; `sorter` holds the positions that sort
    x1's last axis.
    """
    if side not in ("left", "right"):
        raise error(LamellaError, f"searchsorted: side {side!r} is neither left nor right")
    x1 = asarray(x1)
    x2 = asarray(x2, dtype=x1.dtype if isinstance(x2, int | float) else None)
    if x1.ndim == 0 or x1.shape[:-1] != x2.shape[:x1.ndim - 1]:
        raise error(ShapeError, f"searchsorted: rows {x1.shape} and values {x2.shape} must agree "
                                f"in all axes of the rows but the last")
    rows = x1.node
    if sorter is not None:
        rows = ix.take_along(rows, asarray(sorter).node, x1.ndim - 1)
    d = promote(x1.dtype, x2.dtype)
    return wrap(located(search.searchsorted)(cast(rows, d), cast(x2.node, d), side == "right"))


def isin(x1, x2, *, invert: bool = False) -> Array:
    """Whether each element of x1 is among those of x2, bool; NaN is among nothing."""
    x1, x2 = asarray(x1), asarray(x2)
    d = promote(x1.dtype, x2.dtype)
    rows = sort(x2.astype(d).reshape(-1))
    if upper(rows.shape[0]) == 0:
        return (x1 != x1) | (wrap(move.broadcast(asarray(invert).node, x1.shape)))
    wanted = x1.astype(d)
    at = searchsorted(rows, wanted)
    hit: Node = ix.take(rows.node, at.node, 0)
    found = wrap(hit) == wanted
    return ~found if invert else found
