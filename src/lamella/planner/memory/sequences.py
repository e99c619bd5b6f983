"""The units of a draft in sequences that need less: some run once more, and in another order."""

from __future__ import annotations

from .anneal import Annealing
from .liveness import Draft
from .occupancy import Occupancy
from .recompute import with_repeats
from .reorder import users_of
from .search import Search
from .units import work_of

_DEAR = 0.01    # a part of the time that is worth annealing

Sequence = list[int]    # units, in the order in which they run


class Sequences:
    """What is found for one draft, by rule and by annealing. `seconds` is what the draft takes;
    those of a sequence come on top."""

    def __init__(self, draft: Draft):
        self.draft, self.work = draft, work_of(draft, draft.spills)
        self.needs: list[list[int]] = [[] for _ in range(self.work.count)]
        for k, users in enumerate(users_of(draft, self.work)):
            for u in users:
                self.needs[u].append(k)
        self.seconds = sum(u.seconds for u in self.work.units[:self.work.count])
        self.occupancy = Occupancy(self.work)
        self.first: Sequence = self.occupancy.sequence
        self.search = Search(self.occupancy)

    def draft_of(self, sequence: Sequence) -> Draft | None:
        """The draft of a sequence; None where a result that lay in a donated argument's bytes would
        not."""
        draft = with_repeats(self.draft, self.work, sequence)
        return draft if draft.own <= self.draft.own else None

    def below(self, limit: int, before: tuple[float, Sequence]) -> tuple[float, Sequence] | None:
        """Seconds and a sequence within the limit; `before` are those of a higher one."""
        found = None
        if self.occupancy.peak <= limit or self.search.below(limit):
            found = self.occupancy.seconds, self.occupancy.sequence
        if found is None or found[0] > before[0] + _DEAR * self.seconds:
            n = self.work.count
            other = Annealing(self.work, self.needs, before[1]).below(
                limit, min(500 + 8 * n, 4_000_000 // n))
            if found is None or (other is not None and other[0] < found[0]):
                return other
        return found

    def cheaper(self, sequence: Sequence, low: int, high: int) -> Draft | None:
        """A draft that takes less time than the sequence's, with a peak from low to high."""
        begun = Annealing(self.work, self.needs, sequence)
        if begun.seconds < _DEAR * self.seconds:
            return None
        found = begun.below(high, min(5_000, 4_000_000 // self.work.count), low)
        return None if found is None or found[1] == sequence else self.draft_of(found[1])
