"""The stops of a trail from which budgets choose: behind each of them none is faster.

What a stop computes again may be had for less than was found on the way: a longer annealing looks
for other runs and another order, with a peak between those of the stop and of the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from ...base import status
from ..plan import Plan
from .liveness import Draft
from .peak import Memory, bytes_text
from .sequences import Sequence, Sequences
from .trail import Divider, trail

_DEAR = 0.05    # a part of the time that is worth looking at all stops


class Stop:
    """A draft of a plan: `memory` is what it needs, placed, `seconds` what it takes; `next` the
    stop behind it on the front (None at the end)."""

    def __init__(self, plan: Plan, draft: Draft, threads: int, of: tuple[Sequences, Sequence] | None
                 ):
        self.plan, self.draft, self.threads, self.of = plan, draft, threads, of
        self.memory = draft.memory(threads)
        self.seconds = sum(map(draft.seconds, range(len(draft.steps))))
        self.next: Stop | None = None

    def cheapest(self) -> tuple[Draft, Memory]:
        """This draft, or one that takes less time, needs no more, and more than the next stop: so
        that a smaller budget never gets a larger plan."""
        if self.of is None:
            return self.draft, self.memory
        sequences, sequence = self.of
        low = self.next.draft.peak + 1 if self.next else 0
        other = sequences.cheaper(sequence, low, self.draft.peak)
        if other is not None and other.peak <= self.draft.peak:
            memory = other.memory(self.threads)
            least = self.next.memory.peak if self.next else 0
            if least < memory.peak <= self.memory.peak:
                return other, memory
        return self.draft, self.memory


def front(plans: Iterable[Plan], threads: int, divider: Divider | None,
          spills: bool = False) -> Iterator[Stop]:
    """Of the stops of several plans of one program (whose values do not share bytes yet) those that
    need less than the ones before, and behind which none is faster. All of them are looked at once
    one takes notably longer than the first. Where it `spills`, values may also rest in a file: then
    the stops without are looked at, too, so that a budget is kept that is kept without."""
    ways = (True, False) if spills else (False,)
    last: Stop | None = None
    for stop in _sorted(chain.from_iterable(
            _stops(plan, threads, divider, way) for plan in plans for way in ways)):
        if last is not None and stop.memory.peak < last.memory.peak:
            last.next = stop
            yield last
        if last is None or stop.memory.peak < last.memory.peak:
            last = stop
    if last is not None:
        yield last


def _stops(plan: Plan, threads: int, divider: Divider | None, spills: bool) -> Iterator[Stop]:
    """Those that need less than the ones before."""
    last: Memory | None = None
    begun = Draft(plan, plan.steps, {s.name: s.high for s in plan.symbols}, None, spills)
    for draft, of in trail(begun, divider):
        if last is not None and draft.peak >= last.results + last.temporaries:
            continue    # placed it would need no less
        stop = Stop(plan, draft, threads, of)
        status.say(f"a plan of {bytes_text(stop.memory.peak)}")
        if last is None or stop.memory.peak < last.peak:
            last = stop.memory
            yield stop


def _sorted(stops: Iterable[Stop]) -> Iterator[Stop]:
    """The stops as they come; from the first dear one on the fastest of each size."""
    first = None
    for stop in (stops := iter(stops)):
        first = first or stop
        if stop.seconds > first.seconds * (1 + _DEAR):
            yield from _fastest([stop, *stops])
        else:
            yield stop


def _fastest(stops: list[Stop]) -> list[Stop]:
    """The stops, the largest first, that are faster than all smaller ones."""
    found: list[Stop] = []
    for stop in sorted(stops, key=lambda s: (s.memory.peak, s.seconds)):
        if not found or stop.seconds < found[-1].seconds:
            found.append(stop)
    return found[::-1]
