"""What a device has free before this process has a context there, by NVIDIA's management library.

The driver's own `cuMemGetInfo` needs a context, whose bytes it cannot tell from other processes'.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong),
                ("used", ctypes.c_ulonglong))


@cache
def _library() -> Any:
    """The library, ready for calls; None where it is not here."""
    try:
        found = ctypes.CDLL("libnvidia-ml.so.1")
        return found if found.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError):
        return None


def room(bus: bytes) -> int | None:
    """Bytes that are free on the device with this PCI bus id; None where nobody says so."""
    library, device, memory = _library(), ctypes.c_void_p(), _Memory()
    if library is None or library.nvmlDeviceGetHandleByPciBusId_v2(bus, ctypes.byref(device)):
        return None
    status = library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
    return None if status else int(memory.free)
