"""Statistics, searches and tests over axes. `axis` is None (all), an integer or several; negative
axes count from the end; `keepdims` leaves them as extents of 1."""

from __future__ import annotations

from typing import Any

from ...base import dtypes
from ...base.errors import DTypeError, ShapeError
from ...base.extents import product
from ...ir.node import make
from ...ops import reduce as red
from ...ops import search
from ...ops.pointwise import normal_axis
from ..arrays.array import Array, asarray, reduced, wrap
from ..arrays.kinds import floating, wide
from ..arrays.shapes import some_axes
from ..arrays.values import error
from .elementwise import abs, exp, imag, isinf, log, real, sqrt, stop_gradient, where

__all__ = ["all", "allclose", "any", "argmax", "argmin", "count_nonzero", "logsumexp", "max",
           "mean", "min", "norm", "prod", "std", "sum", "var"]


def sum(x, /, *, axis=None, dtype=None, keepdims: bool = False) -> Array:
    """The sum, in `dtype`; by default integers below 32 bits and bools add up as 32 bits."""
    return _total("sum", asarray(x), axis, dtype, keepdims)


def prod(x, /, *, axis=None, dtype=None, keepdims: bool = False) -> Array:
    """The product, in `dtype`; by default integers below 32 bits and bools multiply as 32 bits."""
    return _total("prod", asarray(x), axis, dtype, keepdims)


def _total(monoid: str, x: Array, axis, dtype, keepdims: bool) -> Array:
    return reduced(monoid, wide(x.node) if dtype is None else x.astype(dtype).node, axis, keepdims)


def mean(x, /, *, axis=None, keepdims: bool = False) -> Array:
    """The arithmetic mean, floating."""
    return asarray(x).mean(axis, keepdims=keepdims)


def var(x, /, *, axis=None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """The variance: the sum of squared deviations over the count minus `correction`. That of
    complex numbers is real."""
    x = wrap(floating(asarray(x).node))
    axes = some_axes("var", axis, x.ndim)
    deviation = x - x.mean(axes, keepdims=True)
    count: Any = product(x.shape[a] for a in axes)
    count = count - (int(correction) if correction == int(correction) else correction)
    squares = deviation * deviation
    if x.dtype.is_complex:
        squares = real(deviation) * real(deviation) + imag(deviation) * imag(deviation)
    return squares.sum(axes, keepdims=keepdims) / count


def std(x, /, *, axis=None, correction: float = 0.0, keepdims: bool = False) -> Array:
    """The square root of the variance."""
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def max(x, /, *, axis=None, keepdims: bool = False) -> Array:
    """The largest; NaN where there is one. Raises ShapeError for an empty axis."""
    return asarray(x).max(axis, keepdims=keepdims)


def min(x, /, *, axis=None, keepdims: bool = False) -> Array:
    """The smallest; NaN where there is one. Raises ShapeError for an empty axis."""
    return asarray(x).min(axis, keepdims=keepdims)


def logsumexp(x, /, *, axis=None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))), floating, without overflow."""
    x = wrap(floating(asarray(x).node))
    top = stop_gradient(x.max(axis, keepdims=True))
    top = where(isinf(top), 0.0, top)
    total = log(exp(x - top).sum(axis, keepdims=True)) + top
    return total if keepdims else squeeze_axes(total, some_axes("logsumexp", axis, x.ndim))


def squeeze_axes(x: Array, axes: tuple[int, ...]) -> Array:
    """x without the axes, whose extents are 1."""
    return x.reshape(tuple(e for d, e in enumerate(x.shape) if d not in axes))


def _tested(monoid: str, x, axis, keepdims: bool) -> Array:
    x = asarray(x)
    if x.dtype is not dtypes.bool_:
        x = x != 0
    axes = some_axes(monoid, axis, x.ndim)
    y = red.reduce(monoid, x.node, axes)
    return wrap(red.keepdims(y, x.node, axes) if keepdims else y)


def all(x, /, *, axis=None, keepdims: bool = False) -> Array:
    """Whether all elements are true (not 0), bool."""
    return _tested("all", x, axis, keepdims)


def any(x, /, *, axis=None, keepdims: bool = False) -> Array:
    """Whether any element is true (not 0), bool."""
    return _tested("any", x, axis, keepdims)


def count_nonzero(x, /, *, axis=None, keepdims: bool = False) -> Array:
    """How many elements are not 0, int32."""
    x = asarray(x)
    return (x if x.dtype is dtypes.bool_ else x != 0).sum(axis, keepdims=keepdims)


def _extreme(name: str, monoid: str, x, axis, keepdims: bool) -> Array:
    x = asarray(x)
    if x.dtype is dtypes.bool_:
        raise error(DTypeError, f"{name}: takes numbers, got bool; cast with astype")
    flat = x.reshape(-1) if axis is None else x
    at = 0 if axis is None else normal_axis(name, axis, x.ndim)
    if flat.shape[at] == 0:
        raise error(ShapeError, f"{name}: axis {at} of shape {flat.shape} is empty")
    y = wrap(make(search.ARG, (flat.node,), {"monoid": monoid, "axis": at,
                                             "dtype": dtypes.int32}))
    if not keepdims:
        return y
    return y.reshape(tuple(1 if axis is None or d == at else e for d, e in enumerate(x.shape)))


def argmax(x, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """The first position of the largest (a NaN counts as such), int32; None takes all axes."""
    return _extreme("argmax", "max", x, axis, keepdims)


def argmin(x, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """The first position of the smallest (a NaN counts as such), int32; None takes all axes."""
    return _extreme("argmin", "min", x, axis, keepdims)


def norm(x, *, axis=None, keepdims: bool = False) -> Array:
    """The square root of the sum of squares, floating."""
    x = wrap(floating(asarray(x).node))
    return sqrt((x * x).sum(axis, keepdims=keepdims))


def allclose(a, b, *, rtol: float = 1e-5, atol: float = 1e-8) -> Array:
    """Whether |a - b| <= atol + rtol |b| everywhere, a 0-d bool."""
    return all(abs(asarray(a) - b) <= atol + rtol * abs(asarray(b)))
