"""A device of which only a data sheet is known: the least time that its peak rates allow.

The file is JSON: `name`, `flops` (operations a second of float32, a fused multiply-add is two),
`bandwidth` (bytes a second from memory), `launch` (seconds of a step), `memory` (bytes). The one of
the NVIDIA H200 comes with the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ...base.errors import LamellaError
from ...base.extents import evaluate
from ..plan import Host, Order, Plan

_FIELDS = ("flops", "bandwidth", "launch", "memory")
_FOLDER = Path(__file__).parent / "devices"


class Roofline:
    """Peak rates of a device (see the module); times from them are bounds from below."""

    __slots__ = (*_FIELDS, "name")
    measured = False

    def __init__(self, name: str, flops: float, bandwidth: float, launch: float, memory: float):
        self.name, self.flops, self.bandwidth = name, flops, bandwidth
        self.launch, self.memory = launch, memory

    @property
    def title(self) -> str:
        return f"{self.name}, a bound from its peak rates"

    def least_seconds(self, flops: float, traffic: float, threads: int) -> float:
        """The operations at the highest rate, or the bytes, whichever takes longer."""
        return max(flops / self.flops, traffic / self.bandwidth)


def device(name: str) -> Roofline:
    """The profile of a device by name, or from a JSON file; LamellaError where it is none."""
    file = Path(name) if name.endswith(".json") else _FOLDER / f"{name}.json"
    try:
        found = json.loads(file.read_text())
        return Roofline(str(found["name"]), **{f: float(found[f]) for f in _FIELDS})
    except OSError:
        known = ", ".join(sorted(p.stem for p in _FOLDER.glob("*.json")))
        raise LamellaError(f"no profile of a device {name!r}; known: {known}, or name a JSON file "
                           f"with name, {', '.join(_FIELDS)}") from None
    except (ValueError, KeyError, TypeError) as e:
        raise LamellaError(f"{file} is no profile of a device: {e!r}; it states name, "
                           f"{', '.join(_FIELDS)}") from None


def bounds(plan: Plan, profile: Roofline, env: Mapping[str, int]) -> dict[int, float]:
    """Seconds of each step (by id) that no run on the device is below."""
    return {id(s): profile.launch + profile.least_seconds(evaluate(s.flops, env),
                                                          evaluate(s.traffic, env), 1)
            for s in Order(plan.steps).leaves if hasattr(s, "flops") and not isinstance(s, Host)}
