"""Blocks of a device's memory, recycled by size.

The device's queue runs in order, so that a block may be used again as soon as the last step over it
has been queued. Idle blocks may take as many bytes as those in use, or `LEAST` where that is more;
beyond that the ones that lay idle longest are given back, and all of them where the device has no
room for a new one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from ..base.errors import AllocationError
from .device import ALIGN, Device

LEAST = 256 << 20


class DeviceBlock:
    """Bytes of a device at `address`; whoever holds the block may use them."""

    __slots__ = ("__weakref__", "address", "blocks", "size")

    def __init__(self, blocks: Blocks, address: int, size: int):
        self.blocks, self.address, self.size = blocks, address, size

    @property
    def device(self) -> Device:
        return self.blocks.device

    def __del__(self):
        self.blocks.take_back(self.address, self.size)


class Pinned:
    """Bytes of this machine's memory at `address`, from which and to which the device copies."""

    __slots__ = ("address", "blocks")

    def __init__(self, blocks: Blocks, address: int):
        self.blocks, self.address = blocks, address

    def __del__(self):
        self.blocks.unpin(self.address)


class Blocks:
    """The blocks of one device. Who queues several things in a row holds `turn`, so that a recorded
    graph has nothing of another thread. What would have to wait for the device is given back when
    nothing is recorded: then or later."""

    def __init__(self, device: Device):
        self.device = device
        self.turn = threading.RLock()
        self.recording = False
        self.lock = threading.RLock()
        self.idle: OrderedDict[int, list[int]] = OrderedDict()  # by size, idle longest first
        self.idle_bytes = self.used_bytes = 0
        self.loose: list[int] = []      # pinned bytes that nobody uses any more
        self.returned: list[object] = []    # what work of other libraries or ours may still read

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What `work` queues, as the device records it; meanwhile nothing is given back, for which
        the device would have to wait."""
        with self.turn:
            self.recording = True
            try:
                return self.device.record(work)
            finally:
                self.recording = False
                self._drop()

    def allocate(self, nbytes: int) -> DeviceBlock:
        """A block of at least `nbytes`; what it holds is unspecified."""
        size = -(-max(nbytes, 1) // ALIGN) * ALIGN
        if self.returned:
            self.settle()
        with self.lock:
            shelf = self.idle.get(size)
            if shelf:
                address = shelf.pop()
                self.idle_bytes -= size
                if not shelf:
                    del self.idle[size]
            else:
                address = self._new(size)
            self.used_bytes += size
        return DeviceBlock(self, address, size)

    def _new(self, size: int) -> int:
        try:
            return self.device.allocate(size)
        except AllocationError:
            if not self.idle_bytes:
                raise
            self.trim()
            return self.device.allocate(size)

    def take_back(self, address: int, size: int) -> None:
        """An idle block; nothing queued from now on uses what it held."""
        with self.lock:
            self.used_bytes -= size
            self.idle_bytes += size
            self.idle.setdefault(size, []).append(address)
            self.idle.move_to_end(size)
            self.settle()

    def pin(self, size: int) -> Pinned:
        """So many bytes of this machine's memory."""
        return Pinned(self, self.device.pin(size))

    def unpin(self, address: int) -> None:
        """Nothing queued from now on uses these pinned bytes."""
        with self.lock:
            self.loose.append(address)
            self.settle()

    def settle(self) -> None:
        """Give back what is too much, unless something may be recorded meanwhile."""
        with self.lock:
            if self.turn.acquire(blocking=False):   # else another thread may be recording
                try:
                    self.trim(max(self.used_bytes, LEAST))
                finally:
                    self.turn.release()

    def __del__(self):
        self.trim()

    def trim(self, bound: int = 0) -> None:
        """Give idle blocks back to the device until at most `bound` bytes of them are left, and all
        pinned bytes that nobody uses."""
        self._drop()
        with self.lock:
            while self.idle_bytes > bound and not self.recording:
                size, shelf = next(iter(self.idle.items()))
                self.device.free(shelf.pop(0))
                self.idle_bytes -= size
                if not shelf:
                    del self.idle[size]

    def _drop(self) -> None:
        with self.lock:
            if self.returned and not self.recording:
                gone, self.returned = self.returned, []
                self.device.quiet()
                gone.clear()
            while self.loose and not self.recording:
                self.device.unpin(self.loose.pop())
