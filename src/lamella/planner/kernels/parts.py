"""A long sum in chunks, and in parts that are tasks of their own: aligned groups of chunks, whose
results meet in a second launch as one binary tree, so that the bits do not depend on the parts."""

from __future__ import annotations

from collections.abc import Callable

from ...base import dtypes
from ...base.extents import Extent, lower, upper
from ...ir.node import Node, placeholder
from ...ir.types import tensor
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, index_var
from ..groups.access import stored
from ..plan import Buffer
from .nest import ZERO, Builder
from .tree import Tree, levels_of, tree_sum

LEAST_TASKS = 16


class Parts:
    """`count` positions in chunks of `chunk`. Each part has `others` tasks; there are as many parts
    as give enough tasks, or as `wanted`."""

    def __init__(self, count: Extent, chunk: int, others: Extent, wanted: int = 1):
        self.positions, self.chunk = count, chunk
        self.chunks = (count + (chunk - 1)) // chunk
        most = max(1, upper(self.chunks))
        wanted = max(wanted, -(-LEAST_TASKS // max(1, lower(others))))
        parts = wanted if lower(count) > 0 else 1  # no positions are a part too: a sum of 0
        self.share = 1 << (-(-most // parts) - 1).bit_length()
        self.count: Extent = 1 if most <= self.share else (
            self.chunks + (self.share - 1)) // self.share

    @property
    def several(self) -> bool:
        return upper(self.count) > 1

    def node(self, shape: tuple, dtype: dtypes.DType, buffers: dict, access: dict) -> Node:
        """A new buffer for the results of all parts, of that shape each."""
        node = placeholder(tensor(dtype, (self.count, *shape)), "parts")
        buffers[id(node)] = Buffer(dtype, node.type.size, "temporary", "parts of a sum")
        access[id(node)] = stored(node)
        return node

    def loop(self, b: Builder, part: Expr, body: Callable[[Expr, Expr], list],
             after: Callable[[Expr], list]) -> Loop:
        """`body(start, stop)` for the positions of each chunk of the part, then `after(number)`."""
        c = index_var("chunk")
        start = (part * self._size(b) if self.several else ZERO) + c * self.chunk
        stop = scalar.minimum(start + self.chunk, b.size(("positions",), self.positions))
        return Loop(c, ZERO, self.number(b, part), [*body(start, stop), *after(c)])

    def span(self, b: Builder, part: Expr) -> tuple[Expr, Expr]:
        """(start, stop) of the part's positions, where chunks do not matter."""
        positions = b.size(("positions",), self.positions)
        if not self.several:
            return ZERO, positions
        low = part * self._size(b)
        return low, scalar.minimum(low + self._size(b), positions)

    def _size(self, b: Builder) -> Expr:
        """The positions of a whole part."""
        return b.size(("part",), self.share * self.chunk)

    def number(self, b: Builder, part: Expr) -> Expr:
        """The chunks of a part."""
        chunks = b.size(("chunks",), self.chunks)
        if not self.several:
            return chunks
        share = self._size(b) // self.chunk
        return scalar.minimum(chunks - part * share, share)

    def levels(self, b: Builder) -> Expr:
        """How many partial results of a part may wait at once."""
        return b.size(("levels",), levels_of(2 * self.share, 1))    # 1 would be a kernel's own

    def summed(self, b: Builder, part: Expr, registers: list[Expr],
               body: Callable[[Expr, Expr], list]) -> list:
        """The registers as the sum over the part, to which `body` adds a chunk's positions."""
        acc = registers[0].dtype
        zero = [Set(x, lit(0, acc)) for x in registers]
        if self.share == 1:
            return [*zero, self.loop(b, part, body, lambda c: [])]
        depth = levels_of(self.share, 1)
        levels = b.scratch(acc, lit(depth * len(registers) * LANES, dtypes.index))
        tree = Tree(levels, ZERO, depth, registers)
        return [self.loop(b, part, lambda low, high: [*zero, *body(low, high)], tree.push),
                *tree.joined(self.number(b, part))]

    def joined(self, b: Builder, name: str, at: Expr, step: Expr, dtype: dtypes.DType,
               lanes: int = 1) -> Expr:
        """The results of all parts at `at`, as their tree; parts lie `step` apart."""
        return tree_sum(lambda k: expr.load(name, at + k * step, dtype, lanes),
                        b.size(("parts",), self.count), self.count)
