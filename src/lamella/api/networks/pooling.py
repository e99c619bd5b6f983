"""Pooling over 1, 2 or 3 axes of x [n, ..., c], channels last.

A window says over how many axes: a number is taken for every axis between the first and the last.
"""

from __future__ import annotations

import math

from ...base.errors import ShapeError
from ...ir.node import Node, literal, make
from ...ops import move, pooling
from ...ops.pointwise import apply
from ...ops.reduce import keepdims, reduce
from ..arrays.array import Array, asarray, wrap
from ..arrays.kinds import floating
from ..arrays.values import error
from ..functions.creation import arange
from ..functions.elementwise import abs, sign
from ..functions.manipulation import take
from .normalization import power_at_zero
from .windows import counts, each_axis, paddings

__all__ = ["adaptive_avg_pool", "adaptive_max_pool", "avg_pool", "lp_pool", "max_pool"]


class _Windows:
    """A window's geometry over x: its sizes, and the padding before and after each axis."""

    def __init__(self, name: str, x: Node, window, stride, padding, dilation, ceil: bool):
        rank = x.type.rank - 2
        if not 1 <= rank <= 3:
            raise error(ShapeError, f"{name}: x must be [n, ..., c] with 1 to 3 axes between, got "
                                    f"{x.shape}")
        self.x, self.window = x, counts(name, "window", window, rank)
        self.stride = self.window if stride is None else counts(name, "stride", stride, rank)
        self.dilation = counts(name, "dilation", dilation, rank)
        self.padding = paddings(name, x.shape[1:-1], self.window, self.stride, padding,
                                self.dilation)
        self.extra = [self._beyond(d) if ceil else 0 for d in range(rank)]

    def _beyond(self, d: int) -> int:
        """What the last window takes beyond the padding, so that it starts inside of x."""
        (low, high), s, e = self.padding[d], self.stride[d], self.x.shape[d + 1]
        reach = (self.window[d] - 1) * self.dilation[d] + 1
        count = -(-(e + low + high - reach) // s) + 1
        if (count - 1) * s >= e + low:
            count -= 1
        return max((count - 1) * s + reach - (e + low + high), 0)

    def padded(self, node: Node, pairs, value: float) -> Node:
        """node with its inner axes padded."""
        low, high = (tuple(p[k] for p in pairs) for k in (0, 1))
        return move.pad(node, (0, *low, 0), (0, *high, 0), None, value)

    def pooled(self, op, value: float) -> Node:
        """The op's result over x padded with a value."""
        pairs = [(low, high + more)
                 for (low, high), more in zip(self.padding, self.extra, strict=True)]
        return self.over(op, self.padded(self.x, pairs, value))

    def over(self, op, node: Node) -> Node:
        """The op's result over a node that is padded already."""
        return make(op, (node,), {"window": self.window, "stride": self.stride,
                                  "dilation": self.dilation})

    def counts(self, padding_counts: bool) -> Node | float:
        """How many elements each window holds, those of the padding included or not."""
        beyond = [(0, m) for m in self.extra]
        if not any(self.extra) and (padding_counts or not any(map(any, self.padding))):
            return float(math.prod(self.window))
        ones = literal(1, self.x.dtype, (1, *self.x.shape[1:-1], 1))
        ones = self.padded(ones, self.padding, 1.0 if padding_counts else 0.0)
        return self.over(pooling.SUM_POOL, self.padded(ones, beyond, 0.0))


def max_pool(x, window, *, stride=None, padding=0, dilation=1, ceil: bool = False) -> Array:
    """The largest of each window of x [n, ..., c]; the stride is the window by default.

    The gradient goes to the first element that attains it. With `ceil` a last window that reaches
    beyond the padding counts, if it starts inside.
    """
    w = _Windows("max_pool", floating(asarray(x).node), window, stride, padding, dilation, ceil)
    return wrap(w.pooled(pooling.MAX_POOL, -math.inf))


def avg_pool(x, window, *, stride=None, padding=0, ceil: bool = False,
             count_padding: bool = True, divisor: float | None = None) -> Array:
    """The mean of each window of x [n, ..., c]; the stride is the window by default.

    count_padding: whether zeros of the padding count. divisor: a count to use in place of it.
    """
    w = _Windows("avg_pool", floating(asarray(x).node), window, stride, padding, 1, ceil)
    total = w.pooled(pooling.SUM_POOL, 0.0)
    return wrap(total / (w.counts(count_padding) if divisor is None else float(divisor)))


def lp_pool(x, p: float, window, *, stride=None, ceil: bool = False) -> Array:
    """(the sum of x^p over each window)^(1/p), of its magnitude where it is negative.

    Raises ShapeError where p is 0.
    """
    if p == 0:
        raise error(ShapeError, "lp_pool: the power 0 has no root; count with avg_pool(x != 0)")
    x = wrap(floating(asarray(x).node))
    w = _Windows("lp_pool", (x ** p).node, window, stride, 0, 1, ceil)
    total = wrap(w.pooled(pooling.SUM_POOL, 0.0))
    return sign(total) * power_at_zero(abs(total), 1.0 / p)


# ---- to a given extent --------------------------------------------------------------------------

def adaptive_avg_pool(x, size) -> Array:
    """The means of size[d] windows along each inner axis of x [n, ..., c]; None keeps an extent.

    Window k of m over an extent e holds the positions floor(k e / m) up to ceil((k + 1) e / m).
    """
    return _adaptive("adaptive_avg_pool", x, size, "sum", 0.0)


def adaptive_max_pool(x, size) -> Array:
    """The largest of each of size[d] windows along each inner axis of x [n, ..., c]."""
    return _adaptive("adaptive_max_pool", x, size, "max", -math.inf)


def _adaptive(name: str, x, size, monoid: str, fill: float) -> Array:
    x = wrap(floating(asarray(x).node))
    rank = x.ndim - 2
    if rank < 1:
        raise error(ShapeError, f"{name}: x must be [n, ..., c], got {x.shape}")
    sizes = each_axis(size, rank)
    counts(name, "size", tuple(0 if m is None else m for m in sizes), rank, 0)
    for d, m in enumerate(sizes, 1):
        if m is not None and m != x.shape[d]:
            x = _adapted(x, d, m, monoid, fill)
    return x


def _adapted(x: Array, axis: int, m: int, monoid: str, fill: float) -> Array:
    """One axis pooled to the extent m."""
    extent, (lead, rest) = x.shape[axis], (x.shape[:axis], x.shape[axis + 1:])
    if extent % max(m, 1) == 0 and m:
        parts = x.reshape(*lead, m, extent // m, *rest)
        return parts.mean(axis + 1) if monoid == "sum" else parts.max(axis + 1)
    first = arange(m) * extent // m
    last = -(-(arange(m) + 1) * extent // m)
    widest = max((-(-(k + 1) * extent // m) - k * extent // m for k in range(m)), default=0)
    at = first.reshape(m, 1) + arange(widest)
    inside = at < last.reshape(m, 1)
    parts = take(x, at, axis=axis)
    inside = inside.reshape(m, widest, *(1,) * len(rest))
    kept = apply("where", inside.node, parts.node, literal(fill, x.dtype))
    y = wrap(keepdims(reduce(monoid, kept, (axis + 1,)), kept, (axis + 1,)))
    y = y.reshape(*lead, m, *rest)
    if monoid == "max":
        return y
    return y / (last - first).astype(x.dtype).reshape(m, *(1,) * len(rest))
