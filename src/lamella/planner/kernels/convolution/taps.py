"""The gradient of a convolution for its weights where the image has few channels, or each channel
stands alone: tiles of taps x lanes, summed over pixels in registers.

The lanes are filters, to which a pixel's elements are broadcast, or the channels that stand alone.
Image and cotangent are read in place. In a row only the pixels near its ends ask for each tap
whether it is inside of the image. Parts of the pixels are tasks of their own, whose sums meet in a
second launch.
"""

from __future__ import annotations

from ....base import dtypes
from ....base.extents import lower, product, upper
from ....ir.node import Node
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Set, Store, When, index_var, lane_index
from ....lang.order import CONTRACT_CHUNK
from ...groups.group import Fusion
from ...plan import Launch
from ..nest import Builder, Nest, accumulator, decode
from ..packing import ZERO, Side
from ..parts import Parts
from ..tile import Span, epilogue
from .correlate import TILES
from .depthwise import MOST_TAPS
from .register_tile import Tile, choose_tile, fits
from .windows import Window, all_inside, index_at, inside, parts_of, reach, whole

NEAR_PARTS = 32         # where several tiles read the same pixels one after another
FEW = LANES // 2        # channels, below which lanes are filters
MOST_VECTORS = range(1, 5)  # of lanes, in a tile of all taps
NEAR_ROWS = 8           # of a tile, whose addresses registers hold


def sums_taps(nest: Nest, windows: Expr) -> bool:
    """Whether the result is taps of few channels or of single ones, fewer than there are pixels to
    sum over, with contiguous lanes. (A convolution has the same form, with many pixels of the
    result and few taps to sum over, or with channels.)"""
    found = _Axes(nest, windows)
    taps, lanes, window = [a.attr[1] for a in found.taps], found.lanes, found.window
    if lanes is None or not taps or not all(isinstance(e, int) for e in taps) or \
            not 0 < product(taps) < lower(product(a.attr[1] for a in found.bound)) or \
            any(a not in window.limited and window.stride(a) == 1 for a in found.bound):
        return False
    if found.alone:
        return product(taps) <= MOST_TAPS and upper(lanes.attr[1]) >= FEW and \
            lanes not in window.limited
    channels = product(a.attr[1] for a in found.taps if a not in window.limited)
    return bool(window.limited) and upper(channels) < FEW


def schedule_taps(nest: Nest, windows: Expr, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of such a gradient, and of the maps behind it."""
    return _Taps(nest, windows, buffers, fusion, target).launches()


class _Axes:
    """The result's axes: `lanes`, the image's own `taps` (its channels with them), and `others`."""

    def __init__(self, nest: Nest, windows: Expr):
        dot, axes = nest.bodies[0], list(nest.group.seeds[0].definition.axes)
        self.bound = [a for a in dot.attr[1] if a.attr[1] != 1]
        self.window = Window(nest, windows, axes, self.bound)
        read, = (nest.reads[e] for e in dot.args if e is not windows)
        self.cotangent = Side(read, [a for a in axes if a in read.strides], self.bound)
        long = [a for a in axes if a.attr[1] != 1]
        self.units = [a for a in axes if a.attr[1] == 1]
        mine, theirs = self.window.read.strides, read.strides
        both = [a for a in long if a in mine and a in theirs]
        self.taps = [a for a in long if a in mine and a not in theirs]
        self.alone = len(both) == 1 and self.window.stride(both[0]) == 1
        filters = [a for a in long if a in theirs and a not in mine]
        self.lanes = both[0] if self.alone else filters[0] if len(
            filters) == 1 and self.cotangent.stride(filters[0]) == 1 else None
        self.others = [a for a in long if a is not self.lanes and a not in self.taps]


class _Taps:
    def __init__(self, nest: Nest, windows: Expr, buffers, fusion: Fusion, target):
        self.nest, self.buffers = nest, dict(buffers)
        self.access = nest.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.axes = found = _Axes(nest, windows)
        assert found.lanes is not None
        self.window, self.cotangent, self.lanes = found.window, found.cotangent, found.lanes
        self.acc = accumulator(self.dot.dtype)
        self.count = int(product(a.attr[1] for a in found.taps))
        self.width = self.lanes.attr[1]
        rows, self.vectors = self._alone(target) if found.alone else choose_tile(
            self.count, self.width, target, (*TILES, *((self.count, v) for v in MOST_VECTORS)),
            addresses=self._addresses)
        self.rows = min(rows, self.count)
        self.tiles = -(-self.count // self.rows)
        self.panels = (self.width + (self.vectors * LANES - 1)) // (self.vectors * LANES)
        *self.lines, self.along = found.bound or [expr.axis("pixel", 1)]
        self.pixels = product(a.attr[1] for a in found.bound)
        self.outer = product(a.attr[1] for a in found.others)
        self.parts = Parts(self.pixels, CONTRACT_CHUNK, self.panels * self.tiles * self.outer,
                           NEAR_PARTS if self.tiles > 1 else 1)

    def _alone(self, target) -> Tile:
        """The tile of channels that stand alone: two vectors, where they fill them, as hardware
        brings lines in pairs."""
        pair = self.count, 2
        full = isinstance(self.width, int) and self.width % (2 * LANES) == 0
        return pair if full and fits(pair, target) else (self.count, 1)

    def _addresses(self, rows: int) -> int:
        """What the addresses of a tile's rows cost: those of all taps differ by known steps."""
        return 0 if rows == self.count else rows + 2 * max(0, rows - NEAR_ROWS)

    def launches(self) -> list[Launch]:
        if not self.parts.several:
            return [self._sums(None)]
        node = self.parts.node((self.outer, self.count, self.width), self.acc, self.buffers,
                               self.access)
        return [self._sums(node), self._join(node)]

    # -- tasks --

    def _sums(self, partial: Node | None) -> Launch:
        b = self.b = Builder(self.nest, self.buffers)
        task, rest = index_var("task"), []
        for name, n in (("tiles", self.tiles), ("parts", self.parts.count),
                        ("panels", self.panels)):
            count = b.size((name,), n)
            rest.append(task % count)
            task = task // count
        tile, part, panel = rest
        self.at = self._others(b, task)
        width, low = b.size(("width",), self.width), tile * self.rows
        self.first = panel * (self.vectors * LANES)
        self.high = scalar.minimum(self.first + self.vectors * LANES, width)
        self.whole = isinstance(self.width, int) and self.width % (self.vectors * LANES) == 0
        self.registers = [[expr.var(f"c{r}_{v}", self.acc, LANES) for v in range(self.vectors)]
                          for r in range(self.rows)]
        flat = [x for line in self.registers for x in line]
        before = self._places(low)
        sums = self.parts.summed(b, part, flat, self._rows)
        buffer = b.scratch(self.acc, lit(len(flat) * LANES, dtypes.index))
        save = [Store(buffer, lit(k * LANES, dtypes.index), x) for k, x in enumerate(flat)]
        i, j = index_var("i"), index_var("j")
        count = lit(self.count, dtypes.index)
        high = scalar.minimum(low + self.rows, count)
        value = expr.load(buffer, (i - low) * (self.vectors * LANES) + (j - self.first), self.acc)
        if partial is None:
            end = epilogue(b, self.dot, value, (i, j), (
                Span(self.axes.taps, low, high, "taps"),
                Span([self.lanes], self.first, self.high, "lanes")), self.at)
        else:
            name = b.operand(partial, 0, self.acc, writes=True)
            line = (part * b.size(("outer",), self.outer) + task) * count
            end = [Loop(i, low, high, [Loop(j, self.first, self.high, [
                Store(name, (line + i) * width + j, value)], "vector")])]
        tasks = self.outer * self.panels * self.tiles * self.parts.count
        launch = b.launch("taps", [Loop(index_var("task"), ZERO, b.size(("tasks",), tasks), [
            *before, *sums, *save, *end], "parallel")], tasks)
        launch.flops = 2 * self.outer * self.width * self.count * self.pixels
        return launch

    def _others(self, b: Builder, number: Expr) -> dict[Expr, Expr]:
        return dict.fromkeys(self.axes.units, ZERO) | decode(number, [
            (a, b.size(("other", k), a.attr[1])) for k, a in enumerate(self.axes.others)])

    def _places(self, low: Expr) -> list:
        """Where the tile's rows are: `places` gets their taps, numbers where there is one tile."""
        sizes = [(a, lit(a.attr[1], dtypes.index)) for a in self.axes.taps]
        if self.tiles == 1:
            self.places = [decode(lit(k, dtypes.index), sizes) for k in range(self.rows)]
            return []
        self.places, sets = [], []
        for k in range(self.rows):
            found = decode(scalar.minimum(low + k, lit(self.count - 1, dtypes.index)), sizes)
            names = {a: index_var(f"tap{k}_{n}") for n, a in enumerate(found)}
            sets += [Set(names[a], found[a]) for a in found]
            self.places.append(names)
        return sets

    # -- pixels --

    def _rows(self, low: Expr, high: Expr) -> list:
        """The registers go on over the pixels low..high, row by row."""
        b, row, pixel = self.b, index_var("row"), index_var("pixel")
        across = b.size(("across",), self.along.attr[1])
        names = [index_var(f"line{k}") for k in range(len(self.lines))]
        found = decode(row, [(a, b.size(("line", k), a.attr[1]))
                             for k, a in enumerate(self.lines)])
        places = {**self.at, **dict(zip(self.lines, names, strict=True))}
        first, last = index_var("first"), index_var("last")
        start = [Set(x, found[a]) for x, a in zip(names, self.lines, strict=True)]
        start += [Set(first, scalar.maximum(low - row * across, 0)),
                  Set(last, scalar.minimum(high - row * across, across))]
        limits = list(enumerate(self.window.limits))
        moved = [(k, x) for k, x in limits if self.along in x.form.terms]
        fixed = [(k, x) for k, x in limits if self.along not in x.form.terms]
        here = {**places, self.along: pixel}
        split, parts = parts_of(first, last, *whole(b, moved, self.along, self.axes.taps, places))

        def pixels(fixed: list) -> list:
            """All of the row, which asks for the limits `fixed` at each of them."""
            if not moved:
                return [Loop(pixel, first, last, self._pixel(here, fixed))]
            return [Loop(pixel, a, z, self._pixel(here, asked)) for (a, z), asked in zip(
                parts, ([*fixed, *moved], fixed, [*fixed, *moved]), strict=True)]

        body = [*start, *(split if moved else [])]
        if fixed:
            every = index_var("every")
            body += [Set(every, scalar.cast(self._whole_row(fixed, places), dtypes.index)),
                     When(every > 0, pixels([])), When(every < 1, pixels(fixed))]
        else:
            body += pixels([])
        return [Loop(row, low // across, (high + across - 1) // across, body)]

    def _whole_row(self, limits, places: dict[Expr, Expr]) -> Expr:
        """Whether no tap leaves these limits, which the row's pixels share."""
        b, found = self.b, lit(True, dtypes.bool_)
        for k, limit in limits:
            low, high = reach(limit, self.axes.taps)
            at = index_at(b, k, limit, places)
            found = scalar.and_(found, inside(
                at + b.size(("least", k), low), at + b.size(("most", k), high),
                b.size(("extent", k), limit.extent)))
        return found

    def _pixel(self, at: dict[Expr, Expr], asked) -> list:
        """One pixel's multiply-adds, those taps only that are inside of the limits `asked`."""
        right = [expr.var(f"y{v}", self.acc, LANES) for v in range(self.vectors)]
        body: list = [Set(y, self._value(self.cotangent, at, v)) for v, y in enumerate(right)]
        inner: dict[Expr, list] = {}    # taps that ask for the same
        for line, place in zip(self.registers, self.places, strict=True):
            here = at | place
            values = [self._value(self.window, here, v) for v in range(self.vectors)]
            inner.setdefault(all_inside(self.b, asked, here), []).extend(
                Set(c, scalar.fma(x, y, c) if self.acc.is_float else x * y + c)
                for c, x, y in zip(line, values, right, strict=True))
        for there, steps in inner.items():
            body += [When(there, steps)] if asked else steps
        return body

    def _value(self, side: Side, at: dict[Expr, Expr], v: int) -> Expr:
        """The side's vector of lanes at these places, or its one element that all lanes share."""
        b = self.b
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: s for a, s in side.read.strides.items() if a in at}, at)
        if side is self.window:
            start = start + b.size((name, "start"), self.window.start)
        if self.lanes not in side.read.strides:
            return scalar.cast(expr.load(name, start, side.dtype), self.acc)
        step, low = b.size((name, "lane"), side.stride(self.lanes)), self.first + v * LANES
        lanes = low if step is lit(1, dtypes.index) else (low + lane_index()) * step
        inside = () if self.whole else (low + lane_index() < self.high, 0)
        return scalar.cast(expr.load(name, start + lanes, side.dtype, LANES, *inside), self.acc)

    # -- parts --

    def _join(self, partial: Node) -> Launch:
        """Parts met, then the maps behind the product; a task is a tap."""
        b = Builder(self.nest, self.buffers)
        task, j, p = index_var("task"), index_var("j"), index_var("p")
        taps, width = lit(self.count, dtypes.index), b.size(("width",), self.width)
        tasks = self.outer * self.count
        name, step = b.operand(partial, 0, self.acc), b.size(("part",), tasks * self.width)
        value = self.parts.joined(b, name, task * width + j, step, self.acc)
        places = self._others(b, task // taps) | decode(task % taps, [
            (a, b.size(("tap", k), a.attr[1])) for k, a in enumerate(self.axes.taps)])
        one = Span([], ZERO, lit(1, dtypes.index), "rows")
        body = epilogue(b, self.dot, value, (p, j),
                        (one, Span([self.lanes], ZERO, width, "lanes")), places)
        return b.launch("join", [Loop(task, ZERO, b.size(("tasks",), tasks), body, "parallel")],
                        tasks)
