"""The trail of plans that need ever less: values made again, and regions computed in parts.

A limit sinks by a few percent, and for each limit the plan is sought that keeps it and is predicted
the fastest: by runs put in and taken out (`search.py`), or by one more region in parts
(`divide.py`) of any draft that was passed. From there it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..schedule import Scheduler
from .divide import divided
from .liveness import Draft
from .occupancy import Occupancy
from .recompute import with_repeats
from .regions import Region, Regions
from .reorder import reordered
from .search import Search
from .units import work_of

_SINK = 0.05     # how far a limit lies below the peak before it, at first
_LEAST = 0.006   # and at last: then nothing helps any more
_BUILT = 3       # regions of those that promise most that are looked at closely


class Divider:
    """Finds regions, and computes them in parts by the kernels of a scheduler."""

    def __init__(self, scheduler: Scheduler):
        self.scheduler, self.regions = scheduler, Regions()


def trail(draft: Draft, divider: Divider | None) -> Iterator[Draft]:
    """Drafts of the plan, each within a limit that sinks; none is in parts without a divider."""
    yield draft
    other = reordered(draft)
    if other.peak < draft.peak:
        draft = other
        yield draft
    way = _Trail(draft, divider)
    sink = _SINK
    while sink >= _LEAST:
        found = way.below(int(way.peak * (1 - sink)))
        if found is None:
            sink /= 2
        else:
            yield found


class _Trail:
    """Where the trail has come to: a draft, and the search that makes its values again."""

    def __init__(self, draft: Draft, divider: Divider | None):
        self.divider = divider
        self.passed: list[tuple[Draft, float, list[Region]]] = []
        self._begin(draft)
        self._remember(draft)

    @property
    def peak(self) -> int:
        return self.occupancy.peak

    def _begin(self, draft: Draft) -> None:
        self.draft, self.occupancy = draft, Occupancy(work_of(draft))
        self.search = Search(self.occupancy)
        self.seconds = _seconds(draft)

    def _remember(self, draft: Draft) -> None:
        if self.divider is not None:
            regions = self.divider.regions.around_peak(draft)
            self.passed.append((draft, _seconds(draft), regions))

    def below(self, limit: int) -> Draft | None:
        """A draft within the limit; None where none is found."""
        again = self.search.below(limit)
        price = self.seconds + self.occupancy.seconds
        parts = self._in_parts(limit, price if again else float("inf"))
        if parts is None and not again and self.occupancy.repeats:
            self._remember(with_repeats(self.draft, self.occupancy))
            parts = self._in_parts(limit, float("inf"))
        if parts is None:
            return with_repeats(self.draft, self.occupancy) if again else None
        self._begin(parts)
        self._remember(parts)
        return parts

    def _in_parts(self, limit: int, most: float) -> Draft | None:
        """A draft of those that were passed with one region more in parts, within the limit and
        faster than so many seconds."""
        offers = [(seconds + r.price, r.peak, k, n) for k, (_, seconds, regions) in
                  enumerate(self.passed) for n, r in enumerate(regions)]
        cheap = sorted(o for o in offers if o[1] <= limit)[:_BUILT]
        small = sorted((o for o in offers if o[1] > limit and not self._region(o).known),
                       key=lambda o: o[1])[:_BUILT]
        return self._fastest(cheap, limit, most) or self._fastest(small, limit, most)

    def _region(self, offer: tuple) -> Region:
        return self.passed[offer[2]][2][offer[3]]

    def _fastest(self, offers: list[tuple], limit: int, most: float) -> Draft | None:
        """Of some offers that which is the fastest, looked at closely; what is found out about
        the others is kept."""
        best: Draft | None = None
        for offer in offers:
            assert self.divider is not None
            (draft, before, _), region = self.passed[offer[2]], self._region(offer)
            if region.known and before + region.price >= most:
                continue
            made = divided(draft, region, self.divider.scheduler)
            seconds = _seconds(made)
            region.known, region.peak, region.price = True, made.peak, seconds - before
            if made.peak <= limit and seconds < most:
                best, most = made, seconds
        return best


def _seconds(draft: Draft) -> float:
    return sum(map(draft.seconds, range(len(draft.steps))))
