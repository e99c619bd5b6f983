"""Packing intervals below a capacity: many packings abreast, in which what lives on takes over.

Each packing has an order of its own in which intervals are tried (`Ranks.at_random`). All place one
interval more at a time, by the rules of the search (`pack.py`): at the lowest offset that is left
to it, offsets rising, and an end where what must still come does not fit. The places of packings
that ended go to others' second choices (Aldous and Vazirani, "Go with the winners algorithms",
1994): so that a dead end costs one step, not a way back. As all of them take a step at once, a step
is a few operations on arrays.
"""

from __future__ import annotations

import numpy as np

from .ranks import Ranks

COUNT = 100     # packings abreast
_CHOICES = 4    # intervals that each may place next
_NONE = 1 << 60


class Abreast:
    """Packings, a row each. `low`: of each interval the lowest offset that is left to it, once it
    does not `wait` where it was put. Of each moment: `floor`, below which nothing can come any
    more, and `rest`, the bytes that are to come. `above` and `behind`: offset and place in the
    order of what was put last.
    """

    def __init__(self, ranks: Ranks):
        self.ranks, n, moments = ranks, len(ranks.size), len(ranks.rest)
        self.order = ranks.at_random(COUNT)
        self.low = np.zeros((COUNT, n), np.int64)
        self.waits = np.ones((COUNT, n), bool)
        self.floor = np.zeros((COUNT, moments), np.int64)
        self.rest = np.repeat(ranks.rest[None], COUNT, 0)
        self.above, self.behind = np.zeros(COUNT, np.int64), np.full(COUNT, -1)
        self.spans = list(zip(ranks.begin.tolist(), ranks.end.tolist(), strict=True))

    def offsets(self) -> list[int]:
        """Of each interval, once all are placed."""
        return self.low[0].tolist()

    def step(self) -> bool:
        """Place one interval more in each packing; False where all of them have ended."""
        row, k = self._choices()
        self._place(row, k)
        room = (self.floor + self.rest <= self.ranks.capacity) | (self.rest == 0)
        self.ranks.ended += (~room).sum(0)
        lives = np.flatnonzero(room.all(1))
        best = np.diff(row[lives], prepend=-1) > 0
        first, second = lives[best], lives[~best]
        self._keep(np.concatenate([
            first, self.ranks.random.permutation(second)[:COUNT - len(first)]]))
        return len(lives) > 0

    def _choices(self) -> tuple[np.ndarray, np.ndarray]:
        """Which packings may place which intervals, the best choice of each packing first: none
        above something that fits below."""
        lows = np.where(self.waits, self.low, _NONE)
        roof = (lows + self.ranks.size).min(1, keepdims=True)
        above, behind = self.above[:, None], self.behind[:, None]
        later = (lows > above) | ((lows == above) & (self.order > behind))
        n = lows.shape[1]
        value = np.where(self.waits & later & (lows < roof), self.low * n + self.order, _NONE)
        best = np.argpartition(value, range(min(_CHOICES, n)), axis=1)[:, :_CHOICES]
        row, column = np.nonzero(np.take_along_axis(value, best, 1) < _NONE)
        return row, best[row, column]

    def _keep(self, rows: np.ndarray) -> None:
        """These packings alone; one may be there more than once."""
        for name in ("order", "low", "waits", "floor", "rest", "above", "behind"):
            setattr(self, name, getattr(self, name)[rows])

    def _place(self, row: np.ndarray, k: np.ndarray) -> None:
        """Packings from some of these (`row`), with interval k placed in each."""
        self._keep(row)
        ranks, each = self.ranks, np.arange(len(row))
        self.above, self.behind = self.low[each, k], self.order[each, k]
        self.waits[each, k] = False
        height = (self.above + ranks.size[k])[:, None]
        self.low = np.where(ranks.overlap[k] & self.waits, np.maximum(self.low, height), self.low)
        here = ranks.member.T[k]
        self.rest -= here * ranks.size[k][:, None]
        self.floor = np.where(here, height, self.floor)
        lowest = self._lowest()
        self.floor = np.where(lowest < _NONE, np.maximum(self.floor, lowest), self.floor)

    def _lowest(self) -> np.ndarray:
        """How low what is to come can lie in each moment. What was passed by will lie on something
        else."""
        above, behind = self.above[:, None], self.behind[:, None]
        passed = (self.low < above) | ((self.low == above) & (self.order < behind))
        least = np.where(self.waits, self.ranks.size, _NONE).min(1, keepdims=True)
        low = np.where(passed, np.maximum(self.low, above + least), self.low)
        low = np.where(self.waits, low, _NONE).T.copy()
        lowest = np.full((self.floor.shape[1], len(low[0])), _NONE)
        for k, (begin, end) in enumerate(self.spans):
            np.minimum(lowest[begin:end], low[k], out=lowest[begin:end])
        return lowest.T
