"""Predicted time against measured, over the zoo.

    python -m bench.predict [MODEL ...]            one JSON line for each step and inference
    python -m bench.predict --choose MODEL [SIZE=N,N,... ...]
                                                   twenty configurations of a model (all batches
                                                   with all widths, or as given): has the one of
                                                   which the most operations a second are predicted
                                                   them?

Beside a model's sizes a configuration may have `memory` (a budget in percent of the peak without
one, for which values are computed again and regions in parts), `checkpoint` (0 or 1: the forward
half is computed again) and `micro` (how many equal parts of the batch, one after another).

Run `lamella calibrate` first; no model takes part in that. `error` is predicted / measured - 1 of
the least time of a run. Rounds of measurements go over all models in turns, so that what a
neighbour on the machine costs for some seconds falls on one round of a model only. The last line is
the summary.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from typing import Any

import lamella
from lamella.api.programs.compiled import Compiled
from lamella.base.errors import BudgetError
from lamella.engine.profile import profile

from . import zoo

ROUNDS = 4      # measurements of each, of twenty runs; of twenty sizes half as many
NEAR = 3        # of the sizes measured fastest go on in turns with the one that is chosen
SIZES = {"batch": "4,8,16,32,64", "width": "64,96,128,192"}
OWN = "memory", "checkpoint", "micro"     # a configuration's that are no sizes of the model


class Cell:
    """A compiled function with its arguments, and the least time of its runs so far."""

    def __init__(self, model: str, kind: str, run: Compiled, args: tuple):
        self.model, self.kind, self.run, self.args = model, kind, run, args
        self.report = lamella.plan(run, *args)
        self.seconds = float("inf")

    def measure(self) -> None:
        """Twenty more runs."""
        self.seconds = min(self.seconds, self.run.measure(*self.args).seconds)

    def line(self) -> dict[str, Any]:
        """Predicted and measured milliseconds."""
        predicted = self.report.seconds
        return {"model": self.model, "kind": self.kind, "predicted_ms": round(1e3 * predicted, 3),
                "measured_ms": round(1e3 * self.seconds, 3),
                "error": round(predicted / self.seconds - 1, 3)}


def cells(name: str) -> list[Cell]:
    """A model's training step and its inference."""
    w = zoo.work(name)
    held = zoo.evaluated(w.held)
    return [Cell(name, "step", lamella.compile(w.step, donate=w.donate), (*held, *w.inputs)),
            Cell(name, "infer", lamella.compile(w.infer), (held[0], held[2], *w.inputs))]


def measured(cells: list[Cell], rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """The lines of cells after all rounds, which are printed."""
    for _ in range(rounds):
        for cell in cells:
            cell.measure()
    found = [cell.line() for cell in cells]
    for line in found:
        print(json.dumps(line), flush=True)
    return found


def choose(name: str, *given: str) -> dict[str, Any]:
    """Of some configurations the operations a second of the one that is predicted fastest, beside
    those of the fastest measured. Counted are the operations of the plain step of those sizes. As
    of many the least is often one that was lucky, those measured fastest and the one predicted are
    measured anew in turns."""
    asked = dict(size.split("=") for size in given)
    named = asked if asked.keys() & {*OWN} else SIZES | asked
    found, work = [], []
    for chosen in itertools.product(*(map(int, text.split(",")) for text in named.values())):
        options = dict(zip(named, chosen, strict=True))
        cell, flops = configured(name, options)
        if cell is not None:
            found.append(cell)
            work.append(flops)
    measured(found, ROUNDS // 2)
    rivals = sorted(zip(found, work, strict=True), key=lambda f: f[0].seconds / f[1])[:NEAR]
    taken = min(zip(found, work, strict=True), key=lambda f: f[0].report.seconds / f[1])
    field = [*dict.fromkeys([taken, *rivals])]
    for _ in range(ROUNDS):
        for cell, _ in field:
            cell.measure()
    best = min(field, key=lambda f: f[0].seconds / f[1])
    print(json.dumps([cell.line() for cell, _ in field]), flush=True)
    return {"model": name, "configurations": len(found), "chosen": taken[0].kind,
            "fastest": best[0].kind, "slower_by": round(
                taken[0].seconds / taken[1] / (best[0].seconds / best[1]) - 1, 3)}


def configured(name: str, options: dict[str, int]) -> tuple[Cell | None, int]:
    """The step of these sizes and ways to run it (None where no plan keeps the budget), and the
    operations of the plain one."""
    w = zoo.work(name, **{k: n for k, n in options.items() if k not in OWN})
    args = (*zoo.evaluated(w.held), *w.inputs)
    plain = lamella.plan(lamella.compile(w.step, donate=w.donate), *args)
    percent = options.get("memory", 100)
    step = w.stepping(bool(options.get("checkpoint", 0)), options.get("micro", 1))
    run = lamella.compile(step, donate=w.donate,
                          memory=None if percent == 100 else plain.peak * percent // 100)
    kind = ", ".join(f"{k} {n}" for k, n in options.items())
    try:
        return Cell(name, kind, run, args), plain.flops
    except BudgetError as e:
        print(json.dumps({"model": name, "kind": kind, "none": str(e).splitlines()[0]}), flush=True)
        return None, plain.flops


def main(arguments: list[str]) -> None:
    if {"-h", "--help"} & {*arguments}:
        print(__doc__)
        return
    unknown = [name for name in arguments if name not in zoo.WORKS and arguments[0] != "--choose"]
    if unknown:
        sys.exit(f"no model is called {unknown[0]}; known: {', '.join(zoo.WORKS)}")
    if arguments[:1] == ["--choose"]:
        print(json.dumps(choose(*arguments[1:])), flush=True)
        return
    lines = measured([cell for name in arguments or zoo.WORKS for cell in cells(name)])
    errors = [abs(line["error"]) for line in lines]
    print(json.dumps({"profile": profile().name, "measured_profile": profile().measured,
                      "median_error": round(statistics.median(errors), 3),
                      "worst_error": max(errors)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
