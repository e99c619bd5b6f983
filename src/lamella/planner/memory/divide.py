"""The steps of a draft in which a region is computed in parts.

A loop runs the region's groups over one part after the other: what they read of the whole and leave
behind are windows that advance, what lives within the region has the bytes of one part, and sums
over the axis are carried on in place (planner/groups/carried.py), so that the bits are the same.
So a batch becomes micro-batches, or wide values come one block of rows after another.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...base import dtypes
from ...base.dtypes import DType
from ...ir.node import Node, placeholder
from ...ir.types import tensor
from ...lang import expr
from ...lang.definition import Definition
from ..groups.access import stored
from ..groups.carried import Sum, ones_for, part_of_sum
from ..groups.group import Fusion, Group, Seed
from ..groups.part import Piece, part_of_values
from ..groups.ways import Way
from ..plan import Buffer, Launch, Loop, Step
from ..schedule import Origin, Scheduler
from .liveness import Draft
from .region import Member, Region
from .regions import is_within

Known = dict[int, Buffer]   # of nodes, by id


class Pieces:
    """Parts of groups, each written once, whatever the regions that a group is in; and the nodes
    of starts and ones that they read."""

    def __init__(self) -> None:
        self.starts: dict[int, Node] = {}
        self.ones: dict[tuple[str, int], Node] = {}
        self._known: dict[tuple, tuple] = {}

    def mapped(self, m: Member, origin: Origin, region: Region, starts: Node | None, room: int,
               standing: frozenset[int]) -> Piece:
        """A part of a member's values."""
        key = id(m.way), id(origin.kept), region.count.all, standing
        if key not in self._known:
            found = part_of_values(m.way, origin.kept, region.count.all, starts, room, standing)
            self._known[key] = found, m.way, origin.kept    # whose ids must not be others'
        return self._known[key][0]

    def summed(self, m: Member, origin: Origin, region: Region, starts: Node | None,
               ones: Node | None, standing: frozenset[int]) -> Sum:
        """A part of a member that sums over the parts."""
        key = id(m.way), id(origin.kept), region.count, standing
        if key not in self._known:
            found = part_of_sum(m.way, origin.kept, region.count, starts, ones, standing)
            self._known[key] = found, m.way, origin.kept
        return self._known[key][0]


def divided(draft: Draft, region: Region, scheduler: Scheduler, pieces: Pieces) -> Draft:
    """The draft with the region in parts."""
    return _Division(draft, region, scheduler, pieces).draft()


class _Division:
    """The loop over the parts of a region while its steps are written: the `head` runs before it,
    the `tail` behind."""

    def __init__(self, draft: Draft, region: Region, scheduler: Scheduler, pieces: Pieces):
        self.old, self.region, self.scheduler, self.pieces = draft, region, scheduler, pieces
        self.count = region.count.all
        self.outer = Loop(region.count.outer) if region.count.outer > 1 else None
        self.inner = Loop(region.count.inner)
        self.head: list[Step] = []
        self.tail: list[Step] = []
        self.windows: dict[tuple[int, int], Buffer] = {}
        self.parts: Known = {}      # of the buffers (by id) that only members touch
        self.small: Known = {}      # starts and ones

    def draft(self) -> Draft:
        region, steps = self.region, self.old.steps
        self.inside = {k for m in region.members for k in region.items[m.item].steps}
        for m in region.members:
            self.inner.body += self._summed(m) if m.way.summed else self._mapped(m)
        loop = self._loop()

        def listed(found: Iterable[int]) -> list[Step]:
            return [steps[k] for n in found for k in region.items[n].steps]

        return self.old.changed([*listed(region.before), *self.head, loop, *self.tail,
                                 *listed(region.after)])

    def _loop(self) -> Loop:
        """The loop, named by what it computes and the line of what takes longest."""
        steps, last = self.old.steps, sorted(self.inside)
        names = dict.fromkeys(n for k in last for n in steps[k].names.split("+")) \
            if last else {}
        longest = max(last, key=self.old.seconds)
        for loop in [self.inner] if self.outer is None else [self.inner, self.outer]:
            loop.names = f"{self.count} parts of {'+'.join(n for n in names if n != 'pack')}"
            loop.source, loop.parts = getattr(steps[longest], "source", None), self.count
        if self.outer is None:
            return self.inner
        self.inner.parts, self.outer.body = 0, [self.inner]
        return self.outer

    # -- buffers --

    def _part(self, whole: Buffer, moves: str = "inner") -> Buffer:
        """The part of a whole that a trip sees, or what holds a part alone."""
        if is_within(self.old, whole, self.inside):
            if id(whole) not in self.parts:
                self.parts[id(whole)] = Buffer(whole.dtype, _share(whole, self.count),
                                               "temporary", whole.label)
            return self.parts[id(whole)]
        if self.outer is not None:
            whole = self._window(whole, self.outer)
        return self._window(whole, self.inner) if moves == "inner" else whole

    def _spread(self, whole: Buffer, step: int) -> Buffer:
        """A part's elements in several blocks of a whole, from the first one on."""
        for loop, each in ((self.outer, step * self.region.count.inner), (self.inner, step)):
            if loop is not None:
                key = id(whole), id(loop)
                if key not in self.windows:
                    assert isinstance(loop.trips, int)
                    found = Buffer(whole.dtype, _share(whole, loop.trips), "temporary", whole.label)
                    found.alias, found.advance = whole, (loop, each)
                    self.windows[key] = found
                whole = self.windows[key]
        return whole

    def _window(self, whole: Buffer, loop: Loop) -> Buffer:
        """A whole's window in a loop."""
        found = self.windows.get((id(whole), id(loop)))
        if found is None:
            assert isinstance(loop.trips, int)
            size = _share(whole, loop.trips)
            found = Buffer(whole.dtype, size, "temporary", whole.label)
            found.alias, found.advance = whole, (loop, size)
            self.windows[id(whole), id(loop)] = found
        return found

    def _starts_of(self, way: Way) -> Node | None:
        """The node in which a trip finds the first place of its part."""
        if not way.numbered:
            return None
        each = way.extent // self.count
        node = self.pieces.starts.setdefault(each, placeholder(tensor(dtypes.index, ()), "starts"))
        if id(node) not in self.small:
            table = Buffer(dtypes.index, self.count, "temporary", "starts of parts")
            k = expr.axis("a0", self.count)
            self._fill(table, Definition((), (k,), k * each), "starts")
            self.small[id(node)] = self._part(table)
        return node

    def _ones(self, dtype: DType, count: int) -> Node | None:
        """A vector of ones."""
        if not count:
            return None
        node = self.pieces.ones.setdefault((dtype.name, count),
                                           placeholder(tensor(dtype, (count,)), "ones"))
        if id(node) not in self.small:
            self.small[id(node)] = Buffer(dtype, count, "temporary", "ones")
            ones = Definition((), (expr.axis("a0", count),), expr.lit(1, dtype))
            self._fill(self.small[id(node)], ones, "ones")
        return node

    def _fill(self, buffer: Buffer, d: Definition, names: str) -> None:
        """Write a buffer before the loop."""
        node = placeholder(d.type, buffer.label)
        group = Group(Seed(node, "map", d, []),
                      (d.shape[:-1], d.shape[-1]) if d.shape else ((), 1))
        fusion = Fusion([], {id(node): stored(node)}, [])
        for s in self.scheduler.steps(group, fusion, {id(node)}, {id(node): buffer}):
            s.names = names
            self.head.append(s)

    # -- steps --

    def _origin(self, m: Member) -> Origin:
        origin = self.region.items[m.item].origin
        assert origin is not None
        return origin

    def _standing(self, m: Member) -> frozenset[int]:
        """The stored nodes (by id) of which a part lies in several blocks of a whole."""
        at = self._origin(m).at
        return frozenset(n for n in m.way.parts if id(at[n]) in m.several and
                         not is_within(self.old, at[n], self.inside))

    def _mapped(self, m: Member) -> list[Step]:
        origin = self._origin(m)
        piece = self.pieces.mapped(m, origin, self.region, self._starts_of(m.way),
                                   self.scheduler.target.room, self._standing(m))
        return self._steps(piece, origin.at, {}, m)

    def _summed(self, m: Member) -> list[Step]:
        """A part's steps; zeros to begin with go to the head, what follows the sum to the tail."""
        way, origin, count = m.way, self._origin(m), self.region.count
        dtype = way.group.seeds[0].node.dtype
        found = self.pieces.summed(m, origin, self.region, self._starts_of(way),
                                   self._ones(dtype, ones_for(way, count)), self._standing(m))
        known = {id(n): _buffer(n) for n in (*found.inside, found.carry)}
        if found.value is not None:     # the sum is carried where it will stay
            known[id(found.carry)] = known[id(found.value)] = origin.at[id(found.value)]
        if found.filled:
            axes = tuple(expr.axis(f"a{k}", n) for k, n in enumerate(found.carry.shape))
            zeros = Definition((), axes, expr.lit(0, dtype))
            self._fill(known[id(found.carry)], zeros, "zeros")
        steps = [s for piece in found.pieces
                 for s in self._steps(piece, origin.at, known, m, found.moves)]
        if found.last is not None:
            self.tail += self._steps(found.last, origin.at, known, m)
        return steps

    def _steps(self, piece: Piece, at: Known, known: Known, m: Member,
               moves: str = "inner") -> list[Step]:
        """The steps of a piece; what is `known` moves in the loops in this way."""
        def of(whole: Node) -> Buffer:
            return next(d[id(whole)] for d in (known, self.small, at) if id(whole) in d)

        buffers = {id(node): of(whole) for node, whole in piece.same}
        for node, whole in piece.windows:
            buffers[id(node)] = self._part(of(whole), moves if id(whole) in known else "inner")
        for node, whole, step in piece.spread:
            buffers[id(node)] = self._spread(of(whole), step)
        steps = self.scheduler.steps(piece.group, piece.fusion, piece.kept, buffers)
        old = self.old.steps[self.region.items[m.item].steps[-1]]
        assert isinstance(old, Launch)
        for s in steps:
            if isinstance(s, Launch):
                s.again, s.origin, s.source = old.again, None, s.source or old.source
                s.names = old.names if "input" in s.names else s.names
        return list(steps)


def _buffer(node: Node) -> Buffer:
    """A new buffer for a node's value."""
    return Buffer(node.dtype, node.type.size, "temporary", node.params["name"])


def _share(whole: Buffer, count: int) -> int:
    assert isinstance(whole.count, int)
    return whole.count // count
