"""Contractions on tensor cores: a tile of rows x columns, summed tile by tile, with its maps fused.

Axes fall into batch, rows, columns and summed, as on the processor; each group is one number whose
place in an operand is decoded where strides do not merge (the windows of a convolution are read so,
as an implicit product). A factor may be computed where it is loaded (planner/groups/storing.py).
Factors of 16 bits, and of 8 (float8), are multiplied by the tensor cores and summed in float32;
float32 factors are multiplied as they are.

Where the tiles are too few for the device's processors, the summed positions are cut into parts:
each writes its sums, and a second launch adds them, always in one order, and computes the maps.

Programs that share operands run near each other: `GROUP` tiles of rows take all columns before the
next rows (as in Tillet, Kung & Cox, "Triton", MAPL 2019).
"""

from __future__ import annotations

from typing import NamedTuple

from ....base.dtypes import bfloat16, float8_e4m3fn, float8_e5m2, float16, float32
from ....base.extents import Extent, divides, product, upper
from ....ir.node import Node, placeholder
from ....ir.types import tensor
from ....lang import expr, scalar
from ....lang.definition import Definition
from ....lang.expr import Expr, lit
from ....lang.loops import Loop, Set, Store, index_var, tile_product
from ...groups.access import stored
from ...groups.group import Fusion, Group, Seed
from ...plan import Buffer, Launch
from ..convolution.windows import read_of
from ..nest import Builder, Nest, StridedRead, accumulator, merged_axes
from ..product import schedule_product as on_processor
from .positions import (
    COLUMN,
    ROW,
    SUMMED,
    TASK,
    ZERO,
    Positions,
    grid,
    numbers,
    power,
    store_all,
    tables,
)
from .rows import schedule_rows

GROUP = 8
FACTORS = (bfloat16, float16, float32, float8_e4m3fn, float8_e5m2)
PARTS = (1, 2, 4, 8, 16, 32)
HELD = 32           # sums that a thread holds beside what it computes a factor in


class Tile(NamedTuple):
    """Rows, columns and summed positions of a tile, its warps and the loads that run ahead.
    `rate`: products for each unit of time, against what the processor has. `parts`: into how many
    the summed positions are cut."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int
    rate: float
    parts: int = 1


_NARROW = (Tile(128, 256, 64, 8, 3, 1.0), Tile(128, 128, 64, 8, 3, 0.85),
           Tile(128, 64, 64, 4, 4, 0.65), Tile(64, 128, 64, 4, 4, 0.65),
           Tile(64, 64, 64, 4, 4, 0.5), Tile(64, 32, 64, 4, 4, 0.3), Tile(32, 64, 64, 4, 4, 0.3),
           Tile(32, 32, 64, 2, 4, 0.2), Tile(16, 64, 64, 2, 4, 0.15),
           Tile(64, 16, 64, 2, 4, 0.15), Tile(16, 16, 64, 1, 4, 0.08))
_BYTES = tuple(t._replace(depth=2 * t.depth) for t in _NARROW)
_WIDE = (Tile(64, 64, 16, 4, 2, 1.0), Tile(64, 32, 16, 4, 2, 0.8), Tile(32, 32, 16, 4, 2, 0.6),
         Tile(16, 32, 16, 2, 2, 0.3), Tile(32, 16, 16, 2, 2, 0.3), Tile(16, 16, 16, 1, 2, 0.2))


class Shape(NamedTuple):
    """A product as tiles are chosen for it: rows, columns, summed positions and products at their
    most, the bits of its factors, and whether one is computed where it is loaded."""

    m: int
    n: int
    k: int
    batch: int
    bits: int
    computed: bool = False


def choose_tile(shape: Shape, target) -> Tile:
    """The tile, and the parts: those that `lamella tune` found the fastest, else the ones of least
    predicted time."""
    return target.tuned.get(shape) or candidates(shape, target)[0]


def candidates(shape: Shape, target) -> list[Tile]:
    """The tiles and parts that serve a product, by predicted time: rounds of all processors times
    the time of one tile; of several parts, their sums written and read by one more launch beside
    that. Where a factor is computed, the older tensor cores, which take factors from registers,
    leave room for it."""
    m, n, k, batch, bits, computed = shape
    speed = (target.flops if bits == 32 else target.tensor_flops * 16 / bits) / target.processors

    def cost(t: Tile) -> float:
        programs = -(-m // t.rows) * -(-n // t.columns) * batch * t.parts
        trips = -(-k // (t.parts * t.depth))
        one = 2 * t.rows * t.columns * trips * t.depth / (speed * t.rate)
        joined = target.launch + 8 * t.parts * m * n * batch / target.bandwidth
        return -(-programs // target.processors) * one + (joined if t.parts > 1 else 0.0)

    fitting = [t for t in {8: _BYTES, 16: _NARROW, 32: _WIDE}[bits]
               if (t.rows + t.columns) * t.depth * bits // 8 * t.stages <= target.shared_bytes
               and not (computed and target.arch < 90 and t.rows * t.columns > HELD * 32 * t.warps)]
    found = sorted((t._replace(parts=parts) for t in fitting for parts in PARTS
                    if parts == 1 or k >= 2 * parts * t.depth), key=cost)
    least = 32 if bits == 8 else 16     # positions that the tensor cores take together
    return [t._replace(depth=max(least, min(t.depth, power(k)))) for t in found]


def schedule_contraction(nest: Nest, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a contraction and of the maps fused behind it. What tensor cores and plain
    floats do not serve (integers, float64, complex numbers) is computed as on the processor."""
    dot = nest.bodies[0]
    if any(a.dtype not in FACTORS for a in dot.args) or not dot.attr[1]:
        return on_processor(nest, buffers, fusion, target)
    whole = _Contraction(nest, buffers, target)
    if whole.tile.parts == 1:
        return [whole.launch(None)]
    seed = nest.group.seeds[0]
    sums = placeholder(tensor(accumulator(dot.dtype), (  # type: ignore[arg-type]
        whole.tile.parts, *seed.definition.shape)), "partial products")
    known = {**buffers, id(sums): Buffer(sums.dtype, sums.type.size, "temporary", "partial sums")}
    nest.access = {**fusion.access, id(sums): stored(sums)}
    first = _Contraction(nest, known, target).launch(sums)
    return [first, schedule_rows(_joining(nest, sums), known)]


def _joining(nest: Nest, sums: Node) -> Nest:
    """The maps behind a product whose parts' sums are stored: these are added first."""
    seed, dot = nest.group.seeds[0], nest.bodies[0]
    axes = seed.definition.axes
    part = expr.axis("part", sums.shape[0])
    total = expr.make("reduce", (expr.read(0, (part, *axes), sums.dtype),), ("sum", (part,)),
                      sums.dtype)
    again = Seed(seed.node, "reduce",
                 Definition((sums.type,), axes, scalar.cast(total, dot.dtype)), [sums])
    group = Group(again, (seed.definition.shape, sums.shape[0]))
    group.seeds += nest.group.seeds[1:]
    return Nest(group, Fusion([], nest.access, []), nest.kept)


class _Factor:
    """A factor of a product: `value`, over the `axes` that it depends on. It is one `read`, or
    (None) computed of what is read; `tables` are the strides of all that."""

    def __init__(self, nest: Nest, value: Expr):
        self.value = value
        self.read: StridedRead | None = read_of(nest, value) if value.op == "read" else None
        self.tables = [self.read.strides] if self.read is not None else [
            nest.reads[e].strides for e in expr.walk(value) if e.op == "read"]
        self.axes = {a for t in self.tables for a in t}
        if self.read is None:
            self.axes |= expr.free_axes(value)


def _oriented(axes: list[Expr], a: _Factor, b: _Factor) -> tuple[_Factor, _Factor]:
    """The factor that owns the result's last axis goes to the right (columns)."""
    for x in reversed(axes):
        if (x in a.axes) != (x in b.axes):
            return (b, a) if x in a.axes else (a, b)
    return a, b


class _Contraction:
    def __init__(self, nest: Nest, buffers, target):
        self.nest, self.b = nest, Builder(nest, buffers)
        self.dot = dot = nest.bodies[0]
        axes, bound = list(nest.group.seeds[0].definition.axes), list(dot.attr[1])
        self.left, self.right = _oriented(axes, *(_Factor(nest, e) for e in dot.args))
        in_left, in_right = (lambda a, f=f: a in f.axes for f in (self.left, self.right))
        both = [a for a in axes if in_left(a) and in_right(a)]
        columns = [a for a in axes if in_right(a) and a not in both]
        rows = [a for a in axes if a not in both and a not in columns]
        loose = nest.loose_axes(nest.bodies, dot).union(*(
            expr.free_axes(e) if e.op == "read" and e.attr[1] is not None else
            nest.loose_axes([e]) for e in dot.args))
        every = tables(nest)
        self.batch = Positions(self.b, "batch", merged_axes(both, every, loose), both)
        self.rows = Positions(self.b, "rows", merged_axes(rows, every, loose), rows)
        self.columns = Positions(self.b, "columns", merged_axes(columns, every, loose), columns)
        self.summed = Positions(self.b, "summed", merged_axes(
            bound, [*self.left.tables, *self.right.tables], loose), bound)
        m, n, k, batch = (max(1, upper(p.count)) for p in (self.rows, self.columns, self.summed,
                                                           self.batch))
        bits = max(f.value.dtype.bits for f in (self.left, self.right))
        self.tile = choose_tile(Shape(m, n, k, batch, bits, any(
            f.read is None for f in (self.left, self.right))), target)

    def launch(self, sums: Node | None) -> Launch:
        """The launch that computes the maps, too, or stores the sums of every part."""
        t = self.tile
        row_tiles, column_tiles = self.rows.blocks(t.rows), self.columns.blocks(t.columns)
        tile, part = numbers(self.b, TASK, t.parts)
        row, column, batch = self._numbers(tile, row_tiles, column_tiles)
        places = {**self.batch.places(batch), **self.rows.places(ROW),
                  **self.columns.places(COLUMN)}
        acc = expr.var("acc", accumulator(self.dot.dtype), (ROW, COLUMN))  # type: ignore[arg-type]
        summed = self._sum(acc, places, part)
        ends = self._epilogue(acc, places) if sums is None else \
            self._partial(acc, sums, part, places)
        body = [Set(acc, lit(0, acc.dtype)), summed, *ends]
        body = [self.columns.tile(COLUMN, column, t.columns, body)]
        body = [self.rows.tile(ROW, row, t.rows, body)]
        tasks = self.batch.count * row_tiles * column_tiles * t.parts
        step = grid(self.b, "contraction", tasks, TASK, body, 0)
        step.kernel.warps, step.kernel.stages = t.warps, t.stages
        step.flops = 2 * product(p.count for p in (self.batch, self.rows, self.columns,
                                                   self.summed))
        return step

    def _numbers(self, tile: Expr, row_tiles: Extent,
                 column_tiles: Extent) -> tuple[Expr, Expr, Expr]:
        """A tile by its number: (rows, columns, batch), GROUP row tiles side by side."""
        m, n = (self.b.size((label,), e) for label, e in (("row tiles", row_tiles),
                                                          ("column tiles", column_tiles)))
        one = tile if self.batch.count == 1 else tile % (m * n)
        batch = ZERO if self.batch.count == 1 else tile // (m * n)
        if row_tiles == 1 or column_tiles == 1:
            return (ZERO, one, batch) if row_tiles == 1 else (one, ZERO, batch)
        group = n * GROUP
        first = one // group * GROUP
        height = scalar.minimum(m - first, lit(GROUP, first.dtype))
        inside = one % group
        return first + inside % height, inside // height, batch

    def _sum(self, acc: Expr, places: dict[Expr, Expr], part: Expr) -> Loop:
        """acc + the products of all summed positions (of the part), tile by tile."""
        places = places | self.summed.places(SUMMED)
        a, b = (self._element(f, places) for f in (self.left, self.right))
        step = [Set(acc, tile_product(a, b, acc, SUMMED))]
        start, depth = index_var("k0"), self.tile.depth
        tile = self.summed.tile(SUMMED, ZERO, depth, step, low=start)
        low, end = ZERO, self.summed.size()
        if self.tile.parts > 1:
            whole = self.tile.parts * depth
            size = self.b.size(("part",), (self.summed.count + (whole - 1)) // whole * depth)
            low = part * size
            end = scalar.minimum(low + size, end)
        return Loop(start, low, end, [tile], "serial", depth)

    def _partial(self, acc: Expr, sums: Node, part: Expr, places: dict[Expr, Expr]) -> list:
        """The part's sums stored."""
        name = self.b.operand(sums, 0, sums.dtype, writes=True)
        axes = self.nest.group.seeds[0].definition.axes
        strides = stored(sums).strides
        at = self.b.address(name, dict(zip(axes, strides[1:], strict=True)), places)
        return [Store(name, at + part * self.b.size((name, "part"), strides[0]), acc)]

    def _element(self, f: _Factor, places: dict[Expr, Expr]) -> Expr:
        """A factor's element at the places; 0 where a window reaches beyond the operand, and
        where there is no summed position."""
        r = f.read
        if r is not None and f.value.attr[1] is None:
            name = self.b.operand(r.base, r.offset, r.dtype)
            return expr.load(name, self.b.address(name, r.strides, places), r.dtype)
        found = self.b.lowered(f.value, places, {})
        if r is None and not divides(self.tile.depth, self.summed.count):
            found = scalar.where(self.summed.size() > SUMMED, found, lit(0, found.dtype))
        return found

    def _epilogue(self, acc: Expr, places: dict[Expr, Expr]) -> list:
        """The fused maps and their stores."""
        places = places | {self.dot: scalar.cast(acc, self.dot.dtype)}
        memo: dict[Expr, Expr] = {}
        values = [self.b.lowered(body, places, memo) for _, body in self.nest.outputs()]
        return store_all(self.b, self.nest, values, places)
