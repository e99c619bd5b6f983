"""Products of bfloat16 by pairs: an instruction that adds two positions' products to a sum.

Both operands are laid out in words of two neighbouring positions, the earlier one in the upper
half, which the instruction takes first: each of its two steps is a fused multiply-add, so the
chain is the one of docs/numerics.md, position by position. But it takes what is smaller than
2^-126 for zero. Elements of 2^-56 and more, and zeros, are multiples of 2^-63; so all sums of
their products are multiples of 2^-126, and nothing is small. Whoever lays out words keeps the
least element among them; where it is smaller, a task takes the same words apart and multiplies and
adds in float32.
"""

from __future__ import annotations

from ...base import dtypes
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, When, index_var, lane_tree, pair_product
from .worded import Worded
from .words import WORD, Form

LEAST = ((127 - 56) << 7) - 1   # bfloat16's bits of 2^-56, less one

_LOWER, _UPPER = expr.var("lower", WORD, LANES), expr.var("upper", WORD, LANES)


def _seen(word: Expr) -> list:
    """Of the least in each half: the bits without their sign, less one, so that zeros are large."""
    return [Set(_LOWER, scalar.minimum(_LOWER, (word - 1) & 0x7fff)),
            Set(_UPPER, scalar.minimum(_UPPER, (word - 65536) & 0x7fff0000))]


PAIRS = Form(2, dtypes.uint16, lambda word: (word << 16) | ((word >> 16) & 0xffff),
             (Set(_LOWER, lit(0x7fff, WORD)), Set(_UPPER, lit(0x7fff0000, WORD))), _seen,
             scalar.minimum(lane_tree("min", _LOWER), lane_tree("min", _UPPER) >> 16))


def pairs_up(nest, target) -> bool:
    """Whether the contraction may run by pairs on the target."""
    dot = nest.bodies[0]
    return target.pairs and all(nest.reads[a].dtype is dtypes.bfloat16 for a in dot.args)


class Paired(Worded):
    """A contraction of bfloat16; `fits` says whether it can run by pairs."""

    def forms(self) -> tuple[Form, Form]:
        return PAIRS, PAIRS

    def _chain(self, low: Expr, high: Expr, begin=()) -> list:
        k = index_var("k")
        left, columns = self._words(k, low, high)
        paired, apart = [], []
        for r, line in enumerate(self.registers):
            a = left(r)
            for x, b in zip(line, columns, strict=True):
                paired.append(Set(x, pair_product(a, b, x)))
                apart += [Set(x, scalar.fma(half(a), half(b), x)) for half in (_upper, _lower)]
        zero = [Set(x, lit(0, self.acc)) for line in self.registers for x in line]
        return [*zero, *begin,
                When(self.least >= LEAST, [Loop(k, low, high, paired, "serial")]),
                When(self.least < LEAST, [Loop(k, low, high, apart, "serial")])]


def _upper(word: Expr) -> Expr:
    return scalar.bitcast(word & -65536, dtypes.float32)


def _lower(word: Expr) -> Expr:
    return scalar.bitcast(word << 16, dtypes.float32)


def schedule_paired(nest, buffers, fusion, target):
    """The launches by pairs, or None where the operands do not lie for it."""
    found = Paired(nest, buffers, fusion, target)
    return found.launches() if found.fits else None
