"""Running totals along an axis, which may be left out where there is only one.

`reverse` runs from the end of the axis; `exclusive` leaves each position's own element out;
`include_initial` puts the total of nothing in front of the first position (behind the last one with
`reverse`), so that the axis grows by one. The order of additions: docs/numerics.md.
"""

from __future__ import annotations

from ...base import dtypes
from ...base.errors import DTypeError, ShapeError
from ...ir.node import Node, literal
from ...ops import cumulative as scan
from ...ops import move
from ...ops.pointwise import cast, normal_axis
from ...ops.recurrence import along
from ..arrays.array import Array, asarray, wrap
from ..arrays.kinds import floating, wide
from ..arrays.values import error
from .creation import broadcast_arrays

__all__ = ["cummax", "cummin", "cumulative_prod", "cumulative_sum", "linear_recurrence",
           "logcumsumexp"]


def _scanned(name: str, x: Node, monoid: str, axis, include_initial: bool, exclusive: bool,
             reverse: bool) -> Array:
    rank = x.type.rank
    if axis is None and rank != 1:
        raise error(ShapeError, f"{name}: shape {x.shape} needs an axis")
    at = normal_axis(name, 0 if axis is None else axis, rank)
    y = scan.cumulative(x, at, monoid, exclusive, reverse)
    if include_initial:
        shape = tuple(1 if d == at else e for d, e in enumerate(x.shape))
        first = literal(scan.identity(monoid, x.dtype), x.dtype, shape)
        y = move.concat([y, first] if reverse else [first, y], at)
    return wrap(y)


def _summands(name: str, x, dtype) -> Node:
    x = asarray(x)
    if dtype is None:
        return wide(x.node)
    to = dtypes.as_dtype(dtype)
    if to is dtypes.bool_:
        raise error(DTypeError, f"{name}: a running total has no bool dtype; choose an integer one")
    return cast(x.node, to)


def cumulative_sum(x, /, *, axis: int | None = None, dtype=None, include_initial: bool = False,
                   exclusive: bool = False, reverse: bool = False) -> Array:
    """Running sums, in `dtype`; by default integers below 32 bits and bools add up as 32 bits."""
    return _scanned("cumulative_sum", _summands("cumulative_sum", x, dtype), "sum", axis,
                    include_initial, exclusive, reverse)


def cumulative_prod(x, /, *, axis: int | None = None, dtype=None, include_initial: bool = False,
                    exclusive: bool = False, reverse: bool = False) -> Array:
    """Running products, in `dtype`; by default bools and integers below 32 bits multiply as 32 bits
    do. Derivatives of any order are right where elements are 0."""
    return _scanned("cumulative_prod", _summands("cumulative_prod", x, dtype), "prod", axis,
                    include_initial, exclusive, reverse)


def cummax(x, *, axis: int | None = None, reverse: bool = False) -> Array:
    """The largest so far, NaN from the first NaN on; the gradient goes to the first that is it."""
    return _scanned("cummax", asarray(x).node, "max", axis, False, False, reverse)


def cummin(x, *, axis: int | None = None, reverse: bool = False) -> Array:
    """The smallest so far, NaN from the first NaN on; the gradient goes to the first that is it."""
    return _scanned("cummin", asarray(x).node, "min", axis, False, False, reverse)


def logcumsumexp(x, *, axis: int | None = None, reverse: bool = False) -> Array:
    """log(cumulative_sum(exp(x))), floating, without overflow: a chain of a, b to the larger plus
    log1p(exp(less - larger))."""
    return _scanned("logcumsumexp", floating(asarray(x).node), "logsumexp", axis, False, False,
                    reverse)


def linear_recurrence(a, b, *, axis: int = -1, reverse: bool = False) -> Array:
    """y[k] = a[k] * y[k - 1] + b[k] along an axis, y[0] = b[0]; `reverse`: from the end.

    Factors and terms broadcast and are floating or complex; each step rounds once (fma), or as
    complex numbers do. Steps run in order; rows run side by side.
    """
    x, y = broadcast_arrays(asarray(a), asarray(b))
    d = dtypes.promote(x.dtype, y.dtype)
    if not d.is_inexact:
        raise error(DTypeError, f"linear_recurrence: factors and terms are {d}; cast with astype")
    if not y.ndim:
        raise error(ShapeError, "linear_recurrence: numbers have no axis to run along")
    at = normal_axis("linear_recurrence", axis, y.ndim)
    return wrap(along(cast(x.node, d), cast(y.node, d), at, reverse))
