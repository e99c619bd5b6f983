"""A region of a draft, and about what it needs and costs in so many parts.

What is alive outside of the region, and what lives within it from member to member, is told apart
once; for each number of parts what lives within has the bytes of one.
"""

from __future__ import annotations

import numpy as np

from ...base.extents import evaluate
from ..groups.carried import Count, sums
from ..groups.ways import Way
from ..plan import Step
from ..schedule import Origin
from .liveness import Draft

_LAUNCH = 2e-6      # seconds of one more launch
_BYTE = 1e-10       # and of a byte moved once more


class Item:
    """Steps of a draft that are one run of a group (`origin`), or one step of another kind."""

    __slots__ = ("origin", "steps")

    def __init__(self, steps: list[int], origin: Origin | None):
        self.steps, self.origin = steps, origin


class Member:
    """An item of a region, and the way it is computed in parts. Buffers by id: read in `parts` or
    `whole`, and those that it `makes`. `apart` pairs the buffers of which a part reads or writes a
    part with the elements of their blocks; those of `several` blocks can only be read where they
    stand whole."""

    __slots__ = ("apart", "item", "makes", "parts", "several", "way", "whole")

    def __init__(self, item: int, origin: Origin, way: Way):
        self.item, self.way = item, way
        at = origin.at
        self.parts = {id(at[n]) for n in way.parts}
        self.whole = {id(at[n]) for n in way.whole}
        self.makes = {id(at[id(s.node)]) for s in origin.group.seeds if id(s.node) in origin.kept}
        pairs = [(at[n], block) for n, block in way.parts.items()] + [
            (at[n], block) for n, block in way.makes.items() if n in origin.kept]
        self.apart = {(id(b), block) for b, block in pairs}
        self.several = {id(b): b for b, block in pairs if b.count != block}


class Region:
    """Members in order, and the other items (of all `items`): those that come `before` and `after`.
    `peak` and `price` are what the draft needs then, and the seconds that parts cost: about, until
    they are `known`."""

    __slots__ = ("after", "before", "count", "items", "known", "members", "peak", "price")

    def __init__(self, items: list[Item], count: Count, before: list[int], members: list[Member],
                 after: list[int]):
        self.items, self.count = items, count
        self.before, self.members, self.after = before, members, after
        self.peak, self.price, self.known = 0, 0.0, False

    def in_parts(self, count: Count) -> Region:
        """The same region in so many parts."""
        return Region(self.items, count, self.before, self.members, self.after)


class Sizes:
    """The values of a draft as arrays: `size` of each, and its uses one behind the other, from
    `starts` on: the numbers of the items. `laid`: what is laid out for a group (by value), and of
    which buffers."""

    def __init__(self, draft: Draft, items: list[Item], of: dict[int, int]):
        self.draft, self.items = draft, items
        uses: dict[int, list[int]] = {}
        size: dict[int, int] = {}
        laid: dict[int, set[int]] = {}
        for i, h in draft.histories.items():
            if draft.rents(h.buffer):
                owner = draft.owner.get(i, i)
                uses.setdefault(owner, []).extend(of[k] for k in h.uses())
                size[owner] = max(size.get(owner, 0), h.bytes)
                if all(_lays_out(draft.steps[k]) for k in h.writes):
                    laid[owner] = {id(b) for k in h.writes for b, writes in draft.touches[k]
                                   if not writes}
        self.size = np.array([*size.values()], np.int64)
        self.uses = np.array([k for those in uses.values() for k in those], np.int64)
        self.starts = np.cumsum([0, *map(len, uses.values())])[:-1]
        self.laid = {v: laid[i] for v, i in enumerate(uses) if i in laid}

    def spans(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last place at which each value is used, with items in these places."""
        at = place[self.uses]
        return np.minimum.reduceat(at, self.starts), np.maximum.reduceat(at, self.starts)


class Shape:
    """A region, whatever the number of its parts: what is alive `during` its loop beside what lives
    within, and elsewhere at the most; of the values within the sizes, and from which member to
    which they live; which of them are laid out from a whole for every part."""

    def __init__(self, sizes: Sizes, region: Region):
        self.sizes, self.region = sizes, region
        self.key = [m.item for m in region.members]
        self.known = False

    def in_parts(self, count: Count) -> Region:
        """The region in so many parts, with about what it needs and costs."""
        if not self.known:
            self._survey()
        region, parts = self.region.in_parts(count), count.all
        size = np.where(self.whole, self.size, -(-self.size // parts))
        within = _alive(size, self.first, self.last, len(self.key))
        moved = int(self.size[self.whole].sum()) * (parts - 1)
        carried = sum(self._carried(m, count) for m in region.members if m.way.summed)
        region.peak = self.sizes.draft.own + max(
            self.elsewhere, self.during + int(within.max()) + carried)
        region.price = (parts - 1) * len(self.key) * _LAUNCH + \
            (moved + 2 * carried * parts) * _BYTE
        return region

    def _survey(self) -> None:
        sizes, members = self.sizes, self.region.members
        order = *self.region.before, -1, *self.region.after
        loop = order.index(-1)
        number = np.full(len(sizes.items), -1)
        number[self.key] = np.arange(len(members))
        place = np.empty(len(sizes.items) + 1, np.int64)
        place[list(order)] = np.arange(len(order))
        place[self.key] = loop
        self.first, self.last = sizes.spans(number)
        inside = self.first >= 0
        first, last = sizes.spans(place)
        alive = _alive(sizes.size[~inside], first[~inside], last[~inside], len(order))
        self.during, alive[loop] = int(alive[loop]), 0
        self.elsewhere = int(alive.max())
        whole = np.zeros(len(inside), bool)
        for v, read in sizes.laid.items():
            if inside[v]:
                whole[v] = not read <= members[number[sizes.uses[sizes.starts[v]]]].parts
        self.size, self.whole = sizes.size[inside], whole[inside]
        self.first, self.last = self.first[inside], self.last[inside]
        self.known = True

    def _carried(self, m: Member, count: Count) -> int:
        """Bytes of what a sum carries on."""
        return evaluate(m.way.group.seeds[0].node.type.bytes, self.sizes.draft.env) * \
            sums(m.way, count)


def _alive(size: np.ndarray, first: np.ndarray, last: np.ndarray, places: int) -> np.ndarray:
    """The bytes alive at each of so many places, of values from the first to the last of theirs."""
    change = np.zeros(places + 1, np.int64)
    np.add.at(change, first, size)
    np.subtract.at(change, last + 1, size)
    return np.cumsum(change[:-1])


def _lays_out(step: Step) -> bool:
    return getattr(step, "lays_out", False)
