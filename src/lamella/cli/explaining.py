"""`lamella plan` and `lamella explain`: what an inference program costs, before it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..engine.explain import explain_plan
from ..engine.kernels import target
from ..engine.profile import profile
from ..formats.lamella_file import load
from ..ir.program import Program
from ..planner.build import build_plan
from ..planner.report import Report
from ..runtime.walker import threads

Say = Callable[[str], None]


def program_of(source: str, changes: Sequence[str] = ()) -> Program:
    """The inference program of a model file, or of the model that a recipe builds."""
    if not source.endswith(".toml"):
        return load(source).program
    from ..formats.export import inference
    from . import build
    from .recipe import read
    recipe = read(source, changes)
    x, _ = build.arrays(recipe)
    return inference(build.model(recipe), {"x": build.input_type(recipe, x)})[0]


def _report(program: Program) -> Report:
    """The plan at the upper bounds of its symbols; nothing is compiled."""
    return Report(build_plan(program, target()), profile(), threads())


def plan(source: str, changes: Sequence[str], say: Say) -> None:
    """Print bytes, operations and predicted time of one inference."""
    say(str(_report(program_of(source, changes))))


def explain(source: str, changes: Sequence[str], say: Say) -> None:
    """Print the program, its plan, kernels and memory map."""
    program = program_of(source, changes)
    say(explain_plan(program, _report(program)))
