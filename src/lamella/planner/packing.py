"""What a contraction lays out before it runs: copies of operands, panels, tables of offsets."""

from __future__ import annotations

from ..base import dtypes
from ..base.extents import Extent, upper
from ..ir.node import Node, placeholder
from ..ir.types import tensor
from ..lang import expr
from ..lang.definition import Definition
from ..lang.expr import Expr, lit
from ..lang.loops import LANES
from .access import stored
from .fuse import Fusion, Group, Seed
from .nest import Nest, StridedRead, merged_axes
from .plan import Buffer, Launch
from .rows import schedule_rows

ZERO = lit(0, dtypes.index)


class Side:
    """One operand: what it reads, its free axes, and the runs of its summed axes."""

    __slots__ = ("axes", "dtype", "read", "summed")

    def __init__(self, read: StridedRead, axes: list[Expr], bound: list[Expr]):
        self.read, self.axes, self.dtype = read, axes, read.dtype
        self.summed = merged_axes(bound, [read.strides], set())

    def runs(self, axes) -> list[tuple]:
        """Runs of these axes that one stride steps through: (axes, extent, innermost axis)."""
        return merged_axes(list(axes), [self.read.strides], set())

    def stride(self, axis: Expr) -> Extent:
        return self.read.strides.get(axis, 0)


class Packing:
    """Writes copies by launches of their own: `before`, with their `buffers` and `access`."""

    def __init__(self, nest: Nest, buffers, access: dict, bound: list[Expr]):
        self.buffers, self.access, self.bound = buffers, access, bound
        self.source = nest.group.seeds[0].node.source
        self.before: list[Launch] = []

    def copied(self, side: Side, axes: list[Expr], label: str) -> Side:
        """The operand's elements row-major over `axes`."""
        named = [expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate(axes)]
        places = dict(zip(axes, named, strict=True))
        value = expr.read(0, (self._offset(side.read, places),), side.dtype)
        node = self._run(side.dtype, named, value, [self._flat(side.read)], label, "pack")
        return Side(StridedRead(node, 0, strides(node, axes), side.dtype), side.axes, self.bound)

    def panels(self, side: Side, batch: list[Expr], columns: list[Expr], count: Extent,
               width: int) -> tuple[Side, Extent]:
        """The operand as [batch, panel, summed, columns of a panel], zeros beyond the last column,
        and the stride of a panel; `columns` are one run, or none."""
        step = side.stride(columns[-1]) if columns else 0
        panel = expr.axis("panel", (count + (width - 1)) // width)
        lane = expr.axis("lane", width)
        axes = [*batch, panel, *self.bound, lane]
        named = {a: expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate(axes)}
        low: Extent = 0   # a flipped axis counts from its other end
        for a, s in side.read.strides.items():
            if a in named and upper(s) < 0:
                low = low + (a.attr[1] - 1) * s
        at = self._offset(side.read, named) + expr.size(low * -1)
        column = named[panel] * width + named[lane]
        value = expr.read(0, (at, column), side.dtype, 0)
        source = self._columns(side.read, count, step, low)
        node = self._run(side.dtype, list(named.values()), value, [source],
                         "packed right operand", "pack")
        found = strides(node, axes)
        return Side(StridedRead(node, 0, found, side.dtype), side.axes, self.bound), found[panel]

    def offsets(self, side: Side) -> Node:
        """A table: how far the operand steps from summed position 0 to each of them."""
        named = [expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate(self.bound)]
        value = self._offset(side.read, dict(zip(self.bound, named, strict=True)))
        return self._run(dtypes.index, named, value, [], "table of offsets", "offsets")

    @staticmethod
    def _offset(read: StridedRead, places: dict[Expr, Expr]) -> Expr:
        """The offset that these axes add."""
        at: Expr = ZERO
        for a, s in read.strides.items():
            at = at + places.get(a, ZERO) * expr.size(s)
        return at

    def _flat(self, read: StridedRead) -> Node:
        """The operand's buffer as one flat axis from its offset on."""
        flat = placeholder(tensor(read.dtype, (read.base.type.size,)), "flat")
        access = self.access[id(flat)] = stored(flat)
        access.base, access.offset = read.base, read.offset
        return flat

    def _columns(self, read: StridedRead, count: Extent, step: Extent, low: Extent) -> Node:
        """The operand's buffer as [anything, column]: only the column is bounded by fill."""
        source = placeholder(tensor(read.dtype, (read.base.type.size + 1, count)), "columns")
        access = self.access[id(source)] = stored(source)
        access.base, access.offset, access.strides = read.base, read.offset + low, (1, step)
        return source

    def _run(self, dtype, axes: list[Expr], value: Expr, operands: list[Node], label: str,
             names: str) -> Node:
        """The node of a new buffer, written by a launch."""
        node = placeholder(tensor(dtype, tuple(a.attr[1] for a in axes)), "packed")
        body = Definition(tuple(n.type for n in operands), tuple(axes), value)
        self.buffers[id(node)] = Buffer(dtype, node.type.size, "temporary", label)
        self.access[id(node)] = stored(node)
        group = Group(Seed(node, "map", body, operands), (node.shape[:-1], node.shape[-1]))
        launch = schedule_rows(Nest(group, Fusion([], self.access, []), {id(node)}), self.buffers)
        launch.names, launch.source, launch.lays_out = names, self.source, True
        self.before.append(launch)
        return node


def strides(node: Node, axes: list[Expr]) -> dict[Expr, Extent]:
    """The strides of a packed node, by axis."""
    return dict(zip(axes, stored(node).strides, strict=True))


def contiguous(side: Side, axes) -> bool:
    """Whether the axes, with others hoisted out, end in a run that fills most of a vector."""
    runs = side.runs(axes)
    return not runs or (side.stride(runs[-1][2]) == 1 and
                        (len(runs) == 1 or 2 * upper(runs[-1][1]) >= LANES))
