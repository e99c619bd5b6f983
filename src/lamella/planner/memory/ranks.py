"""Orders in which to try intervals that are to be packed: by rule, or at random.

How long a search takes depends on which intervals are tried first, by orders of magnitude (Gomes et
al., "Heavy-tailed phenomena in satisfiability and constraint satisfaction problems", 2000). What
lives in moments at which searches before ended comes earlier in the orders at random (Joslin and
Clements, "Squeaky wheel optimization", 1999).
"""

from __future__ import annotations

import numpy as np

RULES = ("width area total", "total area width", "total width area")
_BLAME = 3.0    # the weight of moments at which searches ended, in a rank at random
_FADES = 0.7    # and what is left of it from one draw to the next


class Ranks:
    """Intervals within moments (begin..end), and orders in which to try them. `ended`: how often
    searches found no room at each moment, of late."""

    def __init__(self, sizes, firsts, lasts, capacity: int):
        self.size, first, last = (np.array(x, np.int64) for x in (sizes, firsts, lasts))
        moments = np.unique(np.concatenate([first, last + 1]))
        self.begin, self.end = (np.searchsorted(moments, x) for x in (first, last + 1))
        at = np.arange(len(moments))[:, None]
        self.member = (self.begin <= at) & (at < self.end)
        self.overlap = (self.begin[:, None] < self.end) & (self.begin < self.end[:, None])
        np.fill_diagonal(self.overlap, False)
        self.rest = (self.member * self.size).sum(1)
        self.capacity, self.ended = capacity, np.zeros(len(moments))
        self.width = last - first + 1
        self.total = self._most(self.rest)
        self.random = np.random.default_rng(0)

    def _most(self, values: np.ndarray) -> np.ndarray:
        """Of each interval, the largest of its moments' values."""
        return np.where(self.member, values[:, None], 0).max(0)

    def by_rule(self, rule: str) -> np.ndarray:
        """What is largest in these ways, the first counting most, comes first."""
        keys = {"width": self.width, "area": self.size * self.width, "total": self.total}
        return np.lexsort([-keys[k] for k in reversed(rule.split())])

    def at_random(self, count: int) -> np.ndarray:
        """The place of each interval in so many orders (a row each): what is large comes first, by
        measures of random weights."""
        wide, big, full, noise = self.random.random((count, 4, 1)).transpose(1, 0, 2) * np.array(
            (0.6, 0.6, 6.0, 0.3)).reshape(4, 1, 1) + np.array((0.4, 0.4, 0, 0)).reshape(4, 1, 1)
        key = wide * np.log(self.width) + big * np.log(np.maximum(self.size, 1)) \
            + full * np.log(np.maximum(self.total, 1) / max(self.capacity, 1)) \
            + noise * (self.random.random((count, 3, len(self.size))).sum(1) - 1.5)
        if self.ended.any():
            key += _BLAME * np.log1p(self._most(self.ended / self.ended.mean()))
        self.ended *= _FADES
        return np.argsort(np.argsort(-key, axis=1, kind="stable"), axis=1)
