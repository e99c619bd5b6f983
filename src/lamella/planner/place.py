"""Where every byte lies: lifetimes to offsets in one arena, for given values of the symbols."""

from __future__ import annotations

from collections.abc import Mapping

from ..base.extents import evaluate
from .plan import ALIGN, Buffer, Order, Plan


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
    """Offsets such that no two buffers alive together overlap (greedy by size, best fit)."""
    intervals = lifetimes(plan, env)
    placed: list[Interval] = []
    for i in sorted(intervals, key=lambda i: (-i.size, i.first)):
        i.offset = _best_gap(i, [p for p in placed if p.first <= i.last and i.first <= p.last])
        placed.append(i)
    return Layout(intervals, max((i.offset + i.size for i in intervals), default=0))


def lifetimes(plan: Plan, env: Mapping[str, int]) -> list[Interval]:
    """The intervals of the temporaries that own their bytes."""
    first, last = Order(plan.steps).lives(plan.results)
    return [Interval(b, aligned(evaluate(b.bytes, env)), first[id(b)], last[id(b)])
            for b in plan.temporaries if b.role == "temporary" and b.alias is None]


def _best_gap(i: Interval, others: list[Interval]) -> int:
    """The lowest offset of the smallest gap that holds i between its neighbours in time."""
    best, size, at = None, None, 0
    for o in sorted(others, key=lambda o: o.offset):
        gap = o.offset - at
        if gap >= i.size and (size is None or gap < size):
            best, size = at, gap
        at = max(at, o.offset + o.size)
    return at if best is None else best


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
