"""The bytes alive while units run in their order, some of them again; changed run by run.

A run's key says where it stands: that of a unit's first run, or of one more run in the slot before
a later unit's, where fetches come first. A value lives from a run that makes it to the last use
before it is made again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np


class Unit:
    """Work that runs as one: `reads` and `writes` are numbers of values, `inner` the bytes that it
    needs beside them, `over` the values that its results may be written over where it is their
    last reader. It may run again in slots `since` to `until` (none where until < since). One that
    `fetches` a buffer reads it from a file, into which it goes behind the unit before `since`."""

    __slots__ = ("fetches", "inner", "over", "reads", "seconds", "since", "steps", "until",
                 "writes")

    def __init__(self, reads, writes, seconds: float, inner: int = 0, over=(), since: int = 0,
                 until: int = 1 << 60, steps=(), fetches=None):
        self.reads, self.writes = tuple(reads), tuple(writes)
        self.seconds, self.inner, self.over = seconds, inner, frozenset(over)
        self.since, self.until, self.steps = since, until, tuple(steps)
        self.fetches = fetches


class Work:
    """Units in an order, and the sizes of the values between them; `kept` are the values that stay
    to the end, `base` bytes that are always there. The first `count` units run once at least; those
    behind fetch a value each (`fetchers`: of each value the unit, -1 where there is none)."""

    __slots__ = ("base", "count", "fetchers", "kept", "makers", "readers", "sizes", "units")

    def __init__(self, units: list[Unit], sizes: list[int], kept=(), base: int = 0,
                 fetches: Sequence[Unit] = ()):
        self.units, self.count = [*units, *fetches], len(units)
        self.sizes, self.kept, self.base = sizes, frozenset(kept), base
        self.fetchers = [-1] * len(sizes)
        for k, u in enumerate(fetches, self.count):
            self.fetchers[u.writes[0]] = k
        self.makers = [-1] * len(sizes)
        self.readers: list[list[int]] = [[] for _ in sizes]
        for k, u in enumerate(units):
            for v in u.writes:
                self.makers[v] = k
            for v in u.reads:
                self.readers[v].append(k)


class Occupancy:
    """`during[k]`: bytes alive in the k-th run; `across[k]`: from the run before to it. `keys` are
    the runs' keys in order, `seconds` what the runs beside the first ones take."""

    __slots__ = ("across", "during", "keys", "makes", "repeats", "seconds", "stride", "uses",
                 "work")

    def __init__(self, work: Work):
        n = work.count
        self.work, self.stride = work, len(work.units) + 1
        self.keys = np.array([self.first(k) for k in range(n)], np.int64)
        self.during = np.array([work.base + u.inner for u in work.units[:n]], np.int64)
        self.across = np.full(n, work.base, np.int64)
        self.makes = [[self.first(m)] if m >= 0 else [0] for m in work.makers]
        self.uses = [sorted(map(self.first, readers)) for readers in work.readers]
        self.repeats: set[tuple[int, int]] = set()
        self.seconds = 0.0
        for v in range(len(work.sizes)):
            self._count(v, 1)

    def first(self, unit: int) -> int:
        """The key of a unit's first run."""
        return unit * self.stride + self.stride - 1

    def key(self, unit: int, slot: int) -> int:
        """The key of one more run of a unit, before the first run of unit `slot`."""
        return slot * self.stride + (unit - self.work.count) % (self.stride - 1)

    def unit_at(self, key: int) -> int:
        """The unit that runs there."""
        slot, rank = divmod(key, self.stride)
        return slot if rank == self.stride - 1 else (rank + self.work.count) % (self.stride - 1)

    @property
    def sequence(self) -> list[int]:
        """The units in the order in which they run."""
        return [self.unit_at(key) for key in self.keys.tolist()]

    def slot_of(self, key: int) -> int:
        """The slot of a run."""
        return key // self.stride

    @property
    def peak(self) -> int:
        return int(self.during.max(initial=self.work.base))

    def excess(self, limit: int) -> int:
        """Bytes over the limit, summed over the runs."""
        return int(np.maximum(self.during - limit, 0).sum())

    def lives(self, v: int) -> list[tuple[int, int]]:
        """From which run (its key) to which the value is there, once for each that makes it."""
        return self._lives(v, self.makes[v], self.uses[v])

    def _lives(self, v: int, makes: list[int], uses: list[int]) -> list[tuple[int, int]]:
        found = []
        for k, make in enumerate(makes):
            end = bisect_left(uses, makes[k + 1]) if k + 1 < len(makes) else len(uses)
            last = uses[end - 1] if end and uses[end - 1] > make else make
            found.append((make, last))
        if v in self.work.kept:
            found[-1] = (found[-1][0], int(self.keys[-1]))
        return found

    def alive(self, v: int, key: int) -> bool:
        """Whether the value is there in a run (that need not read it)."""
        return any(a <= key <= z for a, z in self.lives(v))

    def excess_with(self, runs: list[tuple[int, int]], limit: int) -> int:
        """What the excess would be with these runs too, which are not there yet; nothing changes.

        Told apart are lives of the values that the runs touch, as they are and as they would be:
        their difference is counted over the runs there are, and in each of the new ones.
        """
        units, sizes = self.work.units, self.work.sizes
        uses: dict[int, list[int]] = {}
        makes: dict[int, list[int]] = {}
        for unit, slot in runs:
            key = self.key(unit, slot)
            for v in units[unit].reads:
                uses.setdefault(v, []).append(key)
            for v in units[unit].writes:
                makes.setdefault(v, []).append(key)
        changed: list[tuple[int, int, int, int]] = []     # value, from, to, bytes
        for v in uses.keys() | makes.keys():
            if sizes[v]:
                now = set(self.lives(v))
                then = set(self._lives(v, sorted(self.makes[v] + makes.get(v, [])),
                                       sorted(self.uses[v] + uses.get(v, []))))
                changed += [(v, a, z, -sizes[v]) for a, z in now - then]
                changed += [(v, a, z, sizes[v]) for a, z in then - now]
        during = self._during(changed)
        more = np.maximum(during - limit, 0).sum() if len(during) else 0
        keys = [self.key(*run) for run in runs]
        at = self.keys.searchsorted(keys)
        for key, (unit, _), there in zip(keys, runs, self.across[at].tolist(), strict=True):
            alive = there + units[unit].inner
            for v, a, z, size in changed:
                if a <= key <= z if size > 0 else a < key < z:
                    alive += 0 if size > 0 and a < key == z and v in units[unit].over else size
            more += max(0, alive - limit)
        return int(more)

    def _during(self, changed: list[tuple[int, int, int, int]]) -> np.ndarray:
        """`during` with these lives more, or (of negative size) less."""
        if not changed:
            return self.during
        begins = self.keys.searchsorted([a for _, a, _, _ in changed]).tolist()
        ends = self.keys.searchsorted([z for _, _, z, _ in changed], "right").tolist()
        during = self.during.copy()
        units = self.work.units
        for (v, a, z, size), begin, end in zip(changed, begins, ends, strict=True):
            # a run that writes over the value is counted without it, if it is one of those there
            under = z > a and end and self.keys[end - 1] == z and \
                v in units[self.unit_at(z)].over
            during[begin:end - bool(under)] += size
        return during

    def add(self, unit: int, slot: int) -> None:
        """Run a unit once more."""
        self._change(unit, slot, True)

    def remove(self, unit: int, slot: int) -> None:
        """Do not run it once more there."""
        self._change(unit, slot, False)

    def _change(self, unit: int, slot: int, more: bool) -> None:
        u, key = self.work.units[unit], self.key(unit, slot)
        for v in (*u.reads, *u.writes):
            self._count(v, -1)
        at = int(np.searchsorted(self.keys, key))
        if more:
            there = int(self.across[at])
            self.keys = np.insert(self.keys, at, key)
            self.during = np.insert(self.during, at, there + u.inner)
            self.across = np.insert(self.across, at, there)
            self.repeats.add((unit, slot))
            self.seconds += u.seconds
        else:
            self.keys = np.delete(self.keys, at)
            self.during = np.delete(self.during, at)
            self.across = np.delete(self.across, at)
            self.repeats.remove((unit, slot))
            self.seconds -= u.seconds
        for lists, values in ((self.uses, u.reads), (self.makes, u.writes)):
            for v in values:
                if more:
                    insort(lists[v], key)
                else:
                    lists[v].remove(key)
        for v in (*u.reads, *u.writes):
            self._count(v, 1)

    def _count(self, v: int, sign: int) -> None:
        """Count (or no longer count) a value where it is alive. In its last run it takes no bytes
        of its own where a result is written over it."""
        size = sign * self.work.sizes[v]
        if not size:
            return
        for a, z in self.lives(v):
            begin, end = np.searchsorted(self.keys, (a, z))
            under = z > a and v in self.work.units[self.unit_at(z)].over
            self.during[begin:end + 1 - under] += size
            self.across[begin + 1:end + 1] += size
