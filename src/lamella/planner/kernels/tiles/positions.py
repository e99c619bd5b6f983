"""Positions along several axes as one number, and the tiles that such numbers are cut into."""

from __future__ import annotations

from ....base import dtypes
from ....base.extents import Extent, divides, product, upper
from ....lang import scalar
from ....lang.expr import Expr, lit
from ....lang.loops import Loop, index_var
from ...plan import Launch
from ..nest import Builder, Nest, decode

ZERO = lit(0, dtypes.index)
PER_THREAD = 8      # elements of a tile that a thread holds
MOST_WARPS = 16


class Positions:
    """The positions of `runs` (as `merged_axes` gives them), row-major, counted by one number."""

    def __init__(self, b: Builder, label: str, runs, axes):
        self.b, self.label, self.runs, self.axes = b, label, list(runs), list(axes)
        self.count: Extent = product(e for _, e, _ in self.runs)

    def size(self) -> Expr:
        """Their number at run time."""
        return self.b.size((self.label,), self.count)

    def places(self, flat: Expr) -> dict[Expr, Expr]:
        """The place of each axis at position `flat`."""
        counts = [(last, self.b.size((self.label, k), e))
                  for k, (_, e, last) in enumerate(self.runs)]
        return dict.fromkeys(self.axes, ZERO) | decode(flat, counts, narrow=True)

    def tile(self, var: Expr, number: Expr, width: int, body: list,
             low: Expr | None = None) -> Loop:
        """The tile loop over the positions of block `number` (or from `low` on)."""
        low = number * width if low is None else low
        high = low + width
        if not divides(width, self.count):
            high = scalar.minimum(high, self.size())
        return Loop(var, low, high, body, "tile", width)

    def blocks(self, width: int) -> Extent:
        """The number of tiles of that width."""
        return (self.count + (width - 1)) // width


def power(n: Extent) -> int:
    """The least power of two that is not below an extent."""
    return 1 << max(0, upper(n) - 1).bit_length()


def tables(nest: Nest, reads=None) -> list[dict[Expr, Extent]]:
    """Strides of every strided read and of every stored output."""
    found = [r.strides for r in (nest.reads.values() if reads is None else reads)]
    return found + [nest.strides(s)
                    for s, _ in nest.outputs()]


def grid(b: Builder, kind: str, tasks: Extent, task: Expr, body: list, elements: int,
         per_thread: int = PER_THREAD) -> Launch:
    """A launch of so many programs, each over a tile of `elements`."""
    outer = Loop(task, ZERO, b.size(("tasks",), tasks), body, "parallel")
    step = b.launch(kind, [outer], tasks)
    step.kernel.warps = max(1, min(MOST_WARPS, elements // (32 * per_thread)))
    return step


def numbers(b: Builder, task: Expr, inner: Extent) -> tuple[Expr, Expr]:
    """(outer, inner) block numbers of a program, `inner` blocks side by side."""
    if inner == 1:
        return task, ZERO
    count = b.size(("blocks",), inner)
    return task // count, task % count


def store_all(b: Builder, nest: Nest, values: list[Expr], places: dict[Expr, Expr]) -> list:
    """Stores of every output's value at its place; all are computed before the first store."""
    from ..nest import stores_after
    pairs = []
    for (seed, _), value in zip(nest.outputs(), values, strict=True):
        name = b.operand(seed.node, 0, seed.node.dtype, writes=True)
        strides = nest.strides(seed)
        pairs.append((name, b.address(name, strides, places), value))
    return stores_after(pairs, 1)


TASK, ROW, COLUMN, SUMMED = map(index_var, ("task", "i", "j", "k"))
