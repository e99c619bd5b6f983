"""Products of few bits by matrices in registers: sixteen rows by sixteen columns, sixteen words of
several positions at a time.

A tile's matrices of sums stand in registers over a block of words, and go through the epilogue by
way of scratch. Sums of bytes are exact modulo 2^32, in any order. Those of bfloat16 are the
processor's own: in each word's pairs the earlier and the later position are summed apart, LANES
words at a time, and what is smaller than 2^-126 counts as zero. So only `fast` mode has them.
"""

from __future__ import annotations

from ...base import dtypes
from ...base.extents import upper
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import (
    LANES,
    MATRIX,
    Loop,
    Set,
    Store,
    When,
    index_var,
    matrix_load,
    matrix_product,
    rows_apart,
)
from .nest import Nest
from .packing import ZERO
from .panel import Target
from .tiling import TASK
from .worded import Worded
from .words import WORD, Form, lay_out_row, lay_out_turned

BYTES = (dtypes.int8, dtypes.uint8)
WORDS = {1: Form(4, dtypes.uint8, lambda word: word, deep=LANES),
         2: Form(2, dtypes.uint16, lambda word: word, deep=LANES)}     # by the bytes of an element


def fills_matrices(nest: Nest, target) -> bool:
    """Whether the contraction may run by matrices on the target."""
    dot = nest.bodies[0]
    kinds = [nest.reads[a].dtype for a in dot.args]
    if not target.matrices:
        return False
    return dot.dtype is dtypes.int32 and all(k in BYTES for k in kinds) or \
        dot.attr[0] == "matrices" and all(k is dtypes.bfloat16 for k in kinds)


class InMatrices(Worded):
    """A contraction by matrices; `fits` says whether the operands lie for it."""

    def forms(self) -> tuple[Form, Form]:
        self.kinds = self.left.dtype, self.right.dtype
        return WORDS[self.left.dtype.bytes], WORDS[self.right.dtype.bytes]

    def _by_words(self):
        return super()._by_words()._replace(matrices=True)

    def _task(self) -> list:
        t, b, count = self.tiling, self.b, self.b.size(("k",), self.steps)
        self.i0, self.panel, low = index_var("i0"), index_var("panel"), index_var("low")
        deep = scalar.minimum(count, t.block)
        self.laid = b.scratch(WORD, self._room(deep))
        if self.way == TASK:
            self.panel_laid = b.scratch(WORD, deep * t.width)
        self.right_load = self._right_loads()
        several = upper(self.steps) > t.block
        sums = b.scratch(self.acc, lit(t.size * (t.group * t.panels if several else 1),
                                       dtypes.index))
        row, column = (self.i0 - self.row_span[0]) // t.rows, self.panel - self.panel_span[0]
        at = (column * t.group + row) * t.size if several else ZERO
        end = self._end(sums, at, True)
        high = scalar.minimum(low + t.block, count)
        tiles = [*self._sums(low, high, sums, at), *([] if several else end)]
        blocks = Loop(low, ZERO, count, [*self._lay_out_rows(low, high), self._tiles(
            tiles, self._lay_out_panel(low, high))], "serial", t.block)
        return [blocks, self._tiles(end)] if several else [blocks]

    def _lay_out_rows(self, low: Expr, high: Expr) -> list:
        source, end = self._bits(self.left, self.rows), self.b.size(("positions",), self.count)
        to = Target(self.laid, WORD, (self.i0 - self.row_span[0]) * self.pitch, self.pitch)
        if self.in_rows:
            body, step = lay_out_row(self.left_words, source, to, self.i0, low, high, end), 1
        else:
            step = LANES
            body = lay_out_turned(self.left_words, source, to, self.i0, self.row_count, low, high,
                                  end)
        return [Loop(self.i0, *self.row_span, body, "serial", step)]

    def _room(self, deep: Expr) -> Expr:
        return lit(self.tiling.group * self.tiling.rows * self.pitch, dtypes.index)

    def _sums(self, low: Expr, high: Expr, sums: str, at: Expr) -> list:
        """The tile's sums in scratch, carried on over the words low..high."""
        t, k = self.tiling, index_var("k")
        width, pitch = lit(t.width, dtypes.index), lit(self.pitch, dtypes.index)
        first = (self.i0 - self.row_span[0]) * self.pitch + (k - low)
        left = [matrix_load(self.laid, first + r * self.pitch, pitch, WORD)
                for r in range(0, t.rows, LANES)]
        right = [matrix_load(x.attr[0], x.args[0], width, WORD) for x in (
            self.right_load(k, v, low, True) for v in range(t.vectors))]
        begin, load, add, store = [], [], [], []
        for r, a in enumerate(left):
            for v, b in enumerate(right):
                x = expr.var(f"c{r}_{v}", self.acc, MATRIX)
                place = at + (r * LANES * t.width + v * LANES)
                begin.append(Set(x, lit(0, self.acc)))
                load.append(Set(x, matrix_load(sums, place, width, self.acc)))
                add.append(Set(x, matrix_product(a, b, x, self.kinds)))
                store.append(Store(sums, place, rows_apart(x, width)))
        more = [When(low > 0, load)] if upper(self.steps) > t.block else []
        return [*begin, *more, Loop(k, low, high, add, "serial", LANES), *store]


def schedule_matrices(nest, buffers, fusion, target):
    """The launches by matrices, or None where the operands do not lie for it."""
    found = InMatrices(nest, buffers, fusion, target)
    return found.launches() if found.fits else None
