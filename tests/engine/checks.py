"""What a random program is held to: the same bits however it runs, and the reference's values."""

from __future__ import annotations

import numpy as np
from engine.random_programs import Maker
from ops.cases import compiled, execute, same_bits

from lamella.ir.interpret import interpret
from lamella.runtime import walker

# Of the smooth manner, against the largest element, by bytes of an element.
TOLERANCE = {1: 0.0, 2: 0.1, 4: 2e-4, 8: 1e-10}


def check(seed: int, manner: str) -> Maker:
    """Compile the program of a seed in every way and compare; raises AssertionError."""
    made = Maker(seed, manner)
    program, arrays = made.program, made.arrays
    before = [a.copy() for a in arrays]
    threads = walker.threads()
    fused = execute(compiled(program), arrays)
    try:
        for label, options, count in (("uncompiled", {"fused": False}, threads),
                                      ("one thread", {"cut": True}, 1),
                                      ("two threads", {"cut": True}, 2)):
            walker.set_threads(count)
            found = execute(compiled(program, **options), arrays)
            for k, (a, b) in enumerate(zip(fused, found, strict=True)):
                assert same_bits(a, b), f"{label}: output {k} differs: {difference(a, b)}"
    finally:
        walker.set_threads(threads)
    assert all(map(same_bits, arrays, before)), "an input was overwritten"
    compare(fused, reference(made), manner)
    return made


def reference(made: Maker) -> list[np.ndarray]:
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
