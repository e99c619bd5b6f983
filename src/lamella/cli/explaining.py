"""`lamella plan` and `lamella explain`: what a recipe's training step or a model file's inference
costs, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from ..api.arrays.placing import compute_device
from ..api.programs.spec import Spec
from ..base import status
from ..base.devices import cpu
from ..base.errors import BudgetError, RecipeError, UnsupportedError
from ..codegen.gpu import GpuTarget, by_capability
from ..codegen.target import Target
from ..engine.explain import explain_plan, write_page
from ..engine.kernels import target
from ..engine.profile import profile
from ..formats.lamella_file import load
from ..planner.build import build_plan, memory_curve
from ..planner.elsewhere import elsewhere
from ..planner.memory.alive import alive_text
from ..planner.memory.budget import Budget
from ..planner.memory.peak import bytes_text
from ..planner.pricing.roofline import device
from ..planner.report import Report
from ..runtime.walker import threads
from ..train import Trainer

Say = Callable[[str], None]


def report_of(source: str, changes: Sequence[str] = (), budget: int | None = None,
              fast: bool = False, spill: str = "") -> Report:
    """The plan of a recipe's training step, or of a model file's inference at its largest sizes,
    within a memory budget in bytes, for which values may rest in a file in the folder `spill`; in
    `fast` mode where that or the recipe says so."""
    if not source.endswith(".toml"):
        kept = None if budget is None else Budget(budget, threads(), bool(spill))
        plan = build_plan(load(source).program, target(), budget=kept, fast=fast,
                          threads=threads())
        return Report(plan, profile(), threads())
    trainer, batch = step_of(source, changes, budget, fast, spill)
    return trainer.plan(*(Spec(a.shape, str(a.dtype)) for a in batch))


def step_of(source: str, changes: Sequence[str] = (), budget: int | None = None,
            fast: bool = False, spill: str = "") -> tuple[Trainer, list[np.ndarray]]:
    """What a recipe trains with, and a batch of its data (of rows anew, where there are fewer)."""
    from . import build
    from .recipe import read
    recipe = read(source, changes)
    trainer = Trainer(build.model(recipe), build.optimizer(recipe), build.loss,
                      memory=recipe.budget if budget is None else budget, seed=recipe.train.seed,
                      spill=spill or recipe.train.spill, fast=fast or recipe.train.fast,
                      autocast=recipe.train.autocast or None)
    rows = np.arange(recipe.train.batch_size)
    return trainer, [a[rows % len(a)] for a in build.arrays(recipe)]


def tune(source: str, changes: Sequence[str], say: Say, seconds: float, on: str = "") -> None:
    """Find the fastest cuts of the products of a recipe's training step, or of a model file's
    inference, for later plans on this machine, or the fastest tiles of the device `on`."""
    from ..engine import tune, tune_device
    gpu = compute_device("tune", on or None)
    plan = report_of(source, changes).plan
    say(f"{'batch x m x k x n':<24} {'planned':>13} {'fastest':>13} {'ratio':>6}  tile")
    found: list = tune.tune([(plan.program, plan.fixed)], say, seconds) if gpu is cpu else \
        tune_device.tune([plan.program], gpu, say, seconds)
    better = sum(t.better for t in found)
    say(f"{len(found)} products timed, {better} of them remembered with another cut")


def calibrate(say: Say, on: str = "") -> None:
    """Measure this machine, or the device `on`, and write the profile that times follow from."""
    from ..engine import calibrate, calibrate_device
    gpu = compute_device("calibrate", on or None)
    say(calibrate.calibrate() if gpu is cpu else calibrate_device.calibrate(gpu))


def draw_curve(source: str, changes: Sequence[str], say: Say, as_json: bool = False,
               on: str = "", fast: bool = False, spill: str = "") -> None:
    """Print time against memory: the plans that memory budgets choose from, by falling peak, on the
    device `on` if one is named."""
    plan = report_of(source, changes, fast=fast).plan
    if source.endswith(".toml"):
        from .recipe import read
        spill = spill or read(source, changes).train.spill
    kind, count = _kind(on)
    curve = memory_curve(plan.program, kind, plan.donated, plan.fixed, count, plan.fast,
                         bool(spill))
    if as_json:
        say(json.dumps([{n: getattr(p, n) for n in ("peak", "seconds", "again", "moved")}
                        for p in curve]))
        return
    least = curve[0].seconds or 1.0
    longest = max(p.seconds for p in curve) / least
    moved = f" {'to a file':>12}" if spill else ""
    say(f"{'peak':>12} {'steps again':>11}{moved} {'time':>6}")
    for p in curve:
        ratio = p.seconds / least
        bar = "#" * round(40 * ratio / longest)
        moved = f" {bytes_text(p.moved):>12}" if spill else ""
        say(f"{bytes_text(p.peak):>12} {p.again:>11}{moved} {ratio:>6.2f} {bar}")


def _kind(on: str) -> tuple[Target | GpuTarget, int]:
    """What a curve's plans are for, and by how many threads they run."""
    if not on:
        return target(), threads()
    found = device(on)
    if not found.capability:
        raise UnsupportedError(f"{found.name}: its profile states no compute capability, by which "
                               "plans for its memory are made; leave --memory-curve out")
    return by_capability(found.capability), 1


def largest_batch(source: str, changes: Sequence[str], say: Say, what: str, budget: int | None,
                  on: str = "", fast: bool = False, spill: str = "") -> None:
    """Print a batch whose training step keeps the budget (on the device `on` if one is named), as
    does that of the rest of the data at an epoch's end, where one row more does not; and its plan.
    Found by halving: a larger batch needs no less, but where it has parts and the smaller one has
    none."""
    if what != "batch" or not source.endswith(".toml"):
        raise RecipeError(f"--solve {what}: what can be solved for is the batch of a recipe")
    if budget is None:
        raise RecipeError("--solve batch needs a budget: add --memory 8GiB")
    from . import build
    from .recipe import read
    most = len(build.arrays(read(source, changes))[0])
    found: dict[int, Report] = {}

    def fits(rows: int) -> bool:
        status.say(f"trying {rows}")
        try:
            for size in [n for n in (most % rows, rows) if n]:
                found[size] = _planned(source, [*changes, f"train.batch_size={size}"], budget, on,
                                       fast, spill)
        except BudgetError:
            return False
        return True

    low, high = 0, 1
    with status.doing("largest batch"):
        while high <= most and fits(high):
            low, high = high, 2 * high
        high = min(high, most + 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
    if not low:
        raise BudgetError(f"not even a batch of one row keeps {bytes_text(budget)}; "
                          f"see lamella plan {source} --memory-curve --set train.batch_size=1")
    end = ", the whole data" if low == most else ""
    say(f"largest batch  {low} rows{end}\n{found[low]}")


def plan(source: str, changes: Sequence[str], say: Say, budget: int | None = None,
         on: str = "", fast: bool = False, spill: str = "") -> None:
    """Print bytes, operations and predicted time, on the device `on` if one is named, within the
    budget; BudgetError where no plan keeps it."""
    found = _planned(source, changes, budget, on, fast, spill)
    say("\n".join(filter(None, (str(found), alive_text(found)))))


def _planned(source: str, changes: Sequence[str], budget: int | None, on: str, fast: bool,
             spill: str) -> Report:
    """The plan on this machine, or on the device `on` if one is named."""
    def here(budget: int | None) -> Report:
        return report_of(source, changes, budget, fast, spill)

    return elsewhere(here, device(on), budget, bool(spill)) if on else here(budget)


def explain(source: str, changes: Sequence[str], say: Say, code: bool = False,
            html: str = "", fast: bool = False) -> None:
    """Print the program, its plan, kernels and memory map, and with `code` the generated code; or
    draw them on a page in the file `html`."""
    found = report_of(source, changes, fast=fast)
    if html:
        write_page(found, html)
        say(f"written to {html}")
    else:
        say(explain_plan(found, code))
