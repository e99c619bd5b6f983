"""Elements from one device to another."""

from __future__ import annotations

import numpy as np

from ..base import events
from ..base.devices import Device
from ..ir.types import TensorType
from ..runtime.blocks import DeviceBlock
from .device import download, upload
from .stations import station


def sent(array: np.ndarray, device: Device) -> DeviceBlock:
    """A block of the device with a copy of the array's elements."""
    at = station(device)
    with events.span(f"to {device}", bytes=array.nbytes), at.blocks.turn:
        block = at.blocks.allocate(array.nbytes)
        upload(at.runtime, block.address, array)
    return block


def fetched(t: TensorType, address: int) -> np.ndarray:
    """A copy of the elements of this type at an address of the type's device."""
    at = station(t.device)
    with events.span(f"from {t.device}", type=str(t.anywhere)), at.blocks.turn:
        return download(at.runtime, address, t)


def duplicate(t: TensorType, address: int) -> DeviceBlock:
    """A block of the type's device with a copy of the elements at an address of it."""
    at, size = station(t.device), t.bytes
    assert isinstance(size, int)
    with at.blocks.turn:
        at.runtime.enter()
        block = at.blocks.allocate(size)
        if size:
            at.runtime.copy(block.address, address, size)
    return block
