"""Results of chunks joined as an aligned binary tree, as a binary counter counts: the one order of
long sums, however many chunks there are and whoever adds them up."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...base import dtypes
from ...base.dtypes import DType
from ...base.extents import Extent, upper
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, Store, When, index_var, trailing_zeros

COMBINE = {"sum": scalar.add, "prod": scalar.mul, "max": scalar.maximum, "min": scalar.minimum,
           "any": scalar.or_, "all": scalar.and_}
ZERO = lit(0, dtypes.index)


def identity(monoid: str, dtype: DType) -> Expr:
    """The value that leaves any other unchanged."""
    if monoid in ("any", "all"):
        return lit(monoid == "all", dtypes.bool_)
    if monoid in ("sum", "prod"):
        return lit(1 if monoid == "prod" else 0, dtype)
    sign = -1 if monoid == "max" else 1
    if dtype.is_float:
        return lit(sign * math.inf, dtype)
    if dtype is dtypes.bool_:
        return lit(monoid == "min", dtype)
    low = 0 if dtype.kind == "uint" else -(2 ** (dtype.bits - 1))
    return lit(low if monoid == "max" else low + 2 ** dtype.bits - 1, dtype)


def levels_of(extent: Extent, chunk: int) -> int:
    """Partial results that wait at once while so many positions are joined chunk by chunk."""
    return max(1, -(-upper(extent) // chunk)).bit_length()


class Levels:
    """Registers of a chunk's results, and those of chunks before it, which wait in scratch
    `levels`: register k of a level at `place(level, k)`. There are `depth` levels."""

    def __init__(self, levels: str, depth: Expr, registers: list[Expr],
                 place: Callable[[Expr, int], Expr], lanes: int = 1, monoid: str = "sum"):
        self.levels, self.depth, self.registers = levels, depth, registers
        self.place, self.lanes, self.monoid = place, lanes, monoid

    def _load(self, level: Expr, k: int, x: Expr) -> Expr:
        return expr.load(self.levels, self.place(level, k), x.dtype, self.lanes)

    def _add(self, level: Expr) -> list:
        join = COMBINE[self.monoid]
        return [Set(x, join(self._load(level, k, x), x)) for k, x in enumerate(self.registers)]

    def _level(self) -> Expr:
        return index_var(f"level.{self.registers[0].attr[0]}")

    def push(self, c: Expr) -> list:
        """Chunk c's results, in the registers, meet those that wait for them."""
        level, top = self._level(), trailing_zeros(c + 1)
        return [Loop(level, ZERO, top, self._add(level)),
                *(Store(self.levels, self.place(top, k), x) for k, x in enumerate(self.registers))]

    def joined(self, chunks: Expr) -> list:
        """The registers as the results of all chunks: right parts first, an absent part skipped;
        what changes nothing where there are none."""
        level = self._level()
        first = trailing_zeros(scalar.maximum(chunks, 1))
        present = scalar.ne((chunks >> level) & 1, 0)
        return [*(Set(x, identity(self.monoid, x.dtype)) for x in self.registers),
                When(chunks > 0, [Set(x, self._load(first, k, x))
                                  for k, x in enumerate(self.registers)]),
                Loop(level, first + 1, self.depth, [When(present, self._add(level))])]

    def of(self, c: Expr, count: Expr, result: list) -> list:
        """The registers as the results of `count` chunks; `result` puts those of c into them."""
        return [Loop(c, ZERO, count, [*result, *self.push(c)]), *self.joined(count)]


class Tree(Levels):
    """Sums of a tile's chunks; the levels that wait lie in scratch from the level `base` on."""

    def __init__(self, levels: str, base: Expr, depth: int, registers: list[Expr]):
        size = len(registers) * LANES
        super().__init__(levels, lit(depth, dtypes.index), registers,
                         lambda level, k: (base + level) * size + k * LANES, LANES)


def tree_sum(read: Callable[[int], Expr], parts: Expr, count: Extent) -> Expr:
    """The aligned binary tree over read(0), read(1), ...: `parts` of them, which is `count` as an
    expression; an absent one leaves its left neighbour as it is."""
    most = upper(count)

    def node(first: int, level: int) -> Expr:
        if level == 0:
            return read(first)
        left, middle = node(first, level - 1), first + (1 << (level - 1))
        if middle >= most:
            return left
        both = left + node(middle, level - 1)
        return both if isinstance(count, int) else scalar.where(parts > middle, both, left)

    return node(0, levels_of(count, 1))
