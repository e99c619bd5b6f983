"""Which runs, in which order, so that no more than a limit is alive: by annealing.

Where the rules of `reorder` and `search` end, this goes on: a run is moved to another place, a unit
runs once more before those that use its values last, or once less; what makes things worse is
taken at random too, ever less often (Kirkpatrick et al., "Optimization by simulated annealing",
1983). That all of it is one sequence in which units recur is from FastSA (Imanishi et al., "A fast
heuristic to optimize time-space tradeoff for large models", 2023).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np

from .occupancy import Work
from .runs import Run, Runs, Taken, Version

_NEAR = 8           # half of the moves go no farther than so many runs
_RECURRING = 0.2    # the part of moves that put in a run, or take one out
_TRIES = 8          # runs that are drawn to find a value alive at the peak


class Annealing(Runs):
    """Changes at random to runs, which `Runs` begins with."""

    def __init__(self, work: Work, needs: Sequence[Sequence[int]] = (),
                 sequence: Sequence[int] | None = None, seed: int = 0):
        super().__init__(work, needs, sequence)
        self.random = random.Random(seed)

    def below(self, limit: int, moves: int, low: int = 0,
              heat: float = 0.1, worth: float = 0.05) -> tuple[float, list[int]] | None:
        """The least seconds that further runs were found to take with a peak from `low` to the
        limit, and the units in their order; None where nothing was found. As parts of the limit,
        `heat` is the temperature at first, `worth` what may be over it rather than run an average
        unit once more."""
        total = sum(u.seconds for u in self.work.units[:self.work.count])
        price = worth * limit * self.work.count / total if total else 0.0
        best: tuple[float, list[int]] | None = None
        moved = True
        for k in range(moves + 1):
            if moved and (best is None or self.seconds < best[0]) and \
                    low <= self.peak <= limit:
                best = self.seconds, self.sequence
                if not self.further:
                    break
            moved = self._move(limit, price, heat * limit * (1 - k / (moves + 1)) ** 2 + 1e-9)
        return best

    def _move(self, limit: int, price: float, heat: float) -> bool:
        """Try one move; whether it was made."""
        if self.random.random() >= _RECURRING:
            return self._try_shift(limit, heat)
        if not self.further or self.random.random() < 0.5:
            return self._try_again(limit, price, heat)
        return self._try_once(limit, price, heat)

    def _taken(self, worse: float, heat: float) -> bool:
        return worse <= 0 or self.random.random() < math.exp(-worse / heat)

    def _some(self, runs: list[Run]) -> Run:
        return runs[int(self.random.random() * len(runs))]

    def _over(self, limit: int, begin: int = 0, end: int | None = None) -> int:
        alive = self.during[begin:end]
        return int(np.add.reduce(np.maximum(alive, limit))) - limit * len(alive)

    def _try_shift(self, limit: int, heat: float) -> bool:
        r = self._some(self.runs)
        i, (low, high) = r.at, self.room(r)
        if self.random.random() < 0.5:
            low, high = max(low, i - _NEAR), min(high, i + _NEAR)
        j = low + int(self.random.random() * (high - low + 1))
        if i == j:
            return False
        begin, end = min(i, j), max(i, j) + 1
        before = self._over(limit, begin, end)
        was = self.shift(r, j)
        if self._taken(self._over(limit, begin, end) - before, heat):
            return True
        self.back(r, i, was)
        return False

    def _try_again(self, limit: int, price: float, heat: float) -> bool:
        taken = self._again(int(self.during.argmax()))
        if taken is None:
            return False
        before = self._over(limit)
        run = self.put(taken)
        more = price * self.work.units[taken.unit].seconds
        if self._taken(self._over(limit) - before + more, heat):
            return True
        self.take(run, [w for w, _ in taken.users])
        return False

    def _try_once(self, limit: int, price: float, heat: float) -> bool:
        run = self._some(self.further)
        others = self.others(run)
        if others is None:
            return False
        before = self._over(limit)
        taken = self.take(run, others)
        less = price * self.work.units[run.unit].seconds
        if self._taken(self._over(limit) - before - less, heat):
            return True
        self.put(taken)
        return False

    def _again(self, peak: int) -> Taken | None:
        """A unit some value of which rests at the peak (or anywhere), to run before the next use;
        or what fetches one of its values."""
        for _ in range(_TRIES):
            maker = self._some(self.runs)
            k, makes = self._way(maker)
            unit = self.work.units[k]
            begin = maker.at if self.random.random() < 0.3 else max(peak, maker.at)
            later = [q for w in makes for q in w.users if q.at > begin]
            if not later or any(w.kept for w in makes) or unit.until < unit.since:
                continue
            at = self._some(later).at
            if at - maker.at < 2 or not self.may_again(k, at):
                continue
            latest = [self.latest(w.value, at) for w in makes]  # some may have been fetched since
            return Taken(k, at, [(w, [q for q in w.users if q.at >= at]) for w in latest],
                         [self.latest(v, at) for v in unit.reads])
        return None

    def _way(self, maker: Run) -> tuple[int, list[Version]]:
        """A unit that can make again what a run makes, and which of its versions."""
        fetched = [w for w in maker.makes if self.work.fetchers[w.value] >= 0] \
            if self.work.count < len(self.work.units) else []
        if not fetched or self.random.random() < 0.5:
            return maker.unit, maker.makes
        w = fetched[int(self.random.random() * len(fetched))]
        return self.work.fetchers[w.value], [w]
