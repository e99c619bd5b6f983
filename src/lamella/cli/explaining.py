"""`lamella plan` and `lamella explain`: what a recipe's training step or a model file's inference
costs, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..api.compile import Spec
from ..base.errors import BudgetError
from ..engine.explain import explain_plan
from ..engine.kernels import target
from ..engine.profile import profile
from ..formats.lamella_file import load
from ..planner.build import build_plan
from ..planner.report import Report, bytes_text
from ..runtime.walker import threads
from ..train import Trainer

Say = Callable[[str], None]


def report_of(source: str, changes: Sequence[str] = ()) -> Report:
    """The plan of a recipe's training step, or of a model file's inference at its largest sizes."""
    if not source.endswith(".toml"):
        return Report(build_plan(load(source).program, target()), profile(), threads())
    from . import build
    from .recipe import read
    recipe = read(source, changes)
    x, y = build.arrays(recipe)
    rows = recipe.train.batch_size
    trainer = Trainer(build.model(recipe), build.optimizer(recipe), build.loss)
    return trainer.plan(*(Spec((rows, *a.shape[1:]), str(a.dtype)) for a in (x, y)))


def plan(source: str, changes: Sequence[str], say: Say, budget: int | None = None) -> None:
    """Print bytes, operations and predicted time; refuse where the budget would not be kept."""
    found = report_of(source, changes)
    say(str(found))
    if budget is not None and found.peak > budget:
        raise BudgetError(f"{source} needs {bytes_text(found.peak)} and the budget is "
                          f"{bytes_text(budget)}; {bytes_text(found.peak)} would fit")


def explain(source: str, changes: Sequence[str], say: Say, code: bool = False) -> None:
    """Print the program, its plan, kernels and memory map, and with `code` the generated code."""
    found = report_of(source, changes)
    say(explain_plan(found.plan.program, found, code))
