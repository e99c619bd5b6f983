"""The contraction template: a register-tiled product of two operands with a fused epilogue.

Axes fall into batch (both operands and the result), rows (left operand and result), columns (right
operand and result) and summed. A tile of rows x columns stays in registers over the whole chain of
fused multiply-adds (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", TOMS
2008, without the inner blocking).

The left operand is read in place, one element for each row of the tile: rows that no single stride
steps through (the pixels of a convolution) have an offset each, carried on from row to row, and
summed axes that no single stride steps through (its taps) are read from a table of offsets. The
right operand is read in panels of whole vectors of columns: packed first, or in place where its
columns are contiguous and few rows, or overlapping windows, make a copy dearer than it is worth.
"""

from __future__ import annotations

from ..base import dtypes
from ..base.extents import Extent, lower, product, upper
from ..lang import expr, scalar
from ..lang.expr import Expr, lit
from ..lang.loops import LANES, Loop, Set, Store, When, index_var, lane_index
from ..lang.order import CONTRACT_CHUNK
from .fuse import Fusion
from .nest import Builder, Nest, accumulator, advance, decode
from .packing import ZERO, Packing, Side, contiguous
from .plan import Launch
from .rows import levels_of
from .tile import Span, Tree, epilogue

LEAST_TASKS = 16        # of a product, where it has so many tiles
BLOCK = 256             # positions of a chunk that all tiles of a task run over together
DIRECT_ROWS = 32        # up to so many rows the right operand is not worth packing


def choose_tile(rows: Extent, columns: Extent, tiles) -> tuple[int, int]:
    """(rows, vectors) of the register tile: few wasted lanes, then the target's order."""
    m, n = max(1, upper(rows)), max(1, upper(columns))
    best, cost = tiles[0], float("inf")
    for r, v in (*tiles, (1, 8), (2, 6), (4, 4)):
        if r * v + v + 1 > 31 and len(tiles) > 3:
            continue
        padded = -(-m // r) * r * -(-n // (v * LANES)) * v * LANES
        loads = 1 + 0.25 * (r + v) / (r * v) * 8
        if padded * loads < cost * 0.98:
            best, cost = (r, v), padded * loads
    return best


def schedule_contraction(nest: Nest, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a contraction and the maps fused behind it."""
    return _Contraction(nest, buffers, fusion, target).launches()


class _Contraction:
    def __init__(self, nest: Nest, buffers, fusion: Fusion, target):
        self.nest, self.buffers = nest, dict(buffers)
        self.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.axes = list(nest.group.seeds[0].definition.axes)
        self.bound = list(self.dot.attr[1])
        self.packing = Packing(nest, self.buffers, self.access, self.bound)
        reads = [nest.reads[a] for a in self.dot.args]
        sides = [Side(r, [a for a in self.axes if a in r.strides], self.bound) for r in reads]
        self.left, self.right = self._oriented(*sides)
        both = set(self.left.axes) & set(self.right.axes)
        self.batch = [a for a in self.axes if a in both]
        self.columns = [a for a in self.axes if a in self.right.axes and a not in both]
        self.rows = [a for a in self.axes if a not in both and a not in self.columns]
        self.count = product(a.attr[1] for a in self.bound)
        self.m = product(a.attr[1] for a in self.rows)
        self.in_place = self._right_in_place()
        self.n = product(a.attr[1] for a in self.columns)
        self.tile = choose_tile(self.m, self.n, target.contract_tiles)
        self.acc = accumulator(self.dot.dtype)

    def _oriented(self, a: Side, b: Side) -> tuple[Side, Side]:
        """The operand that owns the result's last axis goes to the right (columns)."""
        for x in reversed(self.axes):
            if (x in a.axes) != (x in b.axes):
                return (b, a) if x in a.axes else (a, b)
        return a, b

    def _right_in_place(self) -> bool:
        """Whether the right operand is read where it lies; its outer columns become batch axes."""
        side, runs = self.right, self.right.runs(self.columns)
        if not contiguous(side, self.columns):
            return False
        copy = product(a.attr[1] for a in (*self.batch_of(side), *self.bound, *self.columns))
        windows = upper(copy) >= 2 * upper(side.read.base.type.size)
        if upper(self.m) > DIRECT_ROWS and not windows:
            return False
        hoisted = [a for run, _, _ in runs[:-1] for a in run]
        self.batch += hoisted
        self.columns = [a for a in self.columns if a not in hoisted]
        return True

    def batch_of(self, side: Side) -> list[Expr]:
        """The batch axes that the operand has."""
        return [a for a in self.batch if a in side.axes]

    def launches(self) -> list[Launch]:
        self.panel_stride: Extent = 0
        if not self.in_place:
            self._pack_right()
        self.tables = {side: self.packing.offsets(side) for side in (self.left, self.right)
                       if len(side.summed) > 1}
        step = self._product()
        return [*self.packing.before, step]

    def _pack_right(self) -> None:
        if len(self.right.runs(self.columns)) > 1:
            axes = [*self.batch_of(self.right), *self.bound, *self.columns]
            self.right = self.packing.copied(self.right, axes, "flat right operand")
        columns = [run[-1] for run in self.right.runs(self.columns)]
        self.right, self.panel_stride = self.packing.panels(
            self.right, self.batch_of(self.right), columns, self.n, self.tile[1] * LANES)

    # -- the product --

    def _product(self) -> Launch:
        self.nest.access = self.access
        b = self.b = Builder(self.nest, self.buffers)
        rows, vectors = self.tile
        width = vectors * LANES
        self.row_count, self.column_count = b.size(("m",), self.m), b.size(("n",), self.n)
        panels: Extent = (self.n + (width - 1)) // width
        row_tiles: Extent = (self.m + (rows - 1)) // rows
        group = self._group(row_tiles, panels)
        row_groups: Extent = (row_tiles + (group - 1)) // group
        task = index_var("task")
        p_count, g_count = b.size(("panels",), panels), b.size(("groups",), row_groups)
        self.panel, g = task % p_count, task // p_count % g_count
        self.places = decode(
            task // p_count // g_count,
            [(a, b.size(("batch", k), a.attr[1])) for k, a in enumerate(self.batch)])
        first = g * (group * rows)
        body = self._tiles(first, scalar.minimum(first + group * rows, self.row_count), group)
        tasks = product(a.attr[1] for a in self.batch) * row_groups * panels
        outer = Loop(task, ZERO, b.size(("tasks",), tasks), body, "parallel")
        launch = b.launch("contract", [outer], tasks)
        launch.flops = 2 * self.m * self.n * self.count * product(a.attr[1] for a in self.batch)
        return launch

    def _group(self, row_tiles: Extent, panels: Extent) -> int:
        """Row tiles of one task: enough to reuse the panel, few enough for every thread."""
        tiles = max(1, lower(row_tiles) or upper(row_tiles))
        others = upper(panels) * upper(product(a.attr[1] for a in self.batch))
        return max(1, min(16, tiles, tiles * others // LEAST_TASKS))

    # -- tiles and chains --

    def _tiles(self, first: Expr, high: Expr, group: int) -> list:
        """The tiles of rows first..high: chains over the summed positions, then the epilogue."""
        rows, vectors = self.tile
        self.registers = [[expr.var(f"c{r}_{v}", self.acc, LANES) for v in range(vectors)]
                          for r in range(rows)]
        flat = [x for line in self.registers for x in line]
        size = len(flat) * LANES
        tile = self.b.scratch(self.acc, lit(size, dtypes.index))
        save = [Store(tile, lit(k * LANES, dtypes.index), x) for k, x in enumerate(flat)]
        count, i0 = self.b.size(("k",), self.count), index_var("i0")
        right = self._right_loads()
        if upper(self.count) <= (BLOCK if self.in_place else CONTRACT_CHUNK):
            body = [*self._chain(i0, right, ZERO, count), *save, *self._epilogue(i0, tile)]
            return [Loop(i0, first, high, body, "serial", rows)]
        return self._chunks(i0, right, (first, high, group), tile, save)

    def _chunks(self, i0: Expr, right, span: tuple[Expr, Expr, int], tile: str, save: list) -> list:
        """The tiles of `span` where the summed positions are several chunks, joined as a tree.

        A chunk is run in blocks of positions, all tiles over one block before the next, so that
        what they read of the right operand stays near; their sums wait in scratch meanwhile.
        """
        first, high, group = span
        flat = [x for line in self.registers for x in line]
        size, count, rows = len(flat) * LANES, self.b.size(("k",), self.count), self.tile[0]
        depth = levels_of(self.count, CONTRACT_CHUNK)
        sums = self.b.scratch(self.acc, lit(group * size, dtypes.index))
        levels = self.b.scratch(self.acc, lit(group * depth * size, dtypes.index))
        number = (i0 - first) // rows
        tree = Tree(levels, number * depth, depth, flat)
        load = [Set(x, expr.load(sums, number * size + k * LANES, self.acc, LANES))
                for k, x in enumerate(flat)]
        store = [Store(sums, number * size + k * LANES, x) for k, x in enumerate(flat)]
        c, low = index_var("c"), index_var("low")
        chunks = (count + (CONTRACT_CHUNK - 1)) // CONTRACT_CHUNK
        start = c * CONTRACT_CHUNK
        end = scalar.minimum(start + CONTRACT_CHUNK, count)
        block = self._chain(i0, right, low, scalar.minimum(low + BLOCK, end),
                            [When(low > start, load)])

        def tiles(body: list) -> Loop:
            return Loop(i0, first, high, body, "serial", rows)

        return [Loop(c, ZERO, chunks, [
                    Loop(low, start, end, [tiles([*block, *store])], "serial", BLOCK),
                    tiles([*load, *tree.push(c)])]),
                tiles([*tree.joined(chunks, self.acc), *save, *self._epilogue(i0, tile)])]

    def _chain(self, i0: Expr, right, low: Expr, high: Expr, begin=()) -> list:
        """The tile's registers as sums over the positions low..high, from 0 or what `begin` sets
        them to."""
        k = index_var("k")
        before, left = self._left_loads(i0)
        columns = [right(k, v) for v in range(self.tile[1])]
        sums = []
        for r, line in enumerate(self.registers):
            value = left(k, r)
            sums += [Set(x, self._fma(value, y, x)) for x, y in zip(line, columns, strict=True)]
        zero = [Set(x, lit(0, self.acc)) for line in self.registers for x in line]
        return [*before, *zero, *begin, Loop(k, low, high, sums, "serial")]

    def _fma(self, a: Expr, b: Expr, c: Expr) -> Expr:
        if not self.acc.is_float:
            return a * b + c
        return scalar.fma(scalar.cast(a, self.acc), scalar.cast(b, self.acc), c)

    def _left_loads(self, i0: Expr):
        """(statements, left): left(k, r) is the element of row i0 + r (the last row again beyond
        it) at position k."""
        side, b = self.left, self.b
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: side.stride(a) for a in self.batch_of(side)}, self.places)
        runs = side.runs(self.rows)
        if len(runs) > 1:
            before, starts = self._row_starts(name, start, i0, runs)
        else:
            step = b.size((name, "row"), side.stride(runs[0][2]) if runs else 0)
            last = self.row_count - 1
            before, starts = [], [
                start + (scalar.minimum(i0 + r, last) if r else i0) * step
                for r in range(self.tile[0])]
        return before, lambda k, r: expr.load(name, starts[r] + self._summed(name, side, k),
                                              side.dtype)

    def _row_starts(self, name: str, start: Expr, i0: Expr, runs) -> tuple[list, list[Expr]]:
        """Where each row of the tile begins: the places of row i0, carried on from row to row."""
        b, side = self.b, self.left
        counts = [b.size(("row", k), e) for k, (_, e, _) in enumerate(runs)]
        steps = [b.size((name, "row", k), side.stride(a)) for k, (_, _, a) in enumerate(runs)]
        axes = [a for _, _, a in runs]
        found = decode(i0, list(zip(axes, counts, strict=True)))
        at = [index_var(f"at{k}") for k in range(len(runs))]
        before: list = [Set(x, found[a]) for x, a in zip(at, axes, strict=True)]
        starts = []
        for r in range(self.tile[0]):
            if r:
                before += advance(at, counts, i0 + r < self.row_count, r)
            row, place = index_var(f"row{r}"), start
            for x, s in zip(at, steps, strict=True):
                place = place + x * s
            before.append(Set(row, place))
            starts.append(row)
        return before, starts

    def _summed(self, name: str, side: Side, k: Expr) -> Expr:
        """What position k adds to the operand's offset."""
        if side in self.tables:
            table = self.b.operand(self.tables[side], 0, dtypes.index)
            return expr.load(table, k, dtypes.index)
        step = side.stride(side.summed[0][2]) if side.summed else 0
        return k * self.b.size((name, "sum"), step)

    def _right_loads(self):
        """right(k, v): vector v of the panel at position k."""
        side, b = self.right, self.b
        width = self.tile[1] * LANES
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: side.stride(a) for a in self.batch_of(side)}, self.places)
        if not self.in_place:
            start = start + self.panel * b.size((name, "panel"), self.panel_stride)
            return lambda k, v: expr.load(name, start + k * width + v * LANES, side.dtype, LANES)

        def right(k: Expr, v: int) -> Expr:
            column = self.panel * width + v * LANES
            inside = column + lane_index() < self.column_count
            return expr.load(name, start + column + self._summed(name, side, k), side.dtype, LANES,
                             inside, 0)

        return right

    # -- the epilogue --

    def _epilogue(self, i0: Expr, tile: str) -> list:
        """Rows of the tile through the fused maps to their outputs."""
        rows, vectors = self.tile
        low, width = self.panel * (vectors * LANES), vectors * LANES
        i, j = index_var("i"), index_var("j")
        value = expr.load(tile, (i - i0) * width + (j - low), self.acc)
        return epilogue(self.b, self.dot, value, (i, j), (
            Span(self.rows, i0, scalar.minimum(i0 + rows, self.row_count), "rows"),
            Span(self.columns, low, scalar.minimum(low + width, self.column_count), "columns"),
        ), self.places)
