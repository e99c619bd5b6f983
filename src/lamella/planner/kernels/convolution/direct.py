"""Convolution: a register tile of pixels x filters, summed over taps and channels.

The windows are read in place, one element for each pixel of the tile and position; the weights in
packed panels. Taps that follow one another in memory (those of a window's row, channels last) are
one run of positions. A tile's pixels follow one another or are a line along one axis (`lines.py`).
Limits of the image that they leave together shorten the run; for others pixels are under masks, tap
by tap if need be: those whose tap is outside take no part. The tile stays in registers over a block
of positions, all tiles of a task over one block before the next, so that what they read of the
panel stays near (Georganas et al., "Anatomy of high-performance deep learning convolutions on SIMD
architectures", SC 2018).
"""

from __future__ import annotations

from ....base import dtypes
from ....base.extents import Extent, lower, product, upper
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Loop, Prefetch, Set, Store, When, index_var
from ....lang.order import CONTRACT_CHUNK
from ...groups.group import Fusion
from ...plan import Launch
from ..nest import Builder, Nest, accumulator, advance, decode, multiply_add
from ..packing import ZERO, Packing, Side
from ..tile import Span, cheap, direct_epilogue, epilogue
from ..tree import Tree, levels_of
from .lines import MASKS, Pixels, lay_tiles
from .windows import Limit, Window, inside, part, reach

LEAST_TASKS = 16
BLOCK = 1024            # positions of a panel that all tiles of a task run over together
MOST_TILES = 32         # of a task


def schedule_convolution(nest: Nest, windows: Expr, buffers, fusion: Fusion,
                         target) -> list[Launch]:
    """The launches of a product with `windows` as its left operand, and of the maps behind it."""
    return _Convolution(nest, windows, buffers, fusion, target).launches()


class _Convolution:
    def __init__(self, nest: Nest, windows: Expr, buffers, fusion: Fusion, target):
        self.nest, self.buffers = nest, dict(buffers)
        self.access = dict(fusion.access)
        self.dot = nest.bodies[0]
        self.bound = list(self.dot.attr[1])
        axes = list(nest.group.seeds[0].definition.axes)
        self.packing = Packing(nest, self.buffers, self.access, self.bound)
        self.left = Window(nest, windows, axes, self.bound)
        weights, = (e for e in self.dot.args if e is not windows)
        read = nest.reads[weights]
        self.right = Side(read, [a for a in axes if a in read.strides], self.bound)
        both = set(self.left.axes) & set(self.right.axes)
        self.batch = [a for a in axes if a in both]
        self.columns = [a for a in axes if a in self.right.axes and a not in both]
        self.rows = [a for a in axes if a not in both and a not in self.columns]
        self.count = product(a.attr[1] for a in self.bound)
        self.m = product(a.attr[1] for a in self.rows)
        self.n = product(a.attr[1] for a in self.columns)
        self.acc = accumulator(self.dot.dtype)
        self.size = upper(self.count * self.n) * self.right.dtype.bytes     # of a batch's weights
        self.target, self.far = target, self.size > target.far
        self.ahead = self.far or id(read.base) in fusion.steady     # where panels are called for
        self.run = list(self.left.summed[-1][0]) if self.left.summed else []
        first = self.bound.index(self.run[0]) if self.run else len(self.bound)
        self.taps = [a for a in self.bound[:first] if a.attr[1] != 1]
        self.tile, self.line, self.shared, self.own = lay_tiles(
            Pixels(self.left, self.rows, self.bound, self.run), self.n, target)
        if self.line is not None:
            self.rows = [*(a for a in self.rows if a is not self.line), self.line]

    def launches(self) -> list[Launch]:
        self._pack()
        step = self._product()
        return [*self.packing.before, step]

    def _pack(self) -> None:
        batch = [a for a in self.batch if a in self.right.axes]
        if len(self.right.runs(self.columns)) > 1:
            self.right = self.packing.copied(self.right, [*batch, *self.bound, *self.columns],
                                             "flat right operand")
        columns = [run[-1] for run in self.right.runs(self.columns)]
        self.right, self.panel_stride = self.packing.panels(
            self.right, batch, columns, self.n, self.tile[1] * LANES)

    # -- tasks --

    def _product(self) -> Launch:
        self.nest.access = self.access
        b = self.b = Builder(self.nest, self.buffers)
        rows, vectors = self.tile
        width = vectors * LANES
        self.row_count, self.column_count = b.size(("m",), self.m), b.size(("n",), self.n)
        panels: Extent = (self.n + (width - 1)) // width
        tiles: Extent = (self.m + (rows - 1)) // rows
        others = panels * product(a.attr[1] for a in self.batch)
        group = self._group(tiles, others)
        groups: Extent = (tiles + (group - 1)) // group
        task = index_var("task")
        p_count, g_count = b.size(("panels",), panels), b.size(("groups",), groups)
        self.panel, g = task % p_count, task // p_count % g_count
        self.places = decode(
            task // p_count // g_count,
            [(a, b.size(("batch", k), a.attr[1])) for k, a in enumerate(self.batch)])
        share = b.size(("share",), group * rows)
        first = g * share
        body = self._tiles(first, scalar.minimum(first + share, self.row_count), group)
        tasks = others * groups
        launch = b.launch("convolve", [Loop(task, ZERO, b.size(("tasks",), tasks), body,
                                            "parallel")], tasks)
        launch.flops = 2 * self.m * self.n * self.count * product(a.attr[1] for a in self.batch)
        return launch

    def _group(self, tiles: Extent, others: Extent) -> int:
        """Tiles of a task, of which there are `others` for each group of tiles: enough to reuse the
        panel, few enough for every thread, and of much the same size. Weights from far away are
        read by each group: there is one, where its pixels stay near, and a panel for every
        thread."""
        count = max(1, lower(tiles) or upper(tiles))
        pixels = upper(tiles) * self.tile[0] * min(BLOCK, upper(self.count)) * self.acc.bytes
        together = self.far and pixels <= self.target.core.bytes // 2
        least = self.target.threads if together else LEAST_TASKS
        group = max(1, min(MOST_TILES, count, count * max(1, upper(others)) // least))
        return -(-count // -(-count // group))

    def _tiles(self, first: Expr, high: Expr, group: int) -> list:
        """The tiles of rows first..high."""
        rows, vectors = self.tile
        self.registers = [[expr.var(f"c{r}_{v}", self.acc, LANES) for v in range(vectors)]
                          for r in range(rows)]
        flat = [x for line in self.registers for x in line]
        size = len(flat) * LANES
        i0, count = index_var("i0"), self.b.size(("k",), self.count)
        self.number, self.group = (i0 - first) // rows, group
        end = self._end(i0)
        if upper(self.count) <= BLOCK:
            zero = [Set(x, lit(0, self.acc)) for x in flat]
            body = [*zero, *self._chain(i0, ZERO, count), *end]
            return [Loop(i0, first, high, body, "serial", rows)]
        held = self.b.size(("group",), group)
        sums = self.b.scratch(self.acc, held * size)
        number = self.number
        load = [Set(x, expr.load(sums, number * size + k * LANES, self.acc, LANES))
                for k, x in enumerate(flat)]
        store = [Store(sums, number * size + k * LANES, x) for k, x in enumerate(flat)]
        chunks = (count + (CONTRACT_CHUNK - 1)) // CONTRACT_CHUNK
        depth = levels_of(self.count, CONTRACT_CHUNK)
        c, low = index_var("c"), index_var("low")
        start = c * CONTRACT_CHUNK
        stop = scalar.minimum(start + CONTRACT_CHUNK, count)
        zero = [Set(x, lit(0, self.acc)) for x in flat]
        block = [*zero, When(low > start, load),
                 *self._chain(i0, low, scalar.minimum(low + BLOCK, stop)), *store]

        def tiles(body: list) -> Loop:
            return Loop(i0, first, high, body, "serial", rows)

        blocks = Loop(low, start, stop, [tiles(block)], "serial", BLOCK)
        if upper(self.count) <= CONTRACT_CHUNK:
            return [Loop(c, ZERO, chunks, [blocks]), tiles([*load, *end])]
        levels = self.b.scratch(self.acc, held * (depth * size))
        tree = Tree(levels, number * depth, depth, flat)
        return [Loop(c, ZERO, chunks, [blocks, tiles([*load, *tree.push(c)])]),
                tiles([*tree.joined(chunks), *end])]

    # -- one tile over some positions --

    def _chain(self, i0: Expr, low: Expr, high: Expr) -> list:
        """The tile's registers go on over the positions low..high."""
        b = self.b
        before, pixels = self._pixels(i0)
        length = product(a.attr[1] for a in self.run)
        long = b.size(("run",), length)
        t, first = index_var("t"), low // long
        counts = [b.size(("tap", k), a.attr[1]) for k, a in enumerate(self.taps)]
        found = decode(first, list(zip(self.taps, counts, strict=True)))
        taps = {a: index_var(f"tap{k}") for k, a in enumerate(self.taps)}
        before += [Set(taps[a], found[a]) for a in self.taps]
        base = t * long
        least, most = self._together(pixels[0], taps, long)
        start, stop = scalar.maximum(low - base, least), scalar.minimum(high - base, most)
        if not self.own:
            body = self._run(pixels, taps, base, start, stop, [])
        else:
            whole, some = index_var("whole"), self._whole(pixels, taps)
            body = [Set(whole, scalar.cast(some, dtypes.index)),
                    When(whole > 0, self._run(pixels, taps, base, start, stop, [])),
                    When(whole < 1, self._border(pixels, taps, base, start, stop))]
        if taps:
            body = [*body, *advance(list(taps.values()), counts, lit(True, dtypes.bool_))]
        return [*before, Loop(t, first, (high + long - 1) // long, body)]

    def _pixels(self, i0: Expr) -> tuple[list, list[dict[Expr, Expr]]]:
        """(statements, the places of the axes of rows for each pixel of the tile)."""
        before, first = self._first_pixel(i0)
        axes, at = list(first), list(first.values())
        counts = [self.b.size(("row", k), a.attr[1]) for k, a in enumerate(axes)]
        pixels = []
        for r in range(self.tile[0]):
            if self.line is not None:
                pixels.append(dict(zip(axes, [*at[:-1], at[-1] + r], strict=True)))
                continue
            if r:
                before += advance(at, counts, i0 + r < self.row_count, r)
            names = {a: index_var(f"at{r}_{k}") for k, a in enumerate(axes)}
            before += [Set(names[a], x) for a, x in zip(axes, at, strict=True)]
            pixels.append(names)
        return before, pixels

    def _first_pixel(self, i0: Expr) -> tuple[list, dict[Expr, Expr]]:
        """(statements, the places of the axes of rows for the tile's first pixel)."""
        axes = [a for a in self.rows if a.attr[1] != 1]
        counts = [self.b.size(("row", k), a.attr[1]) for k, a in enumerate(axes)]
        found = decode(i0, list(zip(axes, counts, strict=True)))
        at = {a: index_var(f"at{k}") for k, a in enumerate(axes)}
        return [Set(at[a], found[a]) for a in axes], at

    def _together(self, names: dict[Expr, Expr], taps: dict[Expr, Expr],
                  long: Expr) -> tuple[Expr, Expr]:
        """The positions of a run, from .. to, whose taps are inside for the tile, as far as its
        pixels leave the operand together."""
        b = self.b
        least, most = lit(0, dtypes.index), long
        inner = b.size(("inner",), product(a.attr[1] for a in self.run[1:]))
        for k, limit in self.shared:
            at = part(b, limit, names, ("limit", k)) + self._index(k, limit, taps)
            extent = b.size(("extent", k), limit.extent)
            step = limit.form.terms.get(self.run[0], 0) if self.run else 0
            if step > 0:        # at + step s in 0..extent
                low, high = (step - 1 - at) // step, (extent - at + (step - 1)) // step
            elif step < 0:
                low, high = (at - extent) // -step + 1, at // -step + 1
            else:
                most = scalar.where(inside(at, at, extent), most, lit(0, dtypes.index))
                continue
            least = scalar.maximum(least, low * inner)
            most = scalar.minimum(most, high * inner)
        return least, most

    def _whole(self, pixels, taps: dict[Expr, Expr]) -> Expr:
        """Whether all pixels' taps of a run are inside."""
        b, found = self.b, lit(True, dtypes.bool_)
        if self.line is not None:   # what lies between the first and the last is, where these are
            pixels = [pixels[0], pixels[-1]]
        for k, limit in self.own:
            low, high = reach(limit, self.run)
            extent = b.size(("extent", k), limit.extent)
            at = self._index(k, limit, taps)
            for names in pixels:
                place = part(b, limit, names, ("limit", k))
                one = inside(place + (at + b.size(("least", k), low)),
                             place + (at + b.size(("most", k), high)), extent)
                found = scalar.and_(found, one)
        return found

    def _index(self, k: int, limit: Limit, taps: dict[Expr, Expr]) -> Expr:
        """What taps and groups add to the limit's index, and its constant."""
        at = part(self.b, limit, {**self.places, **taps}, ("limit", k))
        return at + self.b.size(("constant", k), limit.form.constant)

    def _border(self, pixels, taps: dict[Expr, Expr], base: Expr, low: Expr, high: Expr) -> list:
        """A run tap by tap, each pixel where its tap is inside."""
        b = self.b
        limited = {a for _, x in self.own for a in x.form.terms}
        count = max((k + 1 for k, a in enumerate(self.run) if a in limited), default=0)
        inner = b.size(("inner",), product(a.attr[1] for a in self.run[count:]))
        many = b.size(("inner taps",), product(a.attr[1] for a in self.run[:count]))
        t = index_var("u")
        found = decode(t, [(a, b.size(("inner tap", k), a.attr[1]))
                           for k, a in enumerate(self.run[:count])])
        places = {**taps, **found}
        sets, masks = [], []
        for r, names in enumerate(pixels):
            here: Expr = lit(True, dtypes.bool_)
            for k, limit in self.own:
                at = part(b, limit, names, ("limit", k)) + self._index(k, limit, places)
                here = scalar.and_(here, inside(at, at, b.size(("extent", k), limit.extent)))
            mask = index_var(f"inside{r}")
            sets.append(Set(mask, scalar.cast(here, dtypes.index)))
            masks.append(mask)
        some, number = index_var("some"), masks[0]
        for mask in masks[1:]:
            number = number + mask
        start = t * inner
        span = base + start, scalar.maximum(low - start, 0), scalar.minimum(high - start, inner)
        masked = [step for r in range(0, len(pixels), MASKS) for step in self._run(
            pixels, places, *span, masks, range(r, min(r + MASKS, len(pixels))))]
        return [Loop(t, ZERO, many, [
            *sets, Set(some, number),
            When(some > len(pixels) - 1, self._run(pixels, places, *span, [])),
            When(scalar.and_(some > 0, some < len(pixels)), masked)])]

    def _run(self, pixels, taps: dict[Expr, Expr], base: Expr, low: Expr, high: Expr,
             masks: list[Expr], which: range | None = None) -> list:
        """Multiply-adds over positions low..high of a run at `taps`, which `base` positions of the
        panel go before; of the pixels `which`; under `masks` a pixel takes part where its own is
        not 0."""
        side, b, k = self.left, self.b, index_var("k")
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        here = b.address(name, {a: s for a, s in side.read.strides.items() if a in taps}, taps)
        here = here + b.address(name, {a: side.stride(a) for a in self.batch if a in side.axes},
                                self.places)
        here = here + b.size((name, "start"), side.start)
        stride = side.stride(self.run[-1]) if self.run else 0
        step, back = b.size((name, "run"), stride), lower(stride) < 0
        right = self._right()
        columns = [right(base + k, v) for v in range(self.tile[1])]
        sums: list = []
        strides = {a: side.stride(a) for a in pixels[0]}
        first = b.address(name, strides, pixels[0]) + here
        apart = None if self.line is None or masks else strides[self.line]
        for r in range(len(pixels)) if which is None else which:
            names, line = pixels[r], self.registers[r]
            if isinstance(apart, int):      # one address serves the tile
                at = first + k * step
                value = expr.load(name, at + r * apart, side.dtype)
                sums += [Set(x, multiply_add(value, y, x))
                         for x, y in zip(line, columns, strict=True)]
                continue
            at = b.address(name, strides, names) + here
            if masks:  # elsewhere its first elements are read, and not used
                at = at * masks[r]
            value = expr.load(name, at + k * (step * masks[r] if back and masks else step),
                              side.dtype)
            for x, y in zip(line, columns, strict=True):
                new = multiply_add(value, y, x)
                sums.append(Set(x, scalar.where(masks[r] > 0, new, x) if masks else new))
        return [Loop(k, low, high, sums if masks else [*self._fetch_ahead(base + k), *sums])]

    def _fetch_ahead(self, k: Expr) -> list:
        """The panel's lines a block of positions behind k, or the next panel's, called for by the
        tiles in turn, where weights come from far away."""
        if not self.ahead:
            return []
        vectors, deep = self.tile[1], min(BLOCK, upper(self.count))
        each = -(-vectors // self.group)
        turn = self.number % -(-vectors // each) * each
        right, core = self._right(), not self.target.near.holds_two(
            deep * vectors * LANES * self.right.dtype.bytes)
        return [Prefetch(x.attr[0], x.args[0] + turn * LANES, core)
                for x in (right(k + deep, v) for v in range(each))]

    def _right(self):
        """right(k, v): vector v of the panel at position k."""
        side, b = self.right, self.b
        width = self.tile[1] * LANES
        name = b.operand(side.read.base, side.read.offset, side.dtype)
        start = b.address(name, {a: side.stride(a) for a in self.batch if a in side.axes},
                          self.places)
        start = start + self.panel * b.size((name, "panel"), self.panel_stride)
        return lambda k, v: expr.load(name, start + k * width + v * LANES, side.dtype, LANES)

    def _end(self, i0: Expr) -> list:
        """The tile's registers through the maps behind the product to their places."""
        b, (rows, vectors) = self.b, self.tile
        low, width = self.panel * (vectors * LANES), vectors * LANES
        columns = Span(self.columns, low, scalar.minimum(low + width, self.column_count), "columns")
        before: list = []
        places = self.places
        span = Span(self.rows, i0, scalar.minimum(i0 + rows, self.row_count), "rows")
        if self.line is not None:   # the tile's pixels differ in their place on the line alone
            before, at = self._first_pixel(i0)
            places = {**places, **dict.fromkeys(self.rows, ZERO), **at}
            first = places.pop(self.line)
            span = Span([self.line], first, first + rows, "line")
        flat = [x for line in self.registers for x in line]
        if upper(self.count) <= BLOCK and cheap(b, self.dot, len(flat)):
            return [*before, *direct_epilogue(b, self.dot, self.registers, (span, columns), places)]
        tile = b.scratch(self.acc, lit(len(flat) * LANES, dtypes.index))
        save = [Store(tile, lit(k * LANES, dtypes.index), x) for k, x in enumerate(flat)]
        i, j = index_var("i"), index_var("j")
        value = expr.load(tile, (i - span.low) * width + (j - low), self.acc)
        return [*before, *save, *epilogue(b, self.dot, value, (i, j), (span, columns), places)]
