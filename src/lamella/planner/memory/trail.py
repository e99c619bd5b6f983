"""The trail of plans that need ever less: values made again, and regions computed in parts.

A limit sinks by a few percent, and for each limit the plan is sought that keeps it and is predicted
the fastest: by another sequence of runs (`sequences.py`), or by one more region in parts
(`divide.py`) of any draft that was passed. From there it goes on. Where nothing helps any more, a
second trail begins anew with regions that end at attention: what a region has taken in can neither
be made again nor be in other parts. It may come lower, at a higher price.
The trail does not depend on a budget.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..schedule import Scheduler
from .divide import Pieces, divided
from .liveness import Draft
from .region import Region
from .regions import Regions
from .reorder import reordered
from .sequences import Sequence, Sequences

_SINK = 0.05     # how far a limit lies below the peak before it, at first
_LEAST = 0.006   # and at last: then nothing helps any more
_BUILT = 3       # regions of those that promise most that are looked at closely


class Divider:
    """Finds regions, and computes them in parts by the kernels of a scheduler."""

    def __init__(self, scheduler: Scheduler):
        self.scheduler, self.regions, self.pieces = scheduler, Regions(), Pieces()


def trail(draft: Draft, divider: Divider | None) -> Iterator[
        tuple[Draft, tuple[Sequences, Sequence] | None]]:
    """Drafts of the plan, each within a limit that sinks, and of what sequence it is; none is in
    parts without a divider."""
    yield draft, None
    other = reordered(draft)
    if other.peak < draft.peak:
        draft = other
        yield draft, None
    if not draft.steps:
        return
    first = _Trail(draft, divider, True)
    yield from first.sinking()
    if first.met_routines:
        yield from _Trail(draft, divider, False).sinking(first.peak)


class _Trail:
    """Where the trail has come to: sequences of a draft, and the last that was taken; `passed` are
    drafts with their times and regions in them, with `routines` or without."""

    def __init__(self, draft: Draft, divider: Divider | None, routines: bool):
        self.divider, self.routines, self.met_routines = divider, routines, False
        self.passed: list[tuple[Draft, float, list[Region]]] = []
        self._begin(draft)

    def _begin(self, draft: Draft) -> None:
        self.sequences, self.peak = Sequences(draft), draft.peak
        self.last = self.remembered = 0.0, self.sequences.first
        self._remember(draft)

    def _remember(self, draft: Draft | None) -> None:
        if self.divider is not None and draft is not None:
            regions = self.divider.regions.around_peak(draft, self.routines)
            self.passed.append((draft, _seconds(draft), regions))
            self.met_routines |= any(m.way.group.kind == "routine"
                                     for r in regions for m in r.members)

    def sinking(self, least: float = float("inf")) -> Iterator[
            tuple[Draft, tuple[Sequences, Sequence]]]:
        """Drafts within ever lower limits that need less than `least`."""
        sink = _SINK
        while sink >= _LEAST:
            peak = self.peak
            draft = self._below(int(peak * (1 - sink)))
            if draft is None or draft.peak >= peak:
                sink /= 2
                continue
            self.peak = draft.peak
            if draft.peak < least:
                yield draft, (self.sequences, self.last[1])

    def _below(self, limit: int) -> Draft | None:
        """Go on to within the limit; None where no way is found."""
        found = self.sequences.below(limit, self.last)
        again = self.sequences.draft_of(found[1]) if found else None
        parts = self._in_parts(limit, _seconds(again) if again else float("inf"))
        if parts is None and again is None and self.last != self.remembered:
            self.remembered = self.last
            self._remember(self.sequences.draft_of(self.last[1]))
            parts = self._in_parts(limit, float("inf"))
        if parts is not None:
            self._begin(parts)
        elif again is not None and found is not None:
            self.last = found
        return parts or again

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
            made = divided(draft, region, self.divider.scheduler, self.divider.pieces)
            seconds = _seconds(made)
            region.known, region.peak, region.price = True, made.peak, seconds - before
            if made.peak <= limit and seconds < most:
                best, most = made, seconds
        return best


def _seconds(draft: Draft) -> float:
    return sum(map(draft.seconds, range(len(draft.steps))))
