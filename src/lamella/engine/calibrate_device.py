"""Measuring a device's rates by generated kernels, timed by its own events in recorded graphs.

What is reached stands for the ceiling: the fastest of some tiles of a large product for each dtype,
a map over more bytes than its caches hold (or the driver's copy, if that is faster), the shortest
kernel in a row of them, and copies from pinned memory and to it.
"""

from __future__ import annotations

import numpy as np

from ..base.atomic import replace_text
from ..base.devices import Device
from ..base.dtypes import DType, bfloat16, float8_e4m3fn, float16, float32
from ..base.errors import LamellaError
from ..ir.node import make, placeholder
from ..ir.op import op_named
from ..ir.program import Program
from ..ir.types import tensor
from ..planner.kernels.tiles.contraction import Shape
from ..planner.pricing.roofline import Roofline
from . import rates as kept
from .stations import Station, check, station
from .tune_device import least, of_tiles, product

WIDE, NARROW = 8192, 4096   # products of 16 and 8 bits, and of 32
ELEMENTS = 1 << 28          # of float32, that are moved
PINNED = 256 << 20          # bytes to the host's memory and back
SECONDS = 5.0               # for the tiles of each dtype
REPEATS, RUNS = 5, 4        # of copies


class Rates:
    """What was measured of a device: operations a second of products `by` dtype, the rest as in a
    `Roofline`, which `roofline` makes of it."""

    __slots__ = ("bandwidth", "by", "fetched", "launch", "sent")

    def __init__(self, by: dict[DType, float], bandwidth: float, launch: float, sent: float,
                 fetched: float):
        self.by, self.bandwidth, self.launch = by, bandwidth, launch
        self.sent, self.fetched = sent, fetched

    def roofline(self, at: Station) -> Roofline:
        device = at.runtime
        return Roofline(f"{device.name} (sm_{device.arch})", self.by[float32], self.bandwidth,
                        self.launch, device.bytes, device.arch,
                        max(self.by[bfloat16], self.by[float16]), min(self.sent, self.fetched),
                        device.context_bytes, measured=True)

    def __str__(self) -> str:
        products = ", ".join(f"{dtype} {rate / 1e12:.1f}" for dtype, rate in self.by.items())
        return (f"products: {products} TFLOP/s\n"
                f"memory: {self.bandwidth / 1e12:.3f} TB/s, read and written\n"
                f"a kernel in a graph: {1e6 * self.launch:.2f} us\n"
                f"to the host: {self.sent / 1e9:.1f} GB/s, from there: {self.fetched / 1e9:.1f}")


def calibrate(device: Device) -> str:
    """Measure, write the file of devices of that name, and say what was found. MissingExtra,
    UnsupportedError where there is none; LamellaError where there is no folder to write to."""
    check(device)
    at = station(device)
    file = kept.path(at.runtime)
    if file is None:
        raise LamellaError("calibrate: there is no folder to keep the profile in; set "
                           "LAMELLA_CACHE to a folder")
    found = measured(at)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_text(file, found.roofline(at).to_json())
    return f"{at.runtime.name}\n{found}\nwritten to {file}"


def measured(at: Station) -> Rates:
    """The rates of a device."""
    dtypes = [bfloat16, float16, *([float8_e4m3fn] if at.target.float8 else []), float32]
    by = {dtype: multiplied(at, dtype) for dtype in dtypes}
    launch = least(_plus_one(1024), at, {}, [np.zeros(1024, np.float32)])
    sent, fetched = _linked(at)
    return Rates(by, max(_mapped(at), _copied(at)), launch, sent, fetched)


def multiplied(at: Station, dtype: DType) -> float:
    """Operations a second of a large product of a dtype, by the fastest of some tiles."""
    n = NARROW if dtype is float32 else WIDE
    shape = Shape(n, n, n, 1, dtype.bits)
    program, arrays = product(shape, dtype)
    return _rate(2.0 * n ** 3, min(of_tiles(shape, program, at, arrays, SECONDS).values()))


def _plus_one(elements: int) -> Program:
    x = placeholder(tensor(float32, (elements,)))
    return Program([x], [make(op_named("add"), (x, x), {})], "map")


def _rate(amount: float, seconds: float) -> float:
    return amount / max(seconds, 1e-9)


def _mapped(at: Station) -> float:
    """Bytes a second of a map that reads and writes as many."""
    found = least(_plus_one(ELEMENTS), at, {}, [np.ones(ELEMENTS, np.float32)])
    at.blocks.trim()
    return _rate(8.0 * ELEMENTS, found)


def _copied(at: Station) -> float:
    """Bytes a second, read and written, of the driver's copy within the device."""
    size, device = 4 * ELEMENTS, at.runtime
    a, b = (at.blocks.allocate(size) for _ in range(2))
    with at.blocks.turn:
        device.enter()
        piece = np.zeros(min(size, 64 << 20), np.uint8)
        for start in range(0, size, len(piece)):
            device.upload(a.address + start, piece[:size - start])

        def runs() -> None:
            for _ in range(RUNS):
                device.copy(b.address, a.address, size)

        return _rate(2.0 * size * RUNS, min(device.seconds(runs) for _ in range(REPEATS)))


def _linked(at: Station) -> tuple[float, float]:
    """Bytes a second to the host's pinned memory, and from there."""
    device, block = at.runtime, at.blocks.allocate(PINNED)
    with at.blocks.turn:
        device.enter()
        device.upload(block.address, np.zeros(PINNED, np.uint8))
        here = at.blocks.pin(PINNED)

        def send() -> None:
            device.after(device.send(here.address, block.address, PINNED))

        def fetch() -> None:
            device.after(device.fetch(block.address, here.address, PINNED))

        sent, fetched = (min(device.seconds(way) for _ in range(REPEATS)) for way in (send, fetch))
        return _rate(PINNED, sent), _rate(PINNED, fetched)
