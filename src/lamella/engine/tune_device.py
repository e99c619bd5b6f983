"""Tuning on a device: the tiles of a program's products, timed there by events and remembered.

The planner chooses a tile, and into how many parts a sum is cut, by a cost model
(planner/kernels/tiles/contraction.py). Here the likely ones are timed for each product of a plan,
over packed operands, and the fastest is kept in a file beside the object cache, by the device's
name. Tiles that sum in another order give other last bits, on a device, too, always the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from ..base.devices import Device
from ..base.dtypes import DType, bfloat16, float8_e4m3fn, float32
from ..ir.node import placeholder
from ..ir.program import Program
from ..ir.types import tensor
from ..ops.contract import matmul
from ..ops.pointwise import cast
from ..planner.build import build_plan
from ..planner.kernels.tiles.contraction import Shape, Tile, candidates
from . import tiles
from .device import DeviceExecutable, upload
from .stations import Station, station
from .tuned import SECONDS, Asked, Tuned, fastest

RUNS, REPEATS = 20, 5   # of each tile: in one graph, and how often that is timed
MOST = 24           # tiles of one product, the likely ones first


def tune(programs: Sequence[Program], device: Device, say: Callable[[str], None] = print,
         seconds: float = SECONDS) -> list[Tuned]:
    """Time the tiles of every product of these programs on the device, so many seconds for each,
    remember the fastest, and give what was found. LamellaError where there is no folder to remember
    them in."""
    at = station(device)
    known = dict(at.target.tuned)
    found = fastest(tiles.named(at.runtime), known,
                    (s for program in programs for s in shapes(program, at)),
                    lambda s: tuned(s, at, seconds), say)
    at.target = at.target.with_tuned(known)
    return found


def shapes(program: Program, at: Station) -> list[Shape]:
    """The products of a program's plan whose factors are loaded as they are."""
    seen = Asked()
    build_plan(program, at.target.with_tuned(seen))
    return [s for s in seen.products if not s.computed]


def tuned(shape: Shape, at: Station, seconds: float = SECONDS) -> Tuned | None:
    """The seconds of the tiles of one product, until the time is up; None where no program of one
    matrix product asks for it."""
    dtype = {8: float8_e4m3fn, 16: bfloat16, 32: float32}[shape.bits]
    program, arrays = product(shape, dtype)
    if shapes(program, at) != [shape]:
        return None
    times = of_tiles(shape, program, at, arrays, seconds)
    return Tuned(shape, next(iter(times)), times,
                 lambda t: f"{t.rows}x{t.columns}, {t.parts} parts")


def product(shape: Shape, dtype: DType) -> tuple[Program, list[np.ndarray]]:
    """The product of packed matrices of a dtype, and matrices for it."""
    lead = () if shape.batch == 1 else (shape.batch,)
    inputs = [placeholder(tensor(dtype, (*lead, *rest)))
              for rest in ((shape.m, shape.k), (shape.k, shape.n))]
    wide = [cast(n, float32) if shape.bits == 8 else n for n in inputs]
    rng = np.random.default_rng(0)      # zeros would be multiplied with less power, so faster
    return Program(inputs, [matmul(*wide)], "product"), [
        rng.standard_normal(n.shape, np.float32).astype(dtype.numpy) for n in inputs]


def of_tiles(shape: Shape, program: Program, at: Station, arrays: list[np.ndarray],
             seconds: float) -> dict[Tile, float]:
    """The seconds of a run by tile, the planner's first, the likely ones behind it until the time
    is up."""
    times: dict[Tile, float] = {}
    end = time.perf_counter() + seconds
    for tile in candidates(shape, at.target)[:MOST]:
        times[tile] = least(program, at, {shape: tile}, arrays)
        if time.perf_counter() > end:
            break
    return times


def least(program: Program, at: Station, chosen: dict[Shape, Tile],
          arrays: list[np.ndarray]) -> float:
    """The least seconds of a run with these tiles: of many in one recorded graph, so that nothing
    waits for the host."""
    run = DeviceExecutable(build_plan(program, at.target.with_tuned(chosen)), at.runtime, at.blocks,
                           replays=False)
    values = [at.blocks.allocate(a.nbytes) for a in arrays]
    with at.blocks.turn:
        at.runtime.enter()
        for value, a in zip(values, arrays, strict=True):
            upload(at.runtime, value.address, a)

        kept: list = []     # the results, so that their bytes are not given back

        def runs(count: int) -> None:
            for _ in range(count):
                kept[:] = run.run([a.shape for a in arrays], values)

        runs(2)
        graph = at.blocks.record(lambda: runs(RUNS))
        return min(at.runtime.seconds(graph) for _ in range(REPEATS)) / RUNS
