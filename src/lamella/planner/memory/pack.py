"""Packing intervals below a capacity: a search, for where placing by a rule is not enough.

Moffitt, "MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning"
(ASPLOS 2023): depth first, each interval at the lowest offset that those placed before leave it.
Only orders of rising offsets are looked at; where what must still come does not fit above the floor
of some moment, the branch ends; what falls apart in time is solved apart.

Searches by the rules of the paper take turns with many abreast that rank at random (`abreast.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from .abreast import Abreast
from .ranks import RULES, Ranks

_FAR = 1 << 60
_STEP = 12      # nodes that a step of the packings abreast counts for
_SHARE = 2      # their part of a turn, where each of the rules has 1


class OutOfNodes(Exception):
    """The search has looked at as many nodes as it may."""


def pack(sizes: Sequence[int], firsts: Sequence[int], lasts: Sequence[int], capacity: int,
         nodes: int) -> list[int] | None:
    """Offsets below the capacity such that no two intervals of a common moment (first..last) share
    a byte; None where there are none, or none was found by looking at so many nodes: by each rule
    and many abreast in turns, for twice as long as before."""
    if not len(sizes):
        return []
    depth = sys.getrecursionlimit()
    sys.setrecursionlimit(max(depth, 4 * len(sizes) + 1000))
    try:
        return _searched(Ranks(sizes, firsts, lasts, capacity), 2 * len(sizes), nodes)
    finally:
        sys.setrecursionlimit(depth)


def _searched(ranks: Ranks, limit: int, nodes: int) -> list[int] | None:
    while nodes > 0:
        for rule in RULES:
            try:
                return _Packing(ranks, ranks.by_rule(rule), min(nodes, limit)).offsets()
            except OutOfNodes:
                nodes -= limit
        steps = min(nodes, _SHARE * limit) // _STEP
        if steps >= len(ranks.size):
            found = _abreast(ranks, steps)
            if found is not None:
                return found
            nodes -= steps * _STEP
        limit *= 2
    return None


def _abreast(ranks: Ranks, steps: int) -> list[int] | None:
    """Offsets found by packings abreast in so many steps of theirs."""
    while steps >= len(ranks.size):
        packings = Abreast(ranks)
        while packings.step():
            steps -= 1
            if not packings.waits.any():
                return packings.offsets()
    return None


class _Packing:
    """The search in one order of intervals (those of it first are tried first).

    `low`: of each interval the lowest offset that is left to it; `at`: where it was put last. Of
    each moment: `floor`, below which nothing can come any more, and `rest`, the bytes that are to
    come. `away` is 0 where an interval is still to come in a moment, else far.
    """

    def __init__(self, ranks: Ranks, order: np.ndarray, nodes: int):
        member = ranks.member[:, order]
        self.order = order
        self.size, self.begin, self.end = ranks.size[order], ranks.begin[order], ranks.end[order]
        self.overlap = ranks.overlap[np.ix_(order, order)]
        self.away = np.where(member, 0, _FAR)
        self.rest, self.floor = ranks.rest.copy(), np.zeros(len(ranks.rest), np.int64)
        self.low = np.zeros(len(order), np.int64)
        self.at = np.zeros(len(order), np.int64)
        # between moments k and k + 1: intervals to come that are in both
        self.across = (member[:-1] & member[1:]).sum(1)
        self.capacity, self.nodes = ranks.capacity, nodes

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
        for k in self._candidates(todo, begin, end, above, behind).tolist():
            i = int(todo[k])
            alone, found = self._with(todo, k, i, int(self.low[i]), begin, end)
            if found:
                return True
            if alone:
                break       # nothing to come lies over it: elsewhere it would do no better
        return False

    def _candidates(self, todo: np.ndarray, begin: int, end: int, above: int,
                    behind: int) -> np.ndarray:
        """Which of the intervals may be placed next, those of the lowest offsets first.

        None above something that fits below: a gap for nothing. And what is passed by will lie on
        something else. So where there is no room for that, in some moment, one of those is next
        that may lie low enough there, or one before them.
        """
        low, size = self.low[todo], self.size[todo]
        order = np.argsort(low, kind="stable")
        passed = (low < above) | ((low == above) & (todo < behind))
        room = self.capacity - self.rest[begin:end]
        narrow = begin + np.flatnonzero((self.rest[begin:end] > 0) & (room < above + size.min()))
        last = len(todo) - 1
        if len(narrow):
            place = np.empty(len(todo), np.int64)
            place[order] = np.arange(len(todo))
            place[passed] = -1
            there = self.away[narrow[:, None], todo] + low <= room[narrow - begin, None]
            last = int(np.where(there, place, -1).max(1).min())
        order = order[:last + 1]
        return order[~passed[order] & (low[order] < (low + size).min())]

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
        ends = (np.maximum(floor, offset) + rest > self.capacity) & (rest > 0)
        return not ends.any()
