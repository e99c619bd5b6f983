"""Executable: a Plan that runs. It may be called from several threads at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

from ..base import events
from ..base.errors import ExecutionError
from ..base.extents import solve
from ..base.source import render
from ..ir.verify import check_sizes
from ..planner.memory.place import Layout
from ..planner.plan import Copy, Plan
from ..planner.report import Report
from ..runtime.arena import lease, release
from ..runtime.memory import allocate
from ..runtime.signature import Signature, possible
from ..runtime.table import StepFailed
from .bind import Bound
from .constants import Constants
from .profile import profile
from .tracing import run_recorded
from .value import Donated, Value

KEEP = 512      # bindings (one for each value of the symbols) that are remembered


class Executable:
    """Runs a plan over Values; a plan with symbols is bound once for each value of them."""

    __slots__ = ("bindings", "constants", "folder", "only", "plan", "signed", "threads")

    def __init__(self, plan: Plan, threads: int | None = None,
                 fixed: Mapping[int, Value] | None = None, layout: Layout | None = None,
                 folder: str = ""):
        """`fixed` gives the values of the plan's fixed arguments, `layout` where its temporaries
        lie, if that is known (of a plan without symbols); `folder` is where runs of a plan that
        spills have their files (the system's for temporary files where none is named)."""
        self.folder = folder
        self.plan, self.threads, self.signed = plan, threads, False
        self.constants = Constants(plan, fixed or {})
        self.bindings: dict[tuple, Bound] = {}
        self.only: Bound | None = None if plan.symbols else self._bind({}, layout)

    def _bind(self, env: Mapping[str, int], layout: Layout | None = None) -> Bound:
        return Bound(self.plan, env, self.threads, self.constants.addresses(env), layout,
                     self.folder)

    def bound(self, values: Sequence[Value]) -> Bound:
        """The binding for the extents of these arguments."""
        if self.only:
            return self.only
        env = self.sizes(values)
        key = tuple(env[s.name] for s in self.plan.symbols)
        found = self.bindings.get(key)
        if found is None:
            check_sizes(self.plan.program, env)
            if len(self.bindings) >= KEEP:
                self.bindings.pop(next(iter(self.bindings)))
            found = self.bindings[key] = self._bind(env)
        return found

    def sizes(self, values: Sequence[Value]) -> dict[str, int]:
        """The values of the plan's symbols for the extents of these arguments."""
        env: dict[str, int] = {}
        for t, v in zip(self.plan.program.input_types, values, strict=True):
            for e, n in zip(t.shape, v.type.shape, strict=True):
                solve(e, n, env)  # type: ignore[arg-type]
        return env

    def __call__(self, values: Sequence[Value], lost: set[int] | None = None) -> list[Value]:
        """The results for these arguments; donated ones must not be used afterwards. Where the run
        fails, `lost` is given the numbers of those that it may have written into."""
        b = self.only or self.bound(values)
        blocks = [allocate(n) for n in b.fresh_bytes]
        arena = lease(b.arena_bytes) if b.arena_bytes else None
        bases = [arena.address if arena else 0, *[v.address for v in values],
                 *[k.address for k in blocks]]
        reached: list[int] = []
        try:
            if events.now:
                run_recorded(self.plan.name, b, bases, reached)
            else:
                b.table.run(bases, reached)
        except TypeError:
            _check_donated(values)
            raise
        except StepFailed as e:
            self._fail(b, e)
        finally:
            if arena:
                release(arena)
            if lost is not None and reached:
                lost |= {k for k, first in enumerate(b.written) if first <= reached[0]}
        owners = [None, *[v.owner for v in values], *blocks]
        return [Value(bases[base], owners[base], type) for base, type in b.outputs]

    def report(self, threads: int) -> Report:
        """What a call needs, of programs with symbols at their bounds."""
        return Report(self.plan, profile(), threads)

    def sign(self, array: type | None = None, donated: Collection[int] = ()) -> None:
        """Make `call` possible with arrays of this class, or with values, if it can be: where sizes
        do not vary, and new blocks are one result each and not large. It takes the memory of the
        arguments of the `donated` numbers."""
        b, types = self.only, self.plan.program.input_types
        self.signed = b is not None and b.one_to_one and possible(
            len(types), len(b.types), b.fresh_bytes)
        if b and self.signed:
            sources = [base - 1 if base <= len(types) else len(types) - base
                       for base, _ in b.outputs]
            b.table.signature = Signature(Value, array, types, b.types, b.fresh_bytes, sources,
                                          donated, b.written)

    def call(self, arrays: list, gone: Donated | None = None) -> list | None:
        """New arrays for these, made without Python code; None, and nothing is done, where that is
        not possible, or one of them has another type or no value, or is donated and something else
        holds it. `gone` stands for donated ones from then on; where the run fails, for those that
        it may have written into."""
        b = self.only
        if not b or not self.signed or events.now:
            return None
        try:
            if not b.arena_bytes:
                return b.table.call(arrays, 0, gone)
            arena = lease(b.arena_bytes)
            try:
                return b.table.call(arrays, arena.address, gone)
            finally:
                release(arena)
        except BaseException as e:
            if gone:
                gone.failed = True
            if isinstance(e, StepFailed):
                self._fail(b, e)
            raise

    def _fail(self, b: Bound, e: StepFailed) -> NoReturn:
        step = b.origins[e.step]
        why = f"with code {e.code}" if e.code else "in a child that it forked, which has not got " \
            "the other threads' work"
        if isinstance(step, Copy):
            why = f"in {self.folder or 'the folder for temporary files'}: {os.strerror(e.code)}"
        raise ExecutionError(f"{step.names} failed {why} "
                             f"({render(step.source) or 'no source line'})") from e


def _check_donated(values: Sequence[Value]) -> None:
    """Raise where a value's memory has been given away."""
    for v in values:
        if v.address is None:
            v.numpy()
