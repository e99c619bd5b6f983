"""Regions of a draft that can be computed in parts: which groups of it.

A region is a set of groups whose values share an outermost axis: the rows of a layer's wide hidden
values, of logits, or a whole batch. It is grown around the step that needs most, from groups that
read or write the same values part by part. What of its values nobody else reads needs the bytes of
one part only.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import product
from typing import Any

from ..groups.carried import Count, positions_of, sums
from ..groups.group import Group
from ..groups.ways import Way, ways_of
from ..plan import Buffer
from ..schedule import Origin
from .liveness import Draft
from .region import Item, Member, Region, Shape, Sizes
from .reorder import needs

COUNTS = (2, 4, 8, 16, 32)
MOST = max(COUNTS)
_RESTING = 3        # values that rest at the peak whose makers are looked at
_OUTER = 2          # numbers of chunks for which an outer loop is tried


class Regions:
    """Finds regions; remembers the ways in which groups can be computed in parts."""

    def __init__(self) -> None:
        self._ways: dict[int, tuple[Group, list[Way]]] = {}

    def ways(self, origin: Origin | None) -> list[Way]:
        """The ways of a group."""
        if origin is None:
            return []
        known = self._ways.get(id(origin.group))
        if known is None:
            known = self._ways[id(origin.group)] = \
                origin.group, ways_of(origin.group, origin.fusion)
        return known[1]

    def parts_of(self, step: Any) -> list[tuple[set[int], set[int]]]:
        """For each way in which a step can be done in parts: the buffers (by id) of which it needs
        a part at a time, and those that it does not need then."""
        found = []
        for m in self._members(0, Item([], getattr(step, "origin", None))):
            others = {id(b) for b in step.buffers()} - m.parts - m.whole - m.makes
            found.append(({i for i, _ in m.apart}, others | (m.makes if m.way.summed else set())))
        return found

    def around_peak(self, draft: Draft, routines: bool = True) -> list[Region]:
        """Regions that are thought to need less in parts: around the step that needs most, else
        around what makes a large value that rests meanwhile."""
        if not draft.steps:
            return []
        peak = int(draft.live.argmax())
        for step in (peak, *_makers(draft, peak)):
            found = [r for r in self.around(draft, step, routines) if r.peak < draft.peak]
            if found:
                return found
        return []

    def around(self, draft: Draft, step: int, routines: bool = True) -> Iterator[Region]:
        """Regions that have a step in them, large and small, in many and in few parts; with
        `routines` in them or without."""
        items = _items(draft)
        of = {k: n for n, item in enumerate(items) for k in item.steps}
        before: list[set[int]] = [set() for _ in items]
        for k, earlier in enumerate(needs(draft)):
            before[of[k]] |= {of[b] for b in earlier} - {of[k]}
        sizes = Sizes(draft, items, of)
        members = [self._members(k, item) for k, item in enumerate(items)]
        pivot = of[step]
        spans = [*product(_outwards(pivot, -1, 0), _outwards(pivot, 1, len(items) - 1))]
        seen: set[tuple] = set()
        shapes: dict[tuple, list[Shape]] = {}   # one for all counts that divide the same
        for count in self._counts(items):
            offers = [m for those in members for m in those if _divides(m.way, count) and
                      (routines or m.way.group.kind != "routine")]
            alike, ready = tuple(map(id, offers)), _Offers(offers)
            for first in [m for m in offers if m.item == pivot]:
                if (alike, id(first)) not in shapes:
                    found = (self._whole_region(draft, items, before, span, first, ready, count)
                             for span in spans)
                    shapes[alike, id(first)] = [Shape(sizes, r) for r in found if r is not None]
                for shape in shapes[alike, id(first)]:
                    if (key := (count, *shape.key)) in seen:
                        continue
                    seen.add(key)
                    yield shape.in_parts(count)

    @staticmethod
    def _whole_region(draft: Draft, items: list[Item], needed: list[set[int]],
                      span: tuple[int, int], pivot: Member, offers: _Offers,
                      count: Count) -> Region | None:
        """A region without members that would write into several blocks of what stands whole."""
        while True:
            region = _region(items, needed, span, pivot, offers, count)
            if region is None:
                return None
            inside = {k for m in region.members for k in items[m.item].steps}
            made = {i for m in region.members for i in m.makes}
            lost = {i for m in region.members for i, b in m.several.items()
                    if i in made and not is_within(draft, b, inside)}
            if not lost:
                return region
            if lost & pivot.several.keys():
                return None
            offers = _Offers([m for m in offers.members if lost.isdisjoint(m.several)])

    def _counts(self, items: list[Item]) -> list[Count]:
        """Numbers of parts: with an outer loop over the chunks of sums that have several."""
        often: dict[int, int] = {}
        for item in items:
            for way in self.ways(item.origin):
                whole, chunk = positions_of(way) if way.summed else (0, 1)
                if whole > chunk and whole % chunk == 0:
                    often[whole // chunk] = often.get(whole // chunk, 0) + 1
        outer = sorted(often, key=lambda n: (-often[n], n))[:_OUTER]
        return [Count(1, n) for n in COUNTS] + [
            Count(o, n // o) for o in outer for n in COUNTS if n > o and n % o == 0]

    def _members(self, number: int, item: Item) -> list[Member]:
        """An item in each way in which it can be done in parts."""
        origin = item.origin
        return [] if origin is None else [Member(number, origin, w) for w in self.ways(origin)]


def _makers(draft: Draft, step: int) -> list[int]:
    """The steps that make the largest values which rest while a step runs."""
    resting = sorted((-h.bytes, h.made) for h in draft.histories.values()
                     if draft.rents(h.buffer) and 0 <= h.made < step < h.last)
    return [made for _, made in resting[:_RESTING]]


def is_within(draft: Draft, b: Buffer, steps: set[int]) -> bool:
    """Whether these steps alone make and read a value, so that it need not be there whole."""
    h = draft.histories.get(id(b))
    return h is not None and h.movable and bool(h.writes) and h.last < 1 << 60 and \
        steps.issuperset(h.uses())


def _divides(way: Way, count: Count) -> bool:
    """Whether there are so many equal parts."""
    return way.extent > 0 and way.extent % count.all == 0 and (
        not way.summed or sums(way, count) > 0)


def _region(items: list[Item], needed: list[set[int]], span: tuple[int, int], pivot: Member,
            offers: _Offers, count: Count) -> Region | None:
    """What can run in parts together with the pivot, of the items of a span: what shares values
    with it part by part. None of them needs a whole that another makes, or what comes behind."""
    joined = offers.joined(span, pivot)
    before: list[int] = []
    members: list[Member] = []
    after: list[int] = []
    inside, behind = set(), set()   # type: set[int], set[int]
    made, added = set(), set()      # type: set[int], set[int]
    for k in range(span[0], span[1] + 1):
        m = joined.get(k)
        if m is not None and needed[k].isdisjoint(behind) and m.whole.isdisjoint(made) and \
                m.whole.isdisjoint(added) and m.parts.isdisjoint(added):
            members.append(m)
            inside.add(k)
            (added if m.way.summed else made).update(m.makes)
        elif m is not None or not (needed[k].isdisjoint(behind) and needed[k].isdisjoint(inside)):
            after.append(k)
            behind.add(k)
        else:
            before.append(k)
    if len(members) < 2 or pivot.item not in inside:
        return None
    return Region(items, count, [*range(span[0]), *before],
                  _sums_early(members, [needed[m.item] & inside for m in members]),
                  [*after, *range(span[1] + 1, len(items))])


def _sums_early(members: list[Member], needed: list[set[int]]) -> list[Member]:
    """The members in an order in which sums, which only what follows them needs, come right behind
    what they read, so that it need not be kept for them. `needed` are the members (by item) that
    must come before each."""
    out: list[Member] = []
    done: set[int] = set()
    waiting = [(m, n) for m, n in zip(members, needed, strict=True) if m.way.summed]

    def run(m: Member) -> None:
        out.append(m)
        done.add(m.item)

    def run_ready() -> None:
        while ready := [p for p in waiting if p[1] <= done]:
            waiting.remove(ready[0])
            run(ready[0][0])

    run_ready()
    for m in members:
        if not m.way.summed:
            run(m)
            run_ready()
    assert len(out) == len(members), "what a sum needs is no member before it"
    return out


class _Offers:
    """Members that may join a region, and of each buffer of which a part reads or writes a part
    (with its blocks) the numbers of those that do."""

    def __init__(self, members: list[Member]):
        self.members = members
        self.of: dict[tuple[int, int], list[int]] = {}
        for n, m in enumerate(members):
            for key in m.apart:
                self.of.setdefault(key, []).append(n)

    def joined(self, span: tuple[int, int], pivot: Member) -> dict[int, Member]:
        """Members by item: the pivot, and those that share with one of them what they read and
        write in parts; as if all were asked in their order, again and again, until none joins."""
        found, shared, asked = {pivot.item: pivot}, set(), set()    # type: dict, set, set
        queue: list[tuple[int, int]] = []       # the round and the number of who is to be asked

        def share(m: Member, turn: int, place: int) -> None:
            for key in m.apart - shared:
                for n in self.of.get(key, ()):
                    if n not in asked:
                        asked.add(n)
                        heappush(queue, (turn + (n <= place), n))
            shared.update(m.apart)

        share(pivot, 0, -1)
        while queue:
            turn, n = heappop(queue)
            m = self.members[n]
            if m.item not in found and span[0] <= m.item <= span[1]:
                found[m.item] = m
                share(m, turn, n)
        return found


def _outwards(at: int, step: int, end: int) -> list[int]:
    """Places from `at` on outwards, ever farther apart, up to the end."""
    found, far = [at], 1
    while (end - at) * step > far:
        found.append(at + far * step)
        far = far * 3 // 2 + 1
    return list(dict.fromkeys([*found, end]))


def _items(draft: Draft) -> list[Item]:
    """The steps of a draft by group; those of a group of which some are missing alone."""
    steps: list[Any] = draft.steps
    found: dict[tuple, list[int]] = {}
    for k, s in enumerate(steps):
        origin = getattr(s, "origin", None)
        found.setdefault((k,) if origin is None else origin.key, []).append(k)
    out: list[Item] = []
    for those in found.values():
        origin = getattr(steps[those[0]], "origin", None)
        if origin is not None and origin.count == sum(not steps[k].lays_out for k in those):
            out.append(Item(those, origin))
        else:
            out += [Item([k], None) for k in those]
    return sorted(out, key=lambda item: item.steps[-1])
