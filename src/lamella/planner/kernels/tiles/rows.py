"""Tiles of rows: pointwise maps, and reductions over the inner axis with maps around them.

A program holds whole rows in registers where they are short enough; a longer row is swept once for
each reduction that needs the one before, and once more for the results.
"""

from __future__ import annotations

from ....lang import expr, scalar
from ....lang.expr import Expr, free_axes
from ....lang.loops import Loop, Set, fold, index_var
from ...plan import Launch
from ..nest import Builder, Nest, merged_axes, widened
from ..tree import COMBINE, identity
from .positions import COLUMN, ROW, TASK, ZERO, Positions, grid, numbers, power, store_all, tables

TILE = 1024         # elements of a tile of maps
HEAVY = 64          # scalar operations from which on a tile is a quarter of that
TRANSPOSED = 32     # the side of a tile that is read along one axis and written along another
WHOLE_ROW = 16384   # the longest row that a program holds
SWEEP = 4096        # elements of a longer one that it takes at once


def schedule_rows(nest: Nest, buffers) -> Launch:
    """The launch of a group of maps and of reductions over the innermost axis."""
    if any(x.op == "reduce" for body in nest.bodies for x in expr.walk(body)):
        return _Rows(nest, buffers).launch()
    return _map(nest, buffers)


def _map(nest: Nest, buffers) -> Launch:
    """Maps: tiles of the innermost run of axes and of the one that an operand is contiguous in."""
    b = Builder(nest, buffers)
    axes = max((list(s.definition.axes) for s, _ in nest.outputs()), key=lambda a: len(a))
    runs = merged_axes(axes, tables(nest), nest.loose_axes(nest.bodies))
    inner, outer = runs[-1:], runs[:-1]
    crossed = [r for r in outer if any(read.strides.get(r[2]) == 1 for read in nest.reads.values())]
    outer = [r for r in outer if r not in crossed[-1:]] + crossed[-1:]
    columns, rows = Positions(b, "columns", inner, axes), Positions(b, "rows", outer, axes)
    heavy = sum(not isinstance(x.op, str) for body in nest.bodies for x in expr.walk(body))
    size = TILE // 4 if heavy > HEAVY else TILE
    width = min(power(columns.count), TRANSPOSED if crossed else size)
    height = min(power(rows.count), size // width)
    row, column = numbers(b, TASK, columns.blocks(width))
    places = rows.places(ROW) | {a: p for a, p in columns.places(COLUMN).items()
                               if any(a in run for run, _, _ in inner)}
    memo: dict[Expr, Expr] = {}
    values = [b.lowered(body, places, memo) for _, body in nest.outputs()]
    body = [columns.tile(COLUMN, column, width, store_all(b, nest, values, places))]
    if outer:
        body = [rows.tile(ROW, row, height, body)]
    return grid(b, "map", rows.blocks(height) * columns.blocks(width), TASK, body, height * width)


class _Rows:
    def __init__(self, nest: Nest, buffers):
        self.nest, self.b = nest, Builder(nest, buffers)
        assert nest.group.domain is not None
        extents, width = nest.group.domain
        self.axes = [expr.axis(f"a{k}", e) for k, e in enumerate(extents)]
        self.inner = expr.axis(f"a{len(extents)}", width)
        runs = merged_axes(self.axes, tables(nest), nest.loose_axes(nest.bodies) | {self.inner})
        self.rows = Positions(self.b, "rows", runs, self.axes)
        self.columns = Positions(self.b, "inner", [((self.inner,), width, self.inner)],
                                 [self.inner])
        self.memo: dict[Expr, Expr] = {}
        self.known: dict[Expr, Expr] = {}
        self.whole = power(width) <= WHOLE_ROW
        self.width = power(width) if self.whole else SWEEP
        self.height = max(1, min(power(self.rows.count), TILE // self.width))
        self.places = self.rows.places(ROW) | {self.inner: COLUMN}

    def launch(self) -> Launch:
        values = [self._lowered(self._folded(body)) for _, body in self.nest.outputs()]
        if self.whole:
            body = [self.columns.tile(COLUMN, ZERO, self.width, self._stores(values))]
        else:
            body = self._sweeps(values)
        body = [self.rows.tile(ROW, TASK, self.height, body)]
        return grid(self.b, "rows", self.rows.blocks(self.height), TASK, body,
                    self.height * self.width)

    def _lowered(self, e: Expr) -> Expr:
        return self.b.lowered(e, self.places, self.memo)

    def _folded(self, e: Expr) -> Expr:
        """e with each reduction as a fold of the tile, in the dtype it accumulates in."""
        found = self.known.get(e)
        if found is None:
            if e.op == "reduce":
                body = self._folded(expr.substitute(e.args[0], {e.attr[1][0]: self.inner}))
                found = scalar.cast(fold(e.attr[0], COLUMN, widened(body)), e.dtype)
            else:
                args = tuple(map(self._folded, e.args))
                found = e if args == e.args else expr.rebuild(e, args)
            self.known[e] = found
        return found

    def _stores(self, values: list[Expr]) -> list:
        return store_all(self.b, self.nest, values, self.places)

    # -- long rows --

    def _sweeps(self, values: list[Expr]) -> list:
        """A sweep for each level of folds that need one another, then one that stores."""
        out: list = []
        done: dict[Expr, Expr] = {}
        while True:
            values = [expr.substitute(v, done) for v in values]
            ready = dict.fromkeys(x for v in values for x in expr.walk(v) if x.op == "fold"
                                  and not any(y.op == "fold" for y in expr.walk(x.args[0])))
            if not ready:
                break
            out += self._sweep(list(ready), done)
        single = all(COLUMN not in free_axes(v) for v in values)
        stores = self._stores(values)
        return out + (stores if single else [self._loop(stores)])

    def _sweep(self, folds: list[Expr], done: dict[Expr, Expr]) -> list:
        sets, begin, end = [], [], []
        inside = self.columns.size() > COLUMN
        for f in folds:
            monoid, x = f.attr[0], f.args[0]
            number = len(done)
            acc = expr.var(f"p{number}", x.dtype, (ROW, COLUMN))  # type: ignore[arg-type]
            total = expr.var(f"s{number}", x.dtype)
            begin.append(Set(acc, identity(monoid, x.dtype)))
            sets.append(Set(acc, scalar.where(inside, COMBINE[monoid](acc, x), acc)))
            end.append(Set(total, fold(monoid, COLUMN, acc)))
            done[f] = total
        return [*begin, self._loop(sets), *end]

    def _loop(self, body: list) -> Loop:
        start = index_var("j0")
        tile = self.columns.tile(COLUMN, ZERO, self.width, body, low=start)
        return Loop(start, ZERO, self.columns.size(), [tile], "serial", self.width)
