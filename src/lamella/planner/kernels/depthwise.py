"""Convolution of each channel alone: vectors of channels, for each pixel a chain over its taps.

Images are read in place, the weights as [tap, channel]; a branch leaves out the taps that are
outside of the image.
"""

from __future__ import annotations

from numpy import ndindex

from ...base import dtypes
from ...base.extents import product, upper
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, When, index_var
from ...lang.order import CONTRACT_CHUNK
from ..groups.fuse import Fusion
from ..plan import Launch
from .nest import Builder, Nest, accumulator, decode, merged_axes
from .packing import ZERO, Packing, Side
from .tile import Span, epilogue
from .windows import Window, inside, part, reach

WORK = 1 << 15          # multiply-adds that are worth claiming at a time
MOST_TAPS = 49          # that are written out


def is_depthwise(nest: Nest, windows: Expr) -> bool:
    """Whether the product has no columns, and its channels are contiguous and last."""
    dot, axes = nest.bodies[0], list(nest.group.seeds[0].definition.axes)
    side = Window(nest, windows, axes, list(dot.attr[1]))
    other, = (nest.reads[e] for e in dot.args if e is not windows)
    long = [a for a in axes if a.attr[1] != 1]
    both = [a for a in long if a in other.strides and a in side.read.strides]
    runs = merged_axes(both, [side.read.strides], set())
    alone = all(a in side.read.strides for a in long if a in other.strides)
    count = product(a.attr[1] for a in dot.attr[1])
    return bool(runs) and len(runs) == 1 and alone and long[-1] is runs[-1][2] and \
        side.stride(runs[-1][2]) == 1 and upper(runs[-1][1]) >= LANES // 2 and \
        upper(count) <= CONTRACT_CHUNK and side.limited.isdisjoint(both)


def schedule_depthwise(nest: Nest, windows: Expr, buffers, fusion: Fusion) -> list[Launch]:
    """The launches of a product of each channel alone, and of the maps behind it."""
    return _Depthwise(nest, windows, buffers, fusion).launches()


class _Depthwise:
    def __init__(self, nest: Nest, windows: Expr, buffers, fusion: Fusion):
        self.nest, self.buffers = nest, dict(buffers)
        self.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.bound = [a for a in self.dot.attr[1] if a.attr[1] != 1]
        axes = list(nest.group.seeds[0].definition.axes)
        self.window = Window(nest, windows, axes, self.bound)
        weights, = (e for e in self.dot.args if e is not windows)
        read = nest.reads[weights]
        self.weights = Side(read, [a for a in axes if a in read.strides], self.bound)
        self.channels = [a for a in axes if a in self.weights.axes and a.attr[1] != 1]
        self.pixels = [a for a in axes if a not in self.channels and a.attr[1] != 1]
        self.units = [a for a in axes if a.attr[1] == 1]
        self.acc = accumulator(self.dot.dtype)
        self.width = product(a.attr[1] for a in self.channels)
        self.count = product(a.attr[1] for a in self.bound)
        self.packing = Packing(nest, self.buffers, self.access, self.bound)

    def launches(self) -> list[Launch]:
        if self.weights.stride(self.channels[-1]) != 1:
            self.weights = self.packing.copied(self.weights, [*self.bound, *self.channels],
                                               "weights by tap")
        self.nest.access = self.access
        b = self.b = Builder(self.nest, self.buffers)
        rows = product(a.attr[1] for a in self.pixels)
        task, j = index_var("task"), index_var("j")
        sizes = [(a, b.size(("pixel", k), a.attr[1])) for k, a in enumerate(self.pixels)]
        places = dict.fromkeys(self.units, ZERO) | decode(task, sizes)
        channels = b.size(("channels",), self.width)
        acc, i = expr.var("acc", self.acc), index_var("i")
        loops = epilogue(b, self.dot, acc, (i, j), (
            Span([], ZERO, lit(1, dtypes.index), "rows"),
            Span(self.channels, ZERO, channels, "channels")), places)
        loops[0].body = self._pixel(acc, places, loops[0].body[0])
        grain = max(1, WORK // max(1, upper(self.width) * upper(self.count)))
        launch = b.launch("depthwise", [Loop(task, ZERO, b.size(("tasks",), rows), loops,
                                             "parallel")], rows, grain)
        launch.flops = 2 * rows * self.width * self.count
        return [*self.packing.before, launch]

    def _pixel(self, acc: Expr, places: dict[Expr, Expr], vector: Loop) -> list:
        """The vector loop behind the chain: written out for a pixel with all taps inside."""
        b, whole = self.b, index_var("whole")
        zero, stores, j = Set(acc, lit(0, self.acc)), vector.body, vector.var
        vector.body = [zero, *self._taps(acc, j, places, 0, {}), *stores]
        if upper(self.count) > MOST_TAPS or not all(isinstance(a.attr[1], int) for a in self.bound):
            return [vector]
        there: Expr = lit(True, dtypes.bool_)
        for k, limit in enumerate(self.window.limits):
            at = part(b, limit, places, ("limit", k)) + b.size(
                ("constant", k), limit.form.constant)
            low, high = reach(limit, self.bound)
            there = scalar.and_(there, inside(
                at + b.size(("least", k), low), at + b.size(("most", k), high),
                b.size(("extent", k), limit.extent)))
        chain = [self._tap(acc, j, {**places, **{a: lit(t, dtypes.index) for a, t in zip(
            self.bound, tap, strict=True)}}) for tap in ndindex(*(a.attr[1] for a in self.bound))]
        straight = Loop(j, vector.low, vector.high, [zero, *chain, *stores], "vector")
        return [Set(whole, scalar.cast(there, dtypes.index)), When(whole > 0, [straight]),
                When(whole < 1, [vector])]

    def _tap(self, acc: Expr, j: Expr, at: dict[Expr, Expr]) -> Set:
        """The chain's next multiply-add, at these places of pixels and taps."""
        factors = []
        for side in (self.window, self.weights):
            name = self.b.operand(side.read.base, side.read.offset, side.dtype)
            strides = {a: s for a, s in side.read.strides.items() if a in at}
            start = self.b.address(name, strides, at)
            if side is self.window:
                start = start + self.b.size((name, "start"), self.window.start)
            factors.append(scalar.cast(expr.load(name, start + j, side.dtype), self.acc))
        x, w = factors
        return Set(acc, scalar.fma(x, w, acc) if self.acc.is_float else x * w + acc)

    def _taps(self, acc: Expr, j: Expr, places: dict, depth: int, taps: dict[Expr, Expr]) -> list:
        """The chain over the taps from the summed axis `depth` on."""
        b, side = self.b, self.window
        if depth == len(self.bound):
            return [self._tap(acc, j, {**places, **taps})]
        axis = self.bound[depth]
        t = index_var(f"tap{depth}")
        here = {**taps, axis: t}
        body = self._taps(acc, j, places, depth + 1, here)
        done = set(self.bound[depth + 1:])
        for k, limit in enumerate(side.limits):
            if axis in limit.form.terms and done.isdisjoint(limit.form.terms):
                index = part(b, limit, {**places, **here}, ("limit", k)) + b.size(
                    ("constant", k), limit.form.constant)
                there = inside(index, index, b.size(("extent", k), limit.extent))
                body = [When(there, body)]
        return [Loop(t, ZERO, b.size(("tap", depth), axis.attr[1]), body)]
