"""The gradient of a convolution of each channel alone for its weights: vectors of channels, for
each pixel one multiply-add for every tap, all taps' sums in registers.

Image and cotangent are read in place. In a row only the pixels near its ends ask for each tap
whether it is inside of the image. Parts of the pixels are tasks of their own, whose sums meet in a
second launch.
"""

from __future__ import annotations

from numpy import ndindex

from ...base import dtypes
from ...base.extents import Extent, lower, product, upper
from ...ir.node import Node, placeholder
from ...ir.types import tensor
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, Store, When, index_var, lane_index
from ...lang.order import CONTRACT_CHUNK
from ..groups.access import stored
from ..groups.fuse import Fusion
from ..plan import Buffer, Launch
from .depthwise import MOST_TAPS
from .nest import Builder, Nest, accumulator, decode
from .packing import ZERO, Side
from .rows import levels_of
from .tile import Span, Tree, epilogue, tree_sum
from .windows import Window, all_inside, parts_of, whole

LEAST_TASKS = 16


def is_depthwise_gradient(nest: Nest, windows: Expr) -> bool:
    """Whether the result is taps of single channels, which are contiguous in the image."""
    found = _Axes(nest, windows)
    taps = [a.attr[1] for a in found.taps]
    return len(found.channels) == 1 and bool(taps) and all(isinstance(e, int) for e in taps) and \
        product(taps) <= MOST_TAPS and found.window.stride(found.channels[0]) == 1 and \
        upper(found.channels[0].attr[1]) >= LANES // 2 and \
        found.window.limited.isdisjoint(found.channels)


def schedule_depthwise_gradient(nest: Nest, windows: Expr, buffers,
                                fusion: Fusion) -> list[Launch]:
    """The launches of a gradient for the weights of single channels, and of the maps behind it."""
    return _Gradient(nest, windows, buffers, fusion).launches()


class _Axes:
    """The result's axes: `channels` that both operands have, `taps` of the image alone, and
    `others`; pixels are summed."""

    def __init__(self, nest: Nest, windows: Expr):
        dot, axes = nest.bodies[0], list(nest.group.seeds[0].definition.axes)
        self.bound = [a for a in dot.attr[1] if a.attr[1] != 1]
        self.window = Window(nest, windows, axes, self.bound)
        other, = (nest.reads[e] for e in dot.args if e is not windows)
        self.cotangent = Side(other, [a for a in axes if a in other.strides], self.bound)
        long = [a for a in axes if a.attr[1] != 1]
        self.units = [a for a in axes if a.attr[1] == 1]
        self.channels = [a for a in long if a in other.strides and a in self.window.read.strides]
        self.taps = [a for a in long if a in self.window.limited or (
            a in self.window.read.strides and a not in other.strides)]
        self.others = [a for a in long if a not in self.channels and a not in self.taps]


class _Gradient:
    def __init__(self, nest: Nest, windows: Expr, buffers, fusion: Fusion):
        self.nest, self.buffers = nest, dict(buffers)
        self.access = nest.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.axes = found = _Axes(nest, windows)
        self.window, self.cotangent, self.taps = found.window, found.cotangent, found.taps
        self.channel, = found.channels
        self.acc = accumulator(self.dot.dtype)
        self.places = list(ndindex(*(a.attr[1] for a in self.taps)))
        self.width = self.channel.attr[1]
        self.vectors = (self.width + (LANES - 1)) // LANES
        *self.lines, self.along = found.bound or [expr.axis("pixel", 1)]
        self.count = product(a.attr[1] for a in found.bound)
        self.outer = product(a.attr[1] for a in found.others)
        chunks = self.chunks = (self.count + (CONTRACT_CHUNK - 1)) // CONTRACT_CHUNK
        most, others = max(1, upper(chunks)), lower(self.vectors * self.outer)
        parts = -(-LEAST_TASKS // max(1, others)) if lower(self.count) > 0 else 1
        self.share = 1 << (-(-most // parts) - 1).bit_length()
        self.parts: Extent = 1 if most <= self.share else (
            chunks + (self.share - 1)) // self.share

    def launches(self) -> list[Launch]:
        if upper(self.parts) <= 1:
            return [self._sums(None)]
        node = placeholder(tensor(self.acc, (self.parts, self.outer, len(self.places),
                                             self.width)), "parts")
        self.buffers[id(node)] = Buffer(self.acc, node.type.size, "temporary",
                                        "parts of a sum over pixels")
        self.access[id(node)] = stored(node)
        return [self._sums(node), self._join(node)]

    # -- tasks --

    def _sums(self, partial: Node | None) -> Launch:
        b = self.b = Builder(self.nest, self.buffers)
        task = index_var("task")
        parts, vectors = b.size(("parts",), self.parts), b.size(("vectors",), self.vectors)
        self.part, self.first = task % parts, task // parts % vectors * LANES
        self.number = task // parts // vectors
        self.at = self._others(b, self.number)
        channels = b.size(("channels",), self.width)
        self.high = scalar.minimum(self.first + LANES, channels)
        self.inside = () if isinstance(self.width, int) and self.width % LANES == 0 else (
            self.first + lane_index() < self.high, 0)
        self.registers = [expr.var(f"c{k}", self.acc, LANES) for k in range(len(self.places))]
        tile = b.scratch(self.acc, lit(len(self.places) * LANES, dtypes.index))
        save = [Store(tile, lit(k * LANES, dtypes.index), x)
                for k, x in enumerate(self.registers)]
        i, j = index_var("i"), index_var("j")
        value = expr.load(tile, i * LANES + (j - self.first), self.acc)
        count = lit(len(self.places), dtypes.index)
        if partial is None:
            end = epilogue(b, self.dot, value, (i, j), (
                Span(self.taps, ZERO, count, "taps"),
                Span([self.channel], self.first, self.high, "channels")), self.at)
        else:
            name = b.operand(partial, 0, self.acc, writes=True)
            line = (self.part * b.size(("outer",), self.outer) + self.number) * len(self.places)
            end = [Loop(i, ZERO, count, [Loop(j, self.first, self.high, [
                Store(name, (line + i) * channels + j, value)], "vector")])]
        tasks = self.outer * self.vectors * self.parts
        launch = b.launch("depthwise", [Loop(task, ZERO, b.size(("tasks",), tasks), [
            *self._chunks(), *save, *end], "parallel")], tasks)
        launch.flops = 2 * self.outer * self.width * len(self.places) * self.count
        return launch

    def _others(self, b: Builder, number: Expr) -> dict[Expr, Expr]:
        return dict.fromkeys(self.axes.units, ZERO) | decode(number, [
            (a, b.size(("other", k), a.attr[1])) for k, a in enumerate(self.axes.others)])

    def _chunks(self) -> list:
        """The registers as the sums over the part's pixels."""
        b, c = self.b, index_var("chunk")
        zero = [Set(x, lit(0, self.acc)) for x in self.registers]
        start = (self.part * self.share + c) * CONTRACT_CHUNK
        stop = scalar.minimum(start + CONTRACT_CHUNK, b.size(("k",), self.count))
        chunks = scalar.minimum(b.size(("chunks",), self.chunks) - self.part * self.share,
                                lit(self.share, dtypes.index))
        rows = self._rows(start, stop)
        if self.share == 1:
            return [*zero, Loop(c, ZERO, chunks, rows)]
        depth = levels_of(self.share, 1)
        levels = b.scratch(self.acc, lit(depth * len(self.registers) * LANES, dtypes.index))
        tree = Tree(levels, ZERO, depth, self.registers)
        return [Loop(c, ZERO, chunks, [*zero, *rows, *tree.push(c)]),
                *tree.joined(chunks, self.acc)]

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
        split, parts = parts_of(first, last, *whole(b, moved, self.along, self.taps, places))
        some = [Loop(pixel, a, z, self._pixel(here, asked)) for (a, z), asked in zip(
            parts, (limits, fixed, limits), strict=True)]
        if not moved:
            split, some = [], [Loop(pixel, first, last, self._pixel(here, fixed))]
        return [Loop(row, low // across, (high + across - 1) // across,
                     [*start, *split, *some])]

    def _pixel(self, at: dict[Expr, Expr], asked) -> list:
        """One pixel's multiply-adds, those taps only that are inside of the limits `asked`."""
        y = expr.var("cotangent", self.acc, LANES)
        body: list = [Set(y, self._vector(self.cotangent, at))]
        for x, place in zip(self.registers, self.places, strict=True):
            here = at | {a: lit(k, dtypes.index) for a, k in zip(self.taps, place, strict=True)}
            value = self._vector(self.window, here)
            step = Set(x, scalar.fma(value, y, x) if self.acc.is_float else value * y + x)
            body += [When(all_inside(self.b, asked, here), [step])] if asked else [step]
        return body

    def _vector(self, side: Side, at: dict[Expr, Expr]) -> Expr:
        """The side's channels at these places."""
        b = self.b
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: s for a, s in side.read.strides.items() if a in at}, at)
        if side is self.window:
            start = start + b.size((name, "start"), self.window.start)
        step = b.size((name, "channel"), side.stride(self.channel))
        lanes = self.first if step is lit(1, dtypes.index) else (self.first + lane_index()) * step
        return scalar.cast(expr.load(name, start + lanes, side.dtype, LANES, *self.inside),
                           self.acc)

    # -- parts --

    def _join(self, partial: Node) -> Launch:
        """Parts met as an aligned tree, then the maps behind the product; a task is a tap."""
        b = Builder(self.nest, self.buffers)
        task, j, p = index_var("task"), index_var("j"), index_var("p")
        taps, channels = lit(len(self.places), dtypes.index), b.size(("channels",), self.width)
        tasks = self.outer * len(self.places)
        name, step = b.operand(partial, 0, self.acc), b.size(("part",), tasks * self.width)
        value = tree_sum(lambda k: expr.load(name, task * channels + j + k * step, self.acc),
                         b.size(("parts",), self.parts), self.parts)
        places = self._others(b, task // taps) | decode(task % taps, [
            (a, b.size(("tap", k), a.attr[1])) for k, a in enumerate(self.taps)])
        one = Span([], ZERO, lit(1, dtypes.index), "rows")
        body = epilogue(b, self.dot, value, (p, j),
                        (one, Span([self.channel], ZERO, channels, "channels")), places)
        return b.launch("join", [Loop(task, ZERO, b.size(("tasks",), tasks), body, "parallel")],
                        tasks)
