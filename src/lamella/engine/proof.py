"""A run under a limit of the operating system, watched from outside of the planner: what the
kernel says of the process' memory stands beside what the plan claims."""

from __future__ import annotations

import ctypes
import gc
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..base.errors import UnsupportedError
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


def prove(executable: Executable, limit: int, steps: int = 10) -> Proof:
    """Run the executable `steps` times, while the process may have at most `limit` more bytes of
    memory than it has now (RLIMIT_DATA); MemoryError or AllocationError where that is too little.
    A plan without symbols is needed. The arguments are random numbers of [0, 1), and zeros."""
    types = executable.plan.program.input_types
    if executable.only is None:
        raise UnsupportedError(f"{executable.plan.name}: sizes are not known; prove a plan of "
                               "given sizes")
    gc.collect()
    _c("malloc_trim", 0)    # what compiling left behind is no room for the run
    _forget_peak()
    _now()                  # what looking needs is there from now on
    base = _status("VmRSS")
    with _limited(_status("VmData") + limit):
        values = [_filled(t) for t in types]
        seconds = [_step(executable, values)]
        before = _now()
        seconds += [_step(executable, values) for _ in range(steps - 1)]
        faults, mappings, heap = (z - a for a, z in zip(before, _now(), strict=True))
    return Proof(base, _status("VmHWM") - base, seconds, faults, mappings,
                 heap if _heap() >= 0 else -1)


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


@contextmanager
def _limited(size: int) -> Iterator[None]:
    """Inside, the process' private memory (RLIMIT_DATA) is at most so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _status(field: str) -> int:
    """A size that the system states of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise UnsupportedError(f"this system does not state {field} of a process")


def _forget_peak() -> None:
    """Let the largest resident size begin anew; where that is not allowed, it is that of the whole
    process' life, which is no less."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _now() -> tuple[int, int, int]:
    """Pages handed out so far, mappings, bytes that malloc has given out."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    mappings = Path("/proc/self/maps").read_text().count("\n")
    return usage.ru_minflt, mappings, _heap()


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of the GNU C library."""

    _fields_ = [(n, ctypes.c_size_t) for n in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]


def _heap() -> int:
    """Bytes that malloc has given out and not got back; -1 where it does not say."""
    found = _c("mallinfo2", result=_Mallinfo)
    return -1 if found is None else int(found.uordblks + found.hblkhd)


def _c(name: str, *arguments, result=ctypes.c_int):
    """Call a function of the C library; None where it has no such function."""
    function = getattr(ctypes.CDLL(None), name, None)
    if function is None:
        return None
    function.restype = result
    return function(*arguments)
