"""Products of bfloat16 by pairs: an instruction that adds two positions' products to a sum.

Both operands are laid out by the task in words of two neighbouring positions, the earlier one in
the upper half, which the instruction takes first: each of its two steps is a fused multiply-add,
so the chain is the one of docs/numerics.md, position by position. But it takes what is smaller
than 2^-126 for zero. Elements of 2^-56 and more, and zeros, are multiples of 2^-63; so all sums of
their products are multiples of 2^-126, and nothing is small. Where a task meets a smaller element
it takes the same words apart and multiplies and adds in float32.
"""

from __future__ import annotations

from ...base import dtypes
from ...base.extents import upper
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, When, index_var, lane_tree, pair_product
from .contract import Contraction
from .nest import StridedRead
from .packing import Side, read_through
from .panel import Target, lay_out_pairs, pitch_of
from .tiling import TASK, Product, choose_tiling

LEAST_ROWS = 8          # fewer do not make up for laying out both operands
WORD = dtypes.int32


def pairs_up(nest, target) -> bool:
    """Whether the contraction may run by pairs on the target."""
    dot = nest.bodies[0]
    return target.pairs and all(nest.reads[a].dtype is dtypes.bfloat16 for a in dot.args)


class Paired(Contraction):
    """A contraction of bfloat16; `fits` says whether it can run by pairs."""

    def __init__(self, nest, buffers, fusion, target):
        super().__init__(nest, buffers, fusion, target)
        self.fits = TASK in self.ways and self._lies_flat(self.left, self.rows) and \
            upper(self.m) >= LEAST_ROWS
        if not self.fits:
            return
        self.steps, self.chunk = (self.count + 1) // 2, self.chunk // 2
        self.tiling = choose_tiling(self._by_words(), target)
        self.packed, self.way = True, TASK
        self.left_laid = self.right_laid = WORD
        self.small_rows, self.small = expr.var("smallr", WORD), expr.var("small", WORD)

    def _by_words(self) -> Product:
        p = self._measures((TASK,))
        return p._replace(left=p.left._replace(itemsize=4), right=p.right._replace(itemsize=4),
                          must_pack=True)

    def _source(self, side: Side, axes):
        """The operand as bits."""
        read = side.read
        bits = Side(StridedRead(read.base, read.offset, read.strides, dtypes.uint16), side.axes,
                    self.bound)
        return read_through(self.b, bits, side.runs(axes)[0][2], self.places,
                            self.tables.get(side))

    def _lay_out_rows(self, low: Expr, high: Expr) -> list:
        pitch, small = pitch_of(self.tiling.rows), expr.var("rowsmall", WORD, LANES)
        to = Target(self.laid, WORD, self._panel_of(low, high), pitch)
        body = lay_out_pairs(self._source(self.left, self.rows), to, self.i0, self.row_count, low,
                             high, self.b.size(("positions",), self.count), small)
        return [Set(small, lit(0, WORD)),
                Loop(self.i0, *self.row_span, body, "serial", self.tiling.rows),
                Set(self.small_rows, lane_tree("sum", small))]

    def _lay_out_panel(self, low: Expr, high: Expr) -> list:
        t, small = self.tiling, expr.var("columnsmall", WORD, LANES)
        to = Target(self.panel_laid, WORD, lit(0, dtypes.index), t.width)
        body = lay_out_pairs(self._source(self.right, self.columns), to, self.panel * t.width,
                             self.column_count, low, high,
                             self.b.size(("positions",), self.count), small)
        return [Set(small, lit(0, WORD)), *body,
                Set(self.small, lane_tree("sum", small) + self.small_rows)]

    def _chain(self, low: Expr, high: Expr, begin=()) -> list:
        k = index_var("k")
        _, left = self._packed_left(low, high)
        columns = [self.right_load(k, v, low) for v in range(self.tiling.vectors)]
        paired, apart = [], []
        for r, line in enumerate(self.registers):
            a = left(k, r)
            for x, b in zip(line, columns, strict=True):
                paired.append(Set(x, pair_product(a, b, x)))
                apart += [Set(x, scalar.fma(half(a), half(b), x)) for half in (_upper, _lower)]
        zero = [Set(x, lit(0, self.acc)) for line in self.registers for x in line]
        return [*zero, *begin,
                When(scalar.eq(self.small, 0), [Loop(k, low, high, paired, "serial")]),
                When(scalar.ne(self.small, 0), [Loop(k, low, high, apart, "serial")])]


def _upper(word: Expr) -> Expr:
    return scalar.bitcast(word & -65536, dtypes.float32)


def _lower(word: Expr) -> Expr:
    return scalar.bitcast(word << 16, dtypes.float32)


def schedule_paired(nest, buffers, fusion, target):
    """The launches by pairs, or None where the operands do not lie for it."""
    found = Paired(nest, buffers, fusion, target)
    return found.launches() if found.fits else None
