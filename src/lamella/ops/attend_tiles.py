"""Attention's kernels for devices of tiles: nothing of the scores is stored, forward or backward.

Forward, a program has a tile of queries of one head. It keeps, for each query, the largest score so
far, the sum of exponentials and the weighted sum of values, and rescales both where a larger score
comes: Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867; Dao et
al., "FlashAttention", arXiv 2205.14135. Backward, one kernel finds these two numbers of each query
again; then one has a tile of queries and sums over keys (the queries' cotangents), another a tile
of keys and sums over queries (the others'), so that no two programs add to the same place: Dao,
"FlashAttention-2", arXiv 2307.08691, without its atomic additions. Tiles that a causal mask hides
are left out.
"""

from __future__ import annotations

import math

from ..base.dtypes import bool_, float32
from ..base.extents import Extent, product, upper
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.expr import Expr, lit, read, size
from ..lang.loops import Loop, Set, Store, fold, index_var, tile, tile_product
from ..lang.routine import RESULT, ZERO, Part, Routine
from .random import unit_at

TILE = 64           # queries or keys of a program
WARPS, STAGES = 8, 2
QUERY, WIDTH, KEY, OUT = map(index_var, ("i", "c", "j", "e"))
NOTHING = lit(-math.inf, float32)


def fits(q: TensorType) -> bool:
    """Whether these kernels compute it: float32."""
    return q.dtype is float32


def _register(name: str, *axes: Expr) -> Expr:
    return expr.var(name, float32, axes)  # type: ignore[arg-type]


SCORES, WEIGHTS, SLOPES, NONE = (_register(n, QUERY, KEY) for n in (
    "scores", "weights", "slopes", "none"))
TOP, NEXT, SHIFT, KEEP, TOTAL, INVERSE, INNER = (_register(n, QUERY) for n in (
    "top", "larger", "shift", "keep", "total", "inverse", "inner"))
Q, K, G, V = (_register("q", QUERY, WIDTH), _register("k", KEY, WIDTH), _register("g", QUERY, OUT),
              _register("v", KEY, OUT))
MIXED, OF_Q, OF_K, OF_V = (_register("mixed", QUERY, OUT), _register("of_q", QUERY, WIDTH),
                           _register("of_k", KEY, WIDTH), _register("of_v", KEY, OUT))


def forward(p: dict, *types: TensorType) -> Routine:
    """y [*lead, t, h, e] of q [*lead, t, h, d], k [*lead, s, g, d], v [*lead, s, g, e]."""
    a = _Attention(p, types)
    a.by_queries()
    return Routine([a.part("attention", a.queries([
        Set(Q, a.query()), *_zero(TOTAL, MIXED, NONE), Set(TOP, NOTHING),
        a.over_keys([*a.online(), a.out([Set(MIXED, tile_product(
            a.kept(), a.value(), MIXED * KEEP, KEY))]), Set(TOP, NEXT)]),
        a.out([Store(RESULT, a.place(a.t, a.h, a.head, QUERY, a.e, OUT), MIXED / a.total())])]),
        2 * (a.d + a.e))])


def backward(p: dict, *types: TensorType) -> Routine:
    """The cotangents of q, k and v end to end; y and its cotangent follow the operands."""
    a = _Attention(p, types)
    rows = product((*a.lead, a.h, a.t))
    spaces = tuple((name, float32, rows) for name in ("shifts", "inverses", "inners"))
    return Routine([_sums(a), _of_queries(a), _of_keys(a)], spaces)


def _sums(a: _Attention) -> Part:
    """Of each query its largest score, one over its sum of exponentials, and the product of y and
    y's cotangent."""
    a.by_queries()
    inner = fold("sum", OUT, a.cotangent() * a.result())
    return a.part("attention_sums", a.queries([
        Set(Q, a.query()), *_zero(TOTAL, NONE), Set(TOP, NOTHING),
        a.over_keys([*a.online(), Set(TOP, NEXT)]),
        Store("shifts", a.row(), scalar.where(scalar.eq(TOP, NOTHING), 0.0, TOP)),
        Store("inverses", a.row(), 1.0 / a.total()),
        a.out([Store("inners", a.row(), inner)])]), 2 * a.d + 2 * a.e)


def _of_queries(a: _Attention) -> Part:
    """The queries' cotangents: a tile of queries over all keys."""
    a.by_queries()
    return a.part("attention_of_queries", a.queries([a.out([
        Set(Q, a.query()), Set(G, a.cotangent()), *a.known(), *_zero(OF_Q, NONE),
        a.over_keys([*a.slopes(a.key(), a.value()),
                     Set(OF_Q, tile_product(SLOPES, a.key(), OF_Q, KEY))]),
        Store(RESULT, a.place(a.t, a.h, a.head, QUERY, a.d, WIDTH), a.scaled(OF_Q))])]),
        2 * (2 * a.d + a.e))


def _of_keys(a: _Attention) -> Part:
    """The keys' and values' cotangents: a tile of keys over all queries of the heads that share
    them."""
    a.by_keys()
    of_k = size(a.types[0].size) + a.place(a.s, a.g, a.group, KEY, a.d, WIDTH)
    of_v = size(a.types[0].size + a.types[1].size) + a.place(a.s, a.g, a.group, KEY, a.e, OUT)
    share = a.h // a.g
    heads = Loop(a.head, a.group * share, (a.group + 1) * share, [a.over_queries([
        Set(Q, a.query()), Set(G, a.cotangent()), *a.known(), *_zero(NONE),
        *a.slopes(K, V),
        Set(OF_K, tile_product(SLOPES, Q, OF_K, QUERY)),
        Set(OF_V, tile_product(a.kept(), G, OF_V, QUERY))])])
    return a.part("attention_of_keys", a.keys([
        Set(K, a.key()), *_zero(OF_K), a.out([
            Set(V, a.value()), *_zero(OF_V), heads, Store(RESULT, of_v, OF_V)]),
        Store(RESULT, of_k, a.scaled(OF_K))]), 2 * (2 * a.d + 2 * a.e))


def _zero(*registers: Expr) -> list:
    return [Set(r, lit(0, float32)) for r in registers]


class _Attention:
    """Statements for a tile of queries of a `head`, or of keys of a `group` of heads, at the places
    `at` of the leading axes."""

    head: Expr
    group: Expr
    at: list[Expr]

    def __init__(self, p: dict, types: tuple[TensorType, ...]):
        q, k, v, *_ = types
        self.p, self.types = p, types
        *self.lead, self.t, self.h, self.d = q.shape
        self.s, self.g, self.e = k.shape[-3], k.shape[-2], v.shape[-1]
        self.ahead = size(self.s) - size(self.t)    # keys that the first query sees but its own
        self.widest = max(upper(self.d), upper(self.e))
        self.task = index_var("task")

    # ---- what a program has ---------------------------------------------------------------------

    def by_queries(self) -> None:
        """A program has a tile of queries; keys pass by, few enough for the registers."""
        self.count = TILE // 2 if self.widest > TILE // 2 else TILE
        self.transposed, blocks = False, (self.t + (TILE - 1)) // TILE
        *self.at, self.head, block = _places(self.task, (*self.lead, self.h, blocks))
        self.group, self.first = self.head // (self.h // self.g), block * TILE
        self.tasks = product((*self.lead, self.h, blocks))

    def by_keys(self) -> None:
        """A program has a tile of keys; queries of the head of a loop pass by. It has two sums."""
        self.count = TILE // 4 if self.widest > TILE else TILE // 2
        self.transposed, blocks = True, (self.s + (TILE - 1)) // TILE
        *self.at, self.group, block = _places(self.task, (*self.lead, self.g, blocks))
        self.head, self.first = index_var("head"), block * TILE
        self.tasks = product((*self.lead, self.g, blocks))

    def part(self, name: str, body: list, flops: Extent) -> Part:
        return Part(name, self.task, self.tasks, body, warps=WARPS, stages=STAGES,
                    flops=product((*self.lead, self.h, self.t, self.s, flops)))

    def queries(self, body: list) -> list:
        """The body for the program's tile of queries, and the width of heads."""
        return [self._own(QUERY, self.t, [tile(WIDTH, ZERO, size(self.d), _power(self.d), body)])]

    def keys(self, body: list) -> list:
        return [self._own(KEY, self.s, [tile(WIDTH, ZERO, size(self.d), _power(self.d), body)])]

    def _own(self, var: Expr, extent: Extent, body: list) -> Loop:
        return tile(var, self.first, scalar.minimum(self.first + TILE, size(extent)), TILE, body)

    def out(self, body: list) -> Loop:
        """The body for the values' width."""
        return tile(OUT, ZERO, size(self.e), _power(self.e), body)

    def over_keys(self, body: list) -> Loop:
        """The body for each tile of keys that some query of the tile sees."""
        end = size(self.s)
        if self.p["causal"]:
            end = scalar.maximum(scalar.minimum(end, self.first + TILE + self.ahead), ZERO)
        return self._passing(KEY, ZERO, end, body)

    def over_queries(self, body: list) -> Loop:
        """The body for each tile of queries that sees some key of the tile."""
        begin = ZERO
        if self.p["causal"]:
            begin = scalar.maximum(self.first - self.ahead, ZERO) // self.count * self.count
        return self._passing(QUERY, begin, size(self.t), body)

    def _passing(self, var: Expr, begin: Expr, end: Expr, body: list) -> Loop:
        start = index_var(f"{var.attr[0]}0")
        inside = tile(var, start, scalar.minimum(start + self.count, end), self.count, body)
        return Loop(start, begin, end, [inside], "serial", self.count)

    # ---- operands and places --------------------------------------------------------------------

    def query(self) -> Expr:
        return read(0, (*self.at, QUERY, self.head, WIDTH), float32)

    def key(self) -> Expr:
        return read(1, (*self.at, KEY, self.group, WIDTH), float32)

    def value(self) -> Expr:
        return read(2, (*self.at, KEY, self.group, OUT), float32)

    def result(self) -> Expr:
        return read(len(self.types) - 2, (*self.at, QUERY, self.head, OUT), float32)

    def cotangent(self) -> Expr:
        return read(len(self.types) - 1, (*self.at, QUERY, self.head, OUT), float32)

    def place(self, extent: Extent, heads: Extent, head: Expr, row: Expr, width: Extent,
              column: Expr) -> Expr:
        """Where an element of a result [*lead, extent, heads, width] lies."""
        return _flat((*self.lead, extent, heads, width), (*self.at, row, head, column))

    def row(self) -> Expr:
        """The number of the query among all, head by head."""
        return _flat((*self.lead, self.h, self.t), (*self.at, self.head, QUERY))

    # ---- scores ---------------------------------------------------------------------------------

    def scores(self, query: Expr, key: Expr) -> Expr:
        """The scores, -inf where a query does not see a key."""
        x = self._product(query, key, WIDTH) * lit(self.p["scale"], float32)
        if self.p["mask"]:
            dtype = self.types[3].dtype
            mask = read(3, (*self.at, self.head, QUERY, KEY), dtype)
            x = scalar.where(mask, x, NOTHING) if dtype is bool_ else x + mask
        return scalar.where(QUERY + self.ahead >= KEY, x, NOTHING) if self.p["causal"] else x

    def _product(self, of_query: Expr, of_key: Expr, over: Expr) -> Expr:
        """Scores' rows are what the program's own tile is of."""
        left, right = (of_key, of_query) if self.transposed else (of_query, of_key)
        return tile_product(left, right, NONE, over)

    def online(self) -> list:
        """A tile of keys: its weights by the largest score so far, and the sum of all so far."""
        return [Set(SCORES, self.scores(Q, self.key())),
                Set(NEXT, scalar.maximum(TOP, fold("max", KEY, SCORES))),
                Set(SHIFT, scalar.where(scalar.eq(NEXT, NOTHING), 0.0, NEXT)),
                Set(WEIGHTS, scalar.exp(SCORES - SHIFT)), Set(KEEP, scalar.exp(TOP - SHIFT)),
                Set(TOTAL, TOTAL * KEEP + fold("sum", KEY, WEIGHTS))]

    def total(self) -> Expr:
        """The sum of exponentials, or 1 where a query sees nothing."""
        return scalar.where(scalar.eq(TOTAL, 0.0), 1.0, TOTAL)

    def known(self) -> list:
        """What `_sums` found of the queries."""
        return [Set(r, self._load(name)) for r, name in (
            (SHIFT, "shifts"), (INVERSE, "inverses"), (INNER, "inners"))]

    def _load(self, name: str) -> Expr:
        return expr.load(name, self.row(), float32)

    def slopes(self, key: Expr, value: Expr) -> list:
        """The weights, and the cotangents of the scores."""
        given = self._dropped(self._product(G, value, OUT))
        return [Set(WEIGHTS, scalar.exp(self.scores(Q, key) - SHIFT) * INVERSE),
                Set(SLOPES, WEIGHTS * (given - INNER))]

    def scaled(self, x: Expr) -> Expr:
        return x * lit(self.p["scale"], float32)

    def kept(self) -> Expr:
        """What dropout leaves of the weights."""
        return self._dropped(WEIGHTS)

    def _dropped(self, x: Expr) -> Expr:
        rate, number = self.p["dropout"], 4 if self.p["mask"] else 3
        if not rate:
            return x
        own = self.types[number].rank - 1   # leading axes that have a key each
        key = [read(number, (*self.at[:own], lit(w, ZERO.dtype)), self.types[number].dtype)
               for w in (0, 1)]
        at = _flat((*self.lead[own:], self.h, self.t, self.s),
                   (*self.at[own:], self.head, QUERY, KEY))
        return scalar.where(unit_at(at, key, float32) < 1.0 - rate,
                            x / lit(1.0 - rate, float32), lit(0, float32))


def _places(task: Expr, extents: tuple) -> list[Expr]:
    """The task's places in axes of these extents, the last one fastest."""
    found: list[Expr] = []
    for extent in reversed(extents[1:]):
        found.insert(0, task % size(extent))
        task = task // size(extent)
    return [task, *found]


def _flat(extents: tuple, places: tuple) -> Expr:
    """The number of an element among all of a row-major array."""
    at: Expr = ZERO
    for extent, x in zip(extents, places, strict=True):
        at = at * size(extent) + x
    return at


def _power(n) -> int:
    return 1 << max(4, (upper(n) - 1).bit_length())
