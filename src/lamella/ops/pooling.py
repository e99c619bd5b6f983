"""Pooling: one number for each window of [n, ..., c]."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import reduce as fold
from itertools import product

from ..base.errors import ShapeError
from ..ir.node import Node
from ..ir.op import at_least
from ..ir.types import TensorType
from .composite import composite, normal
from .convolution import window_axes
from .move import slice_
from .pointwise import apply, require_float

MOST_WINDOW = 4096  # positions: each is a node of the expansion


def _parts(p: dict, x: Node) -> Iterator[Node]:
    """The strided slices of x, one for each position inside the window."""
    n, *extents, c = x.shape
    window, stride, dilation = p["window"], p["stride"], p["dilation"]
    out = [(e - (k - 1) * d - 1) // s + 1
           for e, k, s, d in zip(extents, window, stride, dilation, strict=True)]
    for place in product(*map(range, window)):
        starts = [r * d for r, d in zip(place, dilation, strict=True)]
        stops = [a + (o - 1) * s + 1 for a, o, s in zip(starts, out, stride, strict=True)]
        yield slice_(x, (0, *starts, 0), (n, *stops, c), (1, *stride, 1))


def _larger(best: Node, part: Node) -> Node:
    """The first of equals, and the first NaN."""
    return apply("where", apply("or", part <= best, apply("ne", best, best)), best, part)


def _check(name: str) -> Callable:
    def check(p: dict, x: TensorType) -> None:
        require_float(name, x)
        if math.prod(p["window"]) > MOST_WINDOW:
            raise ShapeError(f"{name}: a window of {p['window']} on {x.shape} has more than "
                             f"{MOST_WINDOW} positions; reduce over its axes, or pool twice")
        reach = [(k - 1) * d + 1 for k, d in zip(p["window"], p["dilation"], strict=True)]
        if x.rank != len(reach) + 2 or any(isinstance(e, int) and e < k for e, k in
                                           zip(x.shape[1:-1], reach, strict=True)):
            raise ShapeError(f"{name}: x must be [n, {'h, w, ' if len(reach) == 2 else '..., '}c] "
                             f"with a window {p['window']} that fits, got {x.shape}")
    return check


def _samples():
    p = lambda window, stride, dilation=None: {"window": window, "stride": stride,
                                               "dilation": dilation or (1,) * len(window)}
    return [(p((2, 2), (2, 2)), [normal(2, 6, 6, 3)]), (p((3, 2), (1, 2)), [normal(1, 5, 7, 2)]),
            (p((2,), (1,), (3,)), [normal(2, 9, 3)]),
            (p((1, 2, 2), (1, 1, 2)), [normal(1, 2, 3, 4, 2)]),
            (p((2,), (2,)), [normal(0, 4, 3)])]


_PARAMS = {name: window_axes(at_least(1)) for name in ("window", "stride", "dilation")}

MAX_POOL = composite("max_pool", "The largest of each window; its gradient goes to the first that "
                     "attains it.", lambda p, x: fold(_larger, _parts(p, x)), params=_PARAMS,
                     check=_check("max_pool"), samples=_samples)
SUM_POOL = composite("sum_pool", "The sum of each window, in row-major order.",
                     lambda p, x: fold(lambda a, b: a + b, _parts(p, x)), params=_PARAMS,
                     check=_check("sum_pool"), samples=_samples)
