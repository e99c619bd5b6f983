"""What a contraction lays out before it runs: copies of operands, panels, tables of offsets."""

from __future__ import annotations

from ...base import dtypes
from ...base.extents import Extent, product, upper
from ...ir.node import Node, placeholder
from ...ir.types import tensor
from ...lang import expr, scalar
from ...lang.definition import Definition
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Store, index_var
from ..groups.access import stored
from ..groups.group import Fusion, Group, Seed
from ..plan import Buffer, Launch
from .nest import Builder, Nest, StridedRead, decode, merged_axes
from .panel import Source, Target, lay_out
from .rows import schedule_map
from .tiling import Layout
from .words import WORD, Form, lay_out_words

ZERO = lit(0, dtypes.index)
STRIP = 256             # positions of a panel that one task lays out, or LANES of many panels


class Side:
    """One operand: what it reads, its free axes, and the runs of its summed axes."""

    __slots__ = ("axes", "dtype", "read", "summed")

    def __init__(self, read: StridedRead, axes: list[Expr], bound: list[Expr]):
        self.read, self.axes, self.dtype = read, axes, read.dtype
        self.summed = merged_axes(bound, [read.strides], set())

    def runs(self, axes) -> list[tuple]:
        """Runs of these axes that one stride steps through: (axes, extent, innermost axis)."""
        return merged_axes(list(axes), [self.read.strides], set())

    def layout(self, axes) -> Layout:
        """How it lies along these axes, taken as one, and along the summed ones."""
        runs = self.runs(axes)
        step = None if len(runs) > 1 else self.stride(runs[0][2]) if runs else 0
        along = None if len(self.summed) > 1 else \
            self.stride(self.summed[0][2]) if self.summed else 0
        if along is not None:
            return Layout(step, along, self.dtype.bytes)
        _, run, inner = self.summed[-1]
        return Layout(step, None, self.dtype.bytes, self.stride(inner), run)

    def bits(self, dtype: dtypes.DType, bound: list[Expr]) -> Side:
        """The same operand, read as another dtype of its width."""
        read = StridedRead(self.read.base, self.read.offset, self.read.strides, dtype)
        return Side(read, self.axes, bound)

    def stride(self, axis: Expr) -> Extent:
        return self.read.strides.get(axis, 0)


class Notes:
    """What is known of each strip of packed panels: [batch, panel, strip]."""

    __slots__ = ("batch", "node", "strips")

    def __init__(self, node: Node, batch: list[Expr], strips: Extent):
        self.node, self.batch, self.strips = node, batch, strips

    def place(self, b: Builder, panel: Expr, strip: Expr, places: dict[Expr, Expr],
              writes: bool = False) -> tuple[str, Expr]:
        """The buffer and the place of a strip's note."""
        name, steps = b.operand(self.node, 0, WORD, writes), stored(self.node).strides
        at = b.address(name, dict(zip(self.batch, steps)), places)
        return name, at + panel * b.size((name, "panel"), self.strips) + strip


class Packing:
    """Writes copies by launches of their own: `before`, with their `buffers` and `access`."""

    def __init__(self, nest: Nest, buffers, access: dict, bound: list[Expr]):
        self.nest, self.buffers, self.access, self.bound = nest, buffers, access, bound
        self.source = nest.group.seeds[0].node.source
        self.before: list[Launch] = []
        self.notes: Notes | None = None     # of the panels in words

    def copied(self, side: Side, axes: list[Expr], label: str) -> Side:
        """The operand's elements row-major over `axes`."""
        named = [expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate(axes)]
        places = dict(zip(axes, named, strict=True))
        value = expr.read(0, (self._offset(side.read, places),), side.dtype)
        node = self._run(side.dtype, named, value, [self._flat(side.read)], label, "pack")
        return Side(StridedRead(node, 0, strides(node, axes), side.dtype), side.axes, self.bound)

    def panels(self, side: Side, batch: list[Expr], columns: list[Expr], count: Extent,
               width: int, form: Form | None = None) -> tuple[Side, Extent]:
        """The operand as [batch, panel, summed, columns of a panel], and the stride of a panel;
        `columns` are one run, or none. In words of a `form`, if there is one."""
        panel = expr.axis("panel", (count + (width - 1)) // width)
        end = product(a.attr[1] for a in self.bound)
        count_k, dtype, summed = end, side.dtype, self.bound
        if form is not None:
            count_k, dtype = form.words(end), WORD
            side, summed = side.bits(form.bits, self.bound), [expr.axis("word", count_k)]
        axes = [*batch, panel, *summed, expr.axis("lane", width)]
        table = self.offsets(side) if len(side.summed) > 1 else None
        node = self.buffer(dtype, axes, "packed right operand")
        found = strides(node, axes)
        b = Builder(self.nest, self.buffers)
        along = side.layout(columns).along == 1
        deep, wide = (STRIP, 1) if along else (LANES, STRIP // LANES)
        strips, groups = (count_k + (deep - 1)) // deep, (panel.attr[1] + (wide - 1)) // wide
        task, at = index_var("task"), index_var("panel")
        n_strips, n_groups = b.size(("strips",), strips), b.size(("groups",), groups)
        low, first = task % n_strips * deep, task // n_strips % n_groups * wide
        places = decode(task // n_strips // n_groups,
                        [(a, b.size(("batch", n), a.attr[1])) for n, a in enumerate(batch)])
        source = read_through(b, side, columns[-1] if columns else None, places, table)
        name = b.operand(node, 0, dtype, writes=True)
        base = b.address(name, {a: found[a] for a in batch}, places) + \
            at * b.size((name, "panel"), found[panel]) + low * width
        to, n = Target(name, dtype, base, width), b.size(("count",), count)
        high = scalar.minimum(low + deep, b.size(("k",), count_k))
        if form is None:
            body = lay_out(source, to, at * width, n, low, high)
        else:
            body = lay_out_words(form, source, to, at * width, n, low, high, b.size(("end",), end))
        if form is not None and form.note is not None:
            note = self.buffer(WORD, [*batch, panel, expr.axis("strip", strips)], "notes")
            self.notes = Notes(note, batch, strips)
            at_note = self.notes.place(b, at, task % n_strips, places, True)
            body = [*form.begin, *body, Store(*at_note, form.note)]
        last = scalar.minimum(first + wide, b.size(("panels",), panel.attr[1]))
        tasks = product(a.attr[1] for a in batch) * groups * strips
        outer = Loop(task, ZERO, b.size(("tasks",), tasks), [Loop(at, first, last, body)],
                     "parallel")
        self.append(b.launch("pack", [outer], tasks), "pack")
        return Side(StridedRead(node, 0, found, dtype), side.axes, self.bound), found[panel]

    def offsets(self, side: Side) -> Node:
        """A table: how far the operand steps from summed position 0 to each of them."""
        named = [expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate(self.bound)]
        value: Expr = ZERO
        for a, place in zip(self.bound, named, strict=True):
            value = value + place * expr.given(side.stride(a))
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

    def _run(self, dtype, axes: list[Expr], value: Expr, operands: list[Node], label: str,
             names: str) -> Node:
        """The node of a new buffer, written by a launch."""
        node = self.buffer(dtype, axes, label)
        body = Definition(tuple(n.type for n in operands), tuple(axes), value)
        group = Group(Seed(node, "map", body, operands), (node.shape[:-1], node.shape[-1]))
        nest = Nest(group, Fusion([], self.access, []), {id(node)})
        self.append(schedule_map(nest, self.buffers), names)
        return node

    def buffer(self, dtype, axes: list[Expr], label: str) -> Node:
        """A node for a new buffer, row-major over the axes."""
        node = placeholder(tensor(dtype, tuple(a.attr[1] for a in axes)), "packed")
        self.buffers[id(node)] = Buffer(dtype, node.type.size, "temporary", label)
        self.access[id(node)] = stored(node)
        return node

    def append(self, launch: Launch, names: str) -> None:
        launch.names, launch.source, launch.lays_out = names, self.source, True
        self.before.append(launch)


def read_through(b: Builder, side: Side, place: Expr | None, places: dict[Expr, Expr],
                 table: Node | None = None) -> Source:
    """The operand as panels read it: along the axis `place`, the other axes at `places`; `table`
    has the offsets of positions that no single stride steps through."""
    name = b.operand(side.read.base, side.read.offset, side.dtype)
    batch = {a: side.stride(a) for a in places if a in side.axes}
    start = b.address(name, batch, places)
    step = b.size((name, "place"), 0 if place is None else side.stride(place))
    if table is not None:
        offsets = b.operand(table, 0, dtypes.index)
        return Source(name, side.dtype, start, step,
                      lambda k: expr.load(offsets, k, dtypes.index), False)
    along = side.stride(side.summed[0][2]) if side.summed else 0
    stride = b.size((name, "sum"), along)
    return Source(name, side.dtype, start, step, lambda k: k * stride, along == 1)


def strides(node: Node, axes: list[Expr]) -> dict[Expr, Extent]:
    """The strides of a packed node, by axis."""
    return dict(zip(axes, stored(node).strides, strict=True))


def contiguous(side: Side, axes) -> bool:
    """Whether the axes, with others hoisted out, end in a run that fills most of a vector."""
    runs = side.runs(axes)
    return not runs or (side.stride(runs[-1][2]) == 1 and
                        (len(runs) == 1 or 2 * upper(runs[-1][1]) >= LANES))
