"""A part of a group's values: the group with fewer positions of one axis.

What it reads and writes are windows of what the whole group does. Where the axis is used as a
number (the counters of random bits, a mask's places), a part begins at what `starts` holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...base import dtypes
from ...base.extents import Extent
from ...ir.node import Node, placeholder
from ...ir.program import frozen
from ...ir.types import tensor
from ...lang import expr
from ...lang.definition import Definition
from ...lang.expr import Expr
from ...lang.routine import Routine
from .access import Access, stored
from .group import Fusion, Group, Seed
from .ways import Way, block_of, reading

Pairs = list[tuple[Node, Node]]


class Piece:
    """A group to be scheduled: `kept` numbers the nodes that it stores. `windows` pairs its nodes
    with those of the whole that they are a part of; `spread` those parts that lie in several blocks
    of the whole, with the elements from one part to the next; `same` pairs nodes with those whose
    buffers they have."""

    __slots__ = ("fusion", "group", "kept", "same", "spread", "windows")

    def __init__(self, group: Group, fusion: Fusion, kept: set[int], windows: Pairs, same: Pairs,
                 spread: Sequence[tuple[Node, Node, int]] = ()):
        self.group, self.fusion, self.kept = group, fusion, kept
        self.windows, self.same, self.spread = windows, same, spread


class Parting:
    """From definitions of the whole to those of one of `count` parts: what is read, and how. Of the
    stored nodes `standing` (by id) parts are read where they stand, by the strides of the whole."""

    def __init__(self, way: Way, count: int, starts: Node | None,
                 standing: frozenset[int] = frozenset()):
        self.way, self.count, self.starts, self.standing = way, count, starts, standing
        self.spread: dict[int, tuple[Node, Node, int]] = {}     # by the id of the whole
        name, extent = way.axis.attr
        self.axis = expr.axis(name, extent // count)
        self.access: dict[int, Access] = {}
        self.windows: Pairs = []
        self.same: Pairs = []
        self._parts: dict[int, Node] = {}
        if starts is not None:
            self.is_same(starts, starts)

    def is_same(self, node: Node, whole: Node) -> None:
        """The node is packed in the buffer of a node of the whole."""
        self.access[id(node)] = stored(node)
        self.same.append((node, whole))

    def is_window(self, node: Node, whole: Node) -> None:
        """The node is packed in a window of the buffer of a node of the whole."""
        self.access[id(node)] = stored(node)
        self.windows.append((node, whole))

    def axes(self, axes: Iterable[Expr]) -> tuple[Expr, ...]:
        """The axes of a part."""
        return tuple(self.axis if a is self.way.axis else a for a in axes)

    def own(self, s: Seed, kept: set[int]) -> Node:
        """The node of a part of a seed's value."""
        node = like(s.node, tuple(a.attr[1] for a in self.axes(s.definition.axes)))
        self._parts[id(s.node)] = node
        self.access[id(node)] = stored(node)
        if id(s.node) in kept:
            self.windows.append((node, s.node))
        return node

    def body(self, s: Seed, e: Expr, reads: list[Node]) -> Expr:
        """An expression of the seed over a part; `reads` gathers what it reads."""
        memo: dict[Expr, Expr] = {}
        axis, plain = self.way.axis, {self.way.axis: self.axis}

        def number(node: Node) -> int:
            k = next((k for k, n in enumerate(reads) if n is node), len(reads))
            if k == len(reads):
                reads.append(node)
            return k

        def read(x: Expr) -> Expr:
            node, fill = s.reads[x.attr[0]], x.attr[1]
            if not self._in_parts(x, node):
                return expr.read(number(self._whole(node)), tuple(map(visit, x.args)), x.dtype,
                                 fill)
            args = tuple(expr.substitute(i, plain) if axis in expr.free_axes(i) else visit(i)
                         for i in x.args)
            return expr.read(number(self.part(node, x)), args, x.dtype, fill)

        def visit(x: Expr) -> Expr:
            found = memo.get(x)
            if found is not None:
                return found
            if x is axis:
                assert self.starts is not None
                found = self.axis + expr.read(number(self.starts), (), dtypes.index)
            elif x.op == "read":
                found = read(x)
            elif x.op == "reduce":
                found = expr.make("reduce", tuple(map(visit, x.args)),
                                  (x.attr[0], self.axes(x.attr[1])), x.dtype)
            else:
                args = tuple(map(visit, x.args))
                found = x if args == x.args else expr.rebuild(x, args)
            memo[x] = found
            return found

        return visit(e)

    def _in_parts(self, x: Expr, node: Node) -> bool:
        return id(node) in self._parts or (
            self.way.axis in expr.free_axes(x) and
            block_of(x, self.way.axis, node, self.way.fusion) > 0)

    def part(self, node: Node, x: Expr) -> Node:
        """The part of a node that is read one slice after another."""
        found = self._parts.get(id(node))
        if found is not None:
            return found
        a, axis = self.way.fusion.access[id(node)], self.way.axis
        shape: list[Extent] = [n // self.count if axis in expr.free_axes(i) else n
                               for n, i in zip(node.shape, x.args, strict=True)]
        found = self._parts[id(node)] = like(node, tuple(shape))
        if id(a.base) in self.standing:
            self.access[id(found)] = Access(self._spread(a.base), a.offset, a.strides)
            return found
        base = found
        if a.base is not node:
            base = placeholder(tensor(a.base.dtype, (a.base.type.size // self.count,)))
        self.is_window(base, a.base)
        if base is not found:
            block = self.way.parts[id(a.base)]
            self.access[id(found)] = Access(
                base, a.offset // block * (block // self.count) + a.offset % block,
                tuple(s if s % block else s // self.count for s in a.strides))
        return found

    def _spread(self, whole: Node) -> Node:
        """A whole from the first element on that a part reads."""
        if id(whole) not in self.spread:
            step = self.way.parts[id(whole)] // self.count
            size = whole.type.size - (self.count - 1) * step
            node = placeholder(tensor(whole.dtype, (size,)))
            self.access[id(node)] = stored(node)
            self.spread[id(whole)] = node, whole, step
        return self.spread[id(whole)][0]

    def _whole(self, node: Node) -> Node:
        """A node that is read as it is."""
        if id(node) not in self.access:
            a = self.way.fusion.access[id(node)]
            self.is_same(a.base, a.base)
            self.access[id(node)] = a
        return node

    def piece(self, group: Group, kept: set[int]) -> Piece:
        """A group over the nodes of a part."""
        fusion = Fusion([], self.access, [])
        fusion.steady = {i for i in self.way.fusion.steady if i in self.access}
        return Piece(group, fusion, kept, self.windows, self.same, list(self.spread.values()))


def like(n: Node, shape) -> Node:
    """A node of that shape that stands for the same op."""
    return Node(n.op, n.inputs, n.params, tensor(n.dtype, tuple(shape)), n.source)


def seed(node: Node, kind: str, axes: Iterable[Expr], body: Expr, reads: list[Node]) -> Seed:
    """A seed over these nodes."""
    return Seed(node, kind, Definition(tuple(n.type for n in reads), tuple(axes), body), reads)


def part_of_values(way: Way, kept: set[int], count: int, starts: Node | None, room: int,
                   standing: frozenset[int] = frozenset()) -> Piece:
    """One of `count` parts of the group's values; `room` is the target's, `standing` as in
    Parting."""
    p = Parting(way, count, starts, standing)
    if way.group.kind == "routine":
        return _part_of_routine(p, kept, room)
    seeds = []
    for s in way.group.seeds:
        node, reads = p.own(s, kept), []  # type: Node, list[Node]
        body = p.body(s, s.definition.body, reads)
        seeds.append(seed(node, s.kind, p.axes(s.definition.axes), body, reads))
    group = Group(seeds[0], _domain(way, count))
    group.seeds, group.kind = seeds, way.group.kind
    return p.piece(group, {id(n.node) for n, s in zip(seeds, way.group.seeds, strict=True)
                           if id(s.node) in kept})


def _domain(way: Way, count: int):
    """The rows and the inner extent of a part."""
    if way.group.domain is None:
        return None
    rows, inner = way.group.domain
    at = way.group.seeds[0].definition.axes.index(way.axis)
    if at == len(rows):
        return rows, inner // count
    return (*rows[:at], rows[at] // count, *rows[at + 1:]), inner


_routines: dict[tuple, Routine] = {}


def _part_of_routine(p: Parting, kept: set[int], room: int) -> Piece:
    """A routine over parts of its operands; the same for the same op over the same types."""
    whole, = p.way.group.seeds
    op, params = whole.node.op, whole.node.params
    nodes = [p.part(n, reading(n)) for n in whole.node.inputs]
    types = tuple(n.type for n in nodes)
    key = op.name, frozen(params), types, room
    if key not in _routines:
        if len(_routines) > 1024:
            _routines.clear()
        assert op.loops is not None
        _routines[key] = op.loops(room, params, *types)
    node = like(whole.node, op.rule(params, *types).shape)
    p.is_window(node, whole.node)
    group = Group(Seed(node, "routine", None, nodes, _routines[key]), None)
    return p.piece(group, {id(node)} if id(whole.node) in kept else set())
