"""A register tile of a product: its sums over chunks, and what becomes of them behind it."""

from __future__ import annotations

from typing import NamedTuple

from ...base import dtypes
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Prefetch, Set, When, lane_index
from .nest import Builder, StridedRead, decode, merged_axes, stores_after

ZERO = lit(0, dtypes.index)
WRITTEN_OUT = 120       # vector operations that a tile's epilogue may have before it is a loop


class Span(NamedTuple):
    """Some places of a product's rows, or of its columns: low..high of `axes` taken as one."""

    axes: list[Expr]
    low: Expr
    high: Expr
    label: str


def cheap(b: Builder, dot: Expr, vectors: int) -> bool:
    """Whether the maps behind a tile of so many vectors may be written out for each of them."""
    steps = {e for _, body in b.nest.outputs() for e in expr.walk(body)
             if not isinstance(e.op, str) and e.dtype is not dtypes.index and e is not dot}
    return (1 + len(steps)) * vectors <= WRITTEN_OUT


def direct_epilogue(b: Builder, dot: Expr, registers: list[list[Expr]],
                    spans: tuple[Span, Span], places: dict[Expr, Expr]) -> list:
    """The tile's registers through the fused maps to their outputs, each row and vector written
    out; what lies beyond the ends of the spans is left alone."""
    rows, columns = spans
    out: list = []
    for r, line in enumerate(registers):
        stores = []
        for v, x in enumerate(line):
            j = columns.low + v * LANES + lane_index()
            part = _stores(b, dot, x, (rows.low + r, j), spans, places)
            stores.append(When(j < columns.high, part))
        out += [When(rows.low + r < rows.high, stores)] if r else stores
    return out


def epilogue(b: Builder, dot: Expr, value: Expr, place: tuple[Expr, Expr],
             spans: tuple[Span, Span], places: dict[Expr, Expr]) -> list:
    """The tile through the fused maps to their outputs: `value` is the sum at the `place`
    (row, column), `places` those of the other axes."""
    rows, columns = spans
    i, j = place
    stores = _stores(b, dot, value, place, spans, places)
    return [Loop(i, rows.low, rows.high, [Loop(j, columns.low, columns.high, stores, "vector")])]


def fetches(b: Builder, shape: tuple[int, int], spans: tuple[Span, Span],
            places: dict[Expr, Expr]) -> list:
    """The lines that a tile of so many rows and vectors is about to write, called for early; only
    where single strides lead to them."""
    out: list = []
    for seed, _ in b.nest.outputs():
        strides = b.nest.strides(seed)
        runs = [merged_axes(s.axes, [strides], set()) for s in spans]
        if max(map(len, runs)) > 1:
            continue
        name = b.output(seed.node)
        for r in range(shape[0]):
            for v in range(shape[1]):
                at = dict(places)
                for span, found, flat in zip(spans, runs, (spans[0].low + r,
                                                           spans[1].low + v * LANES)):
                    at |= dict.fromkeys(span.axes, ZERO) | {x[2]: flat for x in found}
                out.append(Prefetch(name, b.address(name, strides, at)))
    return out


def _stores(b: Builder, dot: Expr, value: Expr, place: tuple[Expr, Expr],
            spans: tuple[Span, Span], places: dict[Expr, Expr]) -> list:
    """The outputs at one place."""
    nest = b.nest
    tables = [r.strides for e, r in nest.reads.items() if e not in dot.args]
    outputs = nest.outputs()
    for seed, _ in outputs:
        tables.append(nest.strides(seed))
    used = nest.loose_axes(nest.bodies, dot)
    places = {**places, dot: scalar.cast(value, dot.dtype)}
    for span, flat in zip(spans, place, strict=True):
        runs = merged_axes(span.axes, tables, used)
        counts = [(last, b.size((span.label, k), e)) for k, (_, e, last) in enumerate(runs)]
        places |= dict.fromkeys(span.axes, ZERO) | decode(flat, counts)
    memo: dict[Expr, Expr] = {}
    pairs = []
    for seed, body in outputs:
        name = b.output(seed.node)
        strides = nest.strides(seed)
        pairs.append((name, b.address(name, strides, places), b.lowered(body, places, memo)))
    return stores_after(pairs, LANES)


def started(b: Builder, start: StridedRead, registers: list[list[Expr]],
            spans: tuple[Span, Span], places: dict[Expr, Expr]) -> list:
    """The tile's registers as what lies at its places in a stored array, whose columns are
    neighbours."""
    rows, columns = spans
    name = b.operand(start.base, start.offset, start.dtype)
    runs = [(s, merged_axes(s.axes, [start.strides], set())) for s in spans]
    out: list = []
    for r, line in enumerate(registers):
        at = dict(places)
        for (span, found), flat in zip(runs, (rows.low + r, columns.low), strict=True):
            counts = [(last, b.size((span.label, "start", k), e))
                      for k, (_, e, last) in enumerate(found)]
            at |= dict.fromkeys(span.axes, ZERO) | decode(flat, counts)
        place = b.address(name, start.strides, at)
        sets = [Set(x, expr.load(name, place + v * LANES, start.dtype, LANES,
                                 columns.low + v * LANES + lane_index() < columns.high, 0))
                for v, x in enumerate(line)]
        out += [When(rows.low + r < rows.high, sets)] if r else sets
    return out
