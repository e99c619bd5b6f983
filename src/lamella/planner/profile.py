"""A machine as the cost model sees it: rates, measured once and kept in a file."""

from __future__ import annotations

import json
from pathlib import Path

_FIELDS = ("flops", "map_flops", "bandwidth", "cache_bandwidth", "cache_bytes", "launch_seconds")


class Profile:
    """Rates of one thread, and what threads share.

    flops: fused multiply-adds of contractions (flop/s); map_flops: scalar operations of other
    kernels (op/s); bandwidth: bytes/s from memory, all threads together; cache_bandwidth: bytes/s a
    thread from cache; cache_bytes: a step that touches fewer is served from cache;
    launch_seconds: fixed cost of a step. `measured` tells figures of this machine from defaults.
    """

    __slots__ = (*_FIELDS, "measured", "name")

    def __init__(self, name: str, flops: float, map_flops: float, bandwidth: float,
                 cache_bandwidth: float, cache_bytes: float, launch_seconds: float,
                 measured: bool = False):
        self.name, self.flops, self.map_flops = name, flops, map_flops
        self.bandwidth, self.cache_bandwidth = bandwidth, cache_bandwidth
        self.cache_bytes, self.launch_seconds, self.measured = cache_bytes, launch_seconds, measured

    def seconds(self, kind: str, flops: float, traffic: float, threads: int) -> float:
        """Predicted time of one step."""
        rate = (self.flops if kind == "contract" else self.map_flops) * threads
        near = traffic <= self.cache_bytes
        moved = traffic / (self.cache_bandwidth * threads if near else self.bandwidth)
        return self.launch_seconds + max(flops / rate, moved)

    def least_seconds(self, flops: float, traffic: float, threads: int) -> float:
        """The roofline: the operations at the highest rate, or the bytes, from where they fit."""
        near = traffic <= self.cache_bytes
        moved = traffic / (self.cache_bandwidth * threads if near else self.bandwidth)
        return max(flops / (self.flops * threads), moved)

    def to_json(self) -> str:
        return json.dumps({"name": self.name, **{f: getattr(self, f) for f in _FIELDS}})

    @staticmethod
    def load(path: Path) -> Profile | None:
        """The profile in a file, or None where there is none that can be read."""
        try:
            found = json.loads(path.read_text())
            return Profile(str(found["name"]), measured=True,
                           **{f: float(found[f]) for f in _FIELDS})
        except (OSError, ValueError, KeyError, TypeError):
            return None


DEFAULTS = {"avx512": Profile("avx512 (not measured)", 90e9, 12e9, 20e9, 40e9, 24 << 20, 1.0e-6),
            "avx2": Profile("avx2 (not measured)", 45e9, 8e9, 15e9, 30e9, 16 << 20, 1.0e-6)}
