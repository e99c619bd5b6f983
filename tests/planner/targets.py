"""The targets that this machine can run, and that their kernels agree."""

from lamella.codegen.target import ALL
from lamella.engine import kernels
from lamella.engine.executable import Executable
from lamella.planner.build import build_plan
from lamella.runtime import llvm

HERE = [t for t in ALL if llvm.host().features.issuperset(t.features)]


def agree(program, operands) -> bool:
    """Whether every target gives the first result the same bits."""
    seen, before = set(), kernels.target()
    for t in HERE:
        kernels._target = t
        try:
            seen.add(Executable(build_plan(program, t))(operands)[0].numpy().tobytes())
        finally:
            kernels._target = before
    return len(seen) == 1
