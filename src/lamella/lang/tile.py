"""A register tile: the products of a few rows with a few vectors, summed in registers."""

from __future__ import annotations

from collections.abc import Callable

from ..base.dtypes import DType, float32
from . import expr, scalar
from .expr import Expr, lit
from .loops import LANES, Loop, Set, index_var


class Tile:
    """rows x vectors sums, each the ascending chain sum = fma(left, right, sum)."""

    def __init__(self, rows: int, vectors: int, dtype: DType):
        self.rows, self.vectors, self.dtype = rows, vectors, dtype
        self.sums = [[expr.var(f"c{r}_{v}", dtype, LANES) for v in range(vectors)]
                     for r in range(rows)]

    def zero(self) -> list:
        return self.set(lambda r, v: lit(0, self.dtype))

    def set(self, value: Callable) -> list:
        """The sums as value(row, vector)."""
        return [Set(x, value(r, v)) for r, line in enumerate(self.sums)
                for v, x in enumerate(line)]

    def step(self, left: Callable, right: Callable, k: Expr, rows=None) -> list:
        """Position k's products, in `rows` (all by default)."""
        vectors = [right(k, v) for v in range(self.vectors)]
        return [Set(x, scalar.fma(left(k, r), y, x))
                for r in (range(self.rows) if rows is None else rows)
                for x, y in zip(self.sums[r], vectors, strict=True)]

    def chain(self, low: Expr, high: Expr, left: Callable, right: Callable) -> Loop:
        """The products of the positions low..high, left(k, row) with right(k, vector)."""
        k = index_var("k")
        return Loop(k, low, high, self.step(left, right, k))


def tile_of(room: int, vectors: int, dtype: DType) -> tuple[int, int]:
    """(rows, vectors) of a tile: powers of two, at most `vectors` wide; `room` is how many vectors
    of float32 the registers hold."""
    room = room * float32.bits // dtype.bits
    wide = 2 if vectors % 2 == 0 and room >= 16 else 1
    rows = 8
    while rows > 1 and (rows + 1) * wide + 1 > room:
        rows //= 2
    return rows, wide
