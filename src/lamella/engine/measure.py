"""Measuring a run: bytes really touched, and time by step, to be held against the plan."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ..planner.memory.peak import bytes_text
from ..planner.memory.place import aligned
from ..planner.plan import Parallel, Step, inner_steps
from ..planner.report import Report, time_text
from ..runtime.arena import Arena, paint, touched
from .bind import Bound
from .executable import Executable
from .kernels import code_bytes
from .profile import profile
from .value import Value


class Measurement:
    """Bytes by class as in a plan's `Memory`, found by painting; `seconds` the least of the runs.

    temporaries: up to the last byte touched in a painted arena. scratch: up to the last byte that
    the busiest thread touched, for each thread. `code`: machine code, beside the peak; `context`:
    bytes of a GPU's driver for this process, beside it too (0 where that is not known). `report`:
    the plan that ran, with the least time of each of its steps beside the predicted one.
    """

    __slots__ = ("arguments", "code", "constants", "context", "report", "results", "scratch",
                 "seconds", "temporaries")

    arguments: int
    code: int
    constants: int
    context: int
    report: Report
    results: int
    scratch: int
    seconds: float
    temporaries: int

    @property
    def peak(self) -> int:
        return self.arguments + self.results + self.constants + self.temporaries + self.scratch

    def __str__(self) -> str:
        return (f"measured {bytes_text(self.peak)} (planned {bytes_text(self.report.peak)}), "
                f"{time_text(self.seconds)} (predicted {time_text(self.report.seconds)}, "
                f"{self.report.seconds / self.seconds - 1:+.0%}), "
                f"code {bytes_text(self.code)} (predicted {bytes_text(self.report.code)})"
                f"{f', context {bytes_text(self.context)}' if self.context else ''}")


def measure(executable: Executable, values: Sequence[Value], runs: int = 20) -> Measurement:
    """Run on copies of the values: over painted memory, then `runs` times for the time and as often
    for the times of the steps."""
    b = executable.bound(values)
    m = Measurement()
    m.arguments = sum(v.type.bytes for v in values)  # type: ignore[misc]
    m.constants = b.constant_bytes
    m.context = 0
    m.code = code_bytes([s.kernel for s in executable.plan.launches()])
    fresh = [Value.empty(t) for t in b.fresh]
    m.results = sum(aligned(t.bytes) for t in b.fresh)  # type: ignore[misc,arg-type]
    arena = Arena(max(64, b.arena_bytes))
    copies = [Value.from_numpy(v.numpy()) for v in values]
    bases = [arena.address, *(v.address for v in copies), *(v.address for v in fresh)]
    b.table.run(bases)
    lease = b.table._leases[-1]
    paint(arena.address, arena.size)
    stride = max(1, b.table.scratch_bytes)
    threads = lease.scratch.size // stride if b.table.scratch_bytes else 0
    paint(lease.scratch.address, lease.scratch.size)
    b.table.run(bases)
    m.temporaries = aligned(touched(arena.address, arena.size)[0])
    m.scratch = executable_threads(executable) * max(
        (aligned(touched(lease.scratch.address + k * stride, stride)[0]) for k in range(threads)),
        default=0)
    m.seconds = min(_timed(b.table, bases) for _ in range(runs))
    spent = _steps(b, bases, runs)
    m.report = Report(executable.plan, profile(), executable_threads(executable),
                      executable.sizes(values), spent, m.seconds)
    _divide(spent, executable.plan.steps, m.report)
    return m


def _steps(b: Bound, bases: Sequence[int], runs: int) -> dict[int, float]:
    """The least seconds of each of the plan's steps (by id): its native steps together."""
    ticks, seconds = [], 0.0
    b.table.timed = True
    for _ in range(runs + 1):
        before = b.table.ticks()
        seconds += _timed(b.table, bases)
        ticks.append(b.table.ticks() - before)
    b.table.timed = False
    rate = seconds / max(1, sum(int(t.sum()) for t in ticks))
    found: dict[int, float] = {}
    for step, least in zip(b.origins, np.min(ticks, 0), strict=True):
        found[id(step)] = found.get(id(step), 0.0) + float(least) * rate
    return found


def _divide(spent: dict[int, float], steps: Sequence[Step], report: Report) -> None:
    """Give each of the launches that ran in parallel its predicted part of their time."""
    for s in steps:
        if isinstance(s, Parallel):
            rate = spent.pop(id(s)) / (report.timetable.of(s) or 1.0)
            spent |= {id(m): rate * report.timetable.of(m) for m in s.members}
        for inner in inner_steps(s):
            _divide(spent, inner, report)


def _timed(table, bases) -> float:
    began = time.perf_counter()
    table.run(bases)
    return time.perf_counter() - began


def executable_threads(executable: Executable) -> int:
    """Threads that the executable's scratch is counted for."""
    from ..runtime.walker import threads
    return executable.threads or threads()


