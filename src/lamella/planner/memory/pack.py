"""Packing intervals below a capacity: a search, for where placing by a rule is not enough.

Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning"
(ASPLOS 2023): depth first, each interval at the lowest offset that those placed before leave it.
Only orders of rising offsets are looked at; where what must still come does not fit above the floor
of some moment, the branch ends; what falls apart in time is solved apart.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

_FAR = 1 << 60
_RANKS = ("width area total", "total area width", "total width area")


class OutOfNodes(Exception):
    """The search has looked at as many nodes as it may."""


def pack(sizes: Sequence[int], firsts: Sequence[int], lasts: Sequence[int], capacity: int,
         nodes: int) -> list[int] | None:
    """Offsets below the capacity such that no two intervals of a common moment (first..last) share
    a byte; None where there are none, or none was found by looking at so many nodes: each rank of
    intervals in turns, for twice as long as before."""
    if not len(sizes):
        return []
    depth = sys.getrecursionlimit()
    sys.setrecursionlimit(max(depth, 4 * len(sizes) + 1000))
    try:
        limit = min(nodes, 2 * len(sizes))
        while nodes > 0:
            for rank in _RANKS:
                try:
                    return _Packing(sizes, firsts, lasts, capacity, limit, rank).offsets()
                except OutOfNodes:
                    nodes -= limit
            limit *= 2
        return None
    finally:
        sys.setrecursionlimit(depth)


class _Packing:
    """The search in one order of intervals (those of rank first are tried first).

    `low`: of each interval the lowest offset that is left to it; `at`: where it was put last. Of
    each moment: `floor`, below which nothing can come any more, and `rest`, the bytes that are to
    come. `away` is 0 where an interval is still to come in a moment, else far.
    """

    def __init__(self, sizes, firsts, lasts, capacity: int, nodes: int, rank: str):
        size, first, last = (np.array(x, np.int64) for x in (sizes, firsts, lasts))
        moments = np.unique(np.concatenate([first, last + 1]))
        begin, end = np.searchsorted(moments, first), np.searchsorted(moments, last + 1)
        member = (begin <= np.arange(len(moments))[:, None]) & (
            np.arange(len(moments))[:, None] < end)
        rest = (member * size).sum(1)
        keys = {"width": last - first, "area": size * (last - first + 1),
                "total": np.where(member, rest[:, None], 0).max(0)}
        self.order = np.lexsort([-keys[k] for k in reversed(rank.split())])
        self.size, self.begin, self.end = size[self.order], begin[self.order], end[self.order]
        member = member[:, self.order]
        self.overlap = (self.begin[:, None] < self.end) & (self.begin < self.end[:, None])
        np.fill_diagonal(self.overlap, False)
        self.away = np.where(member, 0, _FAR)
        self.rest, self.floor = rest, np.zeros(len(moments), np.int64)
        self.low = np.zeros(len(size), np.int64)
        self.at = np.zeros(len(size), np.int64)
        # between moments k and k + 1: intervals to come that are in both
        self.across = (member[:-1] & member[1:]).sum(1)
        self.capacity, self.nodes = capacity, nodes

    def offsets(self) -> list[int] | None:
        if (self.rest > self.capacity).any():
            return None
        if not self._apart(np.arange(len(self.size)), 0, len(self.rest)):
            return None
        found = np.empty(len(self.size), np.int64)
        found[self.order] = self.at
        return found.tolist()

    def _apart(self, todo: np.ndarray, begin: int, end: int) -> bool:
        """Place intervals within moments begin..end, those that share no moment one after another.
        """
        cuts = [begin, *(begin + 1 + np.flatnonzero(self.across[begin:end - 1] == 0)).tolist(), end]
        for a, z in zip(cuts, cuts[1:], strict=False):
            part = todo[(self.begin[todo] < z) & (self.end[todo] > a)]
            if len(part) and not self._place(part, a, z, 0, 0):
                return False
        return True

    def _place(self, todo: np.ndarray, begin: int, end: int, above: int, behind: int) -> bool:
        """Place the intervals, at `above` or higher, there none of a lower rank than `behind`."""
        if self.nodes <= 0:
            raise OutOfNodes
        self.nodes -= 1
        low = self.low[todo]
        highest = int((low + self.size[todo]).min())
        order = np.argsort(low, kind="stable")
        for k in order.tolist():
            i, offset = int(todo[k]), int(low[k])
            if offset >= highest:
                break       # something fits below: a gap for nothing
            if offset < above or (offset == above and i < behind):
                continue
            alone, found = self._with(todo, k, i, offset, begin, end)
            if found:
                return True
            if alone:
                break       # nothing to come lies over it: elsewhere it would do no better
        return False

    def _with(self, todo: np.ndarray, k: int, i: int, offset: int, begin: int,
              end: int) -> tuple[bool, bool]:
        """Place interval i at the offset, then the others: (whether none of these overlaps it,
        whether there is room for all)."""
        a, z = int(self.begin[i]), int(self.end[i])
        height = offset + int(self.size[i])
        others = np.delete(todo, k)
        over = others[self.overlap[i, others]]
        pushed = over[self.low[over] < height]
        lows, floors = self.low[pushed], self.floor[begin:end].copy()
        self.low[pushed], self.at[i] = height, offset
        self.floor[a:z] = height
        self.rest[a:z] -= self.size[i]
        self.away[a:z, i] = _FAR
        self.across[a:z - 1] -= 1
        near = min(a, int(self.begin[pushed].min(initial=a))), max(
            z, int(self.end[pushed].max(initial=z)))
        found = not len(others) or (self._fits(others, begin, end, near, offset) and (
            self._apart(others, begin, end) if (self.across[a:z - 1] == 0).any()
            else self._place(others, begin, end, offset, i)))
        self.across[a:z - 1] += 1
        self.away[a:z, i] = 0
        self.rest[a:z] += self.size[i]
        self.floor[begin:end] = floors
        self.low[pushed] = lows
        return not len(over), found

    def _fits(self, others: np.ndarray, begin: int, end: int, near: tuple[int, int],
              offset: int) -> bool:
        """Whether what is to come has room above the floors, which rise to the offset, and in the
        moments `near` to the lowest of it."""
        a, z = max(begin, near[0]), min(end, near[1])
        here = others[(self.begin[others] < z) & (self.end[others] > a)]
        if len(here):
            lowest = (self.away[a:z, here] + self.low[here]).min(1)
            self.floor[a:z] = np.where(lowest < _FAR, np.maximum(self.floor[a:z], lowest),
                                       self.floor[a:z])
        floor, rest = self.floor[begin:end], self.rest[begin:end]
        return not ((np.maximum(floor, offset) + rest > self.capacity) & (rest > 0)).any()
