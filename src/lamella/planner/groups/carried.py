"""Sums that parts carry on, in the order of docs/numerics_order.md.

Within a chunk the chain of a product goes on from where it stood, as do the 16 lanes of a
reduction. Whole chunks are handed over, as sums of aligned powers of two of them, and meet as the
aligned tree behind all parts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from ...base import dtypes
from ...base.extents import Extent, product
from ...ir.node import Node, placeholder
from ...ir.types import row_major, tensor
from ...lang import expr
from ...lang.expr import Expr
from ...lang.order import CONTRACT_CHUNK, SUM_CHUNK, SUM_LANES
from .access import Access, stored
from .group import Fusion, Group, Seed
from .linear import linear
from .part import Pairs, Parting, Piece, like, seed
from .ways import Way

SUMMANDS = 512  # sums of parts that may meet


class Sum:
    """A sum over parts: `carry` is the node of what is carried, which begins with zeros if it is
    `filled`, and which each trip of the `outer` or of the `inner` loop sees another part of (or
    none, where it is ''). `pieces` are a part's groups in order, `inside` the nodes between them;
    `last` follows behind all parts (none: the carried bytes are the group's value, `value`)."""

    __slots__ = ("carry", "filled", "inside", "last", "moves", "pieces", "value")

    def __init__(self, carry: Node, moves: str, filled: bool, pieces: list[Piece],
                 inside: list[Node], last: Piece | None, value: Node | None = None):
        self.carry, self.moves, self.filled, self.pieces = carry, moves, filled, pieces
        self.inside, self.last, self.value = inside, last, value


class Count(NamedTuple):
    """How many parts: those of an outer loop times those of the loop inside it."""

    outer: int
    inner: int

    @property
    def all(self) -> int:
        return self.outer * self.inner


def positions_of(way: Way) -> tuple[int, int]:
    """How many positions the group sums over, and how many are a chunk."""
    body = way.group.seeds[0].definition.body
    chunk = CONTRACT_CHUNK if body.attr[0] == "dot" else SUM_CHUNK
    count = product(a.attr[1] for a in body.attr[1])
    assert isinstance(count, int)
    return count, chunk


class _Handing(NamedTuple):
    """How parts hand a sum on: `moves` as in Sum; a part has so many `blocks`, each a sum of its
    own of `positions`; `going` where it goes on with the sum of the part before."""

    moves: str
    blocks: int
    positions: int
    going: bool

    def in_lanes(self, way: Way) -> bool:
        """Whether the lanes of a reduction go on, not the chain of a product."""
        return self.going and way.group.kind == "reduce"


def _handing(way: Way, count: Count) -> _Handing | None:
    """None where the order of the sum does not allow so many parts."""
    whole, chunk = positions_of(way)
    body = way.group.seeds[0].definition.body
    each, middle = whole // count.all, whole // count.outer
    if way.extent % count.all:
        return None
    if whole <= chunk or middle == chunk:
        plain = all(e.attr[1] is None and all(linear(i) is not None for i in e.args)
                    for e in body.args) if body.attr[0] == "dot" else each % SUM_LANES == 0
        moves = "" if whole <= chunk else "outer"
        return _Handing(moves, 1, each, True) if plain else None
    if each % chunk:
        return None
    chunks = each // chunk
    blocks = chunks // (chunks & -chunks)
    if blocks * count.all > SUMMANDS or (blocks > 1 and body.attr[0] == "dot"):
        return None
    return _Handing("inner", blocks, each // blocks, False)


def sums(way: Way, count: Count) -> int:
    """How many elements are carried for each of the sum's; 0 where it cannot have such parts."""
    found = _handing(way, count)
    if found is None:
        return 0
    return (SUM_LANES if found.in_lanes(way) else 1) * _shares(found, count)


def _shares(found: _Handing, count: Count) -> int:
    return {"": 1, "outer": count.outer, "inner": count.all * found.blocks}[found.moves]


def ones_for(way: Way, count: Count) -> int:
    """How many ones a part of the sum reads (see `_lanes`)."""
    found = _handing(way, count)
    return found.positions // SUM_LANES if found is not None and found.in_lanes(way) else 0


def part_of_sum(way: Way, kept: set[int], count: Count, starts: Node | None, ones: Node | None,
                standing: frozenset[int] = frozenset()) -> Sum:
    """The group's sum over parts; `ones`: a vector of as many as `ones_for` says, `standing` as in
    Parting."""
    found = _handing(way, count)
    assert found is not None
    s, in_lanes = way.group.seeds[0], found.in_lanes(way)
    p = Parting(way, count.all, starts, standing)
    shape = (SUM_LANES, *s.node.shape) if in_lanes else s.node.shape
    shares = _shares(found, count)
    carry = placeholder(tensor(s.node.dtype, (shares, *shape) if found.moves else shape), "sums")
    to = like(s.node, (found.blocks, *shape) if found.blocks > 1 else shape)
    begun = placeholder(tensor(s.node.dtype, shape), "sum") if found.going else None
    for n in (to, begun):
        if n is not None:
            (p.is_window if found.moves else p.is_same)(n, carry)
    pieces: list[Piece] = []
    inside: list[Node] = []
    if in_lanes or found.blocks > 1:
        values = _values(p, s, pieces, inside)
        group = _blocks(p, s, values, found, to) if begun is None or ones is None else \
            _lanes(p, s, values, found, begun, to, ones)
    else:
        reads = [] if begun is None else [begun]
        body = p.body(s, s.definition.body, reads)
        if begun is not None:
            start = expr.read(0, s.definition.axes, s.node.dtype)
            body = expr.make("reduce", (*body.args, start), body.attr, body.dtype)
        group = Group(seed(to, s.kind, s.definition.axes, body, reads), None)
    pieces.append(p.piece(group, {id(to)}))
    if in_lanes or found.moves:
        met = _met(s, carry, shares if found.moves else 0, in_lanes)
        return Sum(carry, found.moves, found.going, pieces, inside,
                   _behind(way, kept, [met], [(carry, carry)]))
    behind = _behind(way, kept, [], [(s.node, carry)]) if way.group.seeds[1:] else None
    return Sum(carry, "", True, pieces, inside, behind, s.node if id(s.node) in kept else None)


class _Values(NamedTuple):
    """Values by position and by axes: element `offset` of a stored node and on, by strides."""

    node: Node
    offset: Extent
    strides: tuple[Extent, ...]

    def rows(self, p: Parting, s: Seed, count: int, cut: int) -> tuple[Node, tuple[Expr, ...]]:
        """The values with their positions as rows of `cut`, and axes for all but the rows."""
        shape = (cut, *s.node.shape)
        view = placeholder(tensor(s.node.dtype, (count, *shape)), "rows of values")
        strides = (self.strides[0] * cut, *self.strides)
        p.access[id(view)] = Access(self.node, self.offset, strides)
        return view, tuple(expr.axis(f"a{k}", n) for k, n in enumerate(shape))


def _values(p: Parting, s: Seed, pieces: list[Piece], inside: list[Node]) -> _Values:
    """What the seed sums; stored first, unless it is read as rows can be."""
    body, axes = s.definition.body, s.definition.axes
    reads: list[Node] = []
    element = p.body(s, body.args[0], reads)
    bound = p.axes(body.attr[1])
    found = _flat(p, element, reads, bound, axes)
    if found is not None:
        return found
    shape = tuple(a.attr[1] for a in (*bound, *axes))
    values = placeholder(tensor(s.node.dtype, shape), "values of a sum")
    named = {a: expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate((*bound, *axes))}
    p.is_same(values, values)
    write = seed(values, "map", named.values(), expr.substitute(element, named), reads)
    pieces.append(p.piece(Group(write, (shape[:-1], shape[-1])), {id(values)}))
    inside.append(values)
    each = product(a.attr[1] for a in bound)
    return _Values(values, 0, row_major((each, *(a.attr[1] for a in axes))))


def _lanes(p: Parting, s: Seed, values: _Values, found: _Handing, begun: Node, to: Node,
           ones: Node) -> Group:
    """The 16 lanes of a reduction are chains of their own: sums of products with ones."""
    count, dtype = found.positions // SUM_LANES, s.node.dtype
    view, axes = values.rows(p, s, count, SUM_LANES)
    row = expr.axis("r0_0", count)
    p.is_same(ones, ones)
    dot = expr.make("reduce", (
        expr.read(0, (row,), dtype), expr.read(1, (row, *axes), dtype),
        expr.read(2, axes, dtype)), ("dot", (row,)), dtype)
    return Group(seed(to, "dot", axes, dot, [ones, view, begun]), None)


def _blocks(p: Parting, s: Seed, values: _Values, found: _Handing, to: Node) -> Group:
    """A part's sums, one for each block of its positions."""
    view, _ = values.rows(p, s, found.blocks, found.positions)
    axes = tuple(expr.axis(f"a{k}", n) for k, n in enumerate((found.blocks, *s.node.shape)))
    at = expr.axis("r0_0", found.positions)
    read = expr.read(0, (axes[0], at, *axes[1:]), s.node.dtype)
    body = expr.make("reduce", (read,), ("sum", (at,)), s.node.dtype)
    return Group(seed(to, "reduce", axes, body, [view]), None)


def _met(s: Seed, carry: Node, shares: int, in_lanes: bool) -> Seed:
    """The sum from what was carried: lanes meet as lanes do, shares as the aligned tree."""
    axes, dtype = s.definition.axes, s.node.dtype

    def share(*at: int) -> Expr:
        places = tuple(expr.lit(k, dtypes.index) for k in at)
        if not in_lanes:
            return expr.read(0, (*places, *axes), dtype)
        values = [expr.read(0, (*places, expr.lit(k, dtypes.index), *axes), dtype)
                  for k in range(SUM_LANES)]
        while len(values) > 1:
            half = len(values) // 2
            values = [x + y for x, y in zip(values[:half], values[half:], strict=True)]
        return values[0]

    values = [share(k) for k in range(shares)] if shares else [share()]
    while len(values) > 1:
        values = [x + y for x, y in zip(values[::2], values[1::2], strict=False)] + \
            values[len(values) // 2 * 2:]
    return seed(s.node, "map", axes, values[0], [carry])


def _behind(way: Way, kept: set[int], before: list[Seed], same: Pairs) -> Piece:
    """What follows the sum: the maps fused behind it, over what was carried."""
    rest = way.group.seeds[1:]
    seeds = [*before, *rest]
    shape = seeds[0].node.shape
    found = Group(seeds[0], (shape[:-1], shape[-1]) if shape else ((), 1))
    found.seeds, found.kind = seeds, "map"
    access = dict(way.fusion.access)
    for node, _ in same:
        access[id(node)] = stored(node)
    fusion = Fusion([], access, [])
    fusion.steady = way.fusion.steady
    known = {id(n) for n, _ in same} | {id(s.node) for s in seeds}
    outside = {id(b): b for s in rest for n in s.reads for b in [access[id(n)].base]
               if id(b) not in known}
    pairs = [*same, *((b, b) for b in outside.values()),
             *((s.node, s.node) for s in seeds if id(s.node) in kept)]
    return Piece(found, fusion, kept & {id(s.node) for s in seeds}, [], pairs)


def _flat(p: Parting, element: Expr, reads: list[Node], bound, axes) -> _Values | None:
    """An element that is one read whose positions lie equally far apart."""
    if element.op != "read" or element.attr[1] is not None:
        return None
    a = p.access[id(reads[element.attr[0]])]
    offset, terms = a.offset, {}  # type: Extent, dict[Expr, Extent]
    for i, stride in zip(element.args, a.strides, strict=True):
        form = linear(i)
        if form is None:
            return None
        offset = offset + form.constant * stride
        for x, c in form.terms.items():
            terms[x] = terms.get(x, 0) + c * stride
    many = [b for b in bound if b.attr[1] != 1]
    if not many or not terms.keys() <= {*bound, *axes} or any(
            terms.get(x, 0) != terms.get(y, 0) * y.attr[1] for x, y in pairwise(many)):
        return None
    return _Values(a.base, offset, (terms.get(many[-1], 0), *(terms.get(x, 0) for x in axes)))
