"""A device of which only a data sheet is known: the least time that its peak rates allow.

The file is JSON: `name`, `flops` (operations a second of float32, a fused multiply-add is two),
`bandwidth` (bytes a second from memory), `launch` (seconds of a step), `memory` (bytes). A GPU's
may have `capability` (its compute capability times ten, as 90): then programs are planned for its
kind, not for this machine; `tensor_flops` (operations a second of products of 16 bits); `link`
(bytes a second from this machine's memory, or to it); `context` (bytes that the driver takes for a
process, beside all plans); and `measured`, where the rates were reached on a device (`lamella
calibrate --device`) instead of stated. The one of the NVIDIA H200 comes with the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ...base.errors import LamellaError
from ...base.extents import evaluate
from ...lang.expr import walk
from ...lang.loops import Kernel
from ...lang.routine import expressions
from ..plan import Copy, Host, Launch, Order, Plan

_FIELDS = ("flops", "bandwidth", "launch", "memory")
_MORE = ("capability", "tensor_flops", "link", "context")
_FOLDER = Path(__file__).parent / "devices"


class Roofline:
    """Rates of a device (see the module); times from peak rates are bounds from below."""

    __slots__ = (*_FIELDS, *_MORE, "measured", "name")

    def __init__(self, name: str, flops: float, bandwidth: float, launch: float, memory: float,
                 capability: float = 0, tensor_flops: float = 0, link: float = 0,
                 context: float = 0, measured: bool = False):
        self.name, self.flops, self.bandwidth = name, flops, bandwidth
        self.launch, self.memory, self.capability = launch, memory, int(capability)
        self.tensor_flops, self.link = tensor_flops or flops, link
        self.context, self.measured = int(context), measured

    @property
    def title(self) -> str:
        return f"{self.name}, a bound from its {'measured' if self.measured else 'peak'} rates"

    def to_json(self) -> str:
        return json.dumps({n: getattr(self, n) for n in ("name", *_FIELDS, *_MORE, "measured")},
                          indent=1)

    def least_seconds(self, flops: float, traffic: float, threads: int) -> float:
        """The operations at the highest rate, or the bytes, whichever takes longer."""
        return max(flops / self.flops, traffic / self.bandwidth)


def device(name: str) -> Roofline:
    """The profile of a device by name, or from a JSON file; LamellaError where it is none."""
    file = Path(name) if name.endswith(".json") else _FOLDER / f"{name}.json"
    try:
        found = json.loads(file.read_text())
        return Roofline(str(found["name"]), **{f: float(found[f]) for f in _FIELDS},
                        **{f: float(found[f]) for f in _MORE if f in found},
                        measured=bool(found.get("measured", False)))
    except OSError as e:
        if name.endswith(".json"):
            raise LamellaError(f"the profile {name} cannot be read: {e.strerror}") from None
        known = ", ".join(sorted(p.stem for p in _FOLDER.glob("*.json")))
        raise LamellaError(f"no profile of a device {name!r}; known: {known}, or name a JSON file "
                           f"with name, {', '.join(_FIELDS)}") from None
    except (ValueError, KeyError, TypeError) as e:
        raise LamellaError(f"{file} is no profile of a device: {e!r}; it states name, "
                           f"{', '.join(_FIELDS)}") from None


def by_capability(arch: int) -> Roofline:
    """The profile that comes with the package whose compute capability is nearest."""
    found = [device(p.stem) for p in sorted(_FOLDER.glob("*.json"))]
    return min((p for p in found if p.capability), key=lambda p: abs(p.capability - arch))


def bounds(plan: Plan, profile: Roofline, env: Mapping[str, int]) -> dict[int, float]:
    """Seconds of each step (by id) that no run on the device is below."""
    found = {}
    for s in Order(plan.steps).leaves:
        if hasattr(s, "flops") and not isinstance(s, Host):
            found[id(s)] = bound(s, profile, evaluate(s.flops, env), evaluate(s.traffic, env), env)
    return found


def bound(s, profile: Roofline, flops: int, traffic: int, env: Mapping[str, int]) -> float:
    """Seconds that no run of a step of so many operations and bytes is below; of a copy to the
    host's memory, or from there, those of the link."""
    if isinstance(s, Copy) and (s.spills or s.fetches) and profile.link:
        return evaluate(s.source_buffer.bytes, env) / profile.link
    bits = _tensor_bits(s)
    slower = profile.flops / profile.tensor_flops * bits / 16 if bits else 1.0
    return profile.launch + profile.least_seconds(flops * slower, traffic, 1)


def _tensor_bits(s) -> int:
    """The bits of the factors that a step multiplies by the tensor cores: 16 or 8; 0 of others."""
    if not isinstance(s, Launch) or not _multiplies(s.kernel):
        return 0
    found = {d.bits for d in (o.buffer.dtype for o in s.operands)
             if d.kind == "float8" or (d.is_float and d.bits == 16)}
    return 8 if 8 in found else max(found, default=0)


@lru_cache(4096)
def _multiplies(kernel: Kernel) -> bool:
    return any(x.op == "product" for e in expressions(kernel.body) for x in walk(e))
