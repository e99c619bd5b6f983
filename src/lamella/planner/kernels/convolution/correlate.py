"""The gradient of a convolution for its weights: tiles of filters x channels, summed over pixels.

Each pixel adds the outer product of its filters' cotangents (one element for each row of the tile)
and its channels (whole vectors), both read in place, line by line; pixels whose tap is outside of
the image are left out by the ranges of the loops. A task runs over blocks of pixels and in each
over all taps and filters of its own, so that the block stays near; the sums wait in scratch. Chunks
of pixels are tasks of their own, whose results meet in a second launch.
"""

from __future__ import annotations

from ....base import dtypes
from ....base.extents import Extent, lower, product, upper
from ....ir.node import Node
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Set, Store, When, index_var, lane_index
from ....lang.order import CONTRACT_CHUNK
from ...groups.group import Fusion
from ...plan import Launch
from ..nest import Builder, Nest, accumulator, advance, decode, multiply_add
from ..packing import ZERO, Side
from ..parts import Parts
from ..tile import Span, epilogue
from ..tree import Tree, levels_of
from .register_tile import choose_tile
from .windows import Window, all_inside, whole

TILES = ((6, 4), (5, 4), (4, 4), (3, 4), (2, 4), (1, 4), (14, 2), (13, 2), (12, 2), (8, 2),
         (16, 1), (8, 1), (6, 1), (4, 1))
LEAST_TASKS = 4
BLOCK = 128             # pixels that all taps and filters of a task run over together
WAITING = 1 << 16       # elements of sums that a task keeps in scratch, about


def schedule_correlation(nest: Nest, windows: Expr, buffers, fusion: Fusion,
                         target) -> list[Launch]:
    """The launches of a product whose right operand is `windows`, and of the maps behind it."""
    return _Correlation(nest, windows, buffers, fusion, target).launches()


def correlates(nest: Nest, windows: Expr) -> bool:
    """Whether the operand with windows owns the result's last axes, contiguous and in no window;
    where it has no channels, summed ones included: whether it owns fewer places of the result
    than are summed."""
    dot, axes = nest.bodies[0], list(nest.group.seeds[0].definition.axes)
    side = Window(nest, windows, axes, list(dot.attr[1]))
    other, = (nest.reads[e] for e in dot.args if e is not windows)
    owned = [a for a in axes if (a in side.read.strides) != (a in other.strides)]
    columns = _columns(axes, side, other.strides)
    if columns:
        return owned[-1] is columns[-1]
    if any(a.attr[1] != 1 and a not in side.limited and side.stride(a) == 1 for a in dot.attr[1]):
        return False
    filters = Side(other, [a for a in owned if a in other.strides], list(dot.attr[1]))
    runs = filters.runs(filters.axes)
    taps = product(a.attr[1] for a in owned if a in side.read.strides)
    return len(runs) == 1 and filters.stride(runs[0][2]) == 1 and \
        upper(taps) < lower(product(a.attr[1] for a in dot.attr[1]))


def _columns(axes: list[Expr], side: Window, other: dict) -> list[Expr]:
    """The trailing axes of the windows' side that one step of an element runs through."""
    mine = [a for a in axes if a in side.read.strides and a not in other
            and a not in side.limited]
    runs = side.runs(mine)
    return list(runs[-1][0]) if runs and side.stride(runs[-1][2]) == 1 else []


class _Correlation:
    def __init__(self, nest: Nest, windows: Expr, buffers, fusion: Fusion, target):
        self.nest, self.buffers = nest, dict(buffers)
        nest.access = self.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.bound = list(self.dot.attr[1])
        axes = list(nest.group.seeds[0].definition.axes)
        self.window = Window(nest, windows, axes, self.bound)
        other, = (e for e in self.dot.args if e is not windows)
        read = nest.reads[other]
        cotangent = Side(read, [a for a in axes if a in read.strides], self.bound)
        channels = _columns(axes, self.window, read.strides)
        both = {a for a in cotangent.axes if a in self.window.axes}
        filters = [a for a in axes if a not in both and a not in self.window.axes]
        self.batch = [a for a in axes if a in both]
        self.taps = [a for a in axes if a in self.window.axes and a not in both
                     and a not in channels]
        self.left, self.rows = cotangent, filters
        self.right, self.columns = self.window, channels
        few = upper(product(a.attr[1] for a in channels))
        runs = cotangent.runs(filters)
        if few < LANES and few < upper(product(a.attr[1] for a in filters)) and len(
                runs) == 1 and cotangent.stride(runs[0][2]) == 1:
            self.left, self.right = self.right, self.left
            self.rows, self.columns = self.columns, self.rows
        self.m = product(a.attr[1] for a in self.rows)
        self.n = product(a.attr[1] for a in self.columns)
        self.kernel = product(a.attr[1] for a in self.taps)
        self.count = product(a.attr[1] for a in self.bound)
        self.tile = choose_tile(self.m, self.n, target, TILES)
        self.acc = accumulator(self.dot.dtype)
        self.parts = Parts(self.count, CONTRACT_CHUNK, 1)
        self.pixels = [a for a in self.bound[:-1] if a.attr[1] != 1] + self.bound[-1:]

    def launches(self) -> list[Launch]:
        if not self.parts.several:
            return [self._product(None)]
        node = self.parts.node((product(a.attr[1] for a in self._order()),), self.acc,
                               self.buffers, self.access)
        return [self._product(node), self._join(node)]

    def _order(self) -> list[Expr]:
        """The result's axes as partial results lie."""
        return [*self.batch, *self.taps, *self.rows, *self.columns]

    # -- tasks --

    def _product(self, partial: Node | None) -> Launch:
        b = self.b = Builder(self.nest, self.buffers)
        rows, vectors = self.tile
        width = vectors * LANES
        self.row_count, self.column_count = b.size(("m",), self.m), b.size(("n",), self.n)
        panels: Extent = (self.n + (width - 1)) // width
        tiles: Extent = (self.m + (rows - 1)) // rows
        outer = product(a.attr[1] for a in self.batch)
        group = self._group(tiles, panels * outer * self.parts.count)
        groups: Extent = (tiles + (group - 1)) // group
        task = index_var("task")
        sizes = [b.size(("parts",), self.parts.count), b.size(("panels",), panels),
                 b.size(("groups",), groups)]
        self.part = task % sizes[0]
        self.panel = task // sizes[0] % sizes[1]
        g = task // sizes[0] // sizes[1] % sizes[2]
        self.places = decode(
            task // sizes[0] // sizes[1] // sizes[2],
            [(a, b.size(("batch", k), a.attr[1])) for k, a in enumerate(self.batch)])
        first = g * (group * rows)
        body = self._sums(first, scalar.minimum(first + group * rows, self.row_count), group,
                          partial)
        tasks = outer * self.parts.count * panels * groups
        launch = b.launch("correlate", [Loop(task, ZERO, b.size(("tasks",), tasks), body,
                                             "parallel")], tasks)
        launch.flops = 2 * self.m * self.n * self.kernel * self.count * outer
        return launch

    def _group(self, tiles: Extent, others: Extent) -> int:
        """Tiles of a task: many, to read pixels once; enough tasks; sums that stay near."""
        count = max(1, lower(tiles) or upper(tiles))
        size = self.tile[0] * self.tile[1] * LANES * max(1, upper(self.kernel))
        group = min(count, max(1, WAITING // size),
                    max(1, count * max(1, upper(others)) // LEAST_TASKS))
        return -(-count // -(-count // group))

    # -- sums --

    def _sums(self, first: Expr, high: Expr, group: int, partial: Node | None) -> list:
        """All tiles of rows first..high and all taps, over the pixels of the task's chunks."""
        b = self.b
        rows, vectors = self.tile
        self.registers = [[expr.var(f"c{r}_{v}", self.acc, LANES) for v in range(vectors)]
                          for r in range(rows)]
        flat = [x for line in self.registers for x in line]
        size = len(flat) * LANES
        slots = b.size(("taps",), self.kernel) * group
        sums = b.scratch(self.acc, slots * size)
        i0, tap, low = (index_var(x) for x in ("i0", "tap", "low"))
        number = tap * group + (i0 - first) // rows
        at = [number * size + k * LANES for k in range(len(flat))]
        load = [Set(x, expr.load(sums, o, self.acc, LANES)) for x, o in zip(flat, at, strict=True)]
        store = [Store(sums, o, x) for x, o in zip(flat, at, strict=True)]
        zero = [Set(x, lit(0, self.acc)) for x in flat]

        def tiles(body: list) -> Loop:
            inner = Loop(i0, first, high, body, "serial", rows)
            return Loop(tap, ZERO, b.size(("taps",), self.kernel), [inner])

        def chunk(start: Expr, stop: Expr) -> list:
            end = scalar.minimum(low + BLOCK, stop)
            block = [*zero, When(low > start, load), *self._chain(i0, tap, low, end), *store]
            return [Loop(low, start, stop, [tiles(block)], "serial", BLOCK)]

        parts, number_of_chunks = self.parts, self.parts.number(b, self.part)
        if parts.share == 1:
            return [parts.loop(b, self.part, chunk, lambda c: []),
                    tiles([*zero, When(number_of_chunks > 0, load),
                           *self._end(i0, tap, partial)])]
        depth = levels_of(parts.share, 1)
        levels = b.scratch(self.acc, slots * (depth * size))
        tree = Tree(levels, number * depth, depth, flat)
        return [parts.loop(b, self.part, chunk, lambda c: [tiles([*load, *tree.push(c)])]),
                tiles([*tree.joined(number_of_chunks), *self._end(i0, tap, partial)])]

    def _start(self, side: Side, places: dict[Expr, Expr]) -> tuple[str, Expr]:
        """(the operand's name, where it begins at the places)."""
        name = self.b.operand(side.read.base, side.read.offset, side.dtype)
        start = self.b.address(name, {a: s for a, s in side.read.strides.items() if a in places},
                               places)
        if side is self.window:
            start = start + self.b.size((name, "start"), self.window.start)
        return name, start

    def _first(self, i0: Expr) -> Expr:
        """The first row that is read for the tile at i0: the last tile moves back to whole rows."""
        if self._in_a_row(self.left.runs(self.rows)):
            return scalar.minimum(i0, self.row_count - self.tile[0])
        return i0

    def _columns_inside(self, column: Expr) -> tuple:
        """The condition of a load of whole vectors of columns, and what stands for the others."""
        if isinstance(self.n, int) and self.n % (self.tile[1] * LANES) == 0:
            return ()
        return column + lane_index() < self.column_count, 0

    def _chain(self, i0: Expr, tap: Expr, low: Expr, high: Expr) -> list:
        """The tile's registers go on over the pixels of low..high that the tap takes part in, line
        by line of the last axis."""
        b = self.b
        *outer, along = self.pixels
        counts = [b.size(("tap", k), a.attr[1]) for k, a in enumerate(self.taps)]
        found = decode(tap, list(zip(self.taps, counts, strict=True)))
        taps = {a: index_var(f"tap{k}") for k, a in enumerate(self.taps)}
        counts = [b.size(("pixel", k), a.attr[1]) for k, a in enumerate(outer)]
        long, line, at = b.size(("across",), along.attr[1]), index_var("line"), index_var("at")
        first = decode(low // long, list(zip(outer, counts, strict=True)))
        here = {a: index_var(f"pixel{k}") for k, a in enumerate(outer)}
        places = {**self.places, **taps, **here}
        moved, forward, fixed = self._limits(along)
        least, most = whole(b, forward, along, [], places)
        sums = self._sum(self._first(i0), {**places, along: at})
        if moved:
            sums = [When(all_inside(b, moved, {**places, along: at}), sums)]
        pixels = Loop(at, scalar.maximum(low - line * long, least),
                      scalar.minimum(high - line * long, most), sums)
        on = advance(list(here.values()), counts, lit(True, dtypes.bool_)) if here else []
        return [*(Set(x, found[a]) for a, x in taps.items()),
                *(Set(x, first[a]) for a, x in here.items()),
                Loop(line, low // long, (high + (long - 1)) // long,
                     [When(all_inside(b, fixed, places), [pixels]), *on])]

    def _limits(self, along: Expr) -> tuple[list, list, list]:
        """The limits, numbered, that the axis moves in other ways, forward, and not at all."""
        found: tuple[list, list, list] = [], [], []
        for k, limit in enumerate(self.window.limits):
            step = limit.form.terms.get(along, 0)
            found[2 if step == 0 else isinstance(step, int) and step > 0].append((k, limit))
        return found

    def _sum(self, i0: Expr, places: dict[Expr, Expr]) -> list:
        """The products of a pixel's rows and columns, read where they lie, added to the tile."""
        b, left = self.b, self.left
        columns, start = self._start(self.right, places)
        start = start + self.panel * (self.tile[1] * LANES)
        vectors = [expr.load(columns, start + v * LANES, self.right.dtype, LANES,
                             *self._columns_inside(self.panel * (self.tile[1] * LANES) + v * LANES))
                   for v in range(self.tile[1])]
        name, here = self._start(left, places)
        runs, last = left.runs(self.rows), self.row_count - 1
        values = []
        for r in range(self.tile[0]):
            if self._in_a_row(runs):
                row = i0 + r
            else:
                at = decode(scalar.minimum(i0 + r, last) if r else i0, [
                    (a, b.size(("row", k), n)) for k, (_, n, a) in enumerate(runs)])
                row = b.address(name, {a: left.stride(a) for a in at}, at)
            values.append(expr.load(name, row + here, left.dtype))
        return [Set(self.registers[r][v], multiply_add(x, y, self.registers[r][v]))
                for r, x in enumerate(values) for v, y in enumerate(vectors)]

    def _in_a_row(self, runs) -> bool:
        """Whether a tile's rows lie one behind the other, and there are enough of them."""
        return len(runs) == 1 and self.left.stride(runs[0][2]) == 1 and isinstance(
            self.m, int) and self.m >= self.tile[0]

    # -- what becomes of the sums --

    def _end(self, i0: Expr, tap: Expr, partial: Node | None) -> list:
        """The tile to its place: through the maps behind the product, or as a part of its sum."""
        b = self.b
        rows, vectors = self.tile
        low, width = self.panel * (vectors * LANES), vectors * LANES
        flat = [x for line in self.registers for x in line]
        tile = b.scratch(self.acc, lit(len(flat) * LANES, dtypes.index))
        save = [Store(tile, lit(k * LANES, dtypes.index), x) for k, x in enumerate(flat)]
        i, j = index_var("i"), index_var("j")
        value = expr.load(tile, (i - self._first(i0)) * width + (j - low), self.acc)
        last_row = scalar.minimum(i0 + rows, self.row_count)
        last_column = scalar.minimum(low + width, self.column_count)
        if partial is None:
            taps = decode(tap, [(a, b.size(("tap", k), a.attr[1]))
                                for k, a in enumerate(self.taps)])
            return [*save, *epilogue(b, self.dot, value, (i, j), (
                Span(self.rows, i0, last_row, "rows"),
                Span(self.columns, low, last_column, "columns")), {**self.places, **taps})]
        at = self.part
        for a in self.batch:
            at = at * b.size(("outer", a), a.attr[1]) + self.places[a]
        at = at * b.size(("taps",), self.kernel) + tap
        at = (at * self.row_count + i) * self.column_count + j
        name = b.operand(partial, 0, self.acc, writes=True)
        return [*save, Loop(i, i0, last_row, [
            Loop(j, low, last_column, [Store(name, at, value)], "vector")])]

    def _join(self, partial: Node) -> Launch:
        """Parts met as an aligned tree, then the maps behind the product; a task is a row."""
        b = Builder(self.nest, self.buffers)
        outer = [*self.batch, *self.taps, *self.rows]
        task, j, p = index_var("task"), index_var("j"), index_var("p")
        places = decode(task, [(a, b.size(("outer", k), a.attr[1])) for k, a in enumerate(outer)])
        columns = b.size(("n",), self.n)
        tasks = product(a.attr[1] for a in outer)
        name = b.operand(partial, 0, self.acc)
        step = b.size(("part",), tasks * self.n)
        value = self.parts.joined(b, name, task * columns + j, step, self.acc)
        one = Span([], ZERO, lit(1, dtypes.index), "rows")
        body = epilogue(b, self.dot, value, (p, j),
                        (one, Span(self.columns, ZERO, columns, "columns")), places)
        return b.launch("join", [Loop(task, ZERO, b.size(("tasks",), tasks), body, "parallel")],
                        tasks, max(1, 4096 // max(1, upper(self.n))))
