"""`lamella plan` and `lamella explain`: what a recipe's training step or a model file's inference
costs, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..api.compile import Spec
from ..engine.explain import explain_plan, write_page
from ..engine.kernels import target
from ..engine.profile import profile
from ..formats.lamella_file import load
from ..planner.alive import alive_text
from ..planner.budget import Budget
from ..planner.build import build_plan
from ..planner.report import Report
from ..runtime.walker import threads
from ..train import Trainer

Say = Callable[[str], None]


def report_of(source: str, changes: Sequence[str] = (), budget: int | None = None) -> Report:
    """The plan of a recipe's training step, or of a model file's inference at its largest sizes,
    within a memory budget in bytes."""
    if not source.endswith(".toml"):
        kept = None if budget is None else Budget(budget, threads())
        return Report(build_plan(load(source).program, target(), budget=kept), profile(), threads())
    from . import build
    from .recipe import read
    recipe = read(source, changes)
    x, y = build.arrays(recipe)
    rows = recipe.train.batch_size
    trainer = Trainer(build.model(recipe), build.optimizer(recipe), build.loss, memory=budget)
    return trainer.plan(*(Spec((rows, *a.shape[1:]), str(a.dtype)) for a in (x, y)))


def plan(source: str, changes: Sequence[str], say: Say, budget: int | None = None) -> None:
    """Print bytes, operations and predicted time, within the budget; BudgetError where no plan
    keeps it."""
    found = report_of(source, changes, budget)
    say("\n".join(filter(None, (str(found), alive_text(found)))))


def explain(source: str, changes: Sequence[str], say: Say, code: bool = False,
            html: str = "") -> None:
    """Print the program, its plan, kernels and memory map, and with `code` the generated code; or
    draw them on a page in the file `html`."""
    found = report_of(source, changes)
    if html:
        write_page(found, html)
        say(f"written to {html}")
    else:
        say(explain_plan(found.plan.program, found, code))
