"""The bytes of one run by class, counted from a plan whose values share bytes."""

from __future__ import annotations

from collections.abc import Mapping

from ...base.extents import evaluate
from ...codegen.emit import scratch_bytes
from ..plan import Launch, Plan
from .place import Layout, aligned


class Memory:
    """Bytes of one run by class; `peak` is their sum, exact for what the step allocates.

    arguments: what the caller holds (donated ones included); results: those that get bytes of their
    own; temporaries: the arena; scratch: all threads' together (of a device: all programs' of the
    kernel that needs most).
    """

    __slots__ = ("arguments", "constants", "results", "scratch", "temporaries")

    def __init__(self, arguments: int, results: int, constants: int, temporaries: int,
                 scratch: int):
        self.arguments, self.results, self.constants = arguments, results, constants
        self.temporaries, self.scratch = temporaries, scratch

    @property
    def peak(self) -> int:
        return self.arguments + self.results + self.constants + self.temporaries + self.scratch


def memory_of(plan: Plan, layout: Layout, threads: int, env: Mapping[str, int],
              results: int | None = None) -> Memory:
    """The bytes of a run with these values of the symbols, its temporaries so laid out; those of
    its `results` where they are known already."""
    return Memory(sum(evaluate(b.bytes, env) for b in plan.arguments),
                  own_results(plan, env) if results is None else results,
                  sum(aligned(evaluate(b.bytes, env)) for b in plan.constants),
                  layout.size, scratch_of(plan, env, threads))


def own_results(plan: Plan, env: Mapping[str, int]) -> int:
    """Bytes of the results that get bytes of their own."""
    own = {id(b.root): aligned(evaluate(b.root.bytes, env)) for b in plan.results
           if b.root.role == "result"}
    return sum(own.values())


def scratch_of(plan: Plan, env: Mapping[str, int], threads: int) -> int:
    """Bytes of scratch: for each thread the largest that a kernel needs, or for each program."""
    if plan.level == "tiles":
        return max((aligned(s.programs(env) * _scratch(s, env)) for s in (
            *plan.prologue, *plan.launches())), default=0)
    kernels = {(id(s.kernel), tuple(s.sizes)): s for s in plan.launches() if s.kernel.scratch}
    return threads * max((aligned(_scratch(s, env)) for s in kernels.values()), default=0)


def _scratch(s: Launch, env: Mapping[str, int]) -> int:
    return scratch_bytes(s.kernel, [evaluate(e, env) for e in s.sizes])


def bytes_text(n: int) -> str:
    """A byte count for people."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n >= size:
            return f"{n / size:.2f} {unit}"
    return f"{n} B"
