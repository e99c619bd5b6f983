"""The contraction template: a register-tiled product of two operands with a fused epilogue.

Axes fall into batch (both operands and the result), rows (left operand and result), columns (right
operand and result) and summed. The right operand is read in panels of whole vectors of columns,
packed first where its columns are not contiguous; the left operand is read in place when one stride
steps through its rows and one through its summed axes, else from a packed copy. A tile of rows x
columns stays in registers over the whole chain of fused multiply-adds (Goto & van de Geijn,
"Anatomy of high-performance matrix multiplication", TOMS 2008, without the inner blocking).
"""

from __future__ import annotations

from ..base import dtypes
from ..base.extents import Extent, lower, product, upper
from ..ir.node import Node, placeholder
from ..ir.types import tensor
from ..lang import expr, scalar
from ..lang.definition import Definition
from ..lang.expr import Expr, lit
from ..lang.loops import LANES, Loop, Set, Store, When, index_var, lane_index, trailing_zeros
from ..lang.order import CONTRACT_CHUNK
from .access import stored
from .fuse import Fusion, Group, Seed
from .nest import Builder, Nest, StridedRead, accumulator, decode, merged_axes, strides_of
from .plan import Buffer, Launch
from .rows import levels_of, schedule_rows, stores_after

ZERO = lit(0, dtypes.index)
DIRECT_ROWS = 32        # up to so many rows the right operand is not worth packing


class Side:
    """One operand: base node, element offset, and runs (extent, stride) of its summed axes."""

    __slots__ = ("axes", "dtype", "read", "summed")

    def __init__(self, read: StridedRead, axes: list[Expr], bound: list[Expr]):
        self.read, self.axes, self.dtype = read, axes, read.dtype
        self.summed = merged_axes(bound, [read.strides], set())

    def runs(self, axes) -> list[tuple]:
        return merged_axes(list(axes), [self.read.strides], set())


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
        self.nest, self.buffers, self.target = nest, dict(buffers), target
        self.access = dict(fusion.access)
        self.before: list[Launch] = []
        self.dot = nest.bodies[0]
        self.axes = list(nest.group.seeds[0].definition.axes)
        self.bound = list(self.dot.attr[1])
        reads = [nest.reads[a] for a in self.dot.args]
        sides = [Side(r, [a for a in self.axes if a in r.strides], self.bound) for r in reads]
        self.left, self.right = self._oriented(*sides)
        both = set(self.left.axes) & set(self.right.axes)
        self.batch = [a for a in self.axes if a in both]
        self.columns = [a for a in self.axes if a in self.right.axes and a not in both]
        self.rows = [a for a in self.axes if a not in both and a not in self.columns]
        self.count = product(a.attr[1] for a in self.bound)
        self.m = product(a.attr[1] for a in self.rows)
        self.n = product(a.attr[1] for a in self.columns)
        self.tile = choose_tile(self.m, self.n, target.contract_tiles)
        self.acc = accumulator(self.dot.dtype)

    def _oriented(self, a: Side, b: Side) -> tuple[Side, Side]:
        """The operand that owns the result's last axis goes to the right (columns)."""
        for x in reversed(self.axes):
            if (x in a.axes) != (x in b.axes):
                return (b, a) if x in a.axes else (a, b)
        return a, b

    def launches(self) -> list[Launch]:
        self._pack_left()
        direct = self._right_direct()
        if not direct:
            self._pack_right()
        step = self._product(direct)
        return [*self.before, step]

    # -- operands --

    def _pack_left(self) -> None:
        """A copy [batch, summed, rows] where strides cannot step through rows and summed axes."""
        if len(self.left.runs(self.rows)) <= 1 and len(self.left.summed) <= 1:
            return
        axes = [*self.batch_of(self.left), *self.bound, *self.rows]
        self.left = self._copied(self.left, axes, "packed left operand")

    def batch_of(self, side: Side) -> list[Expr]:
        return [a for a in self.batch if a in side.axes]

    def _copied(self, side: Side, axes: list[Expr], label: str) -> Side:
        """The operand's elements row-major over `axes`, written by a launch of its own."""
        node, write = self._copy_nest(side, axes, None)
        self._run_copy(node, write, label)
        strides = dict(zip(axes, stored(node).strides, strict=True))
        return Side(StridedRead(node, 0, strides, side.dtype), side.axes, self.bound)

    def _copy_nest(self, side: Side, axes: list[Expr], body: Expr | None):
        shape = tuple(a.attr[1] for a in axes)
        node = placeholder(tensor(side.dtype, shape), "packed")
        named = tuple(expr.axis(f"a{k}", e) for k, e in enumerate(shape))
        rename = dict(zip(axes, named, strict=True))
        source = self._flat_source(side)
        at: Expr = ZERO
        for a, s in side.read.strides.items():
            at = at + rename.get(a, ZERO) * expr.size(s)
        value = expr.read(0, (at,), side.dtype) if body is None else body
        return node, Seed(node, "map", Definition((source.type,), named, value), [source])

    def _flat_source(self, side: Side) -> Node:
        """The operand's buffer as one flat axis from its offset on."""
        read = side.read
        flat = placeholder(tensor(side.dtype, (read.base.type.size,)), "flat")
        access = stored(flat)
        access.base, access.offset = read.base, read.offset
        self.access[id(flat)] = access
        return flat

    def _run_copy(self, node: Node, write: Seed, label: str) -> None:
        self.buffers[id(node)] = Buffer(node.dtype, node.type.size, "temporary", label)
        self.access[id(node)] = stored(node)
        group = Group(write, (node.shape[:-1], node.shape[-1]))
        local = Fusion([], self.access, [])
        launch = schedule_rows(Nest(group, local, {id(node)}), self.buffers)
        launch.names = "pack"
        launch.source = self.nest.group.seeds[0].node.source
        self.before.append(launch)

    def _right_direct(self) -> bool:
        runs = self.right.runs(self.columns)
        if len(self.right.summed) > 1 or len(runs) > 1 or upper(self.m) > DIRECT_ROWS:
            return False
        return not runs or self.right.read.strides.get(runs[0][2], 0) == 1

    def _pack_right(self) -> None:
        """Panels [batch, panel, summed, columns of a panel], zeros beyond the last column."""
        if len(self.right.runs(self.columns)) > 1:
            self.right = self._copied(
                self.right, [*self.batch_of(self.right), *self.bound, *self.columns],
                "flat right operand")
        width = self.tile[1] * LANES
        runs = self.right.runs(self.columns)
        step = self.right.read.strides.get(runs[0][2], 0) if runs else 0
        panel = expr.axis("panel", (self.n + (width - 1)) // width)
        lane = expr.axis("lane", width)
        axes = [*self.batch_of(self.right), panel, *self.bound, lane]
        named = {a: expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate(axes)}
        at, low = ZERO, 0   # the place before the column; a flipped axis counts from its other end
        for a, s in self.right.read.strides.items():
            if a in named:
                at = at + named[a] * expr.size(s)
                low = low + (a.attr[1] - 1) * s if upper(s) < 0 else low
        at = at + expr.size(low * -1)
        source = self._columns_source(step, low)
        column = named[panel] * width + named[lane]
        value = expr.read(0, (at, column), self.right.dtype, 0)
        node = placeholder(tensor(self.right.dtype, tuple(a.attr[1] for a in axes)), "packed")
        seed = Seed(node, "map", Definition((source.type,), tuple(named.values()), value), [source])
        self._run_copy(node, seed, "packed right operand")
        strides = dict(zip(axes, stored(node).strides, strict=True))
        read = StridedRead(node, 0, strides, self.right.dtype)
        self.panel, self.panel_stride = panel, strides[panel]
        self.right = Side(read, self.right.axes, self.bound)

    def _columns_source(self, step: Extent, low: Extent) -> Node:
        """The right operand's buffer as [anything, column]: only the column is bounded by fill."""
        read = self.right.read
        source = placeholder(tensor(self.right.dtype, (read.base.type.size + 1, self.n)), "columns")
        access = stored(source)
        access.base, access.offset, access.strides = read.base, read.offset + low, (1, step)
        self.access[id(source)] = access
        return source

    # -- the product --

    def _product(self, direct: bool) -> Launch:
        self.nest.access = self.access
        b = self.b = Builder(self.nest, self.buffers)
        rows, vectors = self.tile
        width = vectors * LANES
        m, n = b.size(("m",), self.m), b.size(("n",), self.n)
        panels: Extent = (self.n + (width - 1)) // width
        row_tiles: Extent = (self.m + (rows - 1)) // rows
        group = self._group(row_tiles)
        row_groups: Extent = (row_tiles + (group - 1)) // group
        task = index_var("task")
        p_count, g_count = b.size(("panels",), panels), b.size(("groups",), row_groups)
        p, g = task % p_count, task // p_count % g_count
        batch = decode(task // p_count // g_count,
                       [(a, b.size(("batch", k), a.attr[1])) for k, a in enumerate(self.batch)])
        i0 = index_var("i0")
        first = g * (group * rows)
        high = scalar.minimum(first + group * rows, m)
        tile = b.scratch(self.acc, lit(rows * width, dtypes.index))
        body = self._tile(direct, i0, p, batch, m, n, tile)
        body += self._epilogue(i0, p, batch, m, n, tile)
        loop = Loop(i0, first, high, body, "serial", rows)
        tasks = product(a.attr[1] for a in self.batch) * row_groups * panels
        outer = Loop(task, ZERO, b.size(("tasks",), tasks), [loop], "parallel")
        launch = b.launch("contract", [outer], tasks)
        launch.flops = 2 * self.m * self.n * self.count * product(a.attr[1] for a in self.batch)
        return launch

    def _group(self, row_tiles: Extent) -> int:
        """Row tiles of one task: enough to reuse the panel, few enough for every thread."""
        tiles = max(1, lower(row_tiles) or upper(row_tiles))
        return max(1, min(16, tiles // 4))

    def _tile(self, direct: bool, i0: Expr, p: Expr, batch, m: Expr, n: Expr, tile: str) -> list:
        """The chain over the summed positions, left in the tile's scratch."""
        rows, vectors = self.tile
        registers = [[expr.var(f"c{r}_{v}", self.acc, LANES) for v in range(vectors)]
                     for r in range(rows)]
        flat = [x for line in registers for x in line]
        count = self.b.size(("k",), self.count)
        zero = [Set(x, lit(0, self.acc)) for x in flat]
        save = [Store(tile, lit(k * LANES, dtypes.index), x) for k, x in enumerate(flat)]
        left, right = self._left_loads(i0, batch, m), self._right_loads(direct, p, batch, n)
        k = index_var("k")

        def chain(low: Expr, high: Expr) -> list:
            sums = []
            columns = [right(k, v) for v in range(vectors)]
            for r in range(rows):
                value = left(k, r)
                sums += [Set(x, self._fma(value, y, x))
                         for x, y in zip(registers[r], columns, strict=True)]
            return [*zero, Loop(k, low, high, sums, "serial")]

        if upper(self.count) <= CONTRACT_CHUNK:
            return [*chain(ZERO, count), *save]
        return self._chunks(flat, chain, count, tile)

    def _chunks(self, flat, chain, count: Expr, tile: str) -> list:
        """Chains of CONTRACT_CHUNK positions joined as an aligned binary tree."""
        size = len(flat) * LANES
        depth = levels_of(self.count, CONTRACT_CHUNK)
        levels = self.b.scratch(self.acc, lit(depth * size, dtypes.index))
        c, level = index_var("c"), index_var("level")
        chunks = (count + (CONTRACT_CHUNK - 1)) // CONTRACT_CHUNK

        def slot(at: Expr, k: int) -> Expr:
            return at * size + k * LANES

        def joined(at: Expr) -> list:
            return [Set(x, expr.load(levels, slot(at, k), x.dtype, LANES) + x)
                    for k, x in enumerate(flat)]

        high = scalar.minimum(c * CONTRACT_CHUNK + CONTRACT_CHUNK, count)
        top = trailing_zeros(c + 1)
        body = chain(c * CONTRACT_CHUNK, high)
        body.append(Loop(level, ZERO, top, joined(level)))
        body += [Store(levels, slot(top, k), x) for k, x in enumerate(flat)]
        first = trailing_zeros(scalar.maximum(chunks, 1))
        present = scalar.ne((chunks >> level) & 1, 0)
        return [*(Set(x, lit(0, self.acc)) for x in flat), Loop(c, ZERO, chunks, body),
                When(chunks > 0, [Set(x, expr.load(levels, slot(first, k), x.dtype, LANES))
                                  for k, x in enumerate(flat)]),
                Loop(level, first + 1, lit(depth, dtypes.index), [When(present, joined(level))]),
                *(Store(tile, lit(k * LANES, dtypes.index), x) for k, x in enumerate(flat))]

    def _fma(self, a: Expr, b: Expr, c: Expr) -> Expr:
        if not self.acc.is_float:
            return a * b + c
        return scalar.fma(scalar.cast(a, self.acc), scalar.cast(b, self.acc), c)

    def _left_loads(self, i0: Expr, batch, m: Expr):
        """left(k, r): the element of row i0 + r (the last row again beyond it) at position k."""
        side, b = self.left, self.b
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        runs = side.runs(self.rows)
        row_step = self._step(name, "row", side, runs)
        sum_step = self._step(name, "sum", side, side.summed)
        start = b.address(name, {a: side.read.strides[a] for a in self.batch_of(side)}, batch)

        def left(k: Expr, r: int) -> Expr:
            row = scalar.minimum(i0 + r, m - 1) if r else i0
            return expr.load(name, start + row * row_step + k * sum_step, side.dtype)

        return left

    def _step(self, name: str, role: str, side: Side, runs) -> Expr:
        stride = side.read.strides.get(runs[0][2], 0) if runs else 0
        return self.b.size((name, role), stride)

    def _right_loads(self, direct: bool, p: Expr, batch, n: Expr):
        """right(k, v): vector v of panel p at position k."""
        side, b = self.right, self.b
        width = self.tile[1] * LANES
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: side.read.strides[a] for a in self.batch_of(side)}, batch)
        if not direct:
            start = start + p * b.size((name, "panel"), self.panel_stride)
            return lambda k, v: expr.load(name, start + k * width + v * LANES, side.dtype, LANES)
        step = self._step(name, "sum", side, side.summed)

        def right(k: Expr, v: int) -> Expr:
            column = p * width + v * LANES
            inside = column + lane_index() < n
            return expr.load(name, start + column + k * step, side.dtype, LANES, inside, 0)

        return right

    # -- the epilogue --

    def _epilogue(self, i0: Expr, p: Expr, batch, m: Expr, n: Expr, tile: str) -> list:
        """Rows of the tile through the fused maps to their outputs."""
        rows, vectors = self.tile
        width = vectors * LANES
        i, j = index_var("i"), index_var("j")
        tables = [r.strides for e, r in self.nest.reads.items() if e not in self.dot.args]
        outputs = self.nest.outputs()
        for seed, _ in outputs:
            tables.append(strides_of(seed.definition.axes, seed.node.shape,
                                     self.access[id(seed.node)]))
        used = self.nest.loose_axes(self.nest.bodies, self.dot)
        places = dict(batch)
        places |= self._places(self.rows, i, tables, used, "rows")
        places |= self._places(self.columns, j, tables, used, "columns")
        value = expr.load(tile, (i - i0) * width + (j - p * width), self.acc)
        places[self.dot] = scalar.cast(value, self.dot.dtype)
        memo: dict[Expr, Expr] = {}
        pairs = []
        for seed, body in outputs:
            name = self.b.operand(seed.node, 0, seed.node.dtype, writes=True)
            strides = strides_of(seed.definition.axes, seed.node.shape, self.access[id(seed.node)])
            pairs.append((name, self.b.address(name, strides, places),
                          self.b.lowered(body, places, memo)))
        stores = stores_after(pairs, LANES)
        last_row = scalar.minimum(i0 + rows, m)
        last_column = scalar.minimum(p * width + width, n)
        return [Loop(i, i0, last_row, [Loop(j, p * width, last_column, stores, "vector")])]

    def _places(self, axes, flat: Expr, tables, used, label: str) -> dict[Expr, Expr]:
        runs = merged_axes(axes, tables, used)
        counts = [(last, self.b.size((label, k), e)) for k, (_, e, last) in enumerate(runs)]
        places = dict.fromkeys(axes, ZERO)
        return places | decode(flat, counts)
