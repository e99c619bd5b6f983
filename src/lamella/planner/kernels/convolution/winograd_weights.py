"""The gradient of a convolution for its 3 x 3 weights by Winograd's algorithms, the transposes of
F(2x2, 3x3), with 16 products for each tile of 2 x 2 cotangents, filter and channel instead of 36,
and of F(4x4, 3x3), with 36 for a tile of 4 x 4 instead of 144.

A task owns some filters, some channels and a part of the tiles. It transforms a block of tiles of
the image and of the cotangent into scratch, adds for each of the points the outer products of
filters and channels, and goes on to the next block; the sums wait in scratch. In the end they are
joined to the nine taps, by the task itself or, where there are parts, in a second launch.
"""

from __future__ import annotations

from ....base import dtypes
from ....base.extents import lower, product
from ....ir.node import Node
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Prefetch, Set, Store, index_var, lane_index
from ....lang.order import WINOGRAD_CHUNK
from ...groups.group import Fusion
from ...plan import Launch
from ..nest import Builder, Nest, decode
from ..packing import ZERO, Side
from ..parts import Parts
from ..tile import Span, epilogue
from ..tree import Tree, levels_of
from .interpolation import F2, F4, F32, transformed
from .register_tile import choose_tile
from .winograd_tiles import SKEW, Tiles, table

TAPS = 9
BLOCK = 48              # tiles that all points and filters of a task run over together
MOST_ROWS = 66          # filters of a task
ALGORITHMS = {"winograd weights": F2, "winograd weights 4x4": F4}   # by the reduction's name


def schedule_winograd_weights(nest: Nest, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a gradient for 3 x 3 weights, and of the maps behind it."""
    return _Weights(nest, buffers, fusion, target).launches()


class _Weights:
    def __init__(self, nest: Nest, buffers, fusion: Fusion, target):
        self.nest, self.buffers = nest, dict(buffers)
        self.access = nest.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.algorithm = ALGORITHMS[self.dot.attr[0]]
        self.pixels, self.points = self.algorithm.pixels, self.algorithm.points
        self.image, self.y, self.x = self.dot.attr[1]
        axes = list(nest.group.seeds[0].definition.axes)
        *self.batch, self.filter, r, s, self.channel = axes
        self.taps = [r, s]
        cotangent, = (e for e in self.dot.args if self.filter in expr.free_axes(e))
        image, = (e for e in self.dot.args if e is not cotangent)
        self.tiles = Tiles(nest, image, self.taps, self.channel, axes, self.algorithm)
        self.cotangent = Side(nest.reads[cotangent], axes, [])
        self.m, self.n = self.filter.attr[1], self.channel.attr[1]
        self.sizes = [self.image.attr[1], *((a.attr[1] + (self.pixels - 1)) // self.pixels
                                             for a in (self.y, self.x))]
        self.count = product(self.sizes)
        rows, vectors = self.tile = choose_tile(self.m, self.n, target)
        self.width = vectors * LANES
        most = max(1, MOST_ROWS // rows) * rows
        self.rows = min(most, -(-self.m // rows) * rows)        # filters of a task
        self.pitch = -(-self.rows // LANES) * LANES
        self.moved_step, self.turned_step, self.waiting_step = (
            n + SKEW for n in (BLOCK * self.width, BLOCK * self.pitch, self.rows * self.width))
        self.groups, self.panels = -(-self.m // self.rows), -(-self.n // self.width)
        # Lines to the next block, where no other task will have brought it near.
        self.ahead = -(-BLOCK // max(1, lower(self.sizes[2]))) * self.pixels \
            if self.groups * self.panels == 1 else 0
        self.parts = Parts(self.count, WINOGRAD_CHUNK, self.groups * self.panels)

    def launches(self) -> list[Launch]:
        if not self.parts.several:
            return [self._sums(None)]
        outer = product(a.attr[1] for a in self.batch)
        node = self.parts.node((outer, self.m, self.points, self.n), F32, self.buffers, self.access)
        return [self._sums(node), self._join(node)]

    # -- tasks --

    def _sums(self, partial: Node | None) -> Launch:
        b = self.b = Builder(self.nest, self.buffers)
        task, outer = index_var("task"), product(a.attr[1] for a in self.batch)
        sizes = [b.size((k,), e) for k, e in (("parts", self.parts.count), ("panels", self.panels),
                                              ("groups", self.groups))]
        self.part, self.panel = task % sizes[0], task // sizes[0] % sizes[1]
        self.first = task // sizes[0] // sizes[1] % sizes[2] * self.rows
        self.outer = task // sizes[0] // sizes[1] // sizes[2]
        self.places = decode(self.outer, [
            (a, b.size(("batch", k), a.attr[1])) for k, a in enumerate(self.batch)])
        self.high = scalar.minimum(self.first + self.rows, b.size(("m",), self.m))
        column = self.panel * self.width
        self.columns = column, scalar.minimum(column + self.width, b.size(("n",), self.n))
        self.moved = b.scratch(F32, lit(self.points * self.moved_step, dtypes.index))
        self.turned = b.scratch(F32, lit(self.points * self.turned_step, dtypes.index))
        self.waiting = b.scratch(F32, lit(self.points * self.waiting_step, dtypes.index))
        self.tiles.scratch(b, lit(self.width, dtypes.index))
        tasks = outer * self.groups * self.panels * self.parts.count
        end = self._joined() if partial is None else self._kept(partial)
        body = [*self._cleared(), *self._chunks(), *end]
        launch = b.launch("winograd", [Loop(task, ZERO, b.size(("tasks",), tasks), body,
                                            "parallel")], tasks)
        launch.flops = 2 * self.points * self.m * self.n * self.count * outer
        return launch

    def _cleared(self) -> list:
        """Channels that are not there take part with zeros."""
        if self.n % self.width == 0:
            return []
        k = index_var("k")
        return [Loop(k, ZERO, lit(self.points * self.moved_step, dtypes.index),
                     [Store(self.moved, k, lit(0, F32))], "vector")]

    def _chunks(self) -> list:
        """The sums over the part's tiles, in scratch."""
        b, low, k = self.b, index_var("low"), index_var("k")

        def chunk(start: Expr, stop: Expr) -> list:
            end = scalar.minimum(low + BLOCK, stop)
            return [self._zeros(), Loop(low, start, stop, [
                *self._block(low, end), *self._added(end - low)], "serial", BLOCK)]

        if self.parts.share == 1:
            return [self._zeros(), self.parts.loop(b, self.part, chunk, lambda c: [])]
        x, vectors = expr.var("c", F32, LANES), self.points * self.waiting_step // LANES
        depth = levels_of(self.parts.share, 1)
        tree = Tree(b.scratch(F32, lit(vectors * depth * LANES, dtypes.index)), k * depth, depth,
                    [x])

        def each(body: list) -> Loop:
            return Loop(k, ZERO, lit(vectors, dtypes.index), body)

        load = Set(x, expr.load(self.waiting, k * LANES, F32, LANES))
        return [self.parts.loop(b, self.part, chunk, lambda c: [each([load, *tree.push(c)])]),
                each([*tree.joined(self.parts.number(b, self.part)),
                      Store(self.waiting, k * LANES, x)])]

    def _zeros(self) -> Loop:
        k = index_var("k")
        return Loop(k, ZERO, lit(self.points * self.waiting_step, dtypes.index),
                    [Store(self.waiting, k, lit(0, F32))], "vector")

    # -- a block of tiles --

    def _block(self, low: Expr, high: Expr) -> list:
        """The tiles low..high of image and cotangent, transformed, in scratch."""
        b, t = self.b, index_var("t")
        names = [index_var(k) for k in ("image", "ty", "tx")]
        found = decode(t, list(zip(names, (b.size(("places", k), e) for k, e in
                                           enumerate(self.sizes)), strict=True)))
        n, ty, tx = names
        at = {**self.places, self.image: n}
        slot = t - low
        image = self.tiles.moved(b, at, (ty, tx), self.columns, lambda p, c, x: Store(
            self.moved, slot * self.width + p * self.moved_step + c, x), self.ahead)
        return [Loop(t, low, high, [*(Set(x, found[x]) for x in names), *image,
                                    *self._cotangent(at, ty, tx, slot)])]

    def _cotangent(self, at: dict[Expr, Expr], ty: Expr, tx: Expr, slot: Expr) -> list:
        b, side, v, m = self.b, self.cotangent, index_var("v"), self.pixels
        name = b.operand(side.read.base, side.read.offset, F32)
        at = {**at, self.y: ty * m, self.x: tx * m}
        start = b.address(name, {a: side.stride(a) for a in at}, at)
        steps = [b.size((name, a), side.stride(a)) for a in (self.y, self.x)]
        ends = [b.size(("pixels", k), a.attr[1]) for k, a in enumerate((self.y, self.x))]
        step = b.size((name, self.filter), side.stride(self.filter))
        here = index_var("there")
        filters = self.first + v + lane_index()

        def pixel(p: int) -> Expr:
            i, j = divmod(p, m)
            there = scalar.and_(ty * m + i < ends[0], tx * m + j < ends[1])
            return expr.load(name, here + steps[0] * i + steps[1] * j + filters * step, F32, LANES,
                             scalar.and_(filters < self.high, there), 0)

        sets, values = transformed(table(m, pixel), self.algorithm.of_cotangent)
        stores = [Store(self.turned, slot * self.pitch + p * self.turned_step + v, x)
                  for p, x in enumerate(values)]
        lines = b.size(("ahead",), self.ahead)
        calls = [] if self.ahead == 0 else [
            Prefetch(name, here + (lines + i) * steps[0] + steps[1] * j + self.first + v)
            for i in range(m) for j in range(m)]
        return [Set(here, start), Loop(v, ZERO, lit(self.pitch, dtypes.index),
                                       [*calls, *sets, *stores],
                                       "serial", LANES)]

    def _added(self, tiles: Expr) -> list:
        """The block's outer products, added to the sums that wait."""
        rows, vectors = self.tile
        point, i0, t = index_var("point"), index_var("i0"), index_var("t")
        registers = [[expr.var(f"c{r}_{v}", F32, LANES) for v in range(vectors)]
                     for r in range(rows)]
        places = [(x, point * self.waiting_step + (i0 + r) * self.width + v * LANES)
                  for r, line in enumerate(registers) for v, x in enumerate(line)]
        start = point * self.moved_step + t * self.width
        right = [expr.load(self.moved, start + v * LANES, F32, LANES) for v in range(vectors)]
        sums = []
        for r, line in enumerate(registers):
            x = expr.load(self.turned, point * self.turned_step + t * self.pitch + i0 + r, F32)
            sums += [Set(c, scalar.fma(x, y, c)) for c, y in zip(line, right, strict=True)]
        body = [*(Set(x, expr.load(self.waiting, at, F32, LANES)) for x, at in places),
                Loop(t, ZERO, tiles, sums), *(Store(self.waiting, at, x) for x, at in places)]
        return [Loop(point, ZERO, lit(self.points, dtypes.index), [
            Loop(i0, ZERO, self.high - self.first, body, "serial", rows)])]

    # -- what becomes of the sums --

    def _tap(self, tap: Expr) -> dict[Expr, Expr]:
        """The places of the weights' axes for tap 0..8 of the algorithm."""
        return {axis: 2 - k if line.flipped else k for axis, k, line in zip(
            self.taps, (tap // 3, tap % 3), self.tiles.lines, strict=True)}

    def _joined(self) -> list:
        """The sums as taps, through the maps behind them to their places."""
        b, i, v = self.b, index_var("i"), index_var("v")
        out = b.scratch(F32, lit(TAPS * self.rows * self.width, dtypes.index))
        row = i - self.first
        found = table(self.algorithm.places, lambda p: expr.load(
            self.waiting, row * self.width + p * self.waiting_step + v, F32, LANES))
        sets, values = transformed(found, self.algorithm.to_weights)
        stores = [Store(out, (row + k * self.rows) * self.width + v, x)
                  for k, x in enumerate(values)]
        join = Loop(i, self.first, self.high, [
            Loop(v, ZERO, lit(self.width, dtypes.index), [*sets, *stores], "serial", LANES)])
        tap, j = index_var("tap"), index_var("j")
        value = expr.load(out, (tap * self.rows + row) * self.width + (j - self.columns[0]), F32)
        return [join, Loop(tap, ZERO, lit(TAPS, dtypes.index), epilogue(
            b, self.dot, value, (i, j), (Span([self.filter], self.first, self.high, "rows"),
                                         Span([self.channel], *self.columns, "columns")),
            {**self.places, **self._tap(tap)}))]

    def _kept(self, partial: Node) -> list:
        """The sums as a part of those of all tiles."""
        b, i, j, point = self.b, index_var("i"), index_var("j"), index_var("point")
        name = b.operand(partial, 0, F32, writes=True)
        m, n, low = b.size(("m",), self.m), b.size(("n",), self.n), self.columns[0]
        outer = b.size(("outer",), product(a.attr[1] for a in self.batch))
        line = (((self.part * outer + self.outer) * m + i) * self.points + point) * n
        value = expr.load(self.waiting, point * self.waiting_step +
                          (i - self.first) * self.width + (j - low), F32)
        return [Loop(point, ZERO, lit(self.points, dtypes.index), [
            Loop(i, self.first, self.high, [
                Loop(j, *self.columns, [Store(name, line + j, value)], "vector")])])]

    def _join(self, partial: Node) -> Launch:
        """Parts met as an aligned tree, as taps, through the maps behind; a task is a filter."""
        b = Builder(self.nest, self.buffers)
        task, v, tap, p, j = (index_var(k) for k in ("task", "v", "tap", "p", "j"))
        m, n = b.size(("m",), self.m), b.size(("n",), self.n)
        outer = product(a.attr[1] for a in self.batch)
        places = {self.filter: task % m} | decode(task // m, [
            (a, b.size(("batch", k), a.attr[1])) for k, a in enumerate(self.batch)])
        name, out = b.operand(partial, 0, F32), b.scratch(F32, n * TAPS)
        step = b.size(("part",), outer * self.m * self.points * self.n)
        found = table(self.algorithm.places, lambda k: self.parts.joined(
            b, name, (task * self.points + k) * n + v, step, F32, LANES))
        sets, values = transformed(found, self.algorithm.to_weights)
        join = Loop(v, ZERO, n, [*sets, *(Store(out, n * k + v, x) for k, x in enumerate(values))],
                    "serial", LANES)
        one = Span([], ZERO, lit(1, dtypes.index), "rows")
        ends = epilogue(b, self.dot, expr.load(out, tap * n + j, F32), (p, j),
                        (one, Span([self.channel], ZERO, n, "columns")),
                        {**places, **self._tap(tap)})
        tasks = self.m * outer
        return b.launch("join", [Loop(task, ZERO, b.size(("tasks",), tasks), [
            join, Loop(tap, ZERO, lit(TAPS, dtypes.index), ends)], "parallel")], tasks)
