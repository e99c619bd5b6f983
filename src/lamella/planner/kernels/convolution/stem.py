"""Convolution of images of few channels: tiles of pixels x filters along rows of pixels.

A task is a row and a panel of filters, whose weights are packed. In the middle of a row no pixel's
tap leaves the image along it, so that a tile runs through all taps and channels with nothing to
ask but whether a tap's own row is there; near the row's ends pixels run alone, tap by tap.
"""

from __future__ import annotations

from ....base.extents import product, upper
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Set, Store, When, index_var
from ...groups.group import Fusion
from ...plan import Launch
from ..nest import Builder, Nest, accumulator, decode, multiply_add
from ..packing import ZERO, Packing, Side
from ..tile import Span, cheap, direct_epilogue, epilogue
from .register_tile import choose_tile
from .windows import Limit, Window, all_inside, parts_of, whole

FEW = LANES // 2        # channels, below which rows are worth it
MOST_TAPS = 512         # positions to sum


def is_stem(nest: Nest, windows: Expr) -> bool:
    """Whether few channels are summed, and no axis of the result is in both operands."""
    dot, axes = nest.bodies[0], list(nest.group.seeds[0].definition.axes)
    window = Window(nest, windows, axes, list(dot.attr[1]))
    other, = (nest.reads[e] for e in dot.args if e is not windows)
    long = [a for a in axes if a.attr[1] != 1]
    both = [a for a in long if a in window.read.strides and a in other.strides]
    channels = product(a.attr[1] for a in dot.attr[1] if a not in window.limited)
    taps = [a.attr[1] for a in dot.attr[1]]
    return bool(window.limits) and not both and any(a in other.strides for a in long) and \
        any(a in window.limited for a in long) and all(isinstance(e, int) for e in taps) and \
        product(taps) <= MOST_TAPS and upper(channels) < FEW


def schedule_stem(nest: Nest, windows: Expr, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a convolution of few channels, and of the maps behind it."""
    return _Stem(nest, windows, buffers, fusion, target).launches()


class _Stem:
    def __init__(self, nest: Nest, windows: Expr, buffers, fusion: Fusion, target):
        self.nest, self.buffers = nest, dict(buffers)
        self.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.bound = [a for a in self.dot.attr[1] if a.attr[1] != 1]
        axes = list(nest.group.seeds[0].definition.axes)
        self.packing = Packing(nest, self.buffers, self.access, self.bound)
        self.window = Window(nest, windows, axes, self.bound)
        weights, = (e for e in self.dot.args if e is not windows)
        read = nest.reads[weights]
        self.weights = Side(read, [a for a in axes if a in read.strides], self.bound)
        self.filters = [a for a in axes if a in self.weights.axes]
        pixels = [a for a in axes if a not in self.weights.axes]
        self.along = [a for a in pixels if a.attr[1] != 1 and a in self.window.limited][-1]
        self.lines = [a for a in pixels if a is not self.along]
        self.acc = accumulator(self.dot.dtype)
        self.n = product(a.attr[1] for a in self.filters)
        self.count = product(a.attr[1] for a in self.bound)
        self.tile = choose_tile(self.along.attr[1], self.n, target)
        self.width = self.tile[1] * LANES
        limits = list(enumerate(self.window.limits))
        self.moved = [(k, x) for k, x in limits if self.along in x.form.terms]
        self.fixed = [(k, x) for k, x in limits if self.along not in x.form.terms]

    def launches(self) -> list[Launch]:
        if len(self.weights.runs(self.filters)) > 1:
            self.weights = self.packing.copied(self.weights, [*self.bound, *self.filters],
                                               "flat right operand")
        columns = [run[-1] for run in self.weights.runs(self.filters)]
        self.weights, self.panel_step = self.packing.panels(self.weights, [], columns, self.n,
                                                            self.width)
        self.nest.access = self.access
        b = self.b = Builder(self.nest, self.buffers)
        panels = (self.n + (self.width - 1)) // self.width
        count, task = b.size(("panels",), panels), index_var("task")
        self.panel = task % count
        self.places = decode(task // count, [
            (a, b.size(("line", k), a.attr[1])) for k, a in enumerate(self.lines)])
        rows = product(a.attr[1] for a in self.lines)
        launch = b.launch("stem", [Loop(task, ZERO, b.size(("tasks",), rows * panels),
                                        self._row(), "parallel")], rows * panels)
        launch.flops = 2 * rows * self.along.attr[1] * self.n * self.count
        return [*self.packing.before, launch]

    def _row(self) -> list:
        """A row's pixels: alone near its ends, in tiles between."""
        b, pixel, width = self.b, index_var("pixel"), self.tile[0]
        across = b.size(("across",), self.along.attr[1])
        least, most = whole(b, self.moved, self.along, self.bound, self.places)
        enough = index_var("enough")
        split, ((low, left), (_, right), (_, high)) = parts_of(
            ZERO, across, least, scalar.where(enough > 0, most, ZERO))
        first = scalar.minimum(pixel, right - width)
        alone = self._tile(pixel, 1, [*self.fixed, *self.moved])
        return [Set(enough, scalar.minimum(across, most) - least - (width - 1)), *split,
                Loop(pixel, low, left, alone),
                Loop(pixel, left, right, self._tile(first, width, self.fixed), "serial", width),
                Loop(pixel, right, high, alone)]

    def _tile(self, first: Expr, rows: int, asked: list[tuple[int, Limit]]) -> list:
        """The pixels from `first` on: their sums, and what becomes of them."""
        b, place = self.b, index_var("first")
        registers = [[expr.var(f"c{r}_{v}", self.acc, LANES) for v in range(self.tile[1])]
                     for r in range(rows)]
        flat = [x for line in registers for x in line]
        low = self.panel * self.width
        spans = (Span([self.along], place, place + rows, "rows"),
                 Span(self.filters, low, scalar.minimum(low + self.width,
                                                        b.size(("n",), self.n)), "columns"))
        at, bound = {**self.places, self.along: place}, set(self.bound)
        chain = self._taps(registers, at, asked, {})
        anywhere = [(k, x) for k, x in asked if bound.isdisjoint(x.form.terms)]
        if anywhere:
            chain = [When(all_inside(b, anywhere, at), chain)]
        sums = [Set(place, first), *(Set(x, lit(0, self.acc)) for x in flat), *chain]
        if cheap(b, self.dot, len(flat)):
            return [*sums, *direct_epilogue(b, self.dot, registers, spans, self.places)]
        tile = b.scratch(self.acc, lit(len(flat) * LANES, ZERO.dtype))
        i, j = index_var("i"), index_var("j")
        value = expr.load(tile, (i - place) * self.width + (j - low), self.acc)
        return [*sums, *(Store(tile, lit(k * LANES, ZERO.dtype), x) for k, x in enumerate(flat)),
                *epilogue(b, self.dot, value, (i, j), spans, self.places)]

    def _taps(self, registers, at: dict[Expr, Expr], asked, taps: dict[Expr, Expr]) -> list:
        """The chain over the summed axes behind those of `taps`; a tap takes part where it is
        inside of the limits `asked`."""
        b, depth = self.b, len(taps)
        if depth == len(self.bound):
            return self._position(registers, at, taps)
        axis, t = self.bound[depth], index_var(f"tap{depth}")
        taps, rest = {**taps, axis: t}, set(self.bound[depth + 1:])
        now = [(k, x) for k, x in asked
               if axis in x.form.terms and rest.isdisjoint(x.form.terms)]
        body = self._taps(registers, at, asked, taps)
        if now:
            body = [When(all_inside(b, now, {**at, **taps}), body)]
        return [Loop(t, ZERO, b.size(("tap", depth), axis.attr[1]), body)]

    def _position(self, registers, at: dict[Expr, Expr], taps: dict[Expr, Expr]) -> list:
        """The multiply-adds of one summed position."""
        b, side = self.b, self.window
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: side.stride(a) for a in (*at, *taps)}, {**at, **taps})
        start = start + b.size((name, "start"), side.start)
        step = b.size((name, "pixel"), side.stride(self.along))
        number: Expr = ZERO
        for depth, (axis, t) in enumerate(taps.items()):
            number = number * b.size(("tap", depth), axis.attr[1]) + t
        weights = b.operand(self.weights.read.base, 0, self.weights.dtype)
        panel = self.panel * b.size((weights, "panel"), self.panel_step) + number * self.width
        right = [scalar.cast(expr.load(weights, panel + v * LANES, self.weights.dtype, LANES),
                             self.acc) for v in range(self.tile[1])]
        out: list = []
        for r, line in enumerate(registers):
            x = scalar.cast(expr.load(name, start + step * r, side.dtype), self.acc)
            out += [Set(c, multiply_add(x, y, c))
                    for c, y in zip(line, right, strict=True)]
        return out
