"""The devices in use: what runs there, for which target, and the blocks of their memory."""

from __future__ import annotations

import atexit
import threading

from ..base.devices import Device
from ..codegen.gpu import GpuTarget, by_capability
from ..runtime import cuda
from ..runtime import device as runtime
from ..runtime.blocks import Blocks
from . import tiles


class Station:
    """A device that is in use."""

    __slots__ = ("blocks", "runtime", "target")

    def __init__(self, found: runtime.Device):
        self.runtime = found
        self.target: GpuTarget = by_capability(found.arch)
        self.target = self.target.with_tuned(tiles.remembered(tiles.named(found)))
        self.blocks = Blocks(found)

    def leave(self) -> None:
        """At the process's end the driver takes all memory back itself: what is let go of then,
        while modules are taken apart, is let lie."""
        self.blocks.trim = lambda bound=0: None  # type: ignore[method-assign]
        self.blocks.settle = lambda: None  # type: ignore[method-assign]


_stations: dict[Device, Station] = {}
_lock = threading.Lock()


def station(device: Device) -> Station:
    """What a device is to this process; MissingExtra or UnsupportedError, with the remedy, where it
    is not here."""
    found = _stations.get(device)
    if found is None:
        with _lock:
            if device not in _stations:
                _stations[device] = Station(cuda.device(device.index))
                atexit.register(_stations[device].leave)
            found = _stations[device]
    return found


def count() -> int:
    """How many devices are here; MissingExtra or UnsupportedError where none can be."""
    return cuda.count()


def check(device: Device) -> None:
    """Raise, with what is missing, where programs cannot be placed on the device."""
    from ..runtime import triton
    triton.load()
    station(device)
