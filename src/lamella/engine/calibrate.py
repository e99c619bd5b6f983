"""Measuring a machine's profile with the kernels that programs run on."""

from __future__ import annotations

import time

import numpy as np

from ..base.errors import LamellaError
from ..ir.node import Node, make, placeholder
from ..ir.op import op_named
from ..ir.program import Program
from ..ir.types import tensor
from ..ops.contract import matmul
from ..planner.profile import Profile
from ..runtime.walker import threads
from . import profile as kept
from .kernels import target
from .measure import measure
from .program import compile_program
from .value import Value


def calibrate() -> str:
    """Measure, write the profile's file, and say what was found."""
    file = kept.path()
    if file is None:
        raise LamellaError("calibrate: there is no folder to keep the profile in; set "
                           "LAMELLA_CACHE to a folder")
    found = measure_profile()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_text(found.to_json())
    kept.forget()
    return (f"{found.name}: contraction {found.flops / 1e9:.1f} GFLOP/s a thread, other kernels "
            f"{found.map_flops / 1e9:.1f} Gop/s a thread, memory {found.bandwidth / 1e9:.1f} GB/s, "
            f"cache {found.cache_bandwidth / 1e9:.1f} GB/s a thread, "
            f"{found.launch_seconds * 1e6:.2f} us a launch\nwritten to {file}")


def measure_profile() -> Profile:
    """Rates of this machine: a matrix product, an elementary function, and copies of two sizes."""
    count = threads()
    x, y = (placeholder(tensor("float32", (768, 768))) for _ in range(2))
    product = _seconds([x, y], matmul(x, y))
    small, large, launch = (placeholder(tensor("float32", (n,))) for n in (1 << 18, 1 << 24, 16))
    near, far = _seconds([small], _negated(small)), _seconds([large], _negated(large))
    tanh = _seconds([small], make(op_named("tanh"), (small,)))
    return Profile(f"{target().name} with {count} threads", 2 * 768 ** 3 / product / count,
                   (1 << 18) / tanh / count, 8 * (1 << 24) / far, 8 * (1 << 18) / near / count,
                   24 << 20, _seconds([launch], _negated(launch)), measured=True)


def _negated(x: Node) -> Node:
    return make(op_named("neg"), (x,))


def _seconds(inputs: list[Node], output: Node, budget: float = 0.4) -> float:
    """The least time of one run, without Python's part of the call."""
    run = compile_program(Program(inputs, [output]))
    values = [Value.from_numpy(np.ones(n.shape, n.dtype.numpy)) for n in inputs]
    best, end = float("inf"), time.perf_counter() + budget
    while time.perf_counter() < end:
        best = min(best, measure(run.executable, values, 5).seconds)
    return best
