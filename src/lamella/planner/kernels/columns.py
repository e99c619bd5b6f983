"""The column template: reductions over leading axes, vectorised over the axis that stays.

A task is a block of columns of one outer index. Position k of the reduced axis adds into lane
k mod SUM_LANES. A narrow block keeps the SUM_LANES sums of a vector of columns in registers. A wide
one, a band, keeps them in scratch and goes over its rows from the first to the last column, so that
memory is read in the order in which it lies: rows of a block of 128 bytes lie in a page each, and
where they are a power of two apart they drive each other out of the caches.
"""

from __future__ import annotations

from collections.abc import Callable

from ...base import dtypes
from ...base.extents import Extent, lower, product, upper
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, Store, When, index_var
from ...lang.order import SUM_CHUNK, SUM_LANES
from ..groups.access import stored
from ..plan import Launch
from .nest import ZERO, Builder, accumulator, decode, merged_axes, widened
from .parts import LEAST_TASKS, Parts
from .tree import COMBINE, Levels, identity, levels_of

BLOCK = 32          # columns of a block whose sums are registers
BAND = 512          # and of one whose sums lie in scratch, at most: 32 KiB of them
LEAST = 64          # columns and rows from which on there are bands
TASKS = 8           # that a reduction should have, by narrower bands and by parts of its rows
ROWS = 4            # rows that are added to a sum before it is stored again
WORTH = 1 << 18     # elements that are worth a second launch


def schedule_columns(nest, buffers, bound: Expr) -> list[Launch]:
    """The launches of one reduction over `bound`; the last kept axis becomes the vector axis."""
    return _Columns(nest, buffers, bound).launches()


class _Columns:
    """A reduction over the axis `bound` while its kernels are written: of `width` columns by a
    task, whose number in the block is `local`, and of one of the `parts` of its positions."""

    def __init__(self, nest, buffers, bound: Expr):
        self.nest, self.buffers, self.bound = nest, buffers, bound
        (self.seed, body), = nest.outputs()
        self.monoid, self.element = body.attr[0], body.args[0]
        self.dtype = accumulator(self.element.dtype)
        self.axes = list(self.seed.definition.axes)
        self.strides = nest.strides(self.seed)
        tables = [r.strides for r in nest.reads.values()] + [self.strides]
        runs = merged_axes(self.axes, tables, nest.loose_axes([self.element]))
        self.columns = runs[-1] if runs else (self.axes[-1:], 1, self.axes[-1])
        self.outer = runs[:-1]
        count = bound.attr[1]
        self.size = product(a.attr[1] for a in (*self.axes, bound))
        worth = lower(self.size) >= WORTH
        self.width = self._width(max(1, upper(count) // SUM_CHUNK) if worth else 1)
        tasks = self._tasks(self.width)
        few = worth and upper(tasks) < TASKS
        self.parts = Parts(count, SUM_CHUNK, tasks if few else LEAST_TASKS)

    def _tasks(self, width: int) -> Extent:
        blocks = (self.columns[1] + (width - 1)) // width
        return product(r[1] for r in self.outer) * blocks

    def _width(self, parts: int) -> int:
        """The columns of a task, where positions may be cut into so many parts."""
        if lower(self.columns[1]) < LEAST or lower(self.bound.attr[1]) < LEAST:
            return BLOCK
        width = BAND
        while width > LEAST and upper(self._tasks(width)) * parts < TASKS:
            width //= 2
        return width

    def launches(self) -> list[Launch]:
        if not self.parts.several:
            return [self._launch(self.width, 1, self._whole)]
        self.buffers, self.nest.access = dict(self.buffers), dict(self.nest.access)
        self.node = self.parts.node(self.seed.node.shape, self.dtype, self.buffers,
                                    self.nest.access)
        return [self._launch(self.width, self.parts.count, self._part),
                self._launch(BLOCK, 1, self._meeting)]

    def _launch(self, width: int, parts: Extent, body: Callable[[Expr], list]) -> Launch:
        """The launch of `body(total)`, which stores the result of a vector of columns, for all
        blocks of so many columns and all parts."""
        self.b, task = Builder(self.nest, self.buffers), index_var("task")
        b, self.wide = self.b, lit(BLOCK, dtypes.index)
        if width != BLOCK:
            self.wide = b.size(("width",), width)
        blocks = b.size(("blocks",), (self.columns[1] + (width - 1)) // width)
        number, self.part = task // blocks, ZERO
        if parts != 1:
            count = b.size(("parts",), parts)
            number, self.part = number // count, number % count
        self.places = decode(number, [(r[2], b.size(("run", i), r[1]))
                                      for i, r in enumerate(self.outer)]) if self.outer else {}
        self.places |= {a: ZERO for a in self.axes if a not in self.places}
        self.first = task % blocks * self.wide
        self.j = self.places[self.columns[2]] = index_var("j")
        self.local = self.j - self.first
        self.high = scalar.minimum(self.first + self.wide, b.size(("columns",), self.columns[1]))
        tasks = self._tasks(width) * parts
        done = body(expr.var("total", self.dtype, LANES))
        step = b.launch("columns", [
            Loop(task, ZERO, b.size(("tasks",), tasks), done, "parallel")], tasks)
        step.flops = self.size * (1 + sum(not isinstance(e.op, str) and e.dtype.is_float
                                          for e in expr.walk(self.element)))
        return step

    def _swept(self, total: Expr, store: Store) -> list:
        """The positions of the part."""
        sweep = self._in_registers if self.width == BLOCK else self._in_scratch
        return sweep(total, store)

    def _whole(self, total: Expr) -> list:
        return self._swept(total, self._store(total))

    def _part(self, total: Expr) -> list:
        name = self.b.operand(self.node, 0, self.dtype, writes=True)
        return self._swept(total, Store(name, self._at(name, self.part), total))

    def _meeting(self, total: Expr) -> list:
        """The parts joined."""
        name = self.b.operand(self.node, 0, self.dtype)
        tree = self._levels(self.b.size(("levels",), levels_of(self.parts.count, 1)), total)
        part = index_var("part")
        joined = tree.of(part, self.b.size(("parts",), self.parts.count), [
            Set(total, expr.load(name, self._at(name, part), self.dtype))])
        return [self._vector([*joined, self._store(total)])]

    def _at(self, name: str, part: Expr) -> Expr:
        """The place of a column in the results of a part."""
        step, *strides = stored(self.node).strides
        at = self.b.address(name, dict(zip(self.axes, strides, strict=True)), self.places)
        return at + part * self.b.size((name, "part"), step)

    def _store(self, total: Expr) -> Store:
        name = self.b.output(self.seed.node)
        return Store(name, self.b.address(name, self.strides, self.places),
                     scalar.cast(total, self.seed.node.dtype))

    # -- what both ways have --

    def _vector(self, body: list) -> Loop:
        """The body for the columns of the block."""
        return Loop(self.j, self.first, self.high, body, "vector")

    def _value(self, k: Expr) -> Expr:
        """The element at position k."""
        return widened(self.b.lowered(self.element, {**self.places, self.bound: k}, {}))

    def _joined(self, a: Expr, b: Expr) -> Expr:
        return COMBINE[self.monoid](a, b)

    def _identity(self) -> Expr:
        return identity(self.monoid, self.dtype)

    def _met(self, lanes: list[Expr]) -> Expr:
        """The lanes as one: halves joined, the lower ones on the left."""
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [self._joined(x, y) for x, y in zip(lanes[:half], lanes[half:], strict=True)]
        return lanes[0]

    @property
    def _chunked(self) -> bool:
        """Whether chunks of the task's positions meet in a tree."""
        ordered = self.monoid in ("sum", "prod") and self.dtype.is_inexact
        return ordered and upper(self.bound.attr[1]) > SUM_CHUNK

    def _tree(self, total: Expr) -> Levels:
        """The tree of chunks, of which `total` is the last one's result and then that of all."""
        return self._levels(self.parts.levels(self.b), total)

    def _levels(self, depth: Expr, total: Expr) -> Levels:
        levels = self.b.scratch(self.dtype, depth * self.wide)
        return Levels(levels, depth, [total], lambda level, k: level * self.wide + self.local,
                      monoid=self.monoid)

    # -- sums in registers --

    def _in_registers(self, total: Expr, store: Store) -> list:
        """One vector of columns after the other."""
        if not self._chunked:
            return [self._vector([*self._lanes(*self.parts.span(self.b, self.part), total), store])]
        tree = self._tree(total)
        chunks = self.parts.loop(self.b, self.part,
                                 lambda low, high: self._lanes(low, high, total), tree.push)
        joined = tree.joined(self.parts.number(self.b, self.part))
        return [self._vector([chunks, *joined, store])]

    def _lanes(self, low: Expr, high: Expr, total: Expr) -> list:
        """The positions low..high: SUM_LANES registers, then their tree."""
        lanes = [expr.var(f"l{n}", self.dtype, LANES) for n in range(SUM_LANES)]
        extent, k = self.bound.attr[1], index_var("k")
        whole = isinstance(extent, int) and extent % SUM_LANES == 0
        full = high if whole else low + (high - low) // SUM_LANES * SUM_LANES

        def add(lane: Expr, at: Expr) -> Set:
            return Set(lane, self._joined(lane, self._value(at)))

        return [*(Set(a, self._identity()) for a in lanes),
                Loop(k, low, full, [add(a, k + n) for n, a in enumerate(lanes)], "serial",
                     SUM_LANES),
                *([] if whole else [When(full + n < high, [add(a, full + n)])
                                    for n, a in enumerate(lanes[:-1])]),
                Set(total, self._met(lanes))]

    # -- sums in scratch --

    def _in_scratch(self, total: Expr, store: Store) -> list:
        """One row of the block after the other."""
        self.sums = self.b.scratch(self.dtype, self.wide * SUM_LANES)
        met = Set(total, self._met([self._sum(lit(n, dtypes.index)) for n in range(SUM_LANES)]))
        if not self._chunked:
            return [*self._sweep(*self.parts.span(self.b, self.part)), self._vector([met, store])]
        tree = self._tree(total)
        chunks = self.parts.loop(self.b, self.part, self._sweep,
                                 lambda c: [self._vector([met, *tree.push(c)])])
        joined = tree.joined(self.parts.number(self.b, self.part))
        return [chunks, self._vector([*joined, store])]

    def _sum(self, n: Expr) -> Expr:
        """Lane n of the columns."""
        return expr.load(self.sums, n * self.wide + self.local, self.dtype)

    def _sweep(self, low: Expr, high: Expr) -> list:
        """The lanes of the positions low..high, which begin anew."""
        k, n = index_var("k"), index_var("n")
        lanes, group = lit(SUM_LANES, dtypes.index), SUM_LANES * ROWS
        groups = low + (high - low) // group * group
        full = low + (high - low) // SUM_LANES * SUM_LANES

        def stored(value: Expr) -> Loop:
            return self._vector([Store(self.sums, n * self.wide + self.local, value)])

        def added(at: Expr, rows: int) -> Loop:
            value = self._sum(n)
            for r in range(rows):
                value = self._joined(value, self._value(at + n + r * SUM_LANES))
            return stored(value)

        return [Loop(n, ZERO, lanes, [stored(self._identity())]),
                Loop(k, low, groups, [Loop(n, ZERO, lanes, [added(k, ROWS)])], "serial", group),
                Loop(k, groups, full, [Loop(n, ZERO, lanes, [added(k, 1)])], "serial", SUM_LANES),
                Loop(n, ZERO, high - full, [added(full, 1)])]
