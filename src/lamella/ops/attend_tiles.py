"""Attention's kernel for devices of tiles: one pass over the keys, nothing of the scores stored.

A program has a tile of queries of one head. It keeps, for each query, the largest score so far, the
sum of exponentials and the weighted sum of values, and rescales both where a larger score comes:
Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867; Dao et al.,
"FlashAttention", arXiv 2205.14135. Tiles of keys that a causal mask hides are left out.
"""

from __future__ import annotations

import math

from ..base.dtypes import bool_, float32
from ..base.extents import product, upper
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.expr import Expr, lit, read, size
from ..lang.loops import Loop, Set, Store, fold, index_var, tile, tile_product
from ..lang.routine import RESULT, ZERO, Part, Routine

QUERIES = 64        # of a tile
KEYS = 64           # of a tile; half as many where heads are wider than that half
WARPS, STAGES = 8, 2
QUERY, WIDTH, KEY, OUT = map(index_var, ("i", "c", "j", "e"))
NOTHING = lit(-math.inf, float32)


def fits(p: dict, q: TensorType) -> bool:
    """Whether this kernel computes it: float32 without dropout."""
    return q.dtype is float32 and not p["dropout"]


def _register(name: str, *axes: Expr) -> Expr:
    return expr.var(name, float32, axes)  # type: ignore[arg-type]


Q, SCORES, WEIGHTS = (_register("q", QUERY, WIDTH), _register("scores", QUERY, KEY),
                      _register("weights", QUERY, KEY))
TOP, NEXT, SHIFT, KEEP, TOTAL = (_register(n, QUERY) for n in
                                 ("top", "larger", "shift", "keep", "total"))
SUM, NONE = _register("mixed", QUERY, OUT), _register("none", QUERY, KEY)


def forward(p: dict, *types: TensorType) -> Routine:
    """y [*lead, t, h, e] of q [*lead, t, h, d], k [*lead, s, g, d], v [*lead, s, g, e]."""
    q, k, v, *_ = types
    *lead, t, h, d = q.shape
    s, g, e = k.shape[-3], k.shape[-2], v.shape[-1]
    blocks = (t + (QUERIES - 1)) // QUERIES
    count = KEYS if max(upper(d), upper(e)) <= KEYS // 2 else KEYS // 2
    task = index_var("task")
    *at, head, block = _places(task, (*lead, h, blocks))
    first = block * QUERIES
    end = size(s)
    if p["causal"]:
        ahead = size(s) - size(t)
        end = scalar.maximum(scalar.minimum(end, first + QUERIES + ahead), ZERO)
    step = _step(p, types, at, head, head // (h // g))
    start = index_var("j0")
    keys = tile(KEY, start, scalar.minimum(start + count, end), count, step)
    safe = scalar.where(scalar.eq(TOTAL, 0.0), 1.0, TOTAL)
    place = ZERO
    for x, extent in zip((*at, QUERY, head, OUT), (*lead, t, h, e), strict=True):
        place = place * size(extent) + x
    body = [Set(Q, read(0, (*at, QUERY, head, WIDTH), float32)),
            Set(TOP, NOTHING), Set(TOTAL, lit(0, float32)), Set(SUM, lit(0, float32)),
            Set(NONE, lit(0, float32)),
            Loop(start, ZERO, end, [keys], "serial", count),
            tile(OUT, ZERO, size(e), _power(e), [Store(RESULT, place, SUM / safe)])]
    body = [tile(WIDTH, ZERO, size(d), _power(d), body)]
    body = [tile(QUERY, first, scalar.minimum(first + QUERIES, size(t)), QUERIES, body)]
    flops = product((*lead, h, t, s, 2 * (d + e)))
    return Routine([Part("attention", task, product((*lead, h, blocks)), body, flops=flops,
                         warps=WARPS, stages=STAGES)])


def _step(p: dict, types: tuple[TensorType, ...], at: list[Expr], head: Expr,
          group: Expr) -> list:
    """One tile of keys: its scores, the sums so far rescaled, and its part of them."""
    q, _, v, *more = types
    key = read(1, (*at, KEY, group, WIDTH), float32)
    value = read(2, (*at, KEY, group, OUT), float32)
    x = tile_product(Q, key, NONE, WIDTH) * lit(p["scale"], float32)
    if p["mask"]:
        mask = read(3, (*at, head, QUERY, KEY), more[0].dtype)
        x = scalar.where(mask, x, NOTHING) if more[0].dtype is bool_ else x + mask
    if p["causal"]:
        ahead = size(types[1].shape[-3]) - size(q.shape[-3])
        x = scalar.where(QUERY + ahead >= KEY, x, NOTHING)
    width = _power(v.shape[-1])
    return [Set(SCORES, x), Set(NEXT, scalar.maximum(TOP, fold("max", KEY, SCORES))),
            Set(SHIFT, scalar.where(scalar.eq(NEXT, NOTHING), 0.0, NEXT)),
            Set(WEIGHTS, scalar.exp(SCORES - SHIFT)), Set(KEEP, scalar.exp(TOP - SHIFT)),
            Set(TOTAL, TOTAL * KEEP + fold("sum", KEY, WEIGHTS)),
            tile(OUT, ZERO, size(v.shape[-1]), width,
                 [Set(SUM, tile_product(WEIGHTS, value, SUM * KEEP, KEY))]),
            Set(TOP, NEXT)]


def _places(task: Expr, extents: tuple) -> list[Expr]:
    """The task's places in axes of these extents, the last one fastest."""
    found: list[Expr] = []
    for extent in reversed(extents[1:]):
        found.insert(0, task % size(extent))
        task = task // size(extent)
    return [task, *found]


def _power(n) -> int:
    return 1 << max(4, (upper(n) - 1).bit_length())
