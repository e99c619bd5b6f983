"""What the templates of Winograd's algorithm F(2x2, 3x3) share: its transformations, and an image
read in tiles of 4 x 4 pixels that lie two apart (docs/numerics.md, rule W)."""

from __future__ import annotations

from collections.abc import Callable

from ....base import dtypes
from ....base.extents import Extent
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Prefetch, Set, Store, When, index_var, lane_index
from ...groups.linear import linear
from ..nest import ZERO, Builder, Nest
from .windows import Window, inside

POINTS = 16             # places of a transformed tile, each with a matrix product of its own
SKEW = 48               # elements behind a point's matrix, for the next one's other cache sets
F32 = dtypes.float32


# ---- the transformations, along one axis --------------------------------------------------------

def of_image(d):
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def of_weights(g):
    half, ends = lit(0.5, F32), g[0] + g[2]
    return g[0], (ends + g[1]) * half, (ends - g[1]) * half, g[2]


def to_pixels(m):
    return (m[0] + m[1]) + m[2], (m[1] - m[2]) - m[3]


def of_cotangent(e):
    return e[0], e[0] + e[1], e[0] - e[1], -e[1]


def to_weights(m):
    half = lit(0.5, F32)
    both = (m[1] + m[2]) * half
    return m[0] + both, (m[1] - m[2]) * half, both + m[3]


def transformed(table: list[list[Expr]], along) -> tuple[list[Set], list[Expr]]:
    """A table of vectors under `along` of its columns, then of its rows: (the steps, the values in
    row-major order)."""
    named = [[expr.var(f"in{i}_{j}", F32, LANES) for j in range(len(line))]
             for i, line in enumerate(table)]
    sets = [Set(x, e) for names, line in zip(named, table, strict=True)
            for x, e in zip(names, line, strict=True)]
    columns = [along(column) for column in zip(*named, strict=True)]
    lines = []
    for i, line in enumerate(zip(*columns, strict=True)):
        names = [expr.var(f"mid{i}_{j}", F32, LANES) for j in range(len(line))]
        sets += [Set(x, e) for x, e in zip(names, line, strict=True)]
        lines.append(along(names))
    return sets, [x for line in lines for x in line]


def points(read: Callable[[int], Expr]) -> list[list[Expr]]:
    """The table of a tile's 4 x 4 points, read by number."""
    return [[read(i * 4 + j) for j in range(4)] for i in range(4)]


# ---- an image in tiles --------------------------------------------------------------------------

class Line:
    """One axis of the image: where a tile's four places begin, and how far the axis goes."""

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

    def __init__(self, nest: Nest, e: Expr, taps: list[Expr], channel: Expr, axes: list[Expr]):
        self.window, self.channel = Window(nest, e, axes, [channel]), channel
        self.lines = [Line(self.window, nest, e, tap) for tap in taps]

    def scratch(self, b: Builder, channels: Expr) -> None:
        """Room for tiles that reach beyond the image, of so many channels."""
        self.border, self.channels = b.scratch(F32, channels * POINTS), channels

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
        lows = []
        for k, (line, place) in enumerate(zip(self.lines, tile, strict=True)):
            steps.append(b.size((name, "line", k), line.stride))
            start = start + place * 2 * steps[k]
            lows.append(place * 2 + b.size(("first", k), line.first))
            ends.append(b.size(("extent", k), line.extent))
        here, whole, c = index_var("here"), index_var("whole"), index_var("c")
        low, high = span
        step = b.size((name, "channel"), self.window.stride(self.channel))

        def vector(i: Expr, j: Expr) -> Expr:
            lanes = low + c if step is lit(1, dtypes.index) else (low + c + lane_index()) * step
            return expr.load(name, here + i * steps[0] + j * steps[1] + lanes, F32, LANES)

        calls = [] if isinstance(ahead, int) and ahead == 0 else [
            Prefetch(name, here + (b.size(("ahead",), ahead) + i) * steps[0] + j * steps[1] +
                     low + c) for i in (2, 3) for j in (2, 3)]

        def channels(body: list) -> Loop:
            return Loop(c, ZERO, high - low, body, "serial", LANES)

        def moved(read) -> Loop:
            sets, values = transformed(points(read), of_image)
            return channels([*calls, *sets, *(to(p, c, x) for p, x in enumerate(values))])

        straight = moved(lambda p: vector(*(lit(k, dtypes.index) for k in divmod(p, 4))))
        around = moved(lambda p: expr.load(self.border, self.channels * p + c, F32, LANES))
        i, j, there = index_var("i"), index_var("j"), index_var("there")
        nothing, place = expr.var("nothing", F32, LANES), (i * 4 + j) * self.channels + c
        one = scalar.and_(*(inside(low + k, low + k, end)
                            for low, k, end in zip(lows, (i, j), ends, strict=True)))
        fetch = Loop(i, ZERO, lit(4, dtypes.index), [Loop(j, ZERO, lit(4, dtypes.index), [
            Set(there, scalar.cast(one, dtypes.index)),
            When(there > 0, [channels([Store(self.border, place, vector(i, j))])]),
            When(there < 1, [channels([Store(self.border, place, nothing)])])])])
        every = scalar.and_(*(inside(low, low + 3, end)
                              for low, end in zip(lows, ends, strict=True)))
        return [Set(here, start), Set(nothing, lit(0, F32)),
                Set(whole, scalar.cast(every, dtypes.index)),
                When(whole > 0, [straight]), When(whole < 1, [fetch, around])]
