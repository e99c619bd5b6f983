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
    """A device's memory and its queue of work, which runs in order; and a second queue of copies to
    the host's pinned memory and from there, which runs beside it."""

    arch: int
    name: str
    bytes: int              # of its memory
    queue: int              # the stream of its work, as other libraries are told it
    context_bytes: int      # that the driver took for this process; 0 where that is not known

    def enter(self) -> None:
        """What this thread queues goes to this device from now on."""

    def allocate(self, size: int) -> int:
        """The address of `size` new bytes."""

    def free(self, address: int) -> None:
        """Give an allocation back."""

    def load(self, codes: Sequence[Code]) -> list[Any]:
        """The kernels ready to launch."""

    def launch(self, kernel: Any, programs: int, spans: Sequence[Span],
               sizes: Sequence[int]) -> None:
        """Queue a kernel over so many programs."""

    def copy(self, to: int, source: int, size: int) -> None:
        """Queue a copy within the device."""

    def upload(self, to: int, data: np.ndarray) -> None:
        """Queue a copy of host bytes to the device."""

    def download(self, data: np.ndarray, source: int) -> None:
        """Wait for the queue, then copy device bytes to the host."""

    def pin(self, size: int) -> int:
        """The address of so many bytes of this machine's memory that copies go to directly."""

    def unpin(self, address: int) -> None:
        """Give them back."""

    def send(self, to: int, source: int, size: int) -> Any:
        """Queue a copy of device bytes to pinned ones, behind all work that is queued, beside what
        comes. A ticket for `after`."""

    def fetch(self, to: int, source: int, size: int) -> Any:
        """The same the other way."""

    def after(self, ticket: Any) -> None:
        """Work that is queued from now on begins after that copy (and all before it)."""

    def lead(self, stream: int) -> None:
        """What another library queues on that stream of its own from now on begins after all that
        is queued here."""

    def quiet(self) -> None:
        """Wait for all work there, that of other libraries in this process, too."""

    def room(self) -> int:
        """Bytes that can still be allocated, by whatever process."""

    def seconds(self, work: Callable[[], None]) -> float:
        """How long the device takes for what `work` queues."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What `work` queues (launches, and copies but those of `upload` and `download`), to be
        queued again by each call."""


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
    and range of its arguments, their alignment, that operands lie within allocations, that nothing
    is read before it has been written, and that nothing touches bytes on their way to the host's
    memory or from there."""

    def __init__(self, arch: int = 90):
        self.arch, self.name = arch, "null"
        self.bytes, self.context_bytes = 1 << 40, 0
        self.queue = 3
        self.memory = Allocations()
        self.pinned = Allocations(1 << 40)
        self.under_way: list[tuple[int, int, bool]] = []    # of each copy: bytes, whether written
        self.log: list[str] = []

    def enter(self) -> None:
        pass

    def allocate(self, size: int) -> int:
        return self.memory.allocate(size)

    def free(self, address: int) -> None:
        self.memory.free(address)

    def load(self, codes: Sequence[Code]) -> list[Any]:
        return list(codes)

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
                self._write(s.start, s.bytes, kernel.name)
        self.log.append(kernel.name)

    def _check(self, kernel: Code, k: int, name: str, kind: str, word: int) -> None:
        bits = 63 if kind.startswith("*") else int(kind[1:]) - 1
        if not -(1 << bits) <= word < 1 << bits:
            raise ExecutionError(f"{kernel.name}: {name} = {word} is not an {kind}")
        if k in kernel.aligned and word % 16:
            raise ExecutionError(f"{kernel.name}: {name} = {word} is no multiple of 16")

    def _read(self, address: int, size: int, what: str) -> None:
        self._alone(address, size, False, what)
        _all_written(self.memory, address, size, what)

    def _write(self, address: int, size: int, what: str) -> None:
        self._alone(address, size, True, what)
        self.memory.written(address, size, what)[:] = True

    def _alone(self, address: int, size: int, writes: bool, what: str) -> None:
        for start, end, written in self.under_way:
            if start < address + size and address < end and (writes or written):
                way = "from" if written else "to"
                raise ExecutionError(f"{what} touches bytes at {max(start, address):#x} that are "
                                     f"on their way {way} the host")

    def copy(self, to: int, source: int, size: int) -> None:
        self._read(source, size, "copy")
        self._write(to, size, "copy")
        self.log.append("copy")

    def pin(self, size: int) -> int:
        return self.pinned.allocate(size)

    def unpin(self, address: int) -> None:
        self.pinned.free(address)

    def send(self, to: int, source: int, size: int) -> int:
        self._read(source, size, "send")
        self.pinned.written(to, size, "send")[:] = True
        return self._queued("send", source, size, False)

    def fetch(self, to: int, source: int, size: int) -> int:
        _all_written(self.pinned, source, size, "fetch")
        self._write(to, size, "fetch")
        return self._queued("fetch", to, size, True)

    def _queued(self, what: str, address: int, size: int, written: bool) -> int:
        self.under_way.append((address, address + size, written))
        self.log.append(what)
        return len(self.log)

    def after(self, ticket: int) -> None:
        sent = sum(name in ("send", "fetch") for name in self.log[ticket:])
        self.under_way = self.under_way[len(self.under_way) - sent:]

    def upload(self, to: int, data: np.ndarray) -> None:
        self._write(to, data.nbytes, "upload")

    def download(self, data: np.ndarray, source: int) -> None:
        self._read(source, data.nbytes, "download")
        data[...] = np.zeros(1, data.dtype)

    def lead(self, stream: int) -> None:
        self.log.append(f"lead {stream}")

    def quiet(self) -> None:
        self.log.append("quiet")

    def room(self) -> int:
        return self.bytes - sum(map(len, self.memory.known.values()))

    def seconds(self, work: Callable[[], None]) -> float:
        work()
        return 0.0

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        return work


def _all_written(memory: Allocations, address: int, size: int, what: str) -> None:
    """Raise where some of the bytes have not been written."""
    flags = memory.written(address, size, what)
    if not flags.all():
        raise ExecutionError(f"{what} reads {int((~flags).sum())} bytes at {address:#x} that "
                             f"nothing has written")
