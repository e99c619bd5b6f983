"""Reductions that stand alone, over any axes: tiles of kept and of reduced positions.

Where the kept positions alone would leave the device idle, the reduced ones are cut into parts,
whose results a second launch joins, in their order. The cut follows from the extents alone, so that
the same bits come out of every run.
"""

from __future__ import annotations

from ....base.extents import Extent, upper
from ....ir.node import placeholder
from ....ir.types import tensor
from ....lang import expr, scalar
from ....lang.definition import Definition
from ....lang.expr import Expr
from ....lang.loops import Loop, Set, Store, fold, index_var
from ...groups.access import stored
from ...groups.group import Fusion, Group, Seed
from ...plan import Buffer, Launch
from ..nest import Builder, Nest, accumulator, merged_axes, widened
from ..tree import COMBINE, identity
from .positions import ROW, SUMMED, TASK, ZERO, Positions, grid, numbers, power, store_all, tables
from .rows import TILE

MOST_PARTS = 512    # of one reduction
LEAST_TRIPS = 4     # tiles of a part, so that its sum is worth a launch


def schedule_reduction(nest: Nest, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a group of one reduction over any axes."""
    (seed, body), = nest.outputs()
    shape = _Shape(nest, buffers, body, target)
    if shape.parts == 1:
        return [shape.launch(nest, None)]
    return _in_parts(nest, buffers, fusion, seed, body, target, shape.parts)


def _in_parts(nest: Nest, buffers, fusion: Fusion, seed: Seed, body: Expr, target,
              parts: int) -> list[Launch]:
    """Partial results over [part, kept], then their reduction."""
    acc = accumulator(body.args[0].dtype)
    kept = seed.definition.axes
    partial = placeholder(tensor(acc, (parts, *seed.definition.shape)), "partial")
    access = {**fusion.access, id(partial): stored(partial)}
    known = {**buffers, id(partial): Buffer(acc, partial.type.size, "temporary", "partial results")}
    nest.access = access
    first = _Shape(nest, known, body, target).launch(nest, partial)
    bound = expr.axis("part", parts)
    element = expr.read(0, (bound, *kept), acc)
    whole = expr.make("reduce", (element,), (body.attr[0], (bound,)), acc)
    result = scalar.cast(whole, body.dtype)
    again = Seed(seed.node, "reduce", Definition((partial.type,), kept, result), [partial])
    second = Nest(Group(again, None), Fusion([], access, []), {id(seed.node)})
    return [first, _Shape(second, known, whole, target, result).launch(second, None)]


class _Shape:
    """The tile of a reduction `body`, and into how many parts its positions are cut; `result`
    states what is stored, in terms of the reduction."""

    def __init__(self, nest: Nest, buffers, body: Expr, target, result: Expr | None = None):
        (seed, _), = nest.outputs()
        self.b, self.body, self.result = Builder(nest, buffers), body, result
        self.buffers = buffers
        kept, bound = list(seed.definition.axes), list(body.attr[1])
        loose = nest.loose_axes(body.args)
        reads = list(nest.reads.values())
        self.kept = Positions(self.b, "kept", merged_axes(kept, tables(nest), loose), kept)
        self.bound = Positions(self.b, "reduced", merged_axes(
            bound, [r.strides for r in reads], loose), bound)
        last = self.kept.runs[-1][2] if self.kept.runs else None
        across = any(r.strides.get(last) == 1 for r in reads) if last is not None else False
        side = min(power(self.kept.count), 64 if across else 4)
        self.depth = min(power(self.bound.count), TILE // side)
        self.height = min(power(self.kept.count), max(side, TILE // self.depth))
        self.parts = self._parts(target)
        self.part: Extent = (self.bound.count + (self.parts - 1)) // self.parts

    def _parts(self, target) -> int:
        """Parts such that every processor has a program, but none with too little to do."""
        programs = -(-upper(self.kept.count) // self.height)
        trips = -(-upper(self.bound.count) // self.depth)
        wanted = -(-2 * target.processors // programs)
        return max(1, min(wanted, trips // LEAST_TRIPS, MOST_PARTS))

    def launch(self, nest: Nest, partial) -> Launch:
        """The launch that stores the results, or the partial results of every part."""
        b, monoid = self.b, self.body.attr[0]
        parts = self.parts if partial is not None else 1
        block, part = numbers(b, TASK, parts)
        low, end = ZERO, self.bound.size()
        if partial is not None:
            size = b.size(("part",), self.part)
            low = part * size
            end = scalar.minimum(low + size, end)
        places = self.kept.places(ROW) | self.bound.places(SUMMED)
        x = widened(b.lowered(self.body.args[0], places, {}))
        acc = expr.var("p", x.dtype, (ROW, SUMMED))  # type: ignore[arg-type]
        start = index_var("k0")
        step = Set(acc, scalar.where(end > SUMMED, COMBINE[monoid](acc, x), acc))
        high = scalar.minimum(start + self.depth, end)
        tile = Loop(SUMMED, start, high, [step], "tile", self.depth)
        total = fold(monoid, SUMMED, acc)
        out = [Set(acc, identity(monoid, x.dtype)),
               Loop(start, low, end, [tile], "serial", self.depth),
               *self._stored(nest, partial, total, part, places)]
        body = [self.kept.tile(ROW, block, self.height, out)]
        tasks = self.kept.blocks(self.height) * parts
        launch = grid(b, "reduction", tasks, TASK, body, self.height * self.depth)
        elements = self.kept.count * self.bound.count
        launch.flops = elements * (1 + sum(not isinstance(e.op, str) and e.dtype.is_float
                                           for e in expr.walk(self.body.args[0])))
        return launch

    def _stored(self, nest: Nest, partial, total: Expr, part: Expr, places) -> list:
        value = scalar.cast(total, self.body.dtype)
        if partial is None:
            if self.result is not None:
                value = expr.substitute(self.result, {self.body: value})
            return store_all(self.b, nest, [value], places)
        name = self.b.operand(partial, 0, partial.dtype, writes=True)
        kept = self.b.size(("kept",), self.kept.count)
        return [Store(name, part * kept + ROW, total)]
