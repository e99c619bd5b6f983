"""Programs on a device, called as those of the processor are."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..base.devices import Device
from ..codegen.gpu import by_capability
from ..ir.program import Program
from ..planner.build import build_plan
from ..runtime import cuda
from .device import DeviceExecutable
from .value import Value


class Placed:
    """A program on a device: arguments are copied there, results back."""

    def __init__(self, program: Program, device: Device):
        found = cuda.device(device.index)
        self.run = DeviceExecutable(build_plan(program, by_capability(found.arch)), found)
        self.plan = self.run.plan

    def __call__(self, values: Sequence[Value]) -> list[Value]:
        """The results for these arguments."""
        return [Value.from_numpy(a) for a in self.run([v.numpy() for v in values])]

    def sign(self, kind: type, donated: Collection[int] = ()) -> None:
        """There is no shorter way for calls with arrays of that kind."""

    def call(self, leaves: list, gone: object = None) -> None:
        """None: the call has to be looked up."""


def check(device: Device) -> None:
    """Raise, with what is missing, where programs cannot be placed on the device."""
    from ..runtime import triton
    triton.load()
    cuda.device(device.index)
