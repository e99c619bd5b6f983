"""The contraction template: a register-tiled product of two operands with a fused epilogue.

Axes fall into batch (both operands and the result), rows (left operand and result), columns (right
operand and result) and summed. A tile of rows x columns stays in registers over the whole chain of
fused multiply-adds (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", TOMS
2008). How it is cut into tiles, tasks and blocks of positions is decided in `tiling.py`.

The left operand is laid out by each task, or read in place, one element for each row of the tile:
rows that no single stride steps through have an offset each, carried on from row to row, and summed
axes that no single stride steps through are read from a table of offsets. The
right operand is read in panels of whole vectors of columns: packed first, or in place where its
columns are contiguous and few rows, or overlapping windows, make a copy dearer than it is worth.
"""

from __future__ import annotations

from ...base import dtypes
from ...base.extents import Extent, product, upper
from ...codegen.prices import LINE
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Prefetch, Set, Store, When, index_var, lane_index
from ...lang.order import CONTRACT_CHUNK
from ..groups.group import Fusion
from ..plan import Launch
from .nest import Builder, Nest, accumulator, advance, decode, merged_axes, multiply_add
from .packing import ZERO, Packing, Side, contiguous, read_through
from .panel import Source, Target, lay_out, pitch_of, slack
from .tile import Span, cheap, direct_epilogue, epilogue, fetches, started
from .tiling import BEFORE, PLACE, STREAM_AHEAD, TASK, TURNED, Product, choose_tiling
from .tree import Tree, levels_of
from .turned import turned_chain
from .words import Form

DIRECT_ROWS = 32        # up to so many rows the right operand is not worth packing
LEFT_AHEAD = 24         # positions that are called for early where each lies in another line
TURNED_ROWS = 4         # up to so many rows it may be turned in registers, for each of its tiles


def schedule_contraction(nest: Nest, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a contraction and the maps fused behind it."""
    return Contraction(nest, buffers, fusion, target).launches()


class Contraction:
    """A contraction while its launches are written. `steps` are what a chain's loop runs over: the
    summed positions, `chunk` of them from a fresh sum on."""

    def __init__(self, nest: Nest, buffers, fusion: Fusion, target):
        self.nest, self.buffers = nest, dict(buffers)
        self.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.axes = list(nest.group.seeds[0].definition.axes)
        self.bound = list(self.dot.attr[1])
        self.packing = Packing(nest, self.buffers, self.access, self.bound)
        reads = [nest.reads[a] for a in self.dot.args[:2]]
        self.start = nest.reads[self.dot.args[2]] if self.dot.args[2:] else None
        sides = [Side(r, [a for a in self.axes if a in r.strides], self.bound) for r in reads]
        self.left, self.right = self._oriented(*sides)
        both = set(self.left.axes) & set(self.right.axes)
        self.batch = [a for a in self.axes if a in both]
        self.columns = [a for a in self.axes if a in self.right.axes and a not in both]
        self.rows = [a for a in self.axes if a not in both and a not in self.columns]
        if self.start is not None:  # a vector of columns is read side by side
            for run, _, _ in merged_axes(self.columns, [self.start.strides], set())[:-1]:
                self.batch += run
                self.columns = [a for a in self.columns if a not in run]
        self.count = product(a.attr[1] for a in self.bound)
        self.steps, self.chunk = self.count, CONTRACT_CHUNK
        self.form: Form | None = None   # of the words that panels hold, if they hold words
        self.m = product(a.attr[1] for a in self.rows)
        self.acc = accumulator(self.dot.dtype)
        self.far, self.near = target.far, target.near
        self.written_out = target.level == "loops"  # vectors may be turned, masked, called for
        self.turns = self.written_out and target.vector_bits == 512     # squares fit the registers
        self.ways = self._ways()
        self.n = product(a.attr[1] for a in self.columns)
        self.steady = id(self.right.read.base) in fusion.steady
        self.tiling = choose_tiling(self._measures(self.ways), target)
        self.packed, self.way = self.tiling.packed, self.tiling.right
        self.left_laid, self.right_laid = self.acc, self.right.dtype  # what panels hold

    def _measures(self, ways: tuple[str, ...]) -> Product:
        left, right = self.left.layout(self.rows), self.right.layout(self.columns)
        return Product(product(a.attr[1] for a in self.batch), self.m, self.steps, self.n,
                       left, right, ways, self.steady, self._lies_flat(self.left, self.rows))

    def _lies_flat(self, side: Side, axes) -> bool:
        """Whether a task can lay out the operand: one stride steps through these axes."""
        return self.written_out and len(side.runs(axes)) == 1 and side.dtype.part is side.dtype

    def _oriented(self, a: Side, b: Side) -> tuple[Side, Side]:
        """The operand that owns the result's last axis (of several places) goes to the right."""
        for x in reversed([x for x in self.axes if x.attr[1] != 1]):
            if (x in a.axes) != (x in b.axes):
                return (b, a) if x in a.axes else (a, b)
        return a, b

    def _ways(self) -> tuple[str, ...]:
        """How the right operand may be read. Where it has to be read in place, its outer columns
        become batch axes."""
        side, runs = self.right, self.right.runs(self.columns)
        packed = (BEFORE, TASK) if self._lies_flat(side, self.columns) else (BEFORE,)
        if TASK in packed and self.turns and side.layout(self.columns).along == 1 and \
                self.start is None and upper(self.m) <= TURNED_ROWS and side.dtype.bytes <= 4 and \
                side.dtype is not dtypes.float16:   # its columns get mixed up at the end of a chain
            packed = (*packed, TURNED)
        if not contiguous(side, self.columns):
            return packed
        copy = product(a.attr[1] for a in (*self.batch_of(side), *self.bound, *self.columns))
        windows = upper(copy) >= 2 * upper(side.read.base.type.size)
        if not windows and upper(self.m) > DIRECT_ROWS:
            return (*packed, PLACE) if len(runs) == 1 else packed
        if not windows and len(runs) == 1:
            return (*packed, PLACE)
        hoisted = [a for run, _, _ in runs[:-1] for a in run]
        self.batch += hoisted
        self.columns = [a for a in self.columns if a not in hoisted]
        return (PLACE,)

    def batch_of(self, side: Side) -> list[Expr]:
        """The batch axes that the operand has."""
        return [a for a in self.batch if a in side.axes]

    def launches(self) -> list[Launch]:
        self.panel_stride: Extent = 0
        if self.way == BEFORE:
            self._pack_right()
        self.tables = {side: self.packing.offsets(side) for side in (self.left, self.right)
                       if len(side.summed) > 1}
        step = self._product()
        return [*self.packing.before, step]

    def _pack_right(self) -> None:
        plain = self.written_out and self.right.dtype.part is self.right.dtype
        if len(self.right.runs(self.columns)) > 1 or not plain:
            axes = [*self.batch_of(self.right), *self.bound, *self.columns]
            self.right = self.packing.copied(self.right, axes, "flat right operand")
        columns = [run[-1] for run in self.right.runs(self.columns)]
        self.right, self.panel_stride = self.packing.panels(
            self.right, self.batch_of(self.right), columns, self.n, self.tiling.width, self.form)

    # -- the product --

    def _product(self) -> Launch:
        self.nest.access = self.access
        b = self.b = Builder(self.nest, self.buffers)
        t = self.tiling
        self.row_count, self.column_count = b.size(("m",), self.m), b.size(("n",), self.n)
        panels: Extent = (self.n + (t.width - 1)) // t.width
        row_groups: Extent = (self.m + (t.group * t.rows - 1)) // (t.group * t.rows)
        panel_groups: Extent = (panels + (t.panels - 1)) // t.panels
        task = index_var("task")
        g_count, p_count = b.size(("groups",), row_groups), b.size(("panel groups",), panel_groups)
        # rows outermost: the thread that made an operand's rows reads them
        first = task // p_count % g_count * (t.group * t.rows)
        first_panel = task % p_count * t.panels
        self.places = decode(
            task // p_count // g_count,
            [(a, b.size(("batch", k), a.attr[1])) for k, a in enumerate(self.batch)])
        self.row_span = first, scalar.minimum(first + t.group * t.rows, self.row_count)
        self.panel_span = first_panel, scalar.minimum(
            first_panel + t.panels, b.size(("panels",), panels))
        tasks = product(a.attr[1] for a in self.batch) * row_groups * panel_groups
        outer = Loop(task, ZERO, b.size(("tasks",), tasks), self._task(), "parallel")
        launch = b.launch("contract", [outer], tasks)
        launch.flops = 2 * self.m * self.n * self.count * product(a.attr[1] for a in self.batch)
        return launch

    # -- tiles and chains --

    def _task(self) -> list:
        """The tiles of a task: chains over the summed positions, then the epilogue."""
        t, b = self.tiling, self.b
        self.registers = [[expr.var(f"c{r}_{v}", self.acc, LANES) for v in range(t.vectors)]
                          for r in range(t.rows)]
        self.i0, self.panel = index_var("i0"), index_var("panel")
        if self.packed:
            deep = scalar.minimum(b.size(("k",), self.steps), t.block)
            self.laid = b.scratch(self.left_laid, self._room(deep))
        if self.way == TASK:
            deep = scalar.minimum(b.size(("k",), self.steps), t.block)
            self.panel_laid = b.scratch(self.right_laid, deep * t.width)
        self.right_load = self._right_loads()
        count = b.size(("k",), self.steps)
        if upper(self.steps) > t.block:
            return self._blocks(count)
        tile = "" if self._direct() else b.scratch(self.acc, lit(t.size, dtypes.index))
        return [*self._lay_out_rows(ZERO, count), self._tiles(
            [*self._fetches(), *self._chain(ZERO, count), *self._end(tile, ZERO, False)],
            self._lay_out_panel(ZERO, count))]

    def _tiles(self, body: list, before=()) -> Loop:
        """The body for every tile of the task, panel by panel; `before` for each panel."""
        rows = Loop(self.i0, *self.row_span, body, "serial", self.tiling.rows)
        return Loop(self.panel, *self.panel_span, [*before, rows])

    def _blocks(self, count: Expr) -> list:
        """The tiles where all of them run over a block of positions before the next, so that what
        they read stays near. Their sums wait in scratch meanwhile; the sums of several chunks are
        joined as a tree."""
        t = self.tiling
        flat = [x for line in self.registers for x in line]
        depth = levels_of(self.count, CONTRACT_CHUNK)
        number = (self.panel - self.panel_span[0]) * t.group + \
            (self.i0 - self.row_span[0]) // t.rows
        levels = self.b.scratch(self.acc, lit(t.group * t.panels * depth * t.size, dtypes.index)) \
            if depth > 1 else ""
        sums = self.b.scratch(self.acc, lit(t.group * t.panels * t.size, dtypes.index))
        tree = Tree(levels, number * depth, depth, flat)
        load = [Set(x, expr.load(sums, number * t.size + k * LANES, self.acc, LANES))
                for k, x in enumerate(flat)]
        store = [Store(sums, number * t.size + k * LANES, x) for k, x in enumerate(flat)]
        low = index_var("low")

        def blocks(start: Expr, end: Expr) -> Loop:
            high = scalar.minimum(low + t.block, end)
            return Loop(low, start, end, [*self._lay_out_rows(low, high), self._tiles(
                [*self._chain(low, high, [When(low > start, load)]), *store],
                self._lay_out_panel(low, high))], "serial", t.block)

        direct = self._direct()
        ending = self._end("" if direct else sums, number * t.size, True)
        if depth == 1:
            return [blocks(ZERO, count), self._tiles([*(load if direct else []), *ending])]
        c = index_var("c")
        chunks, start = (count + (self.chunk - 1)) // self.chunk, c * self.chunk
        return [Loop(c, ZERO, chunks, [
                    blocks(start, scalar.minimum(start + self.chunk, count)),
                    self._tiles([*load, *tree.push(c)])]),
                self._tiles([*tree.joined(chunks), *([] if direct else store), *ending])]

    def _chain(self, low: Expr, high: Expr, begin=()) -> list:
        """The tile's registers as sums over the positions low..high, from 0 or what `begin` sets
        them to."""
        if self.way == TURNED:
            return self._turned_chain(low, high, begin)
        before, left = self._packed_left(low, high) if self.packed else self._left_loads()
        split = self._split(low, high)
        parts = [(low, split, False), (split, high, True)]
        loops = [Loop(index_var("k"), start, end, self._position(left, low, masked), "serial")
                 for start, end, masked in parts if start is not end]
        return [*before, *self._begun(), *begin, *loops]

    def _split(self, low: Expr, high: Expr) -> Expr:
        """Up to which position of low..high the panel's vectors are read without a mask, which
        some processors apply where they multiply: all, but for columns that stand in place and do
        not fill the last panel."""
        if self.way != PLACE or isinstance(self.n, int) and self.n % self.tiling.width == 0:
            return high
        if upper(self.n) < self.tiling.width:
            return low
        end = (self.panel + 1) * self.tiling.width
        return scalar.where(end <= self.column_count, high, low)

    def _position(self, left, low: Expr, masked: bool) -> list:
        """The multiply-adds of one position, and what is called for."""
        k = index_var("k")
        columns = [self.right_load(k, v, low, masked) for v in range(self.tiling.vectors)]
        sums: list = []
        for r, line in enumerate(self.registers):
            value = left(k, r)
            sums += [Set(x, multiply_add(value, y, x)) for x, y in zip(line, columns, strict=True)]
        if self._columns_apart():
            sums += self._fetch_left(k)
        if self.written_out and self.tiling.streams:
            sums += self._fetch_ahead(k)
        elif self.written_out and self._panels_far():
            sums += self._fetch_next(k)
        return sums

    def _begun(self) -> list:
        """The tile's registers as zeros, or as the sums that a chain goes on from."""
        zero: list = [Set(x, lit(0, self.acc)) for line in self.registers for x in line]
        if self.start is None:
            return zero
        assert upper(self.count) <= CONTRACT_CHUNK, "a sum goes on within a chunk"
        return [*zero, *started(self.b, self.start, self.registers, self._spans(), self.places)]

    def _turned_chain(self, low: Expr, high: Expr, begin) -> list:
        """As `_chain`, of columns whose positions are neighbours."""
        before, left = self._left_loads()
        side, sums = self.right, [x for x, in self.registers]
        source = read_through(self.b, side, side.runs(self.columns)[0][2], self.places)

        def add(k: Expr, y: Expr) -> list:
            return [Set(x, multiply_add(left(k, r), y, x)) for r, x in enumerate(sums)]

        return [*before, *(Set(x, lit(0, self.acc)) for x in sums), *begin,
                *turned_chain(source, self.panel * LANES, self.column_count, low, high, add)]

    def _lay_out_rows(self, low: Expr, high: Expr) -> list:
        """The task's rows at the positions low..high into scratch, if it reads them there."""
        if not self.packed:
            return []
        t, source = self.tiling, self._left_source()
        pitch, start, end = pitch_of(t.rows), low, high
        if not source.along:    # what neighbours share a line with is laid out while it is near
            start = index_var("start")
            end = scalar.minimum(start + LANES, high)
        to = Target(self.laid, self.acc, self._panel_of(low, high) + (start - low) * pitch, pitch)
        body = lay_out(source, to, self.i0, self.row_count, start, end)
        rows = Loop(self.i0, *self.row_span, body, "serial", t.rows)
        return [rows if source.along else Loop(start, low, high, [rows], "serial", LANES)]

    def _lay_out_panel(self, low: Expr, high: Expr) -> list:
        """The panel at the positions low..high into scratch, if the task reads it there."""
        if self.way != TASK:
            return []
        t, side = self.tiling, self.right
        axis = side.runs(self.columns)[0][2]
        source = read_through(self.b, side, axis, self.places, self.tables.get(side))
        to = Target(self.panel_laid, side.dtype, ZERO, t.width)
        return lay_out(source, to, self.panel * t.width, self.column_count, low, high)

    def _left_source(self) -> Source:
        """The left operand as its rows are laid out from it."""
        side = self.left
        axis = side.runs(self.rows)[0][2]
        return read_through(self.b, side, axis, self.places, self.tables.get(side))

    def _room(self, deep: Expr) -> Expr:
        """The elements of the task's rows, laid out."""
        pitch = pitch_of(self.tiling.rows)
        return deep * (self.tiling.group * pitch) + slack(self._left_source(), pitch)

    def _panel_of(self, low: Expr, high: Expr) -> Expr:
        """Where the laid out rows of the tile begin."""
        t = self.tiling
        return (self.i0 - self.row_span[0]) // t.rows * ((high - low) * pitch_of(t.rows))

    def _packed_left(self, low: Expr, high: Expr):
        """As `_left_loads`, of rows that the task has laid out."""
        pitch, start = pitch_of(self.tiling.rows), self._panel_of(low, high)
        return [], lambda k, r: expr.load(self.laid, start + (k - low) * pitch + r,
                                            self.left_laid)

    def _left_loads(self):
        """(statements, left): left(k, r) is the element of row i0 + r (the last row again beyond
        it) at position k."""
        side, b, i0 = self.left, self.b, self.i0
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: side.stride(a) for a in self.batch_of(side)}, self.places)
        runs = side.runs(self.rows)
        if len(runs) > 1:
            before, starts = self._row_starts(name, start, i0, runs)
        else:
            step = b.size((name, "row"), side.stride(runs[0][2]) if runs else 0)
            last = self.row_count - 1
            before, starts = [], [
                start + (scalar.minimum(i0 + r, last) if r else i0) * step
                for r in range(self.tiling.rows)]
        return before, lambda k, r: expr.load(name, starts[r] + self._summed(name, side, k),
                                              side.dtype)

    def _row_starts(self, name: str, start: Expr, i0: Expr, runs) -> tuple[list, list[Expr]]:
        """Where each row of the tile begins: the places of row i0, carried on from row to row."""
        b, side = self.b, self.left
        counts = [b.size(("row", k), e) for k, (_, e, _) in enumerate(runs)]
        steps = [b.size((name, "row", k), side.stride(a)) for k, (_, _, a) in enumerate(runs)]
        axes = [a for _, _, a in runs]
        found = decode(i0, list(zip(axes, counts, strict=True)))
        at = [index_var(f"at{k}") for k in range(len(runs))]
        before: list = [Set(x, found[a]) for x, a in zip(at, axes, strict=True)]
        starts = []
        for r in range(self.tiling.rows):
            if r:
                before += advance(at, counts, i0 + r < self.row_count, r)
            row, place = index_var(f"row{r}"), start
            for x, s in zip(at, steps, strict=True):
                place = place + x * s
            before.append(Set(row, place))
            starts.append(row)
        return before, starts

    def _summed(self, name: str, side: Side, k: Expr) -> Expr:
        """What position k adds to the operand's offset."""
        if side in self.tables:
            table = self.b.operand(self.tables[side], 0, dtypes.index)
            return expr.load(table, k, dtypes.index)
        step = side.stride(side.summed[0][2]) if side.summed else 0
        return k * self.b.size((name, "sum"), step)

    def _right_loads(self):
        """right(k, v, low, masked): vector v of the panel at position k; what a task lays out
        begins at position low, and what is read in place may need to be masked."""
        side, b = self.right, self.b
        width = self.tiling.width
        if self.way == TASK:
            return lambda k, v, low, masked: expr.load(
                self.panel_laid, (k - low) * width + v * LANES, self.right_laid, LANES)
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: side.stride(a) for a in self.batch_of(side)}, self.places)
        if self.way == BEFORE:
            start = start + self.panel * b.size((name, "panel"), self.panel_stride)
            return lambda k, v, low, masked: expr.load(name, start + k * width + v * LANES,
                                                       side.dtype, LANES)

        def right(k: Expr, v: int, low: Expr, masked: bool) -> Expr:
            column = self.panel * width + v * LANES
            inside = (column + lane_index() < self.column_count, 0) if masked else ()
            return expr.load(name, start + column + self._summed(name, side, k), side.dtype, LANES,
                             *inside)

        return right

    def _columns_apart(self) -> bool:
        """Whether each position of the left operand, read in place, lies in another line of what
        comes from far away."""
        x = self.left.layout(self.rows)
        return self.written_out and not self.packed and self.left not in self.tables and \
            len(self.left.runs(self.rows)) == 1 and x.step == 1 and isinstance(x.along, int) and \
            x.along * x.itemsize >= LINE and \
            upper(self.left.read.base.type.size) * x.itemsize > self.far

    def _fetch_left(self, k: Expr) -> list:
        """The tile's rows some positions behind k, called for: hardware sees no order in them."""
        name = self.b.operand(self.left.read.base, self.left.read.offset, self.left.dtype)
        _, left = self._left_loads()
        at = left(k + LEFT_AHEAD, self.tiling.rows - 1)
        return [Prefetch(name, at.args[0])]

    def _fetch_ahead(self, k: Expr) -> list:
        """The lines of the panel some positions behind k, called for: they lie rows apart."""
        side, b, t = self.right, self.b, self.tiling
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: side.stride(a) for a in self.batch_of(side)}, self.places)
        at = start + self.panel * t.width + self._summed(name, side, k + STREAM_AHEAD)
        return [Prefetch(name, at + v * LANES) for v in range(t.vectors)] \
            if side not in self.tables else []

    def _panels_far(self) -> bool:
        """Whether panels come from far away: packed weights, which other layers' drive out, and
        what the caches do not hold."""
        if self.way not in (BEFORE, PLACE) or self.right in self.tables:
            return False
        copy = (*self.batch_of(self.right), *self.bound, *self.columns)
        size = upper(product(a.attr[1] for a in copy))
        return self.steady and self.way == BEFORE or size * self.right.dtype.bytes > self.far

    def _fetch_next(self, k: Expr) -> list:
        """The next panel's lines at position k, shared among the tiles of rows: what each of them
        called for would be read again and again from the second cache, which has to bring this
        panel meanwhile."""
        side, b, t = self.right, self.b, self.tiling
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: side.stride(a) for a in self.batch_of(side)}, self.places)
        following, ahead = self.panel + 1, k
        if upper(self.steps) > t.block:     # behind the task's last panel comes the next block
            more = following < self.panel_span[1]
            following = scalar.where(more, following, self.panel_span[0])
            ahead = k + scalar.where(more, lit(0, dtypes.index), lit(t.block, dtypes.index))
        if self.way == PLACE:
            at = start + following * t.width + self._summed(name, side, ahead)
        else:
            at = start + following * b.size((name, "panel"), self.panel_stride) + ahead * t.width
        each = -(-t.vectors // t.group)
        turn = (self.i0 - self.row_span[0]) // t.rows % -(-t.vectors // each)
        core = not self.near.holds_two(
            min(upper(self.steps), t.block) * t.width * side.dtype.bytes)
        return [Prefetch(name, at + (turn * each + v) * LANES, core) for v in range(each)]

    # -- the epilogue --

    def _spans(self) -> tuple[Span, Span]:
        """The rows and the columns of a tile."""
        t, i0, low = self.tiling, self.i0, self.panel * self.tiling.width
        return (Span(self.rows, i0, scalar.minimum(i0 + t.rows, self.row_count), "rows"),
                Span(self.columns, low, scalar.minimum(low + t.width, self.column_count),
                     "columns"))

    def _direct(self) -> bool:
        """Whether the tile goes to the outputs from its registers."""
        t = self.tiling
        return self.written_out and cheap(self.b, self.dot, t.rows * t.vectors)

    def _fetches(self) -> list:
        """A tile's places in the outputs, called for before its sums are computed."""
        t = self.tiling
        if not self.written_out:
            return []
        return fetches(self.b, (t.rows, t.vectors), self._spans(), self.places)

    def _end(self, tile: str, base: Expr, waiting: bool) -> list:
        """The tile through the fused maps to their outputs: from its registers, or by way of
        scratch from `base` on, where its sums may be `waiting` already."""
        t, i0, low = self.tiling, self.i0, self.panel * self.tiling.width
        spans = self._spans()
        if not tile:
            return direct_epilogue(self.b, self.dot, self.registers, spans, self.places)
        i, j = index_var("i"), index_var("j")
        value = expr.load(tile, base + (i - i0) * t.width + (j - low), self.acc)
        save = [] if waiting else [Store(tile, base + k * LANES, x) for k, x in enumerate(
            x for line in self.registers for x in line)]
        return [*save, *epilogue(self.b, self.dot, value, (i, j), spans, self.places)]

