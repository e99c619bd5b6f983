"""Measuring a run on a device: bytes really touched, and time by step, by events there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..planner.memory.place import aligned
from ..planner.plan import Step
from ..planner.report import Report
from ..runtime.device import ALIGN, Device
from .device import Binding, DeviceExecutable, recordable
from .measure import Measurement
from .rates import rates
from .value import Value

PAINT = 0xC3
PIECE = 64 << 20    # bytes that are painted or looked at together
RUNS, REPEATS = 10, 5   # queued one behind the other, so that none waits for the host; how often


def measure(run: DeviceExecutable, values: Sequence[Value]) -> Measurement:
    """Run over the values, which may be overwritten: over a painted arena, then for the time of all
    steps and of each. `code` is what the device has less of once the kernels are loaded (0 where
    they were loaded before); `scratch` is the workspace behind the temporaries."""
    device, env, m = run.device, run.sizes([v.type.shape for v in values]), Measurement()
    owners = [v.owner for v in values]
    with run.blocks.turn:
        device.enter()
        before = device.room()
        bound = run.binding(env)
        m.code = max(0, before - device.room())
        temporaries = -(-bound.layout.size // ALIGN) * ALIGN
        block = run.arena.take(temporaries + bound.workspace)
        _paint(device, block.address, temporaries + bound.workspace)
        kept = bound.run(run.blocks, run.arena, owners)     # type: ignore[arg-type]
        m.temporaries = _touched(device, bound.addresses[0], bound.layout.size)
        m.scratch = _touched(device, bound.addresses[-1], bound.workspace)
        m.arguments = sum(v.type.bytes for v in values)     # type: ignore[misc]
        m.results, m.constants = (sum(map(aligned, n)) for n in (bound.fresh, bound.made))
        m.seconds = _least(run, bound, run.plan.steps)
        spent = {id(s): _least(run, bound, [s]) for s in run.plan.steps}
        del kept, block
    m.context = device.context_bytes
    m.report = Report(run.plan, rates(device), 1, env, spent, m.seconds)
    return m


def _least(run: DeviceExecutable, bound: Binding, steps: Sequence[Step]) -> float:
    """The least seconds of these steps, of several runs in a row."""
    def work() -> None:
        bound.all(steps)

    queue = run.blocks.record(work) if recordable(steps) else work

    def runs() -> None:
        for _ in range(RUNS):
            queue()

    return min(run.device.seconds(runs) for _ in range(REPEATS)) / RUNS


def _pieces(size: int) -> list[tuple[int, int]]:
    """(first byte, bytes) of each piece."""
    return [(at, min(PIECE, size - at)) for at in range(0, size, PIECE)]


def _paint(device: Device, address: int, size: int) -> None:
    color = np.full(min(size, PIECE), PAINT, np.uint8)
    for at, n in _pieces(size):
        device.upload(address + at, color[:n])


def _touched(device: Device, address: int, size: int) -> int:
    """Bytes up to the last that is not as it was painted."""
    for at, n in reversed(_pieces(size)):
        found = np.empty(n, np.uint8)
        device.download(found, address + at)
        changed = np.flatnonzero(found != PAINT)
        if len(changed):
            return aligned(at + int(changed[-1]) + 1)
    return 0
