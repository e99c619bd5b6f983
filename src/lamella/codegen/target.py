"""Targets as data. The same text-level semantics on all of them: their results have equal bits.

The cpu and the features are fixed for each target, so generated code does not depend on the host.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from ..base.errors import UnsupportedError
from ..lang.loops import LANES
from .prices import AMX_PRICES, FAR, NEAR, PRICES, Cache, Prices

THREADS = 8     # of a machine that is not known


class Target:
    """One instruction set: what LLVM is told, and the sizes that schedules ask for.

    `contract_tiles` are register tiles (rows, columns in units of LANES values) of a contraction,
    best first, that fit the `registers` of `vector_bits` without spilling. `near` and `core`
    are the first and the second cache of a core, on most machines of the kind; what takes more
    bytes than `far` comes from memory or from a cache that all share. `prices`: what products cost
    there. `pairs`: it multiplies bfloat16 by pairs, `quads`: bytes by fours, `matrices`: both as
    matrices in registers. `tuned` has the cuts
    of products that were found the fastest on this machine, `threads` is how many it has.
    """

    __slots__ = ("contract_tiles", "core", "cpu", "far", "features", "matrices", "name", "near",
                 "pairs", "prices", "quads", "registers", "threads", "tuned", "vector_bits")
    level = "loops"
    float8 = False      # whether it multiplies float8s

    def __init__(self, name: str, cpu: str, features: Iterable[str], vector_bits: int,
                 registers: int, contract_tiles: tuple[tuple[int, int], ...], core: Cache,
                 near: Cache = NEAR, far: int = FAR, prices: Prices = PRICES):
        self.name, self.cpu, self.features = name, cpu, tuple(features)
        self.vector_bits, self.registers = vector_bits, registers
        self.contract_tiles = contract_tiles
        self.near, self.core, self.far, self.prices = near, core, far, prices
        self.tuned: dict = {}
        self.threads = THREADS
        self.pairs, self.quads, self.matrices = (
            f in self.features for f in ("avx512bf16", "avx512vnni", "amx-tile"))

    def with_threads(self, threads: int) -> Target:
        """This target on a machine of so many."""
        found = copy(self)
        found.threads = threads
        return found

    def with_tuned(self, tuned: dict) -> Target:
        """This target with other cuts of products."""
        found = copy(self)
        found.tuned = tuned
        return found

    @property
    def attributes(self) -> str:
        """The attributes of every function generated for this target."""
        features = ",".join("+" + f for f in self.features)
        return (f'nounwind "target-cpu"="{self.cpu}" "target-features"="{features}" '
                f'"prefer-vector-width"="{self.vector_bits}"')

    @property
    def room(self) -> int:
        """How many vectors of LANES float32 values the registers hold."""
        return self.registers * self.vector_bits // (LANES * 32)

    def __repr__(self) -> str:
        return self.name


_V3 = ("sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cx16", "sahf", "avx", "avx2", "fma",
       "f16c", "bmi", "bmi2", "lzcnt", "movbe")
_V4 = ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_AMX = ("amx-tile", "amx-bf16", "amx-int8")

AVX512 = Target("avx512", "x86-64-v4", _V3 + _V4, 512, 32,
                ((14, 2), (9, 3), (6, 4), (12, 2), (8, 3), (10, 2), (5, 5), (4, 6), (16, 1),
                 (8, 2), (7, 3), (4, 4), (3, 7), (2, 8), (1, 8), (1, 16)), Cache(1 << 20, 16))
AVX512_VNNI = Target("avx512vnni", AVX512.cpu, (*AVX512.features, "avx512vnni"), 512, 32,
                     AVX512.contract_tiles, AVX512.core)
AVX512_BF16 = Target("avx512bf16", AVX512.cpu, (*AVX512_VNNI.features, "avx512bf16"), 512, 32,
                     AVX512.contract_tiles, AVX512.core)
# without AVX512_BF16: its instruction for pairs takes as long there as four multiply-adds
AVX512_AMX = Target("avx512amx", AVX512.cpu, (*AVX512_VNNI.features, *_AMX), 512, 32,
                    AVX512.contract_tiles, Cache(2 << 20, 16), Cache(48 << 10, 12), 1 << 20,
                    AMX_PRICES)
AVX2 = Target("avx2", "x86-64-v3", _V3, 256, 16, ((6, 1), (4, 1), (2, 2), (1, 3)),
              Cache(256 << 10, 16))
ALL = (AVX512_AMX, AVX512_BF16, AVX512_VNNI, AVX512, AVX2)  # best first


def by_name(name: str) -> Target:
    """The target called `name`."""
    for target in ALL:
        if target.name == name:
            return target
    raise UnsupportedError(f"no target is called {name!r}; known: {', '.join(t.name for t in ALL)}")


def detect(features: Iterable[str], wanted: str = "") -> Target:
    """The best target for a machine with these features, or `wanted` if the machine can run it."""
    present = frozenset(features)
    for target in [by_name(wanted)] if wanted else ALL:
        if present.issuperset(target.features):
            return target
    missing = [f for f in (by_name(wanted) if wanted else AVX2).features if f not in present]
    raise UnsupportedError(
        f"this processor lacks {', '.join(missing)}; Lamella generates code for x86-64 processors "
        f"with AVX2 and FMA (2013 and later){' or the target ' + wanted if wanted else ''}")
