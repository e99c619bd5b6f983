"""A run under a limit of the operating system, watched from outside of the planner: what the
kernel says of the process' memory stands beside what the plan claims."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..base.errors import UnsupportedError
from ..base.process import limited, settle, status, usage
from .executable import Executable
from .value import Value

SLACK = 16 << 20    # bytes beside the claim: what Python itself takes while it runs


class Proof(NamedTuple):
    """What a run took.

    base: resident bytes before its arguments were made, kernels and constants in them.
    grown: resident bytes at most, less `base`. seconds: of each step.
    Of the second step and all behind it together: `faults`, pages that the system handed out;
    `mappings`, how many more the process has; `heap`, bytes more that malloc has given out (-1
    where the C library does not say).
    """

    base: int
    grown: int
    seconds: list[float]
    faults: int
    mappings: int
    heap: int


def prove(executable: Executable, limit: int, steps: int = 10,
          given: Sequence[np.ndarray] = ()) -> Proof:
    """Run the executable `steps` times, while the process may have at most `limit` more bytes of
    memory than it has now (RLIMIT_DATA); MemoryError or AllocationError where that is too little.
    A plan without symbols is needed. The first arguments are copies of the `given` arrays, the
    others random numbers of [0, 1), and zeros."""
    types = executable.plan.program.input_types
    if executable.only is None:
        raise UnsupportedError(f"{executable.plan.name}: sizes are not known; prove a plan of "
                               "given sizes")
    settle()    # what compiling left behind is no room for the run
    base = status("VmRSS")
    with limited(status("VmData") + limit):
        values = [*map(Value.from_numpy, given), *(_filled(t) for t in types[len(given):])]
        seconds = [_step(executable, values)]
        before = usage()
        seconds += [_step(executable, values) for _ in range(steps - 1)]
        later = usage().since(before)
    return Proof(base, status("VmHWM") - base, seconds, *later)


def _filled(type) -> Value:
    """A value all of whose bytes were touched."""
    value = Value.empty(type)
    array = value._view(readonly=False)
    if array.dtype in (np.float32, np.float64):
        np.random.default_rng(0).random(dtype=array.dtype, out=array)
    else:
        array[...] = 0
    return value


def _step(executable: Executable, values: list[Value]) -> float:
    began = time.perf_counter()
    executable(values)
    return time.perf_counter() - began
