"""The row template: pointwise maps, reductions over the inner axis, and both in one pass over rows.

A task is a row (or a block of one long row). Inside it, reductions that depend on each other run
as passes over the inner axis; values that several passes need and that are dear are kept in
scratch; the last pass stores. The order of sums is that of docs/numerics.md.
"""

from __future__ import annotations

import math

from ...base.dtypes import DType
from ...base.extents import Extent, lower, product, upper
from ...ir.node import Node
from ...lang import expr, scalar
from ...lang.expr import Expr, free_axes
from ...lang.loops import LANES, Loop, Prefetch, Set, Store, index_var, lane_tree
from ...lang.order import SUM_CHUNK
from ..groups.defined import CHEAP
from ..plan import Launch
from .nest import (
    ZERO,
    Builder,
    Nest,
    accumulator,
    decode,
    merged_axes,
    stores_after,
    widened,
)
from .parts import LEAST_TASKS, Parts
from .tree import COMBINE, Levels, identity, levels_of

TASKS = 8               # rows below which parts of them are tasks
WORTH = 1 << 18         # elements that are worth a second launch
BLOCK = 8192            # elements of one task of a flat map
KEEP = 16384            # longest row whose dear values are kept in scratch
ROW_WORK = 8192         # elements that are worth claiming at a time
AHEAD = range(4 << 10, 256 << 10)   # bytes of a row while which the next one is asked for
LINE = 64


def _lanes(register: Expr, element: Expr) -> Expr:
    """The lanes in which a register's reduction gathers."""
    return expr.var(f"{register.attr[0]}v", accumulator(element.dtype), LANES)


def _elements(runs: list[tuple]) -> int:
    """The most elements that runs of axes have together."""
    return math.prod(upper(extent) for _, extent, _ in runs)


def schedule_map(nest: Nest, buffers) -> Launch:
    """The launch of a group of maps."""
    launch, = schedule_rows(nest, buffers)
    return launch


def schedule_rows(nest: Nest, buffers) -> list[Launch]:
    """The launches of a group of maps and of reductions over the innermost axis: one, but for few
    long rows of which only sums are wanted, which are cut into parts."""
    return Rows(nest, buffers).launches()


class Rows:
    def __init__(self, nest: Nest, buffers):
        self.nest, self.buffers = nest, buffers
        self.b = Builder(nest, buffers)
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

    def launches(self) -> list[Launch]:
        if not self.passes:
            return [self._map()]
        rows, width = product(a.attr[1] for a in self.row_axes), self.inner.attr[1]
        if len(self.passes) == 1 and upper(rows) < TASKS and lower(rows * width) >= WORTH and \
                not any(self._is_vector(s) for s, _ in self.outputs):
            parts = Parts(width, SUM_CHUNK, rows)
            if parts.several:
                return self._in_parts(parts, rows)
        return [self._each(self._row)]

    def _each(self, body) -> Launch:
        """`body(places)` for each row."""
        rows, task, places = self._rows(self.row_axes, {self.inner})
        width = self.inner.attr[1]
        grain = max(1, ROW_WORK // max(1, width)) if isinstance(width, int) else 1
        loop = Loop(task, ZERO, self.b.size(("rows",), rows), body(places), "parallel")
        return self.b.launch("rows", [loop], rows, grain)

    def _in_parts(self, parts: Parts, rows: Extent) -> list[Launch]:
        """The sums of each part of each row, then their trees and what is computed of them."""
        (group,), buffers = self.passes, dict(self.buffers)
        self.nest.access = access = dict(self.nest.access)
        nodes = [parts.node((rows,), accumulator(e.dtype), buffers, access) for _, _, e in group]
        self.b = Builder(self.nest, buffers)
        first = self._parts(parts, nodes)
        self.b, self.memo = Builder(self.nest, buffers), {}
        return [first, self._each(lambda places: self._meeting(parts, nodes, places))]

    def _parts(self, parts: Parts, nodes: list[Node]) -> Launch:
        """The registers of the one pass over each part, as they are added up."""
        rows, row, places = self._rows(self.row_axes, {self.inner})
        task, j = index_var("task"), index_var("j")
        count, step = self.b.size(("parts",), parts.count), self.b.size(("rows",), rows)
        part = task % count
        group = [(expr.var(r.attr[0], n.dtype), monoid, e)
                 for (r, monoid, e), n in zip(self.passes[0], nodes, strict=True)]
        sweep = self._adding(group, {**places, self.inner: j})
        body = [Set(row, task // count), *self._swept(group, sweep, j, parts, part), *(
            Store(self.b.operand(n, 0, n.dtype, writes=True), part * step + row, r)
            for n, (r, _, _) in zip(nodes, group, strict=True))]
        tasks = rows * parts.count
        loop = Loop(task, ZERO, self.b.size(("tasks",), tasks), body, "parallel")
        return self.b.launch("rows", [loop], tasks)

    def _meeting(self, parts: Parts, nodes: list[Node], places) -> list:
        """A row's registers as the trees of its parts, and the outputs."""
        step, body = self.b.size(("rows",), nodes[0].shape[1]), []
        depth = self.b.size(("levels",), levels_of(parts.count, 1))
        for n, (r, monoid, _) in zip(nodes, self.passes[0], strict=True):
            name = self.b.operand(n, 0, n.dtype)
            tree, part = self._levels(r, monoid, n.dtype, depth), index_var("part")
            total, = tree.registers
            found = expr.load(name, part * step + index_var("row"), n.dtype)
            body += [*tree.of(part, self.b.size(("parts",), parts.count), [Set(total, found)]),
                     Set(r, scalar.cast(total, r.dtype))]
        return [*body, *self._stores(places, lanes=1)]

    def _tables(self) -> list[dict[Expr, Extent]]:
        """Strides of every strided read and every stored output, for merging axes."""
        tables = [r.strides for r in self.nest.reads.values()]
        for seed, _ in self.outputs:
            tables.append(self.nest.strides(seed))
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
            places |= {a: ZERO for a in run if a is not last}
        places |= {a: ZERO for a in axes if a not in places}
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
        places |= dict.fromkeys(within, ZERO)
        loops = [(last, index_var(name), self.b.size((name,), extent))
                 for name, (_, extent, last) in zip(("i", "j")[-len(inside):], inside, strict=True)]
        places |= {last: var for last, var, _ in loops}
        body = self._stores(places)
        for (_, var, extent), kind in zip(reversed(loops), ("vector", "serial"), strict=False):
            body = [Loop(var, ZERO, extent, body, kind)]
        grain = max(1, ROW_WORK // max(1, _elements(inside)))
        loop = Loop(task, ZERO, self.b.size(("rows",), rows), body, "parallel")
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
        places |= dict.fromkeys(within, ZERO)
        i, j, column, task = map(index_var, ("i", "j", "column", "task"))
        places |= {across[2]: i, along[2]: j}
        high, wide = self.b.size(("high",), across[1]), self.b.size(("wide",), along[1])
        blocks = (across[1] + (LANES - 1)) // LANES
        count = self.b.size(("blocks",), blocks)
        first = task % count * LANES
        square = Loop(i, first, scalar.minimum(first + LANES, high), [
            Loop(j, column, scalar.minimum(column + LANES, wide), self._stores(places), "vector")])
        body = [Set(row, task // count),
                Loop(column, ZERO, wide, [square], "serial", LANES)]
        loop = Loop(task, ZERO, self.b.size(("tasks",), rows * blocks), body,
                    "parallel")
        return self.b.launch("map", [loop], rows * blocks)

    def _flat(self, runs, axes) -> Launch:
        """One long axis, in blocks."""
        count: Extent = runs[0][1] if runs else 1
        places = dict.fromkeys(axes, ZERO)
        task, j = index_var("block"), index_var("j")
        if runs:
            places[runs[0][2]] = j
        n = self.b.size(("count",), count)
        high = scalar.minimum(task * BLOCK + BLOCK, n)
        body = [Loop(j, task * BLOCK, high, self._stores(places), "vector")]
        tasks = (count + (BLOCK - 1)) // BLOCK
        loop = Loop(task, ZERO, self.b.size(("tasks",), tasks), body, "parallel")
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
            body.append(Loop(j, ZERO, self._width(), stores, "vector"))
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
            name = self.b.output(seed.node)
            strides = self.nest.strides(seed)
            value = self.b.lowered(self.finals[k], places, self.memo)
            pairs.append((name, self.b.address(name, strides, places), value))
        return stores_after(pairs, lanes)

    # -- passes --

    def _pass(self, d: int, group, j: Expr, places, kept) -> list:
        """One sweep over the row, computing the registers of one depth."""
        sets = self._adding(group, places)
        sweep = self._keep_stores(d, kept, places, j) + sets + (self._ahead(places) if d else [])
        return self._swept(group, sweep, j, Parts(self.inner.attr[1], SUM_CHUNK, LEAST_TASKS), ZERO)

    def _adding(self, group, places) -> list:
        """An element joins what the lanes of each register of a pass have."""
        return [Set(_lanes(r, e), COMBINE[monoid](
            _lanes(r, e), widened(self.b.lowered(e, places, self.memo)))) for r, monoid, e in group]

    def _swept(self, group, sweep: list, j: Expr, parts: Parts, part: Expr) -> list:
        """The registers of a pass over a part of the row: of sums, chunks join as a tree."""
        accs = [(r, monoid, _lanes(r, e)) for r, monoid, e in group]
        ordered = [x for x in accs if x[1] in ("sum", "prod")]
        begin = [Set(a, identity(m, a.dtype)) for _, m, a in accs]
        if parts.share == 1 or not any(a.dtype.is_inexact for _, _, a in ordered):
            return [*begin, Loop(j, *parts.span(self.b, part), sweep, "vector"),
                    *(Set(r, scalar.cast(lane_tree(m, a), r.dtype)) for r, m, a in accs)]
        depth = parts.levels(self.b)
        trees = [(r, m, a, self._levels(r, m, a.dtype, depth)) for r, m, a in ordered]

        def chunk(low: Expr, high: Expr) -> list:
            return [*(Set(a, identity(m, a.dtype)) for _, m, a in ordered),
                    Loop(j, low, high, sweep, "vector")]

        def pushed(c: Expr) -> list:
            return [s for r, m, a, tree in trees
                    for s in (Set(tree.registers[0], lane_tree(m, a)), *tree.push(c))]

        free = [x for x in accs if x not in ordered]
        return [*begin, parts.loop(self.b, part, chunk, pushed),
                *(s for r, m, a, tree in trees for s in (
                    *tree.joined(parts.number(self.b, part)),
                    Set(r, scalar.cast(tree.registers[0], r.dtype)))),
                *(Set(r, scalar.cast(lane_tree(m, a), r.dtype)) for r, m, a in free)]

    def _levels(self, register: Expr, monoid: str, dtype: DType, depth: Expr) -> Levels:
        """The tree in which the results of chunks join, as a register of its own."""
        total = expr.var(f"{register.attr[0]}c", dtype)
        return Levels(self.b.scratch(dtype, depth), depth, [total], lambda level, k: level,
                      monoid=monoid)

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
