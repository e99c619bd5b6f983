"""What a random program is held to: the same bits however it runs, and the reference's values."""

from __future__ import annotations

import numpy as np
from engine.random_contractions import Contraction
from engine.random_programs import Maker
from ops.cases import execute, same_bits

from lamella.api.arrays.array import from_numpy, wrap
from lamella.engine.executable import Executable
from lamella.engine.kernels import target
from lamella.ir.interpret import interpret
from lamella.ir.node import topological
from lamella.ir.program import Program, rebuild
from lamella.planner.build import build_plan
from lamella.runtime import walker

# Of the smooth manner, against the largest element, by bytes of an element.
TOLERANCE = {1: 0.0, 2: 0.1, 4: 2e-4, 8: 1e-10}


def check(seed: int, manner: str, variant: int = 0) -> None:
    """Run the program of a seed in every way and compare; raises AssertionError."""
    held(Maker(seed, manner, variant), manner)


def check_contraction(number: int) -> None:
    """The same for a random contraction."""
    held(Contraction(number), "smooth")


def held(made, manner: str) -> None:
    """Run a program (its `program` and `arrays`) in every way and compare."""
    program, arrays = made.program, made.arrays
    before = [a.copy() for a in arrays]
    plan = build_plan(program, target(), threads=2)
    fused = execute(Executable(plan), arrays)
    for step in plan.launches():
        step.grain = 1
    cut = Executable(plan)
    same("one thread", fused, on_threads(1, cut, arrays))
    same("two threads", fused, on_threads(2, cut, arrays))
    assert all(map(same_bits, arrays, before)), "an input was overwritten"
    compare(fused, reference(made), manner)
    same("uncompiled", fused, uncompiled(program, arrays))  # last: its values stay with nodes


def same(label: str, expected, found) -> None:
    for k, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert same_bits(a, b), f"{label}: output {k} differs: {difference(a, b)}"


def on_threads(count: int, executable: Executable, arrays) -> list[np.ndarray]:
    """The results of so many threads."""
    threads = walker.threads()
    walker.set_threads(count)
    try:
        return execute(executable, arrays)
    finally:
        walker.set_threads(threads)


def uncompiled(program: Program, arrays) -> list[np.ndarray]:
    """The results as a user's arrays give them without `compile`."""
    return [wrap(n).numpy() for n in over(program, [from_numpy(a).node for a in arrays])]


def over(program: Program, nodes) -> list:
    """The program's outputs over other inputs."""
    done = {id(old): new for old, new in zip(program.inputs, nodes, strict=True)}
    for n in topological(program.outputs):
        if id(n) not in done:
            done[id(n)] = rebuild(n, tuple(done[id(i)] for i in n.inputs))
    return [done[id(o)] for o in program.outputs]


def reference(made) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return interpret(made.program, made.arrays)


def compare(found, exact, manner: str) -> None:
    for k, (a, b) in enumerate(zip(found, exact, strict=True)):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), f"output {k}: type"
        if manner == "exact":
            assert np.array_equal(a, b), f"output {k}: {difference(a, b)}"
        elif manner == "smooth" and a.size:
            a, b = a.astype(np.float64), b.astype(np.float64)
            scale = max(1.0, float(np.abs(b).max()))
            bound = TOLERANCE[found[k].dtype.itemsize] * scale
            assert np.abs(a - b).max() <= bound, f"output {k}: {difference(a, b)}"


def difference(a, b) -> str:
    """The first elements that differ."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.dtype}{a.shape} against {b.dtype}{b.shape}"
    with np.errstate(all="ignore"):
        at = np.argwhere(~((a == b) | ((a != a) & (b != b))))
    first = tuple(at[0]) if len(at) else ()
    return f"{len(at)} of {a.size} elements, first {first}: {a[first]} against {b[first]}"
