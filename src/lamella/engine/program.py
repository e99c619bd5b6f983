"""Compiling a whole Program for callers that hold NumPy arrays (model files, the server)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..base.devices import Device
from ..base.errors import ShapeError
from ..base.extents import Size
from ..ir.program import Program
from ..planner.plan import Plan
from . import plans
from .value import Value


class CompiledProgram:
    """A program ready to run: arrays in, arrays out. `plan` says what it costs; `held` are values
    on a device, by the numbers of the inputs in whose place they are taken."""

    __slots__ = ("executable", "held", "plan")

    def __init__(self, executable: Any, plan: Plan, held: Mapping[int, Value] | None = None):
        self.executable, self.plan, self.held = executable, plan, held or {}

    def __call__(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs for these inputs (read without a copy where they are packed)."""
        values = [self.held.get(k) or Value.from_numpy(np.asarray(a), copy=False)
                  for k, a in enumerate(arrays)]
        self._check(values)
        return [v.numpy() for v in self.executable(values)]

    def _check(self, values: list[Value]) -> None:
        """Raise where an argument is not what the program was compiled for."""
        types = self.plan.program.input_types
        if len(values) != len(types):
            raise ShapeError(f"{self.plan.name}: takes {len(types)} arrays, got {len(values)}")
        for k, (t, v) in enumerate(zip(types, values, strict=True)):
            fits = t.rank == v.type.rank and all(
                isinstance(e, Size) or e == n for e, n in zip(t.shape, v.type.shape, strict=True))
            if t.dtype is not v.type.dtype or not fits:
                raise ShapeError(f"{self.plan.name}: argument {k} must be {t}, got {v.type}")


def compile_program(program: Program,
                    fixed: Mapping[int, np.ndarray] | None = None,
                    fast: bool = False) -> CompiledProgram:
    """Plan and compile a program for this machine. `fixed` gives inputs that are the same at every
    call (they are still given there): what the plan needs of them is laid out once. A `fast` plan
    may sum in other orders than the program states (docs/numerics.md, fast mode)."""
    values = {k: Value.from_numpy(a, copy=False) for k, a in (fixed or {}).items()}
    found = plans.executable(program, frozenset(), values, fast=fast)
    return CompiledProgram(found, found.plan)


def place_program(program: Program, device: Device,
                  fixed: Mapping[int, np.ndarray]) -> CompiledProgram:
    """Plan and compile a program for a device. The inputs that `fixed` gives are the same at every
    call (they are still given there): they are copied to the device once."""
    from .placed import Placed  # devices are loaded where programs run there

    found = Placed(program, device)
    return CompiledProgram(found, found.plan, {
        k: Value.from_numpy(a, copy=False).on(device) for k, a in fixed.items()})
