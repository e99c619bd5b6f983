"""GPU targets as data: what schedules and the compiler are told about a kind of device."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

from ..base.errors import UnsupportedError
from .target import AVX512


class GpuTarget:
    """One compute capability. `shared_bytes`: of one program at most; of the usual card of the kind
    (a plan is made without one), by its data sheet: `processors` that run programs side by side,
    `flops` and `tensor_flops` (operations a second of float32, and of products of 16 bits),
    `bandwidth` (bytes a second of its memory); `contract_tiles` serve products that tiles are not
    made for, as on the processor."""

    __slots__ = ("arch", "bandwidth", "contract_tiles", "flops", "name", "processors",
                 "shared_bytes", "tensor_flops", "tuned")
    level = "tiles"
    room = 0
    vector_bits, near, core, far, prices = \
        512, AVX512.near, AVX512.core, AVX512.far, AVX512.prices  # a processor's, for the tiles
    pairs = quads = matrices = False
    threads = 8
    launch = 3e-6       # seconds of a step beside its work

    def __init__(self, name: str, arch: int, shared_bytes: int, processors: int, flops: float,
                 tensor_flops: float, bandwidth: float):
        self.name, self.arch, self.processors = name, arch, processors
        self.shared_bytes, self.bandwidth = shared_bytes, bandwidth
        self.flops, self.tensor_flops = flops, tensor_flops
        self.tuned: Mapping = {}    # by products' shapes, the tiles that were found the fastest
        self.contract_tiles: tuple[tuple[int, int], ...] = ((4, 1), (2, 1), (1, 1), (1, 1))

    def with_tuned(self, tuned: Mapping) -> GpuTarget:
        """The same with tiles that were found on one device."""
        found = copy(self)
        found.tuned = tuned
        return found

    @property
    def float8(self) -> bool:
        """Whether its tensor cores multiply float8s."""
        return self.arch >= 89

    def __repr__(self) -> str:
        return self.name


SM80 = GpuTarget("sm_80", 80, 163 << 10, 108, 19.5e12, 312e12, 2.0e12)
SM90 = GpuTarget("sm_90", 90, 227 << 10, 132, 67e12, 989e12, 4.8e12)
ALL = (SM90, SM80)  # newest first


def by_capability(arch: int) -> GpuTarget:
    """The newest target that a device of this compute capability runs."""
    for target in ALL:
        if target.arch <= arch:
            return target
    raise UnsupportedError(f"a GPU of compute capability {arch / 10} is not supported; the oldest "
                           f"that is: {ALL[-1].arch / 10}")
