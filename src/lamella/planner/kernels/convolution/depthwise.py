"""Convolution of each channel alone: vectors of channels, for each pixel a chain over its taps.

A task is a row of pixels. Images are read in place, the weights, as [tap, channel], stay in
registers along the row. Pixels near the row's ends ask for each tap whether it is inside of the
image; those between ask only for the axes that the row does not move along.
"""

from __future__ import annotations

from numpy import ndindex

from ....base import dtypes
from ....base.extents import product, upper
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Set, When, index_var, lane_index
from ....lang.order import CONTRACT_CHUNK
from ...groups.group import Fusion
from ...plan import Launch
from ..nest import Builder, Nest, accumulator, decode, merged_axes
from ..packing import ZERO, Packing, Side
from ..tile import Span, direct_epilogue
from .windows import Window, all_inside, parts_of, whole

WORK = 1 << 15          # multiply-adds that are worth claiming at a time
MOST_TAPS = 49          # that are written out


def is_depthwise(nest: Nest, windows: Expr) -> bool:
    """Whether the product has no columns, and its channels are contiguous and last."""
    dot, axes = nest.bodies[0], list(nest.group.seeds[0].definition.axes)
    side = Window(nest, windows, axes, list(dot.attr[1]))
    other, = (nest.reads[e] for e in dot.args if e is not windows)
    long = [a for a in axes if a.attr[1] != 1]
    both = [a for a in long if a in other.strides and a in side.read.strides]
    channels = _channels(side, both)
    alone = all(a in side.read.strides for a in long if a in other.strides)
    count = product(a.attr[1] for a in dot.attr[1])
    return bool(channels) and alone and long[-1] is channels[-1] and \
        side.stride(channels[-1]) == 1 and \
        upper(product(a.attr[1] for a in channels)) >= LANES // 2 and \
        upper(count) <= CONTRACT_CHUNK and side.limited.isdisjoint(both)


def _channels(side: Side, both: list[Expr]) -> list[Expr]:
    """Those of the axes that both operands have which end in one run through the image."""
    runs = merged_axes(both, [side.read.strides], set())
    return list(runs[-1][0]) if runs else []


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
        long = [a for a in axes if a.attr[1] != 1]
        self.channels = _channels(self.window, [a for a in long if a in self.weights.axes])
        self.pixels = [a for a in long if a not in self.channels]
        self.units = [a for a in axes if a.attr[1] == 1]
        self.acc = accumulator(self.dot.dtype)
        self.width = product(a.attr[1] for a in self.channels)
        self.count = product(a.attr[1] for a in self.bound)
        self.packing = Packing(nest, self.buffers, self.access, self.bound)

    def launches(self) -> list[Launch]:
        apart = [a for a in self.pixels if a in self.weights.axes]
        if self.weights.stride(self.channels[-1]) != 1 or len(self.weights.runs(self.channels)) > 1:
            self.weights = self.packing.copied(
                self.weights, [*apart, *self.bound, *self.channels], "weights by tap")
        self.nest.access = self.access
        b = self.b = Builder(self.nest, self.buffers)
        *lines, self.along = self.pixels if self.pixels and self.pixels[-1] not in apart else [
            *self.pixels, expr.axis("pixel", 1)]
        rows = product(a.attr[1] for a in lines)
        task, first, pixel = index_var("task"), index_var("first"), index_var("pixel")
        across, channels = b.size(("across",), self.along.attr[1]), b.size(
            ("channels",), self.width)
        places = dict.fromkeys(self.units, ZERO) | decode(task, [
            (a, b.size(("line", k), a.attr[1])) for k, a in enumerate(lines)])
        limits = list(enumerate(self.window.limits))
        moved = [(k, x) for k, x in limits if self.along in x.form.terms]
        fixed = [(k, x) for k, x in limits if self.along not in x.form.terms]
        inside = () if isinstance(self.width, int) and self.width % LANES == 0 else (
            first + lane_index() < channels, 0)
        here = {**places, self.along: pixel}
        columns = Span(self.channels, first, channels, "channels")
        before, outer, middle = self._row(here, first, inside, columns, fixed, limits)
        split, parts = parts_of(ZERO, across, *whole(b, moved, self.along, self.bound, places))
        pixels = [Loop(pixel, low, high, body) for (low, high), body in zip(
            parts, (outer, middle, outer), strict=True)]
        if not moved:
            split, pixels = [], [Loop(pixel, ZERO, across, middle)]
        vectors = Loop(first, ZERO, channels, [*before, *pixels], "serial", LANES)
        grain = max(1, WORK // max(1, upper(self.width) * upper(self.count) *
                                   upper(self.along.attr[1])))
        launch = b.launch("depthwise", [Loop(task, ZERO, b.size(("tasks",), rows),
                                             [*split, vectors], "parallel")], rows, grain)
        launch.flops = 2 * rows * self.along.attr[1] * self.width * self.count
        return [*self.packing.before, launch]

    def _row(self, at: dict[Expr, Expr], first: Expr, inside: tuple, columns: Span, fixed,
             limits) -> tuple[list, list, list]:
        """(what stands before a row's pixels, one of its outer pixels and one of the others)."""
        acc = expr.var("acc", self.acc, LANES)
        one = Span([], ZERO, lit(1, dtypes.index), "rows")
        zero = Set(acc, lit(0, self.acc))
        ends = direct_epilogue(self.b, self.dot, [[acc]], (one, columns), at)
        if upper(self.count) > MOST_TAPS or not all(isinstance(a.attr[1], int) for a in self.bound):
            body = [zero, *self._taps(acc, at, first, inside, {}), *ends]
            return [], body, body
        taps = [{a: lit(k, dtypes.index) for a, k in zip(self.bound, tap, strict=True)}
                for tap in ndindex(*(a.attr[1] for a in self.bound))]
        weights = [expr.var(f"w{k}", self.acc, LANES) for k in range(len(taps))]
        before = [Set(w, self._vector(self.weights, {**at, **tap}, first, inside))
                  for w, tap in zip(weights, taps, strict=True)]

        def chain(asked) -> list:
            out: list = [zero]
            for w, tap in zip(weights, taps, strict=True):
                here = {**at, **tap}
                step = self._tap(acc, self._vector(self.window, here, first, inside), w)
                out += [When(all_inside(self.b, asked, here), [step])] if asked else [step]
            return [*out, *ends]

        return before, chain(limits), chain(fixed)

    def _vector(self, side: Side, at: dict[Expr, Expr], first: Expr, inside: tuple) -> Expr:
        """The side's channels from `first` on."""
        name = self.b.operand(side.read.base, side.read.offset, side.dtype)
        start = self.b.address(name, {a: s for a, s in side.read.strides.items() if a in at}, at)
        if side is self.window:
            start = start + self.b.size((name, "start"), self.window.start)
        return scalar.cast(expr.load(name, start + first, side.dtype, LANES, *inside), self.acc)

    def _tap(self, acc: Expr, x: Expr, w: Expr) -> Set:
        """The chain's next multiply-add."""
        return Set(acc, scalar.fma(x, w, acc) if self.acc.is_float else x * w + acc)

    def _taps(self, acc: Expr, at: dict[Expr, Expr], first: Expr, inside: tuple,
              taps: dict[Expr, Expr]) -> list:
        """The chain over the taps from the next summed axis on."""
        b, depth = self.b, len(taps)
        if depth == len(self.bound):
            here = {**at, **taps}
            step = self._tap(acc, self._vector(self.window, here, first, inside),
                             self._vector(self.weights, here, first, inside))
            limits = list(enumerate(self.window.limits))
            return [When(all_inside(b, limits, here), [step])] if limits else [step]
        axis, t = self.bound[depth], index_var(f"tap{depth}")
        return [Loop(t, ZERO, b.size(("tap", depth), axis.attr[1]), self._taps(
            acc, at, first, inside, {**taps, axis: t}))]
