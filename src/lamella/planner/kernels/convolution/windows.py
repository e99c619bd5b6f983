"""Products with windows: which they are, and where a window's elements lie inside of its operand.

A window's index joins an axis of the result with a summed one (a pixel and a tap of a convolution).
Where it leaves the operand's extent, the summed position is left out (docs/numerics.md).
"""

from __future__ import annotations

from typing import NamedTuple

from ....base import dtypes
from ....base.extents import Extent, upper
from ....lang import scalar
from ....lang.expr import Expr, lit
from ....lang.loops import Set, index_var
from ...groups.linear import Linear, linear, within
from ..nest import Builder, Nest, StridedRead
from ..packing import Side


class Limit(NamedTuple):
    """A window's index within one dimension, `form`: it has to be in 0..extent."""

    form: Linear
    extent: Extent


class Window(Side):
    """The operand with windows: it begins `start` elements before or behind its buffer's place."""

    __slots__ = ("limits", "start")

    def __init__(self, nest: Nest, e: Expr, axes: list[Expr], bound: list[Expr]):
        node = nest.nodes[e.attr[0]]
        access = nest.access[id(node)]
        forms = [linear(i) for i in e.args]
        total = Linear(0, {})
        for form, stride in zip(forms, access.strides, strict=True):
            assert form is not None, f"the window index {e} is not affine"
            total = total.plus(form.scaled(stride))
        read = StridedRead(access.base, access.offset, total.terms, e.dtype)
        super().__init__(read, [a for a in axes if a in total.terms], bound)
        self.start = total.constant
        self.limits = [] if e.attr[1] is None else [
            Limit(f, extent) for f, extent in zip(forms, node.shape, strict=True)
            if f is not None and not within(f, extent)]

    @property
    def limited(self) -> set[Expr]:
        """The axes of windows that may leave the operand."""
        return {a for limit in self.limits for a in limit.form.terms}


def read_of(nest: Nest, e: Expr) -> StridedRead:
    """How a factor of a product steps through its buffer, whether or not it may leave it."""
    return nest.reads.get(e) or Window(nest, e, [], []).read


def windowed(nest: Nest) -> Expr | None:
    """The operand of a product that is read by windows: they overlap, leave it, or skip some. Of
    two the one whose windows leave it: the other is read with its steps."""
    dot = nest.bodies[0]
    bound = set(dot.attr[1])
    leaving = [e for e in dot.args if e.attr[1] is not None]
    moving = [e for e in dot.args if any(_is_window(linear(i), bound) for i in e.args)]
    return next(iter([*leaving, *moving]), None)


def _is_window(index: Linear | None, bound: set[Expr]) -> bool:
    """Whether an element is read for several places of the result, or some for none."""
    if index is None:
        return False
    steps = [(abs(c), a) for a, c in index.terms.items() if isinstance(c, int) and a.attr[1] != 1]
    taps = [c * (upper(a.attr[1]) - 1) for c, a in steps if a in bound]
    places = [c for c, a in steps if a not in bound]
    if min((c for c, _ in steps), default=1) > 1:
        return True
    return bool(taps) and bool(places) and min(places) <= sum(taps)


def moves(e: Expr) -> bool:
    """Whether an index of the operand joins axes, or may leave the operand: windows of more than
    one tap, or at a border."""
    return e.attr[1] is not None or any(
        len([a for a in form.terms if a.attr[1] != 1]) > 1
        for form in map(linear, e.args) if form is not None)


def reach(limit: Limit, axes: list[Expr]) -> tuple[Extent, Extent]:
    """The least and the greatest that the axes add to the limit's index."""
    low: Extent = 0
    high: Extent = 0
    for a in axes:
        c = limit.form.terms.get(a, 0)
        span = (a.attr[1] - 1) * c
        if upper(c) > 0:
            high = high + span
        else:
            low = low + span
    return low, high


def part(b: Builder, limit: Limit, at: dict[Expr, Expr], key: tuple) -> Expr:
    """What the axes in `at` add to the limit's index at their places."""
    total: Expr = lit(0, dtypes.index)
    for a, c in limit.form.terms.items():
        if a in at:
            total = total + at[a] * b.size((*key, a), c)
    return total


def inside(low: Expr, high: Expr, extent: Expr) -> Expr:
    """Whether an index between low and high is in 0..extent."""
    return scalar.and_(low >= 0, high < extent)


def index_at(b: Builder, k: int, limit: Limit, at: dict[Expr, Expr]) -> Expr:
    """The index that a window has in its dimension at these places."""
    return part(b, limit, at, ("limit", k)) + b.size(("constant", k), limit.form.constant)


def all_inside(b: Builder, limits: list[tuple[int, Limit]], at: dict[Expr, Expr]) -> Expr:
    """Whether none of the numbered limits is left at these places."""
    there: Expr = lit(True, dtypes.bool_)
    for k, limit in limits:
        index = index_at(b, k, limit, at)
        there = scalar.and_(there, inside(index, index, b.size(("extent", k), limit.extent)))
    return there


def whole(b: Builder, limits: list[tuple[int, Limit]], along: Expr, taps: list[Expr],
          at: dict[Expr, Expr]) -> tuple[Expr, Expr]:
    """The places of the axis `along`, from .. to, at which no tap leaves one of the limits, all of
    which it moves; none where it does not move forwards."""
    least: Expr = lit(0, dtypes.index)
    most = b.size(("across",), along.attr[1])
    for k, limit in limits:
        step = limit.form.terms[along]
        if not isinstance(step, int) or step < 1:
            return least, least
        low, high = reach(limit, taps)
        start = index_at(b, k, limit, at)
        first, last = start + b.size(("least", k), low), start + b.size(("most", k), high)
        extent = b.size(("extent", k), limit.extent)
        least = scalar.maximum(least, (step - 1 - first) // step)       # first + step p >= 0
        most = scalar.minimum(most, (extent + (step - 1) - last) // step)   # last + step p < extent
    return least, most


def parts_of(low: Expr, high: Expr, least: Expr, most: Expr) -> tuple[list, list]:
    """low..high in three parts, the middle one inside of least..most: (statements, the bounds)."""
    left, right = index_var("left"), index_var("right")
    return [Set(left, scalar.maximum(low, scalar.minimum(high, least))),
            Set(right, scalar.maximum(left, scalar.minimum(high, most)))], [
                (low, left), (left, right), (right, high)]
