"""How much memory the process may still take: the machine's and its control group's."""

from __future__ import annotations

from ..base.errors import AllocationError

LARGE = 1 << 30  # smaller requests are not worth asking about
_GROUP = "/sys/fs/cgroup/memory."


def available_bytes() -> int:
    """Bytes that can be had without swapping; a large number where the system does not say."""
    return max(min(_machine(), _number(f"{_GROUP}max") - _number(f"{_GROUP}current", 0)), 0)


def require(nbytes: int, what: str = "an allocation") -> None:
    """Raise AllocationError where so many bytes cannot be had: a system that promises more than
    it has would end the process when they are touched."""
    if nbytes >= LARGE and nbytes > (most := available_bytes()):
        raise AllocationError(f"{what} takes {nbytes / 2**30:.1f} GiB, and {most / 2**30:.1f} GiB "
                              "are available; use smaller arrays, or a narrower dtype")


def _machine() -> int:
    try:
        with open("/proc/meminfo") as f:
            lines = dict(line.split(":") for line in f)
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return 1 << 62


def _number(path: str, default: int = 1 << 62) -> int:
    try:
        with open(path) as f:
            return int(f.read())
    except (OSError, ValueError):  # no such group, or "max"
        return default
