"""How many cores this process may really use: affinity, and the container's cpu quota."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def cores(root: Path = ROOT, groups: Path = Path("/proc/self/cgroup")) -> int:
    """Cores by affinity, cut to the quota of every control group above us; at least one."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min(count, int(quota(root, groups))))


def quota(root: Path = ROOT, groups: Path = Path("/proc/self/cgroup")) -> float:
    """The smallest cpu quota in cores over both versions of control groups; 1e9 for none."""
    limits = [1e9]
    for line in _text(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            limits += _limits([root, root / "unified"], path, _version2)
        elif "cpu" in controllers.split(","):
            limits += _limits([root / "cpu", root / controllers], path, _version1)
    return min(limits)


def _limits(mounts: list[Path], path: str, read) -> list[float]:
    """The limits of a group and of all groups above it, where they can be read.

    Inside a container the path may not exist below the mount; then the mount itself is ours.
    """
    parts = [p for p in path.split("/") if p and p != ".."]
    folders = [m.joinpath(*parts[:i]) for m in mounts for i in range(len(parts) + 1)]
    return [limit for folder in folders if (limit := read(folder)) is not None]


def _version2(folder: Path) -> float | None:
    words = _text(folder / "cpu.max").split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0] != "max" else None


def _version1(folder: Path) -> float | None:
    allowed, period = (_text(folder / f"cpu.cfs_{n}_us").strip() for n in ("quota", "period"))
    return int(allowed) / int(period) if allowed.isdigit() and period.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
