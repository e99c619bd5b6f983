"""Contractions on tensor cores: a tile of rows x columns, summed tile by tile, with its maps fused.

Axes fall into batch, rows, columns and summed, as on the processor; each group is one number whose
place in an operand is decoded where strides do not merge (the windows of a convolution are read so,
as an implicit product). Factors of 16 bits are multiplied by the tensor cores and summed in
float32; float32 factors are multiplied as they are.

Programs that share operands run near each other: `GROUP` tiles of rows take all columns before the
next rows (as in Tillet, Kung & Cox, "Triton", MAPL 2019).
"""

from __future__ import annotations

from typing import NamedTuple

from ....base.dtypes import bfloat16, float16, float32
from ....base.extents import Extent, product, upper
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import Loop, Set, index_var, tile_product
from ...groups.group import Fusion
from ...plan import Launch
from ..convolution.windows import read_of
from ..nest import Builder, Nest, StridedRead, accumulator, merged_axes
from ..product import schedule_product as on_processor
from .positions import COLUMN, ROW, SUMMED, TASK, ZERO, Positions, grid, power, store_all, tables

GROUP = 8
FACTORS = (bfloat16, float16, float32)


class Tile(NamedTuple):
    """Rows, columns and summed positions of a tile, its warps and the loads that run ahead.
    `rate`: products for each unit of time, against the largest tile's."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int
    rate: float


_NARROW = (Tile(128, 256, 64, 8, 3, 1.0), Tile(128, 128, 64, 8, 3, 0.85),
           Tile(128, 64, 64, 4, 4, 0.65), Tile(64, 128, 64, 4, 4, 0.65),
           Tile(64, 64, 64, 4, 4, 0.5), Tile(64, 32, 64, 4, 4, 0.3), Tile(32, 64, 64, 4, 4, 0.3),
           Tile(32, 32, 64, 2, 4, 0.2), Tile(16, 64, 64, 2, 4, 0.15),
           Tile(64, 16, 64, 2, 4, 0.15), Tile(16, 16, 64, 1, 4, 0.08))
_WIDE = (Tile(64, 64, 16, 4, 2, 1.0), Tile(64, 32, 16, 4, 2, 0.8), Tile(32, 32, 16, 4, 2, 0.6),
         Tile(16, 32, 16, 2, 2, 0.3), Tile(32, 16, 16, 2, 2, 0.3), Tile(16, 16, 16, 1, 2, 0.2))


def choose_tile(m: Extent, n: Extent, k: Extent, batch: Extent, wide: bool, target) -> Tile:
    """The tile of least predicted time: rounds of all processors times the time of one tile."""
    def cost(t: Tile) -> float:
        tiles = -(-max(1, upper(m)) // t.rows) * -(-max(1, upper(n)) // t.columns) * upper(batch)
        return -(-tiles // target.processors) * t.rows * t.columns / t.rate

    size = 4 if wide else 2
    fitting = [t for t in (_WIDE if wide else _NARROW)
               if (t.rows + t.columns) * t.depth * size * t.stages <= target.shared_bytes]
    best = min(fitting, key=cost)
    return best._replace(depth=max(16, min(best.depth, power(k))))


def schedule_contraction(nest: Nest, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a contraction and of the maps fused behind it. What tensor cores and plain
    floats do not serve (integers, float64, complex numbers) is computed as on the processor."""
    dot = nest.bodies[0]
    if any(a.dtype not in FACTORS for a in dot.args) or not dot.attr[1]:
        return on_processor(nest, buffers, fusion, target)
    return [_Contraction(nest, buffers, target).launch()]


class _Contraction:
    def __init__(self, nest: Nest, buffers, target):
        self.nest, self.b = nest, Builder(nest, buffers)
        self.dot = dot = nest.bodies[0]
        axes, bound = list(nest.group.seeds[0].definition.axes), list(dot.attr[1])
        reads = [read_of(nest, a) for a in dot.args]
        self.element_of = dict(zip(map(id, reads), dot.args, strict=True))
        self.left, self.right = self._oriented(axes, *reads)
        in_left, in_right = (lambda a, r=r: a in r.strides for r in (self.left, self.right))
        both = [a for a in axes if in_left(a) and in_right(a)]
        columns = [a for a in axes if in_right(a) and a not in both]
        rows = [a for a in axes if a not in both and a not in columns]
        loose = nest.loose_axes(nest.bodies, dot).union(
            *(expr.free_axes(e) for e in dot.args if e.attr[1] is not None))
        every = tables(nest)
        self.batch = Positions(self.b, "batch", merged_axes(both, every, loose), both)
        self.rows = Positions(self.b, "rows", merged_axes(rows, every, loose), rows)
        self.columns = Positions(self.b, "columns", merged_axes(columns, every, loose), columns)
        self.summed = Positions(self.b, "summed", merged_axes(
            bound, [self.left.strides, self.right.strides], loose), bound)
        self.tile = choose_tile(self.rows.count, self.columns.count, self.summed.count,
                                self.batch.count, self.left.dtype is float32, target)

    def _oriented(self, axes: list[Expr], a: StridedRead,
                  b: StridedRead) -> tuple[StridedRead, StridedRead]:
        """The operand that owns the result's last axis goes to the right (columns)."""
        for x in reversed(axes):
            if (x in a.strides) != (x in b.strides):
                return (b, a) if x in a.strides else (a, b)
        return a, b

    def launch(self) -> Launch:
        t = self.tile
        row_tiles, column_tiles = self.rows.blocks(t.rows), self.columns.blocks(t.columns)
        row, column, batch = self._numbers(row_tiles, column_tiles)
        places = {**self.batch.places(batch), **self.rows.places(ROW),
                  **self.columns.places(COLUMN)}
        acc = expr.var("acc", accumulator(self.dot.dtype), (ROW, COLUMN))  # type: ignore[arg-type]
        body = [Set(acc, lit(0, acc.dtype)), self._sum(acc, places),
                *self._epilogue(acc, places)]
        body = [self.columns.tile(COLUMN, column, t.columns, body)]
        body = [self.rows.tile(ROW, row, t.rows, body)]
        tasks = self.batch.count * row_tiles * column_tiles
        step = grid(self.b, "contraction", tasks, TASK, body, 0)
        step.kernel.warps, step.kernel.stages = t.warps, t.stages
        step.flops = 2 * product(p.count for p in (self.batch, self.rows, self.columns,
                                                   self.summed))
        return step

    def _numbers(self, row_tiles: Extent, column_tiles: Extent) -> tuple[Expr, Expr, Expr]:
        """The tile of a program: (rows, columns, batch), GROUP row tiles side by side."""
        m, n = (self.b.size((label,), e) for label, e in (("row tiles", row_tiles),
                                                          ("column tiles", column_tiles)))
        one = TASK if self.batch.count == 1 else TASK % (m * n)
        batch = ZERO if self.batch.count == 1 else TASK // (m * n)
        if row_tiles == 1 or column_tiles == 1:
            return (ZERO, one, batch) if row_tiles == 1 else (one, ZERO, batch)
        group = n * GROUP
        first = one // group * GROUP
        height = scalar.minimum(m - first, lit(GROUP, first.dtype))
        inside = one % group
        return first + inside % height, inside // height, batch

    def _sum(self, acc: Expr, places: dict[Expr, Expr]) -> Loop:
        """acc + the products of all summed positions, tile by tile."""
        places = places | self.summed.places(SUMMED)
        a, b = (self._element(r, places) for r in (self.left, self.right))
        step = [Set(acc, tile_product(a, b, acc, SUMMED))]
        start, depth = index_var("k0"), self.tile.depth
        tile = self.summed.tile(SUMMED, ZERO, depth, step, low=start)
        return Loop(start, ZERO, self.summed.size(), [tile], "serial", depth)

    def _element(self, read: StridedRead, places: dict[Expr, Expr]) -> Expr:
        e = self.element_of[id(read)]
        if e.attr[1] is not None:  # windows that reach beyond the operand: 0 there
            return self.b.lowered(e, places, {})
        name = self.b.operand(read.base, read.offset, read.dtype)
        return expr.load(name, self.b.address(name, read.strides, places), read.dtype)

    def _epilogue(self, acc: Expr, places: dict[Expr, Expr]) -> list:
        """The fused maps and their stores."""
        places = places | {self.dot: scalar.cast(acc, self.dot.dtype)}
        memo: dict[Expr, Expr] = {}
        values = [self.b.lowered(body, places, memo) for _, body in self.nest.outputs()]
        return store_all(self.b, self.nest, values, places)
