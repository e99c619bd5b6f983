"""Products of 8-bit integers added in 32 bits: an instruction that adds four products to a sum.

It multiplies a byte without a sign by one with a sign. Where both operands have signs (or neither),
the right one's upper bits are flipped, which adds 128 to its elements (or takes it). A row's sums
are then too large by what a column of zeros would have, flipped likewise: whoever lays out the row
computes it. Sums of integers are exact modulo 2^32, in any order.
"""

from __future__ import annotations

from ...base import dtypes
from ...lang import expr
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, Store, index_var, lane_tree, quad_product
from .nest import Nest
from .worded import Worded
from .words import WORD, Form

FLIP = lit(-0x7f7f7f80, WORD)   # 0x80 in every byte

AS_IS = Form(4, dtypes.uint8, lambda word: word)
FLIPPED = Form(4, dtypes.uint8, lambda word: word ^ FLIP)


def adds_quads(nest: Nest, target) -> bool:
    """Whether the contraction may run by four positions on the target."""
    dot = nest.bodies[0]
    return target.quads and dot.dtype is dtypes.int32 and \
        all(nest.reads[a].dtype in (dtypes.int8, dtypes.uint8) for a in dot.args)


class Quads(Worded):
    """A contraction of 8-bit integers in int32; `fits` says whether it can run by fours."""

    def forms(self) -> tuple[Form, Form]:
        self.signed = self.left.dtype is dtypes.int8
        self.flips = self.left.dtype is self.right.dtype
        self.excess = expr.var("excess", WORD, LANES)
        return (AS_IS._replace(seen=self._seen), FLIPPED) if self.flips else (AS_IS, AS_IS)

    def _add(self, left: Expr, right: Expr, start: Expr) -> Expr:
        return quad_product(right, left, start) if self.signed else quad_product(left, right, start)

    def _seen(self, word: Expr) -> list:
        return [Set(self.excess, self._add(word, FLIP, self.excess))]

    def _each_rows(self, number: Expr, body: list) -> list:
        if not self.flips:
            return body
        t = self.tiling
        self.excesses = self.b.scratch(WORD, lit(t.group * t.rows + LANES, dtypes.index))
        found = lane_tree("sum", self.excess) if self.in_rows else self.excess
        return [Set(self.excess, lit(0, WORD)), *body, Store(self.excesses, number, found)]

    def _chain(self, low: Expr, high: Expr, begin=()) -> list:
        k, sums, less = index_var("k"), [], []
        left, columns = self._words(k, low, high)
        number = self.i0 - self.row_span[0]
        for r, line in enumerate(self.registers):
            for x, y in zip(line, columns, strict=True):
                sums.append(Set(x, self._add(left(r), y, x)))
                if self.flips:
                    less.append(Set(x, x - expr.load(self.excesses, number + r, WORD)))
        zero = [Set(x, lit(0, WORD)) for line in self.registers for x in line]
        return [*zero, *begin, *less, Loop(k, low, high, sums, "serial")]


def schedule_quads(nest, buffers, fusion, target):
    """The launches by fours, or None where the operands do not lie for it."""
    found = Quads(nest, buffers, fusion, target)
    return found.launches() if found.fits else None
