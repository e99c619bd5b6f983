"""Attention's kernels, in which a block of neighbouring queries of one head is computed together.

The block's scores with all keys that it sees lie in the thread's scratch, a row for each key: the
queries are the lanes. So keys and values are read where they lie, only the block's queries are
transposed, and the largest score, the exponentials and their sums need no sums of lanes. Nothing of
the scores' size is stored. Compare Rabe and Staats, "Self-attention does not need O(n^2) memory",
arXiv 2112.05682, and Dao et al., "FlashAttention", arXiv 2205.14135, whose sums are joined
otherwise.

Every sum runs over what a causal mask permits, in one ascending chain of fused multiply-adds, so
that the size of a block decides no bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..base.extents import Extent, lower, product, upper
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.expr import Expr, lit, load, size
from ..lang.loops import LANES, Loop, Set, Store, When, index_var, lane_index, lane_tree
from ..lang.order import WEIGHTS_CHUNK
from ..lang.routine import RESULT, ZERO, Part, Routine
from ..lang.tile import Tile, tile_of
from .attend_tiles import backward as backward_in_tiles
from .attend_tiles import fits as fits_in_tiles
from .attend_tiles import forward as in_one_pass
from .random import unit_at

RESIDENT = 1 << 17  # scores of a block that stay in the second cache
LONG = 512          # keys whose rows are worth bringing together, once for all blocks of queries
LEAST_ROOM = 8      # vectors of registers, of a device that has none
TOGETHER = 4        # keys whose largest score is found at once


def forward(room: int, p: dict, *types: TensorType) -> Routine:
    """y [*lead, t, h, e] of q [*lead, t, h, d], k [*lead, s, g, d], v [*lead, s, g, e]."""
    if not room and fits_in_tiles(types[0]):
        return in_one_pass(p, *types)
    b = _Block(room, p, types, 1)
    b.decoded((*b.lead, b.h, b.blocks))
    *b.at, b.head, b.number = b.places
    b.group = b.head // (b.h // b.g)
    before, spaces = _together(b) if upper(b.s) >= LONG else ([], ())
    body = [*b.transposed("queries", b.query, b.d), *b.weights(),
            *b.mixed("kept", 2, b.e, lambda y, i: y * load("inverse", i, b.dtype), b.y_place)]
    return Routine([*before, b.part("attention", body, 2 * (b.d + b.e))], spaces)


def backward(room: int, p: dict, *types: TensorType) -> Routine:
    """The cotangents of q, k and v end to end; y and its cotangent follow the operands. A task has
    one head of keys and goes through the blocks of its queries."""
    if not room and fits_in_tiles(types[0]):
        return backward_in_tiles(p, *types)
    b = _Block(room, p, types, 2)
    b.decoded((*b.lead, b.g))
    *b.at, b.group = b.places
    b.head, b.number = index_var("head"), index_var("number")
    heads = b.h // b.g
    near = [b.near_by(1, "keys", b.d), b.near_by(2, "values", b.e)] if upper(b.s) >= LONG else []
    body = [*b.rows("rows", b.query, b.d), *b.turned("queries", "rows", b.d), *b.weights(),
            *b.shares(), *b.turned("turned", "shares", b.e), *b.slopes(),
            *b.mixed("slopes", 1, b.d, lambda y, i: y * lit(p["scale"], b.dtype), b.q_place),
            *b.gathered("slopes", "rows", b.d, "of_keys"),
            *b.gathered("kept", "shares", b.e, "of_values")]
    each = Loop(b.head, b.group * heads, (b.group + 1) * heads,
                [Loop(b.number, ZERO, size(b.blocks), body)])
    found = [b.copied("of_keys", b.d, b.k_place), b.copied("of_values", b.e, b.v_place)]
    return Routine([b.part("attention_pullback", [*near, *b.cleared(), each, *found],
                           2 * (3 * b.d + 2 * b.e))])


def _together(b: _Block) -> tuple[list[Part], tuple]:
    """(a part that lays each head's keys and values out row behind row, its workspaces)."""
    rows = index_var("row")
    *at, group, row = _decoded(rows, (*b.lead, b.g, b.s))
    c, parts, spaces = index_var("c"), [], []
    start = b.flat(b.group, b.g) * size(b.s)
    for number, name, extent in ((1, "keys", b.d), (2, "values", b.e)):
        value = expr.read(number, (*at, row, group, c), b.dtype)
        copy = Loop(c, ZERO, size(extent), [Store(name, rows * size(extent) + c, value)], "vector")
        parts.append(Part("pack", rows, product((*b.lead, b.g, b.s)), [copy], grain=64))
        spaces.append((name, b.dtype, product((*b.lead, b.g, b.s, extent))))
        b.near[number] = lambda row, name=name, extent=extent: (name, (start + row) * size(extent))
    return parts, tuple(spaces)


def _decoded(number: Expr, extents: tuple[Extent, ...]) -> list[Expr]:
    """Places in axes of these extents, the last fastest."""
    places: list[Expr] = []
    for e in reversed(extents[1:]):
        places.insert(0, number % size(e))
        number = number // size(e)
    return [number, *places]


class _Block:
    """Statements for a block of queries: `number` of `head`, whose keys are those of `group`, at
    the places `at` of the leading axes."""

    number: Expr
    head: Expr
    group: Expr
    at: list[Expr]

    def __init__(self, room: int, p: dict, types: tuple[TensorType, ...], arrays: int):
        q, k, v, *_ = types
        self.p, self.types, self.room, self.dtype = p, types, room or LEAST_ROOM, q.dtype
        *self.lead, self.t, self.h, self.d = q.shape
        self.s, self.g, self.e = k.shape[-3], k.shape[-2], v.shape[-1]
        narrow = upper(self.t) <= LANES or upper(self.s) * 2 * LANES * arrays > RESIDENT
        self.vectors = 1 if narrow else 2
        self.width = self.vectors * LANES
        self.blocks = (self.t + (self.width - 1)) // self.width
        self.ahead = size(self.s) - size(self.t)  # keys that the first query sees but its own
        self.blind = p["causal"] and self.t != self.s and not (
            upper(self.t) <= lower(self.s))       # whether a query may see no key
        self.buffers: dict[str, Expr] = {}
        self.near: dict[int, Callable] = {}       # operands that lie row behind row elsewhere

    # ---- places ---------------------------------------------------------------------------------

    def decoded(self, extents: tuple[Extent, ...]) -> None:
        """The task's places in axes of these extents."""
        self.task, self.tasks = index_var("task"), product(extents)
        self.places = _decoded(self.task, extents)

    def part(self, name: str, body: list, flops: Extent) -> Part:
        scratch = tuple((n, self.dtype, count) for n, count in self.buffers.items())
        return Part(name, self.task, self.tasks, body, scratch=scratch,
                    flops=product((*self.lead, self.h, self.pairs(), flops)))

    def pairs(self) -> Extent:
        """Queries and the keys that they see."""
        t, s = self.t, self.s
        if self.p["causal"] and isinstance(t, int) and isinstance(s, int):
            return sum(min(max(i + s - t + 1, 0), s) for i in range(t))
        return t * s

    def scratch(self, name: str, count: Extent) -> str:
        self.buffers[name] = size(count)
        return name

    @property
    def first(self) -> Expr:
        return self.number * self.width

    @property
    def count(self) -> Expr:
        """The block's queries."""
        return scalar.minimum(size(self.t) - self.first, self.width)

    def lanes(self, v: int) -> Expr:
        """The queries in vector v; behind the last one it again."""
        return scalar.minimum(self.first + (v * LANES + lane_index()), size(self.t) - 1)

    def seen(self, row: Expr) -> Expr:
        """How many keys the query sees."""
        if not self.p["causal"]:
            return size(self.s)
        return scalar.minimum(scalar.maximum(row + self.ahead + 1, 0), size(self.s))

    @property
    def keys(self) -> Expr:
        """How many keys the block's last query sees."""
        return self.seen(self.first + self.count - 1)

    def read(self, number: int, row: Expr, head: Expr, c: Expr) -> Expr:
        if number in self.near:
            name, start = self.near[number](row)
            return load(name, start + c, self.dtype)
        return expr.read(number, (*self.at, row, head, c), self.dtype)

    def near_by(self, number: int, name: str, extent: Extent) -> Loop:
        """The operand's rows of the group in scratch."""
        k, c = index_var("k"), index_var("c")
        value = self.read(number, k, self.group, c)
        self.scratch(name, self.s * extent)
        self.near[number] = lambda row: (name, row * size(extent))
        return Loop(k, ZERO, size(self.s), [Loop(c, ZERO, size(extent), [
            Store(name, k * size(extent) + c, value)], "vector")])

    def query(self, row: Expr, c: Expr) -> Expr:
        return self.read(0, row, self.head, c) * lit(self.p["scale"], self.dtype)

    def flat(self, head: Expr, heads: Extent) -> Expr:
        """The number of a head among those of the whole lead."""
        at: Expr = ZERO
        for e, x in zip((*self.lead, heads), (*self.at, head), strict=True):
            at = at * size(e) + x
        return at

    def _flat(self, extent: Extent, row: Expr, heads: Extent, head: Expr, width: Extent,
              c: Expr) -> Expr:
        at: Expr = ZERO
        for e, x in zip((*self.lead, extent, heads), (*self.at, row, head), strict=True):
            at = at * size(e) + x
        return at * size(width) + c

    def y_place(self, row: Expr, c: Expr) -> Expr:
        return self._flat(self.t, row, self.h, self.head, self.e, c)

    def q_place(self, row: Expr, c: Expr) -> Expr:
        return self._flat(self.t, row, self.h, self.head, self.d, c)

    def k_place(self, row: Expr, c: Expr) -> Expr:
        return size(self.types[0].size) + self._flat(self.s, row, self.g, self.group, self.d, c)

    def v_place(self, row: Expr, c: Expr) -> Expr:
        return size(self.types[0].size + self.types[1].size) + self._flat(
            self.s, row, self.g, self.group, self.e, c)

    # ---- the block's queries --------------------------------------------------------------------

    def transposed(self, name: str, value: Callable, extent: Extent) -> list:
        """name[c, query] = value(query, c)."""
        c = index_var("c")
        self.scratch(name, extent * self.width)
        return [Loop(c, ZERO, size(extent), [
            Store(name, c * self.width + v * LANES, value(self.lanes(v), c))
            for v in range(self.vectors)])]

    def rows(self, name: str, value: Callable, extent: Extent) -> list:
        """name[query, c] = value(query, c)."""
        i, c = index_var("i"), index_var("c")
        self.scratch(name, extent * self.width)
        row = scalar.minimum(self.first + i, size(self.t) - 1)
        return [Loop(i, ZERO, lit(self.width, ZERO.dtype), [Loop(c, ZERO, size(extent), [
            Store(name, i * size(extent) + c, value(row, c + lane_index()))], "serial", LANES)])]

    def turned(self, name: str, source: str, extent: Extent) -> list:
        """name[c, query] = source[query, c]."""
        c = index_var("c")
        self.scratch(name, extent * self.width)
        return [Loop(c, ZERO, size(extent), [
            Store(name, c * self.width + v * LANES,
                  load(source, (v * LANES + lane_index()) * size(extent) + c, self.dtype))
            for v in range(self.vectors)])]

    # ---- scores ---------------------------------------------------------------------------------

    def products(self, number: int, extent: Extent, right: str, result: str,
                 finish: Callable) -> list:
        """result[key, query] = finish(operand[key] . right[:, query], key, vector)."""
        tile = Tile(*tile_of(self.room, self.vectors, self.dtype), self.dtype)
        k0, count = index_var("k0"), size(self.s)
        self.scratch(result, (self.s + LANES) * self.width)
        fits = lower(self.s) >= tile.rows  # then the last tile begins earlier
        start = scalar.minimum(k0, count - tile.rows) if fits else k0
        keys = [start + r if fits else scalar.minimum(k0 + r, count - 1)
                for r in range(tile.rows)]
        body: list = []
        for begin in range(0, self.vectors, tile.vectors):
            chain = tile.chain(ZERO, size(extent), lambda c, r: self.read(
                number, keys[r], self.group, c), lambda c, v, begin=begin: load(
                    right, c * self.width + (begin + v) * LANES, self.dtype, LANES))
            body += [*tile.zero(), chain]
            body += [Store(result, (start + r) * self.width + (begin + v) * LANES,
                           finish(x, start + r, begin + v))
                     for r, line in enumerate(tile.sums) for v, x in enumerate(line)]
        return [Loop(k0, ZERO, self.keys, body, "serial", tile.rows)]

    def weights(self) -> list:
        """scores[key, query] = exp(score - the query's largest), kept[key, query] what dropout
        leaves of it, inverse[query] = 1 / their sum."""
        scores = self.products(1, self.d, "queries", "scores", lambda x, k, v: x)
        tops = [expr.var(f"top{v}", self.dtype, LANES) for v in range(self.vectors)]
        totals = [expr.var(f"total{v}", self.dtype, LANES) for v in range(self.vectors)]
        self.scratch("inverse", self.width)
        k, begin = index_var("k"), index_var("begin")
        inside = [expr.var(f"inside{v}", self.dtype, LANES) for v in range(self.vectors)]
        body: list = []
        for v, top in enumerate(tops):
            e = expr.var(f"e{v}", self.dtype, LANES)
            body += [Set(e, scalar.exp(self._at("scores", k, v) - top)),
                     Set(inside[v], inside[v] + e),
                     Store("scores", k * self.width + v * LANES, e)]
            if self.p["dropout"]:
                self.scratch("kept", (self.s + LANES) * self.width)
                body.append(Store("kept", k * self.width + v * LANES, self.dropped(e, k, v)))
        one, end = lit(1, self.dtype), scalar.minimum(begin + WEIGHTS_CHUNK, self.keys)
        chunk = [*(Set(x, lit(0, self.dtype)) for x in inside), Loop(k, begin, end, body),
                 *(Set(x, x + y) for x, y in zip(totals, inside, strict=True))]
        return [*scores, *self._masked(), *self._tops(tops),
                *(Set(x, lit(0, self.dtype)) for x in totals),
                Loop(begin, ZERO, self.keys, chunk, "serial", WEIGHTS_CHUNK),
                *(Store("inverse", lit(v * LANES, ZERO.dtype),
                        one / scalar.where(scalar.eq(x, 0), one, x))
                  for v, x in enumerate(totals))]

    def _at(self, name: str, k: Expr, v: int) -> Expr:
        return load(name, k * self.width + v * LANES, self.dtype, LANES)

    def _masked(self) -> list:
        """The mask on the scores; what a causal one hides from the first query or more."""
        if not self.p["mask"] and not self.p["causal"]:
            return []
        k = index_var("k")
        body = []
        for v in range(self.vectors):
            x, row = self._at("scores", k, v), self.lanes(v)
            if self.p["mask"]:
                mask = expr.read(3, (*self.at, self.head, row, k), self.types[3].dtype)
                x = scalar.where(mask, x, -math.inf) if mask.dtype.kind == "bool" else x + mask
            if self.p["causal"]:
                x = scalar.where(k <= row + self.ahead, x, -math.inf)
            body.append(Store("scores", k * self.width + v * LANES, x))
        return [Loop(k, ZERO if self.p["mask"] else self.seen(self.first), self.keys, body)]

    def _tops(self, tops: list[Expr]) -> list:
        """Each query's largest score, 0 where that is infinite; a row with NaN is NaN anyway."""
        k = index_var("k")

        def larger(a: Expr, b: Expr) -> Expr:
            return scalar.where(a > b, a, b)

        body = []
        for v, top in enumerate(tops):
            xs = [self._at("scores", scalar.minimum(k + j, self.keys - 1), v)
                  for j in range(TOGETHER)]
            while len(xs) > 1:
                xs = [larger(a, b) for a, b in zip(xs[::2], xs[1::2], strict=True)]
            body.append(Set(top, larger(xs[0], top)))
        finite = [Set(x, scalar.where(scalar.eq(scalar.abs_(x), math.inf), lit(0, x.dtype), x))
                  for x in tops]
        return [*(Set(x, lit(-math.inf, x.dtype)) for x in tops),
                Loop(k, ZERO, self.keys, body, "serial", TOGETHER), *finite]

    def dropped(self, x: Expr, k: Expr, v: int) -> Expr:
        """x, or 0, as dropout draws for the key and the queries of vector v."""
        rate, number = self.p["dropout"], 4 if self.p["mask"] else 3
        own = self.types[number].rank - 1  # leading axes that have a key each
        key = [expr.read(number, (*self.at[:own], lit(w, ZERO.dtype)), self.types[number].dtype)
               for w in (0, 1)]
        at: Expr = ZERO
        for e, place in zip((*self.lead[own:], self.h, self.t, self.s),
                            (*self.at[own:], self.head, self.lanes(v), k), strict=True):
            at = at * size(e) + place
        kept = unit_at(at, key, self.dtype) < 1.0 - rate
        return scalar.where(kept, x / lit(1.0 - rate, x.dtype), lit(0, x.dtype))

    # ---- sums over keys and over queries --------------------------------------------------------

    def _left(self, name: str) -> str:
        return name if name in self.buffers else "scores"

    def _columns(self, extent: Extent, body: Callable) -> tuple[Tile, Loop]:
        """(a tile, a loop over columns by its width); `body(tile, first column)`."""
        wide = isinstance(extent, int) and extent % (2 * LANES) == 0
        tile = Tile(*tile_of(self.room, 2 if wide else 1, self.dtype), self.dtype)
        c0 = index_var("c0")
        return tile, Loop(c0, ZERO, size(extent), body(tile, c0), "serial", tile.vectors * LANES)

    def mixed(self, left: str, number: int, extent: Extent, finish: Callable,
              place: Callable) -> list:
        """result[place(query, c)] = finish(sum over keys of left[key, query] operand[key, c])."""
        i0, left = index_var("i0"), self._left(left)
        high = self.seen(self.first + i0)

        def body(tile: Tile, c0: Expr) -> list:
            def weight(k: Expr, r: int) -> Expr:
                return load(left, k * self.width + i0 + r, self.dtype)

            def value(k: Expr, v: int) -> Expr:
                return self.read(number, k, self.group, c0 + (v * LANES + lane_index()))

            out: list = [*tile.zero(), tile.chain(ZERO, high, weight, value)]
            for j in range(1, tile.rows if self.p["causal"] else 0):  # keys that only some see
                key = self.first + i0 + self.ahead + j
                some = tile.step(weight, value, scalar.minimum(key, size(self.s) - 1),
                                 range(j, tile.rows))
                out += [When(key >= 0, some)] if self.blind else some
            return out + [When(i0 + r < self.count, [
                Store(RESULT, place(self.first + i0 + r, c0 + v * LANES), finish(x, i0 + r))
                for v, x in enumerate(line)]) for r, line in enumerate(tile.sums)]

        tile, loop = self._columns(extent, body)
        return [Loop(i0, ZERO, self.count, [loop], "serial", tile.rows)]

    def shares(self) -> list:
        """shares[query, c] = y's cotangent times inverse; inner[query], its product with y."""
        y, g = len(self.types) - 2, len(self.types) - 1
        i, c = index_var("i"), index_var("c")
        row = scalar.minimum(self.first + i, size(self.t) - 1)
        part, inner = (expr.var(n, self.dtype, LANES) for n in ("part", "innerv"))
        self.scratch("shares", self.e * self.width)
        self.scratch("inner", self.width)
        column = c + lane_index()
        return [Loop(i, ZERO, lit(self.width, ZERO.dtype), [
            Set(inner, lit(0, self.dtype)),
            Loop(c, ZERO, size(self.e), [
                Set(part, self.read(g, row, self.head, column) * load("inverse", i, self.dtype)),
                Set(inner, scalar.fma(part, self.read(y, row, self.head, column), inner)),
                Store("shares", i * size(self.e) + c, part)], "serial", LANES),
            Store("inner", i, lane_tree("sum", inner))])]

    def slopes(self) -> list:
        """slopes[key, query], the cotangents of the scores."""
        def finish(x: Expr, k: Expr, v: int) -> Expr:
            given = self.dropped(x, k, v) if self.p["dropout"] else x
            inner = load("inner", lit(v * LANES, ZERO.dtype), self.dtype, LANES)
            return (given - inner) * self._at("scores", k, v)

        return self.products(2, self.e, "turned", "slopes", finish)

    def cleared(self) -> list:
        """The cotangents of keys and values are sums over all blocks, from 0 on."""
        i = index_var("i")
        out = []
        for name, extent in (("of_keys", self.d), ("of_values", self.e)):
            self.scratch(name, self.s * extent)
            out.append(Loop(i, ZERO, size(self.s * extent), [Store(name, i, lit(0, self.dtype))],
                            "vector"))
        return out

    def copied(self, name: str, extent: Extent, place: Callable) -> Loop:
        """The rows of a buffer to their places in the result."""
        k, c = index_var("k"), index_var("c")
        return Loop(k, ZERO, size(self.s), [Loop(c, ZERO, size(extent), [
            Store(RESULT, place(k, c), load(name, k * size(extent) + c, self.dtype))], "vector")])

    def gathered(self, left: str, right: str, extent: Extent, result: str) -> list:
        """result[key, c] += sum over the block's queries of left[key, query] right[query, c]."""
        left, before = self._left(left), index_var("before")
        common = scalar.minimum(scalar.maximum(self.first + self.ahead, 0), size(self.s)) \
            if self.p["causal"] else size(self.s)

        def sums(tile: Tile, c0: Expr, k0: Expr, low: Expr, high: Expr, partly: Callable) -> list:
            def weight(i: Expr, r: int) -> Expr:
                k = scalar.maximum(k0 + r, 0) if self.blind else k0 + r
                return load(left, k * self.width + i, self.dtype)

            def value(i: Expr, v: int) -> Expr:
                return load(right, i * size(extent) + c0 + v * LANES, self.dtype, LANES)

            def held(r: int, v: int) -> Expr:
                at = scalar.minimum(scalar.maximum(k0 + r, 0), size(self.s) - 1)
                return load(result, at * size(extent) + c0 + v * LANES, self.dtype, LANES)

            return [*tile.set(held), *partly(weight, value),
                    tile.chain(low, self.count, weight, value),
                    *(When((k0 + r >= 0) & (k0 + r < high), [
                        Store(result, (k0 + r) * size(extent) + c0 + v * LANES, x)
                        for v, x in enumerate(line)]) for r, line in enumerate(tile.sums))]

        k0 = index_var("k0")
        tile, loop = self._columns(extent, lambda tile, c0: sums(
            tile, c0, k0, ZERO, common, lambda *_: []))
        out = [Loop(k0, ZERO, common, [loop], "serial", tile.rows)]
        if self.p["causal"]:
            def diagonal(tile: Tile, c0: Expr) -> list:
                def partly(weight: Callable, value: Callable) -> list:
                    return [When(before + j < self.count, tile.step(
                        weight, value, before + j, range(j + 1))) for j in range(tile.rows - 1)]

                return sums(tile, c0, self.first + self.ahead + before, before + (tile.rows - 1),
                            size(self.s), partly)

            out.append(Loop(before, ZERO, self.count, [self._columns(extent, diagonal)[1]],
                            "serial", tile.rows))
        return out
