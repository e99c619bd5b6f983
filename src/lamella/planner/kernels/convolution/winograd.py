"""Convolution with 3 x 3 taps by Winograd's algorithms: by F(2x2, 3x3) 2 x 2 pixels of the result
from 4 x 4 of the image with 16 products for each channel and filter, where the taps alone take 36;
by F(4x4, 3x3) 4 x 4 pixels with 36 products instead of 144.

A task takes tiles of the image through three stages. The tiles go into scratch, transformed, as
matrices of tiles x channels, one for each point; each is multiplied with the transformed weights'
matrix of the same point (a register tile of tiles x filters, summed over channels); the results of
a tile and filter are joined to its pixels. The transformed weights are laid out in panels
beforehand; where tiles are few and weights not constant each task transforms its own, a strip of
channels at a time, as transformed they are 16/9 as much to write and to read (Lavin, Gray, "Fast
algorithms for convolutional neural networks", CVPR 2016; docs/numerics.md).
"""

from __future__ import annotations

from collections.abc import Callable

from ....base import dtypes
from ....base.extents import Extent, lower, product, upper
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Prefetch, Set, Store, When, index_var
from ...groups.group import Fusion
from ...plan import Launch
from ..nest import Builder, Nest, StridedRead, decode
from ..packing import ZERO, Packing, Side, read_through, strides
from ..panel import Target, lay_out
from ..tile import Span, epilogue
from .interpolation import F2, F4, F32, transformed
from .register_tile import TILES, choose_tile
from .winograd_tiles import SKEW, Tiles, table

NEAR = 1 << 17          # elements of transformed tiles that a task keeps, about
MOST_TILES = 48         # of a task
FEW_TILES = 64          # of a task that transforms its weights itself
LEAST_TASKS = 8
LINE = 16               # elements of a cache line
STRIP = 64              # channels of a panel that one task lays out, LINE where tasks are few
ALGORITHMS = {"winograd": F2, "winograd 4x4": F4}     # by what the reduction is called


def schedule_winograd(nest: Nest, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a product that is summed by Winograd's algorithm, and of the maps behind."""
    return _Winograd(nest, buffers, fusion, target).launches()


class _Winograd:
    def __init__(self, nest: Nest, buffers, fusion: Fusion, target):
        self.nest, self.buffers = nest, dict(buffers)
        self.access = nest.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.algorithm = ALGORITHMS[self.dot.attr[0]]
        self.pixels, self.points = self.algorithm.pixels, self.algorithm.points
        self.taps, self.channel = list(self.dot.attr[1][:2]), self.dot.attr[1][2]
        axes = list(nest.group.seeds[0].definition.axes)
        self.y, self.x, self.filter = axes[-3:]
        weights, = (e for e in self.dot.args if self.filter in expr.free_axes(e))
        image, = (e for e in self.dot.args if e is not weights)
        self.image = Tiles(nest, image, self.taps, self.channel, axes, self.algorithm)
        read = nest.reads[weights]
        self.weights = Side(read, [a for a in axes if a in read.strides], [self.channel])
        self.batch = [a for a in axes[:-3] if a in self.weights.axes]
        self.others = [a for a in axes[:-3] if a not in self.batch]
        self.depth, self.n = self.channel.attr[1], self.filter.attr[1]
        self.near, self.threads = target.near, target.threads
        self.packing = Packing(nest, self.buffers, self.access, [self.channel])
        across, down = self.x.attr[1], self.y.attr[1]
        most = max(1, -(-upper(across) // self.pixels))
        self.segment = -(-most // -(-most // MOST_TILES))       # tiles of a unit, in one line
        self.segments = (self._tiles(across) + (self.segment - 1)) // self.segment
        self.tall = self._tiles(down)
        self.units = product(a.attr[1] for a in self.others) * self.tall * self.segments
        self.tile = choose_tile(MOST_TILES, self.n, target)
        self.width = self.tile[1] * LANES
        self.panels = -(-self.n // self.width)
        tasks = self.panels * max(1, lower(product(a.attr[1] for a in self.batch)))
        self.far = self.points * self.depth * self.n * 4 > target.far and tasks >= self.threads
        few = max(1, -(-upper(self.units) // (FEW_TILES // self.segment)))
        self.alone = id(read.base) not in fusion.steady and \
            upper(self.units) * self.segment <= 2 * FEW_TILES and tasks * few >= LEAST_TASKS // 2
        self.group = max(1, -(-upper(self.units) // few)) if self.alone else self._group(target)
        self.tile = choose_tile(self.group * self.segment, self.n, target, [
            tile for tile in TILES if tile[1] == self.tile[1]])

    def _tiles(self, extent: Extent) -> Extent:
        """The tiles along an axis of so many pixels."""
        return (extent + (self.pixels - 1)) // self.pixels

    def _group(self, target) -> int:
        """Units of a task: as many tiles as stay near, and enough tasks. Weights that come from far
        away are read again by each group: of these there are no more than tiles that stay in the
        second cache allow, as long as every thread has a task."""
        outer = product(a.attr[1] for a in self.batch)
        units, others = max(1, lower(self.units)), self.panels * max(1, lower(outer))
        deep = self.points * self.depth
        if self.far:
            group = max(1, min(units, target.core.bytes // 8 // (deep * self.segment)))
        else:
            near = max(self.segment, min(MOST_TILES, NEAR // deep))
            group = min(near // self.segment, max(1, units * others // LEAST_TASKS))
        return -(-units // -(-units // group))

    def launches(self) -> list[Launch]:
        if self.alone:
            return [self._product(None)]
        packed = self._pack()
        return [*self.packing.before, self._product(packed)]

    # -- weights --

    def _pack(self) -> Side:
        """The transformed weights as [batch, panel, point, channel, filters of a panel]."""
        panel, point = expr.axis("panel", self.panels), expr.axis("point", self.points)
        axes = [*self.batch, panel, point, self.channel, expr.axis("lane", self.width)]
        node = self.packing.buffer(F32, axes, "transformed weights")
        found = strides(node, axes)
        b = Builder(self.nest, self.buffers)
        outer = upper(product(a.attr[1] for a in self.batch)) * self.panels
        strip = STRIP if outer * self.depth >= LEAST_TASKS * STRIP else LINE
        strips = -(-self.depth // strip)
        n_strips, n_panels = b.size(("strips",), strips), b.size(("panels",), self.panels)
        depth, task = b.size(("depth",), self.depth), index_var("task")
        low, at = task % n_strips * strip, task // n_strips % n_panels
        places = decode(task // n_strips // n_panels,
                        [(a, b.size(("batch", n), a.attr[1])) for n, a in enumerate(self.batch)])
        name = b.operand(node, 0, F32, writes=True)
        base = b.address(name, {a: found[a] for a in self.batch}, places) + \
            at * depth * (self.points * self.width)
        body = self._strip(b, (low, scalar.minimum(low + strip, depth)), strip, at, places,
                           lambda p, c: (name, base + (depth * p + low + c) * self.width))
        tasks = product(a.attr[1] for a in self.batch) * self.panels * strips
        self.packing.append(b.launch("pack", [Loop(task, ZERO, b.size(("tasks",), tasks), body,
                                                   "parallel")], tasks), "pack")
        return Side(StridedRead(node, 0, found, F32), self.weights.axes, [self.channel])

    def _strip(self, b: Builder, span: tuple[Expr, Expr], strip: int, panel: Expr,
               places: dict[Expr, Expr], to) -> list:
        """The panel's weights of a strip of channels, `span`, transformed: those of a point and of
        channel c of the strip go to to(point, c)."""
        source = read_through(b, self.weights, self.filter, places)
        plain = b.scratch(F32, lit(9 * strip * self.width, dtypes.index))
        low, high = span
        tap, c, v = index_var("tap"), index_var("c"), index_var("v")
        start = source.start
        for step, line, axis in zip((tap // 3, tap % 3), self.image.lines, self.taps, strict=True):
            k = 2 - step if line.flipped else step
            start = start + k * b.size((source.name, axis), self.weights.stride(axis))
        lay = lay_out(source._replace(start=start),
                      Target(plain, F32, tap * (strip * self.width), self.width),
                      panel * self.width, b.size(("count",), self.n), low, high)
        taps = [[expr.load(plain, (k * 3 + m) * (strip * self.width) + c * self.width + v, F32,
                           LANES) for m in range(3)] for k in range(3)]
        sets, values = transformed(taps, self.algorithm.of_weights)
        stores = []
        for p, value in enumerate(values):
            name, at = to(p, c)
            stores.append(Store(name, at + v, value))
        transform = Loop(c, ZERO, high - low, [Loop(v, ZERO, lit(self.width, dtypes.index),
                                                    [*sets, *stores], "serial", LANES)])
        return [Loop(tap, ZERO, lit(9, dtypes.index), lay), transform]

    # -- tasks --

    def _product(self, packed: Side | None) -> Launch:
        b = self.b = Builder(self.nest, self.buffers)
        outer = product(a.attr[1] for a in self.batch)
        groups: Extent = (self.units + (self.group - 1)) // self.group
        count = b.size(("groups",), groups)
        share = self._share(lower(groups * outer)) if packed else 1
        part_count = -(-self.panels // share)
        task, p = index_var("task"), index_var("p")
        parts = b.size(("parts",), part_count)
        self.places = decode(task // parts // count, [
            (a, b.size(("batch", k), a.attr[1])) for k, a in enumerate(self.batch)])
        low = task // parts % count * self.group
        high = scalar.minimum(low + self.group, b.size(("units",), self.units))
        tiles, depth = index_var("tiles"), b.size(("depth",), self.depth)
        self.slots = b.size(("slots",), self.group * self.segment)
        self.long = b.size(("segment",), self.segment)
        self.channels = lit(STRIP, dtypes.index) if packed is None else depth   # at a time
        self.moved = b.scratch(F32, (self.slots * self.channels + SKEW) * self.points)
        self.sums = b.scratch(F32, (self.slots * self.width + SKEW) * self.points)
        self.lines = b.scratch(F32, self.long * (self.pixels ** 2 * self.width))
        self.image.scratch(b, self.channels)
        panels = b.size(("share",), share)
        first = task % parts * panels
        end = scalar.minimum(first + panels, b.size(("panels",), self.panels))
        joined = self._units(low, high, lambda n, ty, tx, first: self._pixels(tx, first, tiles),
                             lambda n, ty, first: self._stored(n, ty, first, p))
        ends = [Set(tiles, ZERO), *joined]
        if packed is None:
            some = index_var("some")
            span = (some, scalar.minimum(some + STRIP, depth))
            strip = [*self._moved(low, high, span, tiles), *self._summed(p, span, tiles)]
            body = [Loop(p, first, end, [
                Loop(some, ZERO, depth, strip, "serial", STRIP), *ends])]
        else:
            body = [*self._moved(low, high, (ZERO, depth), tiles), Loop(p, first, end, [
                *self._multiplied(*self._panel(packed, p), (ZERO, depth), tiles), *ends])]
        tasks = outer * groups * part_count
        launch = b.launch("winograd", [Loop(task, ZERO, b.size(("tasks",), tasks), body,
                                            "parallel")], tasks)
        launch.flops = 2 * self.points * self.units * self.segment * self.depth * self.n * outer
        return launch

    def _units(self, low: Expr, high: Expr, tile, end=None) -> list:
        """For each unit `tile(n, ty, tx, first)` of each of its tiles, then `end(n, ty, first)`."""
        b = self.b
        u, tx = index_var("u"), index_var("tx")
        many, tall = b.size(("segments",), self.segments), b.size(("tall",), self.tall)
        ty, n, first = u // many % tall, u // many // tall, u % many * self.long
        last = scalar.minimum(first + self.long, b.size(("wide",), self._tiles(self.x.attr[1])))
        names = [index_var(k) for k in ("image", "ty", "first")]
        n0, ty0, first0 = names
        return [Loop(u, low, high, [
            *(Set(name, value) for name, value in zip(names, (n, ty, first), strict=True)),
            Loop(tx, first0, last, tile(n0, ty0, tx, first0)),
            *(end(n0, ty0, first0) if end else ())])]

    def _moved(self, low: Expr, high: Expr, span: tuple[Expr, Expr], tiles: Expr) -> list:
        """The channels `span` of the units' tiles, transformed; `tiles` counts them."""
        return [Set(tiles, ZERO), *self._units(
            low, high, lambda n, ty, tx, _: self._tile(n, ty, tx, span, tiles))]

    def _tile(self, n: Expr, ty: Expr, tx: Expr, span: tuple[Expr, Expr], tiles: Expr) -> list:
        """The image's tile, transformed, to the slot `tiles`, which then is the next one."""
        b, size = self.b, self.slots * self.channels + SKEW
        at = {a: self.places[a] for a in self.batch} | decode(n, [
            (a, b.size(("other", k), a.attr[1])) for k, a in enumerate(self.others)])
        ahead = 4 * self.group if self.panels == 1 else 0  # lines, to the task after the next one
        return [*self.image.moved(b, at, (ty, tx), span, lambda p, c, x: Store(
            self.moved, tiles * self.channels + size * p + c, x), ahead), Set(tiles, tiles + 1)]

    def _share(self, groups: int) -> int:
        """The panels that one task multiplies its tiles with: many, as they are transformed once,
        where there are tasks enough."""
        if not self.far:
            return self.panels if groups >= LEAST_TASKS else 1
        return -(-self.panels // -(-2 * self.threads // max(1, groups)))

    # -- products --

    def _panel(self, packed: Side, panel: Expr) -> tuple[str, Callable[[Expr], Expr]]:
        """The buffer of the packed weights, and where a point's matrix of the panel begins."""
        b = self.b
        name = b.operand(packed.read.base, 0, F32)
        start = b.address(name, {a: packed.stride(a) for a in self.batch}, self.places)
        return name, lambda point: start + (
            panel * self.points + point) * self.channels * self.width

    def _summed(self, panel: Expr, span: tuple[Expr, Expr], tiles: Expr) -> list:
        """A strip of the panel's weights, transformed, and multiplied while it is near."""
        b, size = self.b, STRIP * self.width + SKEW
        near = b.scratch(F32, lit(self.points * size, dtypes.index))
        return [*self._strip(b, span, STRIP, panel, self.places,
                             lambda p, c: (near, c * self.width + p * size)),
                *self._multiplied(near, lambda point: point * size, span, tiles)]

    def _multiplied(self, name: str, matrix: Callable[[Expr], Expr], span: tuple[Expr, Expr],
                    tiles: Expr) -> list:
        """Every point's matrix of tiles times its matrix of weights over the channels `span`, from
        zero on or from what the channels before left."""
        rows, vectors = self.tile
        point, i0, k = index_var("point"), index_var("i0"), index_var("k")
        low, high = span
        weights = matrix(point)
        registers = [[expr.var(f"c{r}_{v}", F32, LANES) for v in range(vectors)]
                     for r in range(rows)]
        lines = [index_var(f"line{r}") for r in range(rows)]
        right = [expr.load(name, weights + k * self.width + v * LANES, F32, LANES)
                 for v in range(vectors)]
        sums, last = [], tiles - 1
        for line, line_registers in zip(lines, registers, strict=True):
            x = expr.load(self.moved, line + k, F32)
            sums += [Set(c, scalar.fma(x, y, c))
                     for c, y in zip(line_registers, right, strict=True)]
        before = [Set(line, point * (self.slots * self.channels + SKEW) +
                      scalar.minimum(i0 + r, last) * self.channels)
                  for r, line in enumerate(lines)]

        def kept(row: Expr, v: int) -> Expr:
            return point * (self.slots * self.width + SKEW) + row * self.width + v * LANES

        zero: list = [Set(c, lit(0, F32)) for line in registers for c in line]
        if low is not ZERO:
            zero.append(When(low > 0, [Set(c, expr.load(
                self.sums, kept(scalar.minimum(i0 + r, last), v), F32, LANES))
                                  for r, line in enumerate(registers)
                                  for v, c in enumerate(line)]))
        store = [When(i0 + r < tiles, [Store(self.sums, kept(i0 + r, v), c)
                                       for v, c in enumerate(line)])
                 for r, line in enumerate(registers)]
        chain = Loop(k, ZERO, high - low, [*self._ahead(name, weights, i0 // rows, k), *sums])
        return [Loop(point, ZERO, lit(self.points, dtypes.index), [
            Loop(i0, ZERO, tiles, [*before, *zero, chain, *store], "serial", rows)])]

    def _ahead(self, name: str, weights: Expr, number: Expr, k: Expr) -> list:
        """The next point's matrix, called for by the tiles of rows in turn, a line at a position;
        the others ask for what is there."""
        vectors = self.tile[1]
        following = weights + (self.channels * self.width + number * self.channels * LINE)
        start = scalar.where(number < vectors, following, weights)
        core = not self.near.holds_two(upper(self.depth) * self.width * 4)
        return [Prefetch(name, start + k * LINE, core)]

    # -- pixels of the result --

    def _pixels(self, tx: Expr, first: Expr, tiles: Expr) -> list:
        """The tile's pixels, joined, to the unit's lines of pixels in scratch."""
        v = index_var("v")
        found = table(self.algorithm.places, lambda p: expr.load(
            self.sums, (self.slots * self.width + SKEW) * p + tiles * self.width + v, F32, LANES))
        sets, values = transformed(found, self.algorithm.to_pixels)
        at = (tx - first) * (self.pixels * self.width) + v
        m = self.pixels
        stores = [Store(self.lines, at + (self.long * (p // m * m) + p % m) * self.width, x)
                  for p, x in enumerate(values)]
        return [Loop(v, ZERO, lit(self.width, dtypes.index), [*sets, *stores], "serial", LANES),
                Set(tiles, tiles + 1)]

    def _stored(self, n: Expr, ty: Expr, first: Expr, panel: Expr) -> list:
        """The unit's lines of pixels through the maps behind the product to their places."""
        b = self.b
        m = self.pixels
        line, i, j = index_var("line"), index_var("i"), index_var("j")
        across, down = b.size(("across",), self.x.attr[1]), b.size(("down",), self.y.attr[1])
        low = (n * down + ty * m + line) * across + first * m
        long = scalar.minimum(self.long * m, across - first * m)
        column = panel * self.width
        value = expr.load(self.lines, (line * self.long * m + (i - low)) * self.width +
                          (j - column), F32)
        rows = [*self.others, self.y, self.x]
        return [Loop(line, ZERO, scalar.minimum(lit(m, dtypes.index), down - ty * m), epilogue(
            b, self.dot, value, (i, j), (
                Span(rows, low, low + long, "rows"),
                Span([self.filter], column, scalar.minimum(
                    column + self.width, b.size(("n",), self.n)), "columns")), self.places))]
