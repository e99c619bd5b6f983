"""What a Plan needs of a device, as plain data and one small interface.

`runtime/cuda.py` is an NVIDIA device; `NullDevice` has none, and checks what it is told instead.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..base.errors import ExecutionError

ALIGN = 256     # of every allocation


class Code(NamedTuple):
    """A kernel for a device: its Triton text, the function's name, (name, type) of each parameter,
    the numbers of those that are multiples of 16, threads / 32, and loads that run ahead."""

    text: str
    name: str
    types: tuple[tuple[str, str], ...]
    aligned: tuple[int, ...]
    warps: int
    stages: int


class Span(NamedTuple):
    """An operand of a launch: the address it is given, and the bytes that it may touch."""

    address: int
    start: int
    bytes: int
    writes: bool


class Device(Protocol):
    """A device's memory and its one queue of work, which runs in order."""

    arch: int

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes."""

    def free(self, address: int) -> None:
        """Give an allocation back."""

    def load(self, code: Code) -> Any:
        """The kernel ready to launch."""

    def launch(self, kernel: Any, programs: int, spans: Sequence[Span],
               sizes: Sequence[int]) -> None:
        """Queue a kernel over so many programs."""

    def copy(self, to: int, source: int, size: int) -> None:
        """Queue a copy within the device."""

    def upload(self, to: int, data: np.ndarray) -> None:
        """Queue a copy of host bytes to the device."""

    def download(self, data: np.ndarray, source: int) -> None:
        """Wait for the queue, then copy device bytes to the host."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What `work` queues (launches and copies within the device), to be queued again by each
        call."""


class Allocations:
    """Addresses that are handed out, and which of their bytes have been written."""

    def __init__(self, first: int = 1 << 32):
        self.next, self.starts = first, list[int]()
        self.known: dict[int, np.ndarray] = {}

    def allocate(self, size: int) -> int:
        address = self.next
        self.next += -(-max(size, 1) // ALIGN) * ALIGN + ALIGN
        self.add(address, size)
        return address

    def add(self, address: int, size: int) -> None:
        """An allocation that lies there."""
        insort(self.starts, address)
        self.known[address] = np.zeros(size, np.bool_)

    def free(self, address: int) -> None:
        if self.known.pop(address, None) is None:
            raise ExecutionError(f"{address:#x} is given back, but is no allocation")
        self.starts.remove(address)

    def written(self, address: int, size: int, what: str) -> np.ndarray:
        """Flags of the bytes; ExecutionError where they are not within one allocation."""
        k = bisect_right(self.starts, address) - 1
        start = self.starts[k] if k >= 0 else 0
        flags = self.known.get(start)
        if flags is None or address + size > start + len(flags):
            raise ExecutionError(f"{what}: {size} bytes at {address:#x} are not within one "
                                 f"allocation")
        return flags[address - start:address - start + size]


class NullDevice:
    """A device that computes nothing. It keeps a log of launches and checks each one: the number
    and range of its arguments, their alignment, that operands lie within allocations, and that
    nothing is read before it has been written."""

    def __init__(self, arch: int = 90):
        self.arch = arch
        self.memory = Allocations()
        self.log: list[str] = []

    def allocate(self, size: int) -> int:
        return self.memory.allocate(size)

    def free(self, address: int) -> None:
        self.memory.free(address)

    def load(self, code: Code) -> Code:
        return code

    def launch(self, kernel: Code, programs: int, spans: Sequence[Span],
               sizes: Sequence[int]) -> None:
        given = [*(s.address for s in spans), *sizes]
        if len(given) != len(kernel.types):
            raise ExecutionError(f"{kernel.name} takes {len(kernel.types)} arguments, "
                                 f"got {len(given)}")
        if not 0 < programs < 1 << 31:
            raise ExecutionError(f"{kernel.name} runs over {programs} programs")
        for k, ((name, kind), word) in enumerate(zip(kernel.types, given)):
            self._check(kernel, k, name, kind, word)
        for s in spans:
            if not s.writes:
                self._read(s.start, s.bytes, kernel.name)
        for s in spans:
            if s.writes:
                self.memory.written(s.start, s.bytes, kernel.name)[:] = True
        self.log.append(kernel.name)

    def _check(self, kernel: Code, k: int, name: str, kind: str, word: int) -> None:
        bits = 63 if kind.startswith("*") else int(kind[1:]) - 1
        if not -(1 << bits) <= word < 1 << bits:
            raise ExecutionError(f"{kernel.name}: {name} = {word} is not an {kind}")
        if k in kernel.aligned and word % 16:
            raise ExecutionError(f"{kernel.name}: {name} = {word} is no multiple of 16")

    def _read(self, address: int, size: int, what: str) -> None:
        flags = self.memory.written(address, size, what)
        if not flags.all():
            raise ExecutionError(f"{what} reads {int((~flags).sum())} bytes at {address:#x} "
                                 f"that nothing has written")

    def copy(self, to: int, source: int, size: int) -> None:
        self._read(source, size, "copy")
        self.memory.written(to, size, "copy")[:] = True
        self.log.append("copy")

    def upload(self, to: int, data: np.ndarray) -> None:
        self.memory.written(to, data.nbytes, "upload")[:] = True

    def download(self, data: np.ndarray, source: int) -> None:
        self._read(source, data.nbytes, "download")
        data[...] = np.zeros(1, data.dtype)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        return work
