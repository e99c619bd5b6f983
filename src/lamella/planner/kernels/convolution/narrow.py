"""Convolution with few results side by side: lanes are neighbouring pixels of a row.

The gradient of a first layer for its image has three channels, an image that a network writes one
to three: vectors of filters would be nearly empty. Here a vector of pixels meets one element of the
weights after another. A task is a band of lines; the image's lines that it needs go into scratch,
turned, as [line, channel, pixel], so that a tap's pixels are neighbours wherever it moves. Lanes
whose tap is outside of the image take no part, nor do lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

from ....base import dtypes
from ....base.extents import Extent, lower, product, upper
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Set, Store, When, index_var, lane_index
from ....lang.order import CONTRACT_CHUNK
from ...groups.group import Fusion
from ...groups.linear import Linear, linear
from ...plan import Launch
from ..nest import Builder, Nest, accumulator, decode, merged_axes, multiply_add
from ..packing import ZERO, Side
from ..panel import Source, Target, lay_out
from ..tile import Span, epilogue
from .windows import Window, inside, read_of

FEW = LANES // 2        # results side by side, up to which lanes are pixels
LEAST_PIXELS = LANES // 2
SPARED = 400            # lanes that stay empty without it, over the positions, to turn for
NEAR = 1 << 17          # elements of turned lines that a task keeps, about
LEAST_TASKS = 8


class _Line:
    """A dimension of the image that windows move along: place * step + tap * dilation + first."""

    def __init__(self, form: Linear, extent: Extent, stride: Extent, bound: list[Expr]):
        self.extent, self.stride = extent, stride
        self.taps = [a for a in form.terms if a in bound and a.attr[1] != 1]
        self.places = [a for a in form.terms if a not in bound and a.attr[1] != 1]
        step, dilation = (form.terms[axes[0]] if axes else 0 for axes in (self.places, self.taps))
        known = (form.constant, step, dilation, *(a.attr[1] for a in self.taps))
        self.first, self.step, self.dilation = upper(form.constant), upper(step), upper(dilation)
        # one place moves it forwards, one tap at most, and both by known steps
        self.plain = len(self.taps) <= 1 and len(self.places) <= 1 and self.step >= 0 and all(
            isinstance(e, int) for e in known)

    @property
    def reach(self) -> tuple[int, int]:
        """The least and the greatest that a tap adds."""
        last = self.dilation * (self.taps[0].attr[1] - 1) if self.taps else 0
        return min(0, last), max(0, last)


class _Form:
    """The product's axes: `columns` side by side, `along` a row's pixels, `down` the rows."""

    def __init__(self, nest: Nest, windows: Expr):
        dot, axes = nest.bodies[0], list(nest.group.seeds[0].definition.axes)
        self.bound = [a for a in dot.attr[1] if a.attr[1] != 1]
        self.window = Window(nest, windows, axes, self.bound)
        other, = (e for e in dot.args if e is not windows)
        self.weights = Side(read_of(nest, other), [], self.bound)
        mine, theirs = self.window.read.strides, self.weights.read.strides
        self.units = [a for a in (*axes, *dot.attr[1]) if a.attr[1] == 1]
        long = [a for a in axes if a.attr[1] != 1]
        self.columns = [a for a in long if a in theirs and a not in mine]
        self.along = next((a for a in reversed(long) if a not in theirs), expr.axis("pixel", 1))
        moved = list(self._moved(nest, windows))
        still = _Line(Linear(0, {}), 1, 0, [])
        self.across = next((x for x in moved if self.along in x.places), still)
        rest = [x for x in moved if x is not self.across]
        self.down = rest[0] if rest else still
        taps = [*self.down.taps, *self.across.taps]
        self.channels = [a for a in self.bound if a not in taps]
        self.simple = other in nest.reads and len(rest) < 2 and \
            self.bound == [*taps, *self.channels] and _once(windows, moved) and \
            not any(a in theirs for a in self.down.places)
        self.lines = [a for a in long if a not in self.columns and a is not self.along
                      and a not in self.down.places]

    def _moved(self, nest: Nest, windows: Expr) -> Iterator[_Line]:
        """The dimensions that a row's pixels or windows move along, or may leave."""
        node = nest.nodes[windows.attr[0]]
        limited = self.window.limited
        for i, extent, stride in zip(windows.args, node.shape, nest.access[id(node)].strides,
                                     strict=True):
            form = linear(i)
            assert form is not None, f"the window index {i} is not affine"
            line = _Line(form, extent, stride, self.bound)
            if self.along in line.places or len(line.places) + len(line.taps) > 1 or \
                    not limited.isdisjoint(form.terms):
                yield line

    @property
    def fits(self) -> bool:
        across, sides = self.across, [self.window.read.strides, self.weights.read.strides]
        wide = self.along.attr[1]
        sizes = [product(a.attr[1] for a in axes) for axes in (self.columns, self.bound)]
        if self.along not in across.places or not self.simple or not all(
                isinstance(e, int) for e in (*sizes, across.extent, wide)):
            return False
        return across.plain and self.down.plain and across.step == 1 and \
            len(merged_axes(self.channels, sides, set())) <= 1 and \
            len(merged_axes(self.columns, sides[1:], set())) <= 1 and \
            sizes[0] <= FEW and sizes[1] <= CONTRACT_CHUNK and \
            (sizes[0] == 1 or sizes[1] * (LANES + 3 - sizes[0]) >= SPARED) and \
            wide >= LEAST_PIXELS and wide > sizes[0] * -(-wide // LANES) and \
            self.height(1) * self.line <= NEAR

    @property
    def pitch(self) -> int:
        """Elements of a turned line's channel."""
        return -(-upper(self.across.extent) // LANES) * LANES

    @property
    def line(self) -> int:
        """Elements of a turned line."""
        return self.pitch * upper(product(a.attr[1] for a in self.channels))

    def height(self, rows: int) -> int:
        """The image's lines that so many rows of the result need."""
        low, high = self.down.reach
        return (rows - 1) * self.down.step + high - low + 1


def _once(windows: Expr, moved: list[_Line]) -> bool:
    """Whether the axes of these dimensions stand in no other one."""
    axes = [a for form in map(linear, windows.args) if form is not None for a in form.terms]
    return all(axes.count(a) == 1 for line in moved for a in (*line.places, *line.taps))


def _stride(side: Side, axes: list[Expr]) -> Extent:
    """How far the operand steps along axes that are one run, or none."""
    return side.stride(axes[-1]) if axes else 0


def is_narrow(nest: Nest, windows: Expr) -> bool:
    """Whether few results stand side by side, and lanes along a row are better filled."""
    return _Form(nest, windows).fits


def schedule_narrow(nest: Nest, windows: Expr, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launch of a convolution with few results side by side, and of the maps behind it."""
    return [_Narrow(nest, windows, buffers, fusion, target).launch()]


class _Narrow:
    def __init__(self, nest: Nest, windows: Expr, buffers, fusion: Fusion, target):
        nest.access = dict(fusion.access)
        self.b = Builder(nest, buffers)
        self.dot, self.form = nest.bodies[0], _Form(nest, windows)
        self.acc = accumulator(self.dot.dtype)
        self.n = upper(product(a.attr[1] for a in self.form.columns))
        places = self.form.down.places
        self.rows: Extent = places[0].attr[1] if places else 1
        self.wide = self.form.along.attr[1]
        self.depth = product(a.attr[1] for a in self.form.channels)
        self.tile = self._choose(target.room)
        self.band = self._band()

    def _choose(self, room: int) -> tuple[int, int]:
        """(rows, vectors of a row) of a tile: the fewest cycles."""
        vectors = -(-self.wide // LANES)

        def cost(tile: tuple[int, int]) -> float:
            rows, wide = tile
            count = rows * wide
            tiles = -(-vectors // wide) * -(-max(1, upper(self.rows)) // rows)
            return tiles * max(count * self.n / 2, (count + self.n) / 2, 4)

        return min(((r, v) for r in (1, 2, 3, 4) for v in range(1, vectors + 1)
                    if (r, v) == (1, 1) or r * v * self.n + self.n + 1 <= room), key=cost)

    def _band(self) -> int:
        """Rows of a task: lines that stay near, and enough tasks."""
        rows, form = max(1, upper(self.rows)), self.form
        outer = max(1, lower(product(a.attr[1] for a in form.lines)))
        most = max(self.tile[0], min(rows, -(-rows * outer // LEAST_TASKS)))
        while most > 1 and form.height(most) * form.line > NEAR:
            most -= 1
        return -(-rows // -(-rows // most))

    def launch(self) -> Launch:
        b, form, task = self.b, self.form, index_var("task")
        bands = (self.rows + (self.band - 1)) // self.band
        count = b.size(("bands",), bands)
        self.places = dict.fromkeys(form.units, ZERO) | decode(task // count, [
            (a, b.size(("line", k), a.attr[1])) for k, a in enumerate(form.lines)])
        self.low = task % count * self.band
        self.high = scalar.minimum(self.low + self.band, b.size(("rows",), self.rows))
        y, x = index_var("y"), index_var("x")
        rows, vectors = self.tile
        step = vectors * LANES
        self.left = max(0, -self._column(0, 0))
        most = self._column((self.wide - 1) // step * step, form.across.reach[1]) + step
        room = self.left + form.line * form.height(self.band) + max(0, most - form.pitch)
        self.turned = b.scratch(self.acc, lit(room, dtypes.index))
        self.sums = b.scratch(self.acc, lit(rows * step * self.n, dtypes.index))
        self.pixels = b.scratch(self.acc, lit(step * LANES, dtypes.index))
        wide = b.size(("wide",), self.wide)
        tiles = Loop(y, self.low, self.high, [
            Loop(x, ZERO, wide, self._tile(y, x), "serial", step)], "serial", rows)
        outer = product(a.attr[1] for a in form.lines)
        launch = b.launch("narrow", [Loop(task, ZERO, b.size(("tasks",), outer * bands),
                                          [*self._turn(), tiles], "parallel")], outer * bands)
        launch.flops = 2 * outer * self.rows * self.wide * self.n * product(
            a.attr[1] for a in form.bound)
        return launch

    def _column(self, x: int, tap: int) -> int:
        """The least column of the image that pixel x meets with what a tap adds."""
        across = self.form.across
        return x + across.first + (tap or across.reach[0])

    # -- the image's lines --

    def _line(self, row: Expr, tap: Expr = ZERO) -> Expr:
        """The image's line that a row of the result meets with a tap."""
        down = self.form.down
        return row * down.step + tap * down.dilation + self.b.size(("first",), down.first)

    def _start(self) -> Expr:
        """The image's line that is the first in scratch."""
        return self._line(self.low) + self.form.down.reach[0]

    def _turn(self) -> list:
        """The lines that the task needs, turned."""
        b, form, side = self.b, self.form, self.form.window
        name, t, row = b.operand(side.read.base, side.read.offset, side.dtype), \
            index_var("t"), index_var("row")
        lines = self._line(self.high - 1) + form.down.reach[1] - self._start() + 1
        start = b.address(name, {a: side.stride(a) for a in (*form.lines, *form.units)},
                          self.places)
        # a window begins `start` elements off its place; here are columns and lines from 0 on
        origin = side.start - form.across.first * form.across.stride - \
            form.down.first * form.down.stride
        start = start + b.size((name, "origin"), origin) + row * b.size(
            (name, "down"), form.down.stride)
        channel = _stride(side, form.channels)
        stride = b.size((name, "channel"), channel)
        source = Source(name, side.dtype, start, b.size((name, "across"), form.across.stride),
                        lambda k: k * stride, channel == 1)
        to = Target(self.turned, self.acc, self.left + t * form.line, form.pitch)
        lay = lay_out(source, to, ZERO, b.size(("extent",), form.across.extent), ZERO,
                      b.size(("depth",), self.depth))
        return [Loop(t, ZERO, lines, [
            Set(row, self._start() + t),
            When(inside(row, row, b.size(("lines",), form.down.extent)), lay)])]

    # -- tiles --

    def _tile(self, y: Expr, x: Expr) -> list:
        """Rows from y and pixels from x on: their sums, and what becomes of them."""
        b, form = self.b, self.form
        rows, vectors = self.tile
        sums = [[[expr.var(f"c{r}_{v}_{c}", self.acc, LANES) for c in range(self.n)]
                 for v in range(vectors)] for r in range(rows)]
        flat = [c for row in sums for vector in row for c in vector]
        r, s = index_var("r"), index_var("s")
        counts = [b.size((label,), line.taps[0].attr[1] if line.taps else 1)
                  for label, line in (("down", form.down), ("across", form.across))]
        there = [self._there(y + k, r) for k in range(rows)]
        every, whole = index_var("every"), reduce(scalar.and_, there)
        column = x + s * form.across.dilation + form.across.first
        masks, inner = self._masks(column)
        alone = [When(one, self._chain(sums[k:k + 1], y + k, r, s, column, masks))
                 for k, one in enumerate(there)]
        body = [Set(every, scalar.cast(whole, dtypes.index)), Loop(s, ZERO, counts[1], [
            *inner, When(every > 0, self._chain(sums, y, r, s, column, masks)),
            When(every < 1, alone)])]
        return [*(Set(c, lit(0, self.acc)) for c in flat), Loop(r, ZERO, counts[0], body),
                *self._end(sums, y, x)]

    def _there(self, row: Expr, tap: Expr) -> Expr:
        """Whether the row is one of the task's and its line with this tap in the image."""
        line = self._line(row, tap)
        found = inside(line, line, self.b.size(("lines",), self.form.down.extent))
        return scalar.and_(found, row < self.high)

    def _masks(self, column: Expr) -> tuple[list[Expr], list]:
        """For each vector the lanes that are inside of the image, and what sets them."""
        if self.form.along not in self.form.window.limited:
            return [], []
        extent = self.b.size(("extent",), self.form.across.extent)
        masks = [expr.var(f"inside{v}", dtypes.bool_, LANES)
                 for v in range(self.tile[1])]
        lanes = [column + v * LANES + lane_index() for v in range(self.tile[1])]
        return masks, [Set(m, inside(i, i, extent)) for m, i in zip(masks, lanes, strict=True)]

    def _chain(self, sums, y: Expr, r: Expr, s: Expr, column: Expr, masks: list[Expr]) -> list:
        """The multiply-adds of a tap's channels for the rows from y on."""
        b, form, side, k = self.b, self.form, self.form.weights, index_var("k")
        taps = {a: t for line, t in ((form.down, r), (form.across, s)) for a in line.taps}
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        at = b.address(name, side.read.strides, self.places | dict.fromkeys(
            (*form.bound, *form.columns), ZERO) | taps)
        at = at + k * b.size((name, "channel"), _stride(side, form.channels))
        step = b.size((name, "column"), _stride(side, form.columns))
        weights = [scalar.cast(expr.load(name, at + step * c, side.dtype), self.acc)
                   for c in range(self.n)]
        first = self._line(y, r) - self._start()
        out: list = []
        for n, row in enumerate(sums):
            start = (first + n * form.down.step) * form.line + k * form.pitch
            for v, vector in enumerate(row):
                x = expr.load(self.turned, start + column + (v * LANES + self.left), self.acc,
                              LANES)
                for c, w in zip(vector, weights, strict=True):
                    new = multiply_add(x, w, c)
                    out.append(Set(c, scalar.where(masks[v], new, c) if masks else new))
        return [Loop(k, ZERO, b.size(("depth",), self.depth), out)]

    def _end(self, sums, y: Expr, x: Expr) -> list:
        """The tile, turned back, through the maps behind the product."""
        b, form, step = self.b, self.form, self.tile[1] * LANES
        i, j, row = index_var("i"), index_var("j"), index_var("line")
        places = [(r * self.n + c) * step + v * LANES for r in range(self.tile[0])
                  for v in range(self.tile[1]) for c in range(self.n)]
        save = [Store(self.sums, lit(at, dtypes.index), c) for at, c in zip(
            places, (c for line in sums for vector in line for c in vector), strict=True)]
        source = Source(self.sums, self.acc, row * (self.n * step), lit(step, dtypes.index),
                        lambda k: k, True)
        turned = lay_out(source, Target(self.pixels, self.acc, ZERO, LANES), ZERO,
                         lit(self.n, dtypes.index), ZERO, lit(step, dtypes.index))
        last = scalar.minimum(x + step, b.size(("wide",), self.wide))
        spans = (Span([form.along], x, last, "pixels"),
                 Span(form.columns, ZERO, b.size(("n",), self.n), "columns"))
        value = expr.load(self.pixels, (i - x) * LANES + j, self.acc)
        maps = epilogue(b, self.dot, value, (i, j), spans,
                        self.places | dict.fromkeys(form.down.places, y + row))
        rows = scalar.minimum(self.high - y, lit(self.tile[0], dtypes.index))
        return [*save, Loop(row, ZERO, rows, [*turned, *maps])]
