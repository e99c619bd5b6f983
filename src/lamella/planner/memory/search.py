"""Which units run again so that no more than a limit is alive: greedy, and better by trying again.

Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016) showed what computing values
again saves; to choose by price, size and rest is the rule of Kirisame et al., "Dynamic Tensor
Rematerialization" (2021), done ahead of time; that any set of runs is a schedule, so that single
runs can be put in and taken out, is from FastSA (Imanishi et al., 2023).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .occupancy import Occupancy

_LOOKED_AT = 8      # gaps that are tried for one move

Run = tuple[int, int]   # a unit and the slot in which it runs again


class Search:
    """Runs put in, and taken out again, until the occupancy is below a limit."""

    def __init__(self, occupancy: Occupancy):
        self.occupancy = occupancy
        self._gaps()

    def below(self, limit: int) -> bool:
        """Bring the peak down to the limit; false, with nothing changed, where that fails."""
        o = self.occupancy
        before = set(o.repeats)
        while o.peak > limit:
            if not self._step(limit):
                self._restore(before)
                return False
        self._prune(limit)
        return True

    # -- what rests between two uses --

    def _gaps(self) -> None:
        """Rows for what rests: (value, last use before, next use, the unit that may make it again);
        and `spans`: between which runs these stand."""
        work = self.occupancy.work
        self.sizes = np.array(work.sizes, np.float64)
        self.prices = np.array([u.seconds for u in work.units])
        rows = [r for v in range(len(work.sizes)) for r in self._rests(v)]
        self.rows = np.array(rows, np.int64).reshape(-1, 4)
        self.spans = self._spans(self.rows)

    def _spans(self, rows: np.ndarray) -> np.ndarray:
        return self.occupancy.keys.searchsorted(rows[:, 1:3]) + np.array([1, 0])

    def _rests(self, v: int) -> list[tuple[int, int, int, int]]:
        o = self.occupancy
        if o.work.makers[v] < 0 or not o.work.sizes[v]:
            return []
        events = sorted({*o.makes[v], *o.uses[v]})
        made = set(o.makes[v])
        return [(v, a, z, k) for a, z in pairwise(events) if z not in made
                for k in self._ways(v, o.slot_of(z))]

    def _ways(self, v: int, slot: int) -> list[int]:
        """The units that may make the value again in a slot."""
        work = self.occupancy.work
        return [k for k in (work.makers[v], work.fetchers[v])
                if k >= 0 and work.units[k].since <= slot <= work.units[k].until]

    def _candidates(self, limit: int) -> list[Run]:
        """Runs that would free most of the excess for their time, the best first."""
        o = self.occupancy
        over = np.maximum(o.during - limit, 0)
        total = np.concatenate([[0], np.cumsum(over)])
        count = np.concatenate([[0], np.cumsum(over > 0)])
        values, (a, z) = self.rows[:, 0], self.spans.T
        gain = np.minimum(total[z] - total[a], self.sizes[values] * (count[z] - count[a]))
        there = np.flatnonzero(gain > 0)
        score = self.prices[self.rows[there, 3]] / gain[there]
        if len(score) > _LOOKED_AT:     # the others need not be sorted
            near = score <= np.partition(score, _LOOKED_AT - 1)[_LOOKED_AT - 1]
            there, score = there[near], score[near]
        best = there[np.argsort(score, kind="stable")[:_LOOKED_AT]]
        return [(unit, o.slot_of(z)) for _, _, z, unit in self.rows[best].tolist()]

    # -- moves --

    def _step(self, limit: int) -> bool:
        """Make the cheapest move that lessens the excess."""
        o = self.occupancy
        before = o.excess(limit)
        total = np.concatenate([[0], np.cumsum(np.maximum(o.during - limit, 0))])
        best: tuple[float, list[Run]] | None = None
        for run in dict.fromkeys(self._candidates(limit)):
            chain = self._with_inputs(run, total)
            for runs in [chain] if chain == [run] else [chain, [run]]:
                gain = before - o.excess_with(runs, limit)
                price = sum(o.work.units[unit].seconds for unit, _ in runs)
                if gain > 0 and (best is None or price / gain < best[0]):
                    best = price / gain, runs
        if best is None:
            return False
        self._put(best[1])
        self._touched(best[1])
        return True

    def _with_inputs(self, run: Run, total: np.ndarray) -> list[Run]:
        """The run, and those that make again what it reads, where keeping that would add to the
        excess, whose sums over the runs before each are `total`."""
        o = self.occupancy
        found: list[Run] = []
        stack = [run]
        while stack:
            unit, slot = stack.pop()
            if (unit, slot) in o.repeats or (unit, slot) in found:
                continue
            found.append((unit, slot))
            key = o.key(unit, slot)
            for v in o.work.units[unit].reads:
                if o.work.makers[v] < 0 or not o.work.sizes[v] or o.alive(v, key):
                    continue
                last = max(z for a, z in o.lives(v) if a < key)
                a, z = np.searchsorted(o.keys, (last, key))
                ways = self._ways(v, slot)
                if ways and total[z] > total[a + 1]:
                    stack.append((min(ways, key=lambda k: o.work.units[k].seconds), slot))
        return found

    def _put(self, runs: list[Run]) -> None:
        for unit, slot in runs:
            self.occupancy.add(unit, slot)

    def _take(self, runs: list[Run]) -> None:
        for unit, slot in reversed(runs):
            self.occupancy.remove(unit, slot)

    def _touched(self, runs) -> None:
        """State anew what rests, after these runs were put in or taken out."""
        if not runs:
            return
        o = self.occupancy
        units = o.work.units
        found = sorted({v for unit, _ in runs for v in (*units[unit].reads, *units[unit].writes)})
        changed = np.zeros(len(self.sizes), bool)
        changed[found] = True
        others = ~changed[self.rows[:, 0]]
        rest, spans = self.rows[others], self.spans[others]
        for there, by in ((True, 1), (False, -1)):
            keys = sorted(o.key(*run) for run in runs if (run in o.repeats) == there)
            for key in keys:
                spans += by * (rest[:, 1:3] > key)
        rows = np.array([r for v in found for r in self._rests(v)], np.int64).reshape(-1, 4)
        self.rows = np.concatenate([rest, rows])
        self.spans = np.concatenate([spans, self._spans(rows)])

    def _restore(self, runs: set[Run]) -> None:
        now = set(self.occupancy.repeats)
        self._take(sorted(now - runs))
        self._put(sorted(runs - now))
        self._touched(now ^ runs)

    def _prune(self, limit: int) -> None:
        """Take out the runs without which the limit is kept too, dear ones first."""
        o = self.occupancy
        before = set(o.repeats)
        for run in sorted(before, key=lambda r: (-o.work.units[r[0]].seconds, r)):
            o.remove(*run)
            if o.peak > limit:
                o.add(*run)
        self._touched(before - o.repeats)
