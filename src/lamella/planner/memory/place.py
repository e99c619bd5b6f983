"""Where every byte lies: lifetimes to offsets in one arena, for given values of the symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ...base.extents import evaluate
from ..plan import ALIGN, Buffer, Order, Plan
from .pack import pack

_FEW = 512      # intervals that are searched
_PLACED = 1 << 60   # the offset of nothing
_NODES = 1000   # how many steps of the search are taken


class Interval:
    """A buffer's bytes (rounded up) and the steps (first..last) during which it is alive."""

    __slots__ = ("buffer", "first", "last", "offset", "size")

    def __init__(self, buffer: Buffer, size: int, first: int, last: int):
        self.buffer, self.size, self.first, self.last = buffer, size, first, last
        self.offset = 0


class Layout:
    """Offsets of the temporaries in the arena, and its size, in bytes."""

    __slots__ = ("intervals", "offsets", "size")

    def __init__(self, intervals: list[Interval], size: int):
        self.intervals, self.size = intervals, size
        self.offsets = {id(i.buffer): i.offset for i in intervals}


def aligned(size: int) -> int:
    """size rounded up to the alignment of buffers."""
    return -(-size // ALIGN) * ALIGN


def place(plan: Plan, env: Mapping[str, int]) -> Layout:
    """Offsets such that no two buffers alive together overlap."""
    intervals = lifetimes(plan, env)
    return Layout(intervals, settle(intervals))


def laid(plan: Plan, offsets: list[int]) -> Layout:
    """The layout of a plan without symbols whose temporaries have these offsets, in their order."""
    intervals = lifetimes(plan, {})
    for i, offset in zip(intervals, offsets, strict=True):
        i.offset = offset
    return Layout(intervals, max((i.offset + i.size for i in intervals), default=0))


def place_in_file(plan: Plan, env: Mapping[str, int]) -> Layout:
    """Offsets in the run's file of what is spilled there."""
    first, last = Order(plan.steps).lives(plan.results)
    spilled = {id(s.target): s.target for s in plan.transfers if s.spills}
    intervals = [Interval(b, aligned(evaluate(b.bytes, env)), first[i], last[i])
                 for i, b in spilled.items()]
    return Layout(intervals, settle(intervals))


def settle(intervals: list[Interval]) -> int:
    """Give the intervals offsets, and say up to where they reach: by size into the smallest gap
    that holds them; where that is farther than 1 % from what is alive at once, also from the bottom
    up, what lives longest or covers most first (Moffitt, "MiniMalloc", 2023), whichever is best;
    and where that does not do either, of not too many intervals, by a search."""
    bound = lower_bound(intervals)
    enough, best, offsets = bound * 1.01, -1, []
    ways: list[Callable[[list[Interval]], None]] = [
        _by_size, partial(_from_below, rank=_long), partial(_from_below, rank=_wide)]
    for lay in ways:
        lay(intervals)
        reached = max((i.offset + i.size for i in intervals), default=0)
        if best < 0 or reached < best:
            best, offsets = reached, [i.offset for i in intervals]
        if best <= enough:
            break
    if best > enough and len(intervals) <= _FEW:
        room = int(enough) // ALIGN * ALIGN
        packed = pack([i.size for i in intervals], [i.first for i in intervals],
                      [i.last for i in intervals], max(bound, room), _NODES)
        if packed is not None:
            offsets = packed
            best = max(at + i.size for at, i in zip(packed, intervals, strict=True))
    for i, offset in zip(intervals, offsets, strict=True):
        i.offset = offset
    return best


def _by_size(intervals: list[Interval]) -> None:
    placed = np.zeros((4, len(intervals)), np.int64)   # (from, to, first, last), by where they lie
    for k, i in enumerate(sorted(intervals, key=lambda i: (-i.size, i.first))):
        at, _, first, last = placed[:, :k]
        beside = placed[:2, np.flatnonzero((first <= i.last) & (last >= i.first))]
        i.offset = _best_gap(i.size, *beside)
        here = int(np.searchsorted(at, i.offset, "right"))
        placed[:, here + 1:k + 1] = placed[:, here:k].copy()
        placed[:, here] = i.offset, i.offset + i.size, i.first, i.last


def _from_below(intervals: list[Interval], rank: Callable[[Interval], tuple]) -> None:
    """Always that interval next which can lie lowest, on all that it overlaps; of several the one
    of the least rank."""
    ranked = sorted(intervals, key=rank)
    first, last = (np.array([getattr(i, name) for i in ranked]) for name in ("first", "last"))
    low = np.zeros(len(ranked), np.int64)
    for _ in ranked:
        k = int(low.argmin())
        i = ranked[k]
        i.offset = int(low[k])
        low[k] = _PLACED
        over = (first <= i.last) & (last >= i.first)
        np.maximum(low, i.offset + i.size, out=low, where=over)


def _long(i: Interval) -> tuple:
    return i.first - i.last, -i.size


def _wide(i: Interval) -> tuple:
    return (-i.size * (i.last - i.first + 1),)


def lifetimes(plan: Plan, env: Mapping[str, int]) -> list[Interval]:
    """The intervals of the temporaries that own their bytes."""
    first, last = Order(plan.steps).lives(plan.results)
    return [Interval(b, aligned(evaluate(b.bytes, env)), first[id(b)], last[id(b)])
            for b in plan.temporaries if b.role == "temporary" and b.alias is None]


def _best_gap(size: int, start: np.ndarray, end: np.ndarray) -> int:
    """The lowest offset of the smallest gap that holds `size` bytes between what lies from each
    `start` (in order) to its `end`."""
    below = np.maximum.accumulate(np.concatenate(([0], end)))
    gaps = start - below[:-1]
    fits = np.flatnonzero(gaps >= size)
    return int(below[fits[gaps[fits].argmin()] if fits.size else -1])


def lower_bound(intervals: list[Interval]) -> int:
    """The largest sum of sizes alive at one step: no placement can need less."""
    events: dict[int, int] = {}
    for i in intervals:
        events[i.first] = events.get(i.first, 0) + i.size
        events[i.last + 1] = events.get(i.last + 1, 0) - i.size
    total = peak = 0
    for at in sorted(events):
        total += events[at]
        peak = max(peak, total)
    return peak
