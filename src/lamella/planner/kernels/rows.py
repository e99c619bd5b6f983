"""The row template: pointwise maps, reductions over the inner axis, and both in one pass over rows.

A task is a row (or a block of one long row). Inside it, reductions that depend on each other run
as passes over the inner axis; values that several passes need and that are dear are kept in
scratch; the last pass stores. The order of sums is that of docs/numerics.md.
"""

from __future__ import annotations

import math

from ...base import dtypes
from ...base.dtypes import DType
from ...base.extents import Extent, lower, product, upper
from ...lang import expr, scalar
from ...lang.expr import Expr, free_axes, lit
from ...lang.loops import (
    LANES,
    Loop,
    Prefetch,
    Set,
    Store,
    When,
    index_var,
    lane_tree,
    trailing_zeros,
)
from ...lang.order import SUM_CHUNK
from ..groups.defined import CHEAP
from ..plan import Launch
from .nest import Builder, Nest, accumulator, decode, merged_axes, strides_of, widened

BLOCK = 8192            # elements of one task of a flat map
KEEP = 16384            # longest row whose dear values are kept in scratch
ROW_WORK = 8192         # elements that are worth claiming at a time
AHEAD = range(4 << 10, 256 << 10)   # bytes of a row while which the next one is asked for
LINE = 64

COMBINE = {"sum": scalar.add, "prod": scalar.mul, "max": scalar.maximum, "min": scalar.minimum,
           "any": scalar.or_, "all": scalar.and_}


def identity(monoid: str, dtype: DType) -> Expr:
    """The value that leaves any other unchanged."""
    if monoid in ("any", "all"):
        return lit(monoid == "all", dtypes.bool_)
    if monoid in ("sum", "prod"):
        return lit(1 if monoid == "prod" else 0, dtype)
    sign = -1 if monoid == "max" else 1
    if dtype.is_float:
        return lit(sign * math.inf, dtype)
    if dtype is dtypes.bool_:
        return lit(monoid == "min", dtype)
    low = 0 if dtype.kind == "uint" else -(2 ** (dtype.bits - 1))
    return lit(low if monoid == "max" else low + 2 ** dtype.bits - 1, dtype)


def levels_of(extent: Extent, chunk: int) -> int:
    """Partial results that wait at once while so many positions are joined chunk by chunk."""
    return max(1, -(-upper(extent) // chunk)).bit_length()


def _elements(runs: list[tuple]) -> int:
    """The most elements that runs of axes have together."""
    return math.prod(upper(extent) for _, extent, _ in runs)


def schedule_rows(nest: Nest, buffers) -> Launch:
    """The launch of a group of maps and of reductions over the innermost axis."""
    return _Rows(nest, buffers).launch()


class _Rows:
    def __init__(self, nest: Nest, buffers):
        self.nest, self.b = nest, Builder(nest, buffers)
        self.outputs = nest.outputs()
        assert nest.group.domain is not None
        rows, extent = nest.group.domain
        self.row_axes = [expr.axis(f"a{k}", e) for k, e in enumerate(rows)]
        self.inner = expr.axis(f"a{len(rows)}", extent)
        self.passes: list[list[tuple[Expr, str, Expr]]] = []
        self.registers: dict[Expr, Expr] = {}
        self.finals = [self._flatten(body) for _, body in self.outputs]
        self.memo: dict[Expr, Expr] = {}
        self.following: Expr | None = None      # the axis along which rows follow each other

    # -- reductions become registers, by depth --

    def _flatten(self, e: Expr) -> Expr:
        """e with each reduction replaced by the register that will hold it."""
        found = self.registers.get(e)
        if found is not None:
            return found
        if e.op != "reduce":
            args = tuple(self._flatten(a) for a in e.args)
            self.registers[e] = e if args == e.args else expr.rebuild(e, args)
            return self.registers[e]
        body, = e.args
        body = self._flatten(expr.substitute(body, {e.attr[1][0]: self.inner}))
        key = expr.make("reduce", (body,), (e.attr[0], (self.inner,)), e.dtype)
        found = self.registers.get(key)
        if found is None:
            found = expr.var(f"s{sum(map(len, self.passes))}", e.dtype)
            depth = max([self._depth(x) for x in free_axes(body)], default=0)
            while len(self.passes) <= depth:
                self.passes.append([])
            self.passes[depth].append((found, e.attr[0], body))
            self.registers[key] = found
        self.registers[e] = found
        return found

    def _depth(self, x: Expr) -> int:
        for d, group in enumerate(self.passes):
            if any(r is x for r, _, _ in group):
                return d + 1
        return 0

    # -- the kernel --

    def launch(self) -> Launch:
        if not self.passes:
            return self._map()
        rows, task, places = self._rows(self.row_axes, {self.inner})
        body = self._row(places)
        width = self.inner.attr[1]
        grain = max(1, ROW_WORK // max(1, width)) if isinstance(width, int) else 1
        loop = Loop(task, lit(0, dtypes.index), self.b.size(("rows",), rows), body, "parallel")
        return self.b.launch("rows", [loop], rows, grain)

    def _tables(self) -> list[dict[Expr, Extent]]:
        """Strides of every strided read and every stored output, for merging axes."""
        tables = [r.strides for r in self.nest.reads.values()]
        for seed, _ in self.outputs:
            tables.append(strides_of(seed.definition.axes, seed.node.shape,
                                     self.nest.access[id(seed.node)]))
        return tables

    def _fixed(self) -> set[Expr]:
        """Axes used other than as the place of a strided read: they cannot merge."""
        return self.nest.loose_axes(self.nest.bodies)

    def _rows(self, axes, extra: set[Expr]):
        """(number of rows, task variable, places of the row axes), neighbours merged."""
        runs = merged_axes(axes, self._tables(), self._fixed() | extra)
        task = index_var("row")
        self.following = runs[-1][2] if runs else None
        counts = [(last, self.b.size(("run", k), e)) for k, (_, e, last) in enumerate(runs)]
        places = decode(task, counts)
        for run, _, last in runs:
            places |= {a: lit(0, dtypes.index) for a in run if a is not last}
        places |= {a: lit(0, dtypes.index) for a in axes if a not in places}
        return product(e for _, e, _ in runs), task, places

    def _map(self) -> Launch:
        axes = [*self.row_axes, self.inner]
        runs = merged_axes(axes, self._tables(), self._fixed())
        if len(runs) <= 1:
            return self._flat(runs, axes)
        self.inner = runs[-1][2]
        across = next((run for run in runs[:-1] if self._lies_along(run[2])), None)
        if across is not None and min(lower(across[1]), lower(runs[-1][1])) >= LANES:
            return self._squares(axes, across, runs[-1])
        inside = runs[-2:] if len(runs) > 2 and _elements(runs[-2:]) <= ROW_WORK else runs[-1:]
        within = {a for run, _, _ in inside for a in run}
        rows, task, places = self._rows([a for a in axes if a not in within], within)
        places |= dict.fromkeys(within, lit(0, dtypes.index))
        loops = [(last, index_var(name), self.b.size((name,), extent))
                 for name, (_, extent, last) in zip(("i", "j")[-len(inside):], inside, strict=True)]
        places |= {last: var for last, var, _ in loops}
        body = self._stores(places)
        for (_, var, extent), kind in zip(reversed(loops), ("vector", "serial"), strict=False):
            body = [Loop(var, lit(0, dtypes.index), extent, body, kind)]
        grain = max(1, ROW_WORK // max(1, _elements(inside)))
        loop = Loop(task, lit(0, dtypes.index), self.b.size(("rows",), rows), body, "parallel")
        return self.b.launch("map", [loop], rows, grain)

    def _lies_along(self, axis: Expr) -> bool:
        """Whether an operand's neighbours follow each other along this axis, and along the inner
        one lie in lines of their own."""
        return any(r.strides.get(axis) == 1 and lower(r.strides.get(self.inner, 0)) >= LANES
                   for r in self.nest.reads.values())

    def _squares(self, axes, across, along) -> Launch:
        """Maps of what lies turned: LANES rows by LANES columns, one square after another, so that
        each line of an operand is read once."""
        within = {a for run in (across, along) for a in run[0]}
        rows, row, places = self._rows([a for a in axes if a not in within], within)
        places |= dict.fromkeys(within, lit(0, dtypes.index))
        i, j, column, task = map(index_var, ("i", "j", "column", "task"))
        places |= {across[2]: i, along[2]: j}
        high, wide = self.b.size(("high",), across[1]), self.b.size(("wide",), along[1])
        blocks = (across[1] + (LANES - 1)) // LANES
        count = self.b.size(("blocks",), blocks)
        first = task % count * LANES
        square = Loop(i, first, scalar.minimum(first + LANES, high), [
            Loop(j, column, scalar.minimum(column + LANES, wide), self._stores(places), "vector")])
        body = [Set(row, task // count),
                Loop(column, lit(0, dtypes.index), wide, [square], "serial", LANES)]
        loop = Loop(task, lit(0, dtypes.index), self.b.size(("tasks",), rows * blocks), body,
                    "parallel")
        return self.b.launch("map", [loop], rows * blocks)

    def _flat(self, runs, axes) -> Launch:
        """One long axis, in blocks."""
        count: Extent = runs[0][1] if runs else 1
        places = {a: lit(0, dtypes.index) for a in axes}
        task, j = index_var("block"), index_var("j")
        if runs:
            places[runs[0][2]] = j
        n = self.b.size(("count",), count)
        high = scalar.minimum(task * BLOCK + BLOCK, n)
        body = [Loop(j, task * BLOCK, high, self._stores(places), "vector")]
        tasks = (count + (BLOCK - 1)) // BLOCK
        loop = Loop(task, lit(0, dtypes.index), self.b.size(("tasks",), tasks), body, "parallel")
        return self.b.launch("map", [loop], tasks)

    def _row(self, places: dict[Expr, Expr]) -> list:
        """All passes of one row."""
        j = index_var("j")
        places = {**places, self.inner: j}
        kept = self._kept()
        body: list = []
        for d, group in enumerate(self.passes):
            body += self._pass(d, group, j, places, kept)
        vector = [k for k, (s, _) in enumerate(self.outputs) if self._is_vector(s)]
        if vector:
            stores = self._keep_stores(len(self.passes), kept, places, j)
            stores = stores + self._stores(places, vector) + self._ahead(places)
            body.append(Loop(j, lit(0, dtypes.index), self._width(), stores, "vector"))
        rest = [k for k in range(len(self.outputs)) if k not in vector]
        return body + self._stores(places, rest, lanes=1)

    def _is_vector(self, seed) -> bool:
        return len(seed.definition.axes) > len(self.row_axes)

    def _width(self) -> Expr:
        return self.b.size(("inner",), self.inner.attr[1])

    def _stores(self, places, which=None, lanes: int = LANES) -> list:
        """Stores of the outputs `which` (all by default); every value is computed before the first
        store, so that an output may lie where an operand did."""
        pairs = []
        for k, (seed, _) in enumerate(self.outputs):
            if which is not None and k not in which:
                continue
            a = self.nest.access[id(seed.node)]
            name = self.b.output(seed.node)
            strides = strides_of(seed.definition.axes, seed.node.shape, a)
            value = self.b.lowered(self.finals[k], places, self.memo)
            pairs.append((name, self.b.address(name, strides, places), value))
        return stores_after(pairs, lanes)

    # -- passes --

    def _pass(self, d: int, group, j: Expr, places, kept) -> list:
        """One sweep over the row, computing the registers of one depth."""
        chunked = upper(self.inner.attr[1]) > SUM_CHUNK and any(
            m in ("sum", "prod") and accumulator(b.dtype).is_inexact for _, m, b in group)
        sets, accs = [], []
        for register, monoid, e in group:
            acc = expr.var(f"{register.attr[0]}v", accumulator(e.dtype), LANES)
            value = widened(self.b.lowered(e, places, self.memo))
            sets.append(Set(acc, COMBINE[monoid](acc, value)))
            accs.append((register, monoid, acc))
        sweep = self._keep_stores(d, kept, places, j) + sets + (self._ahead(places) if d else [])
        if not chunked:
            out: list = [Set(acc, identity(m, acc.dtype)) for _, m, acc in accs]
            out.append(Loop(j, lit(0, dtypes.index), self._width(), sweep, "vector"))
            return out + [Set(r, scalar.cast(lane_tree(m, acc), r.dtype)) for r, m, acc in accs]
        return self._chunks(accs, sweep, j)

    def _ahead(self, places) -> list:
        """Prefetches of the next row, for a pass that finds its own row in the caches: memory works
        meanwhile. Hardware looks no farther ahead than the end of a page."""
        out: dict[tuple[str, Expr], None] = {}
        for e, r in self.nest.reads.items():
            step = r.strides.get(self.following, 0) if self.following is not None else 0
            width = self.inner.attr[1] * e.dtype.bytes
            if step == 0 or r.strides.get(self.inner) != 1 or lower(width) not in AHEAD:
                continue
            name = self.b.operand(r.base, r.offset, e.dtype)
            at = self.b.address(name, r.strides, places)
            at = at + self.b.size((name, self.following), step)
            for line in range(0, LANES * e.dtype.bytes, LINE):
                out[name, at + line // e.dtype.bytes] = None
        return [Prefetch(*x) for x in out]

    def _chunks(self, accs, sweep: list, j: Expr) -> list:
        """The sweep in chunks whose results join as an aligned binary tree."""
        c, width = index_var("c"), self._width()
        count = (width + (SUM_CHUNK - 1)) // SUM_CHUNK
        ordered = [(r, m, a) for r, m, a in accs if m in ("sum", "prod")]
        free = [(r, m, a) for r, m, a in accs if m not in ("sum", "prod")]
        depth = self.b.size(("levels",), levels_of(self.inner.attr[1], SUM_CHUNK))
        levels = {r: self.b.scratch(a.dtype, depth) for r, _, a in ordered}
        out: list = [Set(a, identity(m, a.dtype)) for _, m, a in free]
        body: list = [Set(a, identity(m, a.dtype)) for _, m, a in ordered]
        high = scalar.minimum(c * SUM_CHUNK + SUM_CHUNK, width)
        body.append(Loop(j, c * SUM_CHUNK, high, sweep, "vector"))
        for r, m, a in ordered:
            body += push_level(levels[r], c, m, lane_tree(m, a), f"{r.attr[0]}c")
        out.append(Loop(c, lit(0, dtypes.index), count, body, "serial"))
        for r, m, a in ordered:
            out += join_levels(levels[r], depth, count, m, r, a.dtype)
        return out + [Set(r, scalar.cast(lane_tree(m, a), r.dtype)) for r, m, a in free]

    # -- dear values that several passes need --

    def _kept(self) -> dict[Expr, tuple[str, int]]:
        """Expressions to keep in scratch: (buffer, the pass that computes it)."""
        if upper(self.inner.attr[1]) > KEEP:
            return {}
        per_pass = [[e for _, _, e in g] for g in self.passes]
        per_pass.append([f for f, (s, _) in zip(self.finals, self.outputs, strict=True)
                         if self._is_vector(s)])
        first: dict[Expr, int] = {}
        shared: dict[Expr, int] = {}
        for d, bodies in enumerate(per_pass):
            here = {x for b in bodies for x in expr.walk(b) if self._dear(x)}
            for x in here:
                if x in first and first[x] < d:
                    shared[x] = first[x]
                first.setdefault(x, d)
        inside = {y for x in shared for y in expr.walk(x) if y is not x}
        return {x: (self.b.scratch(x.dtype, self._width()), d) for x, d in shared.items()
                if x not in inside or not self._only_inside(x, shared, per_pass)}

    def _dear(self, x: Expr) -> bool:
        return self.inner in free_axes(x) and not isinstance(x.op, str) and any(
            not isinstance(y.op, str) and y.op.name not in CHEAP for y in expr.walk(x))

    def _only_inside(self, x: Expr, shared, per_pass) -> bool:
        """Whether every use of x is within another kept expression."""
        seen: set[Expr] = set()

        def used(e: Expr) -> bool:
            if e is x:
                return True
            if e in seen or e in shared:
                return False
            seen.add(e)
            return any(used(a) for a in e.args)

        return not any(used(b) for bodies in per_pass for b in bodies)

    def _keep_stores(self, d: int, kept, places, j: Expr) -> list:
        """Stores of the values that pass d computes for later ones, which then load them."""
        out: list = []
        for x, (name, first) in kept.items():
            if first == d:
                value = self.b.lowered(x, places, self.memo)
                out.append(Store(name, j, value))
            elif first == d - 1:
                self._forget()
                self.memo[x] = expr.load(name, j, x.dtype)
        return out

    def _forget(self) -> None:
        """Drop memoised expressions, so that kept values are loaded from now on."""
        loads = {e: v for e, v in self.memo.items() if v.op == "load" and v.attr[0].startswith("t")}
        self.memo = loads


def stores_after(pairs: list[tuple[str, Expr, Expr]], lanes: int) -> list:
    """Stores (buffer, offset, value) with all values computed before the first of them."""
    if len(pairs) == 1:
        return [Store(*pairs[0])]
    kept = [expr.var(f"o{k}", value.dtype, lanes) for k, (_, _, value) in enumerate(pairs)]
    sets: list = [Set(v, value) for v, (_, _, value) in zip(kept, pairs, strict=True)]
    return sets + [Store(n, at, v) for v, (n, at, _) in zip(kept, pairs, strict=True)]


def push_level(levels: str, c: Expr, monoid: str, value: Expr, name: str) -> list:
    """Join chunk c's result into the stack of partial results, as a binary counter would."""
    dtype = value.dtype
    carry, level = expr.var(name, dtype), index_var(f"{name}l")
    top = trailing_zeros(c + 1)
    return [Set(carry, value),
            Loop(level, lit(0, dtypes.index), top,
                 [Set(carry, COMBINE[monoid](expr.load(levels, level, dtype), carry))], "serial"),
            Store(levels, top, carry)]


def join_levels(levels: str, depth: Expr, count: Expr, monoid: str, result: Expr,
                dtype: DType) -> list:
    """The aligned tree's root from the stack of `depth` levels: right parts first, an absent part
    skipped."""
    total, level = expr.var(f"{result.attr[0]}t", dtype), index_var(f"{result.attr[0]}k")
    first = trailing_zeros(scalar.maximum(count, 1))
    present = scalar.ne((count >> level) & 1, 0)
    part = COMBINE[monoid](expr.load(levels, level, dtype), total)
    return [Set(total, identity(monoid, dtype)),
            When(count > 0, [Set(total, expr.load(levels, first, dtype))]),
            Loop(level, first + 1, depth, [When(present, [Set(total, part)])], "serial"),
            Set(result, scalar.cast(total, result.dtype))]
