"""What the templates of Winograd's algorithms share: an image read in tiles that overlap by two
pixels (docs/numerics.md, rule W)."""

from __future__ import annotations

from collections.abc import Callable

from ....base import dtypes
from ....base.extents import Extent
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Prefetch, Set, Store, When, index_var, lane_index
from ...groups.linear import linear
from ..nest import ZERO, Builder, Nest
from .interpolation import F32, Algorithm, transformed
from .windows import Window, inside

SKEW = 48               # elements behind a point's matrix, for the next one's other cache sets


def table(side: int, read: Callable[[int], Expr]) -> list[list[Expr]]:
    """A table of side x side vectors, read by number."""
    return [[read(i * side + j) for j in range(side)] for i in range(side)]


# ---- an image in tiles --------------------------------------------------------------------------

class Line:
    """One axis of the image: where a tile's places begin, and how far the axis goes."""

    def __init__(self, window: Window, nest: Nest, e: Expr, tap: Expr):
        forms = [linear(i) for i in e.args]
        d, = (k for k, f in enumerate(forms) if f is not None and tap in f.terms)
        form = forms[d]
        assert form is not None
        self.flipped = form.terms[tap] == -1
        self.first = form.constant - 2 if self.flipped else form.constant
        self.extent = nest.nodes[e.attr[0]].shape[d]
        step = window.stride(tap)
        self.stride = step * -1 if self.flipped else step
        self.back = step * 2 if self.flipped else 0  # the tap that is read first


class Tiles:
    """The operand `e` as tiles that meet the two `taps`, vectors of its `channel` at a time."""

    def __init__(self, nest: Nest, e: Expr, taps: list[Expr], channel: Expr, axes: list[Expr],
                 algorithm: Algorithm):
        self.window, self.channel = Window(nest, e, axes, [channel]), channel
        self.algorithm = algorithm
        self.lines = [Line(self.window, nest, e, tap) for tap in taps]

    def scratch(self, b: Builder, channels: Expr) -> None:
        """Room for tiles that reach beyond the image, of so many channels."""
        self.border, self.channels = b.scratch(
            F32, channels * self.algorithm.points), channels

    def moved(self, b: Builder, at: dict[Expr, Expr], tile: tuple[Expr, Expr],
              span: tuple[Expr, Expr], to: Callable[[int, Expr, Expr], Store],
              ahead: Extent = 0) -> list:
        """The channels low..high (`span`) of a tile, transformed: `to(point, c, value)` stores a
        vector of them from c - low on; `at` has the places of the other axes. The pixels so many
        lines `ahead` are called for."""
        name = b.operand(self.window.read.base, self.window.read.offset, F32)
        steps, ends = [], []
        start = b.address(name, {a: self.window.stride(a) for a in at}, at)
        start = start + b.size((name, "start"),
                               self.window.start + sum(line.back for line in self.lines))
        lows, pixels, side = [], self.algorithm.pixels, self.algorithm.places
        for k, (line, place) in enumerate(zip(self.lines, tile, strict=True)):
            steps.append(b.size((name, "line", k), line.stride))
            start = start + place * pixels * steps[k]
            lows.append(place * pixels + b.size(("first", k), line.first))
            ends.append(b.size(("extent", k), line.extent))
        here, whole, c = index_var("here"), index_var("whole"), index_var("c")
        low, high = span
        step = b.size((name, "channel"), self.window.stride(self.channel))

        def vector(i: Expr, j: Expr) -> Expr:
            lanes = low + c if step is lit(1, dtypes.index) else (low + c + lane_index()) * step
            return expr.load(name, here + i * steps[0] + j * steps[1] + lanes, F32, LANES)

        calls = [] if isinstance(ahead, int) and ahead == 0 else [
            Prefetch(name, here + (b.size(("ahead",), ahead) + i) * steps[0] + j * steps[1] +
                     low + c) for i in range(2, side) for j in range(2, side)]

        def channels(body: list) -> Loop:
            return Loop(c, ZERO, high - low, body, "serial", LANES)

        def moved(read) -> Loop:
            sets, values = transformed(table(side, read), self.algorithm.of_image)
            return channels([*calls, *sets, *(to(p, c, x) for p, x in enumerate(values))])

        straight = moved(lambda p: vector(*(lit(k, dtypes.index) for k in divmod(p, side))))
        around = moved(lambda p: expr.load(self.border, self.channels * p + c, F32, LANES))
        i, j, there = index_var("i"), index_var("j"), index_var("there")
        nothing, place = expr.var("nothing", F32, LANES), (i * side + j) * self.channels + c
        one = scalar.and_(*(inside(low + k, low + k, end)
                            for low, k, end in zip(lows, (i, j), ends, strict=True)))
        fetch = Loop(i, ZERO, lit(side, dtypes.index), [Loop(j, ZERO, lit(side, dtypes.index), [
            Set(there, scalar.cast(one, dtypes.index)),
            When(there > 0, [channels([Store(self.border, place, vector(i, j))])]),
            When(there < 1, [channels([Store(self.border, place, nothing)])])])])
        every = scalar.and_(*(inside(low, low + (side - 1), end)
                              for low, end in zip(lows, ends, strict=True)))
        return [Set(here, start), Set(nothing, lit(0, F32)),
                Set(whole, scalar.cast(every, dtypes.index)),
                When(whole > 0, [straight]), When(whole < 1, [fetch, around])]
