"""What the operating system says of this process' memory, and a limit that it keeps."""

from __future__ import annotations

import ctypes
import gc
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .errors import UnsupportedError


class Usage(NamedTuple):
    """`faults`: pages that the system handed out so far; `mappings`: how many the process has;
    `heap`: bytes that malloc has given out and not got back, -1 where it does not say."""

    faults: int
    mappings: int
    heap: int

    def since(self, before: Usage) -> Usage:
        """What is more than before."""
        heap = -1 if self.heap < 0 else self.heap - before.heap
        return Usage(self.faults - before.faults, self.mappings - before.mappings, heap)


def usage() -> Usage:
    """What the process has been given by now."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return Usage(faults, Path("/proc/self/maps").read_text().count("\n"), _heap())


def status(field: str) -> int:
    """A size that the system states of this process (VmRSS, VmHWM, VmData), in bytes.
    UnsupportedError where it does not."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) << 10
    raise UnsupportedError(f"this system does not state {field} of a process")


def settle() -> None:
    """Give back what is not needed, and let the largest resident size (VmHWM) begin anew; where
    that is not allowed, it is that of the whole process' life, which is no less."""
    gc.collect()
    _c("malloc_trim", 0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    usage()     # what looking needs is there from now on


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Inside, the process' private memory (RLIMIT_DATA) is at most so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of the GNU C library."""

    _fields_ = [(n, ctypes.c_size_t) for n in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]


def _heap() -> int:
    found = _c("mallinfo2", result=_Mallinfo)
    return -1 if found is None else int(found.uordblks + found.hblkhd)


def _c(name: str, *arguments, result=ctypes.c_int):
    """Call a function of the C library; None where it has no such function."""
    function = getattr(ctypes.CDLL(None), name, None)
    if function is None:
        return None
    function.restype = result
    return function(*arguments)
