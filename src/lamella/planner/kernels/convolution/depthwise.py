"""Convolution of each channel alone: vectors of channels, for each pixel a chain over its taps.

A task is a band of rows of pixels. Images are read in place, the weights, as [tap, channel], stay
in registers along the band. A tile of rows and pixels reads each vector of the image once for all
of its chains: else what the second cache delivers would take the time. Pixels near the rows' ends
run alone and ask for each tap whether it is inside of the image; those between ask only for the
axes that the rows do not move along.
"""

from __future__ import annotations

from typing import NamedTuple

from numpy import ndindex

from ....base import dtypes
from ....base.extents import product, upper
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Set, When, index_var, lane_index
from ....lang.order import CONTRACT_CHUNK
from ...groups.group import Fusion
from ...groups.linear import Linear, linear
from ...plan import Launch
from ..nest import Builder, Nest, accumulator, decode, merged_axes, multiply_add
from ..packing import ZERO, Packing, Side
from ..tile import Span, cheap, direct_epilogue
from .windows import Window, all_inside, parts_of, whole

WORK = 1 << 15          # multiply-adds that are worth claiming at a time
MOST_TAPS = 49          # that are written out
SIDE = 2                # rows and pixels of a tile
SHARED = 2              # elements that neighbours have in common, for a tile to have both
STILL = expr.axis("still", 1)


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


class _Way(NamedTuple):
    """A dimension of the image that places of the result and a tap move along alone, by known
    steps, so that neighbouring places meet the same elements with other taps."""

    place: Expr
    tap: Expr
    step: int
    dilation: int

    def met(self, places: int) -> list[list[tuple[int, int]]]:
        """For each element that so many neighbouring places meet, in the order of their taps, the
        (place, tap) that meet it."""
        found: dict[int, list[tuple[int, int]]] = {}
        for place in range(places):
            for tap in range(self.tap.attr[1]):
                found.setdefault(place * self.step + tap * self.dilation, []).append((place, tap))
        return [found[k] for k in sorted(found, reverse=self.dilation < 0)]


def _way(forms: list[Linear], places: list[Expr], taps: list[Expr]) -> _Way:
    """The dimension that the last of the places and of the taps move along, if they alone do, and
    if neighbours have elements enough in common; else one that nothing moves along."""
    still = _Way(STILL, STILL, 1, 1)
    if not places or not taps:
        return still
    place, tap = places[-1], taps[-1]
    met = [f for f in forms if place in f.terms or tap in f.terms]
    if len(met) != 1 or {a for a in met[0].terms if a.attr[1] != 1} != {place, tap}:
        return still
    step, dilation = met[0].terms[place], met[0].terms[tap]
    if not isinstance(step, int) or not isinstance(dilation, int) or step < 1 or \
            step % dilation or tap.attr[1] - abs(step // dilation) < SHARED:
        return still
    return _Way(place, tap, step, dilation)


def schedule_depthwise(nest: Nest, windows: Expr, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a product of each channel alone, and of the maps behind it."""
    return _Depthwise(nest, windows, buffers, fusion, target).launches()


class _Depthwise:
    def __init__(self, nest: Nest, windows: Expr, buffers, fusion: Fusion, target):
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
        self.apart = [a for a in self.pixels if a in self.weights.axes]
        self.units = [a for a in axes if a.attr[1] == 1]
        self.acc = accumulator(self.dot.dtype)
        self.width = product(a.attr[1] for a in self.channels)
        self.count = product(a.attr[1] for a in self.bound)
        self.packing = Packing(nest, self.buffers, self.access, self.bound)
        moving = self.pixels if self.pixels and self.pixels[-1] not in self.apart else [
            *self.pixels, expr.axis("pixel", 1)]
        *self.lines, self.along = moving
        self.known = upper(self.count) <= MOST_TAPS and all(
            isinstance(a.attr[1], int) for a in self.bound)
        forms = [f for f in map(linear, windows.args) if f is not None]
        taps = self.bound if self.known else []
        self.across = _way(forms, [self.along], taps)
        rest = [a for a in taps if a is not self.across.tap]
        self.down = _way(forms, [a for a in self.lines if a not in self.apart], rest)
        self.rest = [a for a in rest if a is not self.down.tap]     # that no tile moves along
        self.shape = min(SIDE, upper(self.down.place.attr[1])), min(SIDE, upper(
            self.across.place.attr[1]))
        self.vectors = self._vectors(target)

    def _vectors(self, target) -> int:
        """Vectors of channels of a tile: two, where they fill them and registers hold their sums
        and weights, as hardware brings lines in pairs."""
        full = isinstance(self.width, int) and self.width % (2 * LANES) == 0
        held = 2 * (upper(self.count) + self.shape[0] * self.shape[1]) + 1
        return 2 if self.known and full and held <= target.room else 1

    def launches(self) -> list[Launch]:
        if self.weights.stride(self.channels[-1]) != 1 or len(self.weights.runs(self.channels)) > 1:
            self.weights = self.packing.copied(
                self.weights, [*self.apart, *self.bound, *self.channels], "weights by tap")
        self.nest.access = self.access
        b = self.b = Builder(self.nest, self.buffers)
        if not cheap(b, self.dot, self.shape[0] * self.shape[1] * self.vectors):
            self.shape = self.shape[0], 1
        band, wide = self.shape
        rows = self.down.place.attr[1]
        bands = (rows + (band - 1)) // band
        self.ragged = not isinstance(rows, int) or rows % band > 0
        others = [a for a in self.lines if a is not self.down.place]
        task, first, pixel = index_var("task"), index_var("first"), index_var("pixel")
        across, channels = b.size(("across",), self.along.attr[1]), b.size(
            ("channels",), self.width)
        count, self.rows = b.size(("bands",), bands), b.size(("rows",), rows)
        places = dict.fromkeys(self.units, ZERO) | decode(task // count, [
            (a, b.size(("line", k), a.attr[1])) for k, a in enumerate(others)])
        places |= {STILL: ZERO, self.down.place: task % count * band}
        moved = [(k, x) for k, x in enumerate(self.window.limits) if self.along in x.form.terms]
        self.first, self.inside = first, () if isinstance(
            self.width, int) and self.width % LANES == 0 else (first + lane_index() < channels, 0)
        self.columns = Span(self.channels, first, channels, "channels")
        split, ((low, left), (_, right), (_, high)) = parts_of(
            ZERO, across, *whole(b, moved, self.along, self.bound, places))
        if not moved:
            split, left, right = [], ZERO, across
        here = {**places, self.along: pixel}
        before, body = self._pixels(here)
        full = left + (right - left) // wide * wide
        spans = [(left, full, wide, False)]
        if wide > 1:
            spans.append((full, right, 1, False))
        if moved:
            spans = [(low, left, 1, True), *spans, (right, high, 1, True)]
        pixels = [Loop(pixel, start, end, body(n, asked), "serial", n)
                  for start, end, n, asked in spans]
        vectors = Loop(first, ZERO, channels, [*before, *pixels], "serial", self.vectors * LANES)
        grain = max(1, WORK // max(1, upper(self.width) * upper(self.count) * band *
                                   upper(self.along.attr[1])))
        tasks = product(a.attr[1] for a in others) * bands
        launch = b.launch("depthwise", [Loop(task, ZERO, b.size(("tasks",), tasks),
                                             [*split, vectors], "parallel")], tasks, grain)
        launch.flops = 2 * product(a.attr[1] for a in (*self.lines, self.along, *self.bound)) * \
            self.width
        return [*self.packing.before, launch]

    # -- chains --

    def _pixels(self, at: dict[Expr, Expr]):
        """(what stands before a band's pixels, body(wide, asked): so many pixels from `at` on,
        `asked` whether a tap is inside of the image along their row)."""
        limits = list(enumerate(self.window.limits))
        if not self.known:
            acc = expr.var("acc", self.acc, LANES)
            chain = [Set(acc, lit(0, self.acc)), *self._taps(acc, at, {}),
                     *self._end([[[acc]]], at)]
            return [], lambda wide, asked: chain
        taps = [*self.rest, self.down.tap, self.across.tap]
        vectors = range(self.vectors)
        weights = {tap: [expr.var(f"w{k}_{v}", self.acc, LANES) for v in vectors]
                   for k, tap in enumerate(ndindex(*(a.attr[1] for a in taps)))}
        before = [Set(w, self._vector(self.weights, at | _numbers(taps, tap), v))
                  for tap, line in weights.items() for v, w in enumerate(line)]

        def body(wide: int, asked: bool) -> list:
            chains = [[[expr.var(f"acc{r}_{p}_{v}", self.acc, LANES) for v in vectors]
                       for p in range(wide)] for r in range(self.shape[0])]
            along = [(k, x) for k, x in limits if asked or self.along not in x.form.terms]
            sums = [s for tap in ndindex(*(a.attr[1] for a in self.rest)) for s in self._lines(
                chains, weights, at | _numbers(self.rest, tap), tap, along)]
            return [*(Set(c, lit(0, self.acc)) for line in chains for chain in line
                      for c in chain), *sums, *self._end(chains, at)]

        return before, body

    def _lines(self, chains, weights, at: dict[Expr, Expr], tap: tuple, limits) -> list:
        """The chains go on over what lines and columns they meet at a tap of the other axes."""
        asked: list[list] = [[], [], []]
        for k, x in limits:
            depth = [way.tap in x.form.terms for way in (self.across, self.down)]
            asked[2 if depth[0] else int(depth[1])].append((k, x))
        out: list = []
        for row in self.down.met(self.shape[0]):
            here, line = _moved(at, self.down, row[0]), list[Set | When]()
            for column in self.across.met(len(chains[0])):
                place, steps = _moved(here, self.across, column[0]), list[Set]()
                for v in range(self.vectors):
                    x = expr.var(f"x{v}", self.acc, LANES)
                    steps += [Set(x, self._vector(self.window, place, v)), *(
                        self._step(chains[r][p][v], x, weights[(*tap, i, j)][v])
                        for r, i in row for p, j in column)]
                line += _when(self.b, asked[2], place, steps)
            if row[0][0] and self.ragged:  # the line of no earlier row: whether there is this one
                line = [When(here[self.down.place] < self.rows, line)]
            out += _when(self.b, asked[1], here, line)
        return _when(self.b, asked[0], at, out)

    def _end(self, chains, at: dict[Expr, Expr]) -> list:
        """The sums through the maps behind the product."""
        out: list = []
        for r, line in enumerate(chains):
            here = _moved(at, self.down, (r, 0))
            one = Span([], ZERO, lit(1, dtypes.index), "rows")
            stores = [s for p, chain in enumerate(line) for s in direct_epilogue(
                self.b, self.dot, [chain], (one, self.columns),
                _moved(here, self.across, (p, 0)))]
            some = r and self.ragged
            out += [When(here[self.down.place] < self.rows, stores)] if some else stores
        return out

    def _vector(self, side: Side, at: dict[Expr, Expr], v: int = 0) -> Expr:
        """The side's vector number v of channels from `first` on."""
        name = self.b.operand(side.read.base, side.read.offset, side.dtype)
        start = self.b.address(name, {a: s for a, s in side.read.strides.items() if a in at}, at)
        if side is self.window:
            start = start + self.b.size((name, "start"), self.window.start)
        return scalar.cast(expr.load(name, start + self.first + v * LANES, side.dtype, LANES,
                                     *self.inside), self.acc)

    def _step(self, acc: Expr, x: Expr, w: Expr) -> Set:
        """The chain's next multiply-add."""
        return Set(acc, multiply_add(x, w, acc))

    def _taps(self, acc: Expr, at: dict[Expr, Expr], taps: dict[Expr, Expr]) -> list:
        """The chain over the taps from the next summed axis on, in loops."""
        b, depth = self.b, len(taps)
        if depth == len(self.bound):
            here = {**at, **taps}
            step = self._step(acc, self._vector(self.window, here),
                              self._vector(self.weights, here))
            return _when(b, list(enumerate(self.window.limits)), here, [step])
        axis, t = self.bound[depth], index_var(f"tap{depth}")
        return [Loop(t, ZERO, b.size(("tap", depth), axis.attr[1]), self._taps(
            acc, at, {**taps, axis: t}))]


def _moved(at: dict[Expr, Expr], way: _Way, met: tuple[int, int]) -> dict[Expr, Expr]:
    """The places so many steps further along a dimension, at a tap of it."""
    return {**at, way.place: at[way.place] + met[0], way.tap: lit(met[1], dtypes.index)}


def _numbers(axes: list[Expr], places: tuple[int, ...]) -> dict[Expr, Expr]:
    return {a: lit(k, dtypes.index) for a, k in zip(axes, places, strict=True)}


def _when(b: Builder, limits: list, at: dict[Expr, Expr], body: list) -> list:
    """The body, where these limits are kept."""
    return [When(all_inside(b, limits, at), body)] if limits else body
