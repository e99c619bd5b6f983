"""A Plan bound to values of its symbols: addresses, sizes and offsets as the walker reads them."""

from __future__ import annotations

from collections.abc import Mapping

from ..base.extents import evaluate
from ..ir.types import TensorType, tensor
from ..planner.place import Layout, aligned, place
from ..planner.plan import Buffer, Copy, Launch, Plan
from ..runtime import steps as native
from ..runtime.table import Table
from .kernels import compile_kernels

ARENA = 0


class Bound:
    """A plan ready to run for one value of each symbol.

    `table.run([arena, *arguments, *fresh results])`; `sources` says for each output which base it
    is, `fresh` the types of results that are allocated at each call; `one_to_one`: these are the
    outputs.
    """

    __slots__ = ("arena_bytes", "fresh", "fresh_bytes", "layout", "one_to_one", "outputs",
                 "scratch_bytes", "table", "types")

    def __init__(self, plan: Plan, env: Mapping[str, int], threads: int | None = None):
        self.layout: Layout = place(plan, env)
        self.arena_bytes = self.layout.size
        bases = {id(b): 1 + k for k, b in enumerate(plan.arguments)}
        self.fresh: list[TensorType] = []
        self.outputs: list[tuple[int, TensorType]] = []
        for buffer, node in zip(plan.results, plan.program.outputs, strict=True):
            shape = tuple(evaluate(e, env) for e in node.shape)
            if id(buffer.root) not in bases:
                bases[id(buffer.root)] = 1 + len(plan.arguments) + len(self.fresh)
                self.fresh.append(tensor(buffer.root.dtype, (evaluate(buffer.root.count, env),)))
            self.outputs.append((bases[id(buffer.root)], tensor(node.dtype, shape)))
        self.fresh_bytes: list[int] = [t.bytes for t in self.fresh]  # type: ignore[misc]
        self.types = [t for _, t in self.outputs]
        first = 1 + len(plan.arguments)
        self.one_to_one = [b for b, _ in self.outputs] == [*range(first, first + len(self.fresh))]
        self.table, self.scratch_bytes = _table(plan, env, self.layout, bases, threads)


def _table(plan: Plan, env, layout: Layout, bases: dict[int, int], threads):
    image: list[int] = []
    patches: list[tuple[int, int, int]] = []
    steps: list = []
    scratch = 0
    launches = [s for s in plan.steps if isinstance(s, Launch)]
    compiled = dict(zip(map(id, launches), compile_kernels([s.kernel for s in launches]),
                        strict=True))

    def address(buffer: Buffer, offset: int) -> None:
        root = buffer.root
        base = bases.get(id(root), ARENA)
        start = layout.offsets[id(root)] if base == ARENA else 0
        patches.append((len(image), base, start + offset))
        image.append(0)

    for s in plan.steps:
        at = len(image)
        if isinstance(s, Copy):
            address(s.target, 0)
            address(s.source_buffer, 0)
            if s.target.root is not s.source_buffer.root:
                steps.append(native.Copy(at, at + 1, evaluate(s.source_buffer.bytes, env)))
            continue
        assert isinstance(s, Launch)
        for o in s.operands:
            address(o.buffer, evaluate(o.offset, env) * o.buffer.dtype.bytes)
        sizes = [evaluate(e, env) for e in s.sizes]
        image.extend(sizes)
        code = compiled[id(s)]
        scratch = max(scratch, code.source.scratch_bytes(sizes))
        tasks, grain = evaluate(s.tasks, env), max(1, evaluate(s.grain, env))
        steps.append(native.Launch(code.address, at, tasks, grain, serial=tasks <= grain))
    n_bases = 1 + len(plan.arguments) + len({b for b in bases.values() if b > len(plan.arguments)})
    table = Table(steps, image or [0], patches, n_bases, aligned(scratch), threads)
    return table, aligned(scratch)
