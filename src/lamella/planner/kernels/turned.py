"""Chains over columns whose positions are neighbours in memory: squares of them turn in registers.

For few rows this is cheaper than panels, which would store and load what is needed once.
"""

from __future__ import annotations

from collections.abc import Callable

from ...lang import expr, scalar
from ...lang.expr import Expr
from ...lang.loops import LANES, Loop, Prefetch, Set, When, index_var, lane_index, transposed
from .panel import Source

AHEAD = 64      # positions that are called for early

Add = Callable[[Expr, Expr], list]      # of a position and its LANES columns


def turned_chain(s: Source, first: Expr, count: Expr, low: Expr, high: Expr, add: Add) -> list:
    """`add` for each of the positions low..high of the columns first, first + 1, ... in turn; of
    those from `count` on the last one's elements stand in."""
    k, full = index_var("k"), index_var("full")
    return [Set(full, low + (high - low) // LANES * LANES),
            When(first + LANES <= count,
                 [Loop(k, low, full, _stepping(s, first, k, add), "serial", LANES)]),
            When(first + LANES > count,
                 [Loop(k, low, full, _clamped(s, first, count, k, add), "serial", LANES)]),
            When(full < high, _clamped(s, first, count, full, add, high))]


def _stepping(s: Source, first: Expr, k: Expr, add: Add) -> list:
    """A square of columns that are all there: each place follows from the one before."""
    at = index_var("column")
    rows = [expr.var(f"row{n}", s.dtype, LANES) for n in range(LANES)]
    out: list = [Set(at, first * s.step + s.at(k))]
    for row in rows:
        out += [Set(row, expr.load(s.name, s.start + at, s.dtype, LANES)),
                Prefetch(s.name, s.start + at + AHEAD), Set(at, at + s.step)]
    return out + [x for n in range(LANES) for x in add(k + n, transposed(rows, n))]


def _clamped(s: Source, first: Expr, count: Expr, k: Expr, add: Add,
             end: Expr | None = None) -> list:
    """A square of columns that may end before it, as may the positions at `end`."""
    inside = () if end is None else (k + lane_index() < end, 0)
    columns = [scalar.minimum(first + n, count - 1) for n in range(LANES)]
    rows = [expr.load(s.name, s.start + c * s.step + s.at(k), s.dtype, LANES, *inside)
            for c in columns]
    sums = [add(k + n, transposed(rows, n)) for n in range(LANES)]
    return [x for n, part in enumerate(sums)
            for x in (part if end is None else [When(k + n < end, part)])]
