"""A machine as the cost model sees it: rates, measured once and kept in a file.

The file is JSON: `name`, `vector_bits`, `units` (nanoseconds that one thread keeps each unit busy
with one instruction, of whole vectors where it has them; gather and scatter for each lane; a
product of matrices with its loads),
`cycle`, `crowd` (how much longer that takes while all threads run), `levels` (for each place behind
the first cache, nearest first: its `bytes`, and the nanoseconds a byte takes from there to the
place before it, `read` and `write` by one thread, `leap` what it takes longer where rows of a line
begin so many lines apart that they fall on few sets of a cache, for the root of their number, and
`shared` by all threads together; 0 where each has its own), and the nanoseconds of a `launch`, of a
`share` among threads, of a `claim` (each time that a thread takes tasks while others do, too), of a
byte `handed` on from another core's own caches, of one that a thread stores `past` the caches, of a
dependent float `add`, of a `call`, and of a byte that goes into a `file` or comes from there, in
the system's cache of files while it has room.
`window` is how many instructions a core looks ahead, `slack` how much longer whole kernels take
than their units and bytes: spilled registers, branches, the translation of addresses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .instructions import UNITS

MATRIX = 32     # vector instructions that a product of matrices counts for where none was timed
_TIMES = ("cycle", "add", "crowd", "launch", "share", "claim", "handed", "past", "call", "slack",
          "window", "file")


class Level:
    """A cache behind the first, or the memory (`bytes` 0: it holds all); see the module."""

    __slots__ = ("bytes", "leap", "read", "shared", "write")

    def __init__(self, bytes: float, read: float, write: float, shared: float, leap: float):
        self.bytes, self.read, self.write = bytes, read, write
        self.shared, self.leap = shared, leap


class Profile:
    """What the cost model knows of a machine (see the module). `measured` tells figures of this
    machine from stated ones."""

    __slots__ = ("add", "call", "claim", "crowd", "cycle", "file", "first", "handed", "launch",
                 "levels", "measured", "name", "past", "share", "slack", "units", "vector_bits",
                 "window")

    def __init__(self, name: str, vector_bits: int, units: Mapping[str, float], first: float,
                 levels: list[Level], times: Mapping[str, float], measured: bool = False):
        self.name, self.vector_bits, self.units = name, vector_bits, dict(units)
        self.first, self.levels, self.measured = float(first), levels, measured
        self.cycle, self.add, self.crowd = times["cycle"], times["add"], times["crowd"]
        self.launch, self.share, self.call = times["launch"], times["share"], times["call"]
        self.claim, self.handed, self.past = times["claim"], times["handed"], times["past"]
        self.slack, self.window, self.file = times["slack"], times["window"], times["file"]

    @property
    def title(self) -> str:
        """Its name, and whether it was measured."""
        return self.name if self.measured else f"{self.name} (not measured: run lamella calibrate)"

    @property
    def caches(self) -> list[tuple[float, int]]:
        """Bytes and ways of each cache. The first one's sets come again after a page, as it is
        looked into before an address is translated; the last one spreads lines over its sets as by
        chance."""
        sizes = [self.first, *(x.bytes for x in self.levels[:-1])]
        ways = [max(1, int(self.first) // 4096), *(8 << k for k in range(1, len(sizes)))]
        return [(n, 0 if k == len(sizes) - 1 and k else ways[k]) for k, n in enumerate(sizes)]

    @property
    def owned(self) -> int:
        """How many levels behind the first cache each core has of its own."""
        return next((k for k, x in enumerate(self.levels) if x.shared), len(self.levels))

    @property
    def adding(self) -> int:
        """Cycles until the sum of two floats can be used."""
        return max(1, round(self.add / self.cycle))

    @property
    def flops(self) -> float:
        """Operations a second of one thread: two of every lane of every vector."""
        return 2 * self.vector_bits / 32 / self.units["vector"] * 1e9

    @property
    def bandwidth(self) -> float:
        """Bytes a second from memory, all threads together."""
        return 1e9 / sum(level.shared for level in self.levels)

    def least_seconds(self, flops: float, traffic: float, threads: int) -> float:
        """The roofline: the operations at the highest rate, or the bytes, from where they fit."""
        before, moved = self.first, 0.0
        for level in self.levels:
            if traffic > before:
                moved += traffic * max(level.shared, level.read / threads)
            before = level.bytes
        return max(flops / (self.flops * threads), moved * 1e-9)

    def seconds(self, kind: str, flops: float, traffic: float, threads: int) -> float:
        """A rough time of a step of which only operations and bytes are known."""
        rate = self.flops * (0.8 if kind == "contract" else 0.1)
        return self.launch * 1e-9 + max(flops / (rate * threads), traffic / self.bandwidth)

    def __str__(self) -> str:
        far = ", ".join(f"{1 / x.read:.1f}" for x in self.levels)
        return (f"{self.name}: {self.flops / 1e9:.1f} GFLOP/s a thread (by {self.crowd:.2f} slower "
                f"together), {1 / self.cycle:.2f} GHz, {far} GB/s between levels of memory, "
                f"{self.launch:.0f} ns a launch, {self.share:.0f} ns to share one")

    def to_json(self) -> str:
        levels = [{n: getattr(x, n) for n in Level.__slots__} for x in self.levels]
        return json.dumps({"name": self.name, "measured": self.measured,
                           "vector_bits": self.vector_bits, "units": self.units,
                           "first": self.first, "levels": levels,
                           **{t: getattr(self, t) for t in _TIMES}}, indent=1)

    @staticmethod
    def load(path: Path) -> Profile | None:
        """The profile in a file, or None where there is none that can be read."""
        try:
            return Profile.read(path.read_text())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def read(text: str) -> Profile:
        """The profile that a text states; ValueError, KeyError or TypeError where it is none."""
        found: dict[str, Any] = {"file": _TYPICAL["file"], **json.loads(text)}
        units = {u: float(found["units"][u]) for u in UNITS if u in found["units"] or u != "matrix"}
        units.setdefault("matrix", MATRIX * units["vector"])
        levels = [Level(**{n: float(x[n]) for n in Level.__slots__}) for x in found["levels"]]
        return Profile(str(found["name"]), int(found["vector_bits"]), units, float(found["first"]),
                       levels, {t: float(found[t]) for t in _TIMES},
                       bool(found.get("measured", True)))


def _units(vector: float, gather: float) -> dict[str, float]:
    return {"vector": vector, "load": 0.18, "store": 0.35, "divide": 3.5, "gather": gather,
            "scatter": gather * 1.5, "integer_divide": 8.0, "matrix": MATRIX * vector,
            "issue": 0.09}


_TYPICAL = {"cycle": 0.35, "add": 1.4, "crowd": 1.0, "launch": 40.0, "share": 300.0,
            "claim": 100.0, "handed": 0.05, "past": 0.05, "call": 500.0, "slack": 1.4,
            "window": 200.0, "file": 1.0}
_LEVELS = [Level(1 << 20, 0.008, 0.015, 0.0, 0.002), Level(24 << 20, 0.03, 0.05, 0.015, 0.002),
           Level(0, 0.05, 0.1, 0.03, 0.007)]
DEFAULTS = {name: Profile(name, bits, _units(0.18, gather), 32 << 10, _LEVELS, _TYPICAL)
            for name, bits, gather in (("avx512amx", 512, 0.25), ("avx512bf16", 512, 0.25),
                                       ("avx512vnni", 512, 0.25), ("avx512", 512, 0.25),
                                       ("avx2", 256, 0.3))}
