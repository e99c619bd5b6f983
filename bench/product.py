"""A matrix product's shape, as the benchmarks name it. Imports nothing that has to be installed."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """[batch, m, k] by [batch, k, n]; `layout`: which operands lie transposed."""

    batch: int
    m: int
    k: int
    n: int
    layout: str = "nn"

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.n * self.k

    @property
    def operands(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of the two operands as they lie in memory."""
        a = (self.k, self.m) if self.layout[0] == "t" else (self.m, self.k)
        b = (self.n, self.k) if self.layout[1] == "t" else (self.k, self.n)
        lead = (self.batch,) if self.batch > 1 else ()
        return lead + a, lead + b

    def __str__(self) -> str:
        batch = f"{self.batch}x" if self.batch > 1 else ""
        return f"{batch}{self.m}x{self.k}x{self.n} {self.layout}"
