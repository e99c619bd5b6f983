"""Numbers for each axis of an image: windows and their steps, padding, other extents."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Sequence

from ...base.errors import ShapeError
from ..arrays.values import error


def each_axis(v, rank: int) -> tuple:
    """A number for each of the axes, or as many as are given."""
    return tuple(v) if isinstance(v, Sequence) else (v,) * rank


def counts(name: str, what: str, v, rank: int, least: int = 1) -> tuple[int, ...]:
    """An integer for each of the axes; raises ShapeError for other numbers and for less."""
    found: tuple[int, ...] = ()
    with contextlib.suppress(TypeError):
        found = tuple(map(operator.index, each_axis(v, rank)))
    if len(found) != rank or any(n < least for n in found):
        raise error(ShapeError, f"{name}: {what} is an integer of {least} or more, or one for each "
                                f"of the {rank} axes, got {v!r}")
    return found


def paddings(name: str, extents, window, stride, padding, dilation) -> list[tuple[int, int]]:
    """(before, after) of each axis."""
    rank = len(window)
    if isinstance(padding, str):
        how = padding.lower()
        if how == "valid":
            return [(0, 0)] * rank
        if how == "same" and extents is not None:
            return [_same(*axis) for axis in zip(extents, window, stride, dilation, strict=True)]
        known = "'same', 'valid'" if extents is not None else "'valid'"
        raise error(ShapeError, f"{name}: padding is {known} or given in numbers, got {padding!r}")
    try:
        pairs = [tuple(map(operator.index, each_axis(p, 2))) for p in each_axis(padding, rank)]
    except TypeError:
        pairs = []
    if len(pairs) != rank or any(len(p) != 2 for p in pairs):
        raise error(ShapeError, f"{name}: padding is an integer, or for each of the {rank} axes "
                                f"one or a pair (before, after), got {padding!r}")
    return [(low, high) for low, high in pairs]


def _same(e, k: int, s: int, d: int) -> tuple[int, int]:
    total = max((-(-e // s) - 1) * s + (k - 1) * d + 1 - e, 0)
    return total // 2, total - total // 2
