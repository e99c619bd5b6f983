"""Predicted time against measured, over the zoo.

    python -m bench.predict [MODEL ...]            one JSON line for each step and inference
    python -m bench.predict --choose MODEL [SIZE=N,N,... ...]
                                                   twenty sizes of a model (all batches with all
                                                   widths, or as given): has the one of which the
                                                   most operations a second are predicted them?

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
from lamella.engine.profile import profile

from . import zoo

ROUNDS = 4      # measurements of each, of twenty runs; of twenty sizes half as many
SIZES = {"batch": "4,8,16,32,64", "width": "64,96,128,192"}


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
    """Of some sizes the operations a second of the one that is predicted fastest, beside those of
    the fastest measured."""
    named = SIZES | dict(size.split("=") for size in given)
    sizes, work = [], []
    for chosen in itertools.product(*(map(int, text.split(",")) for text in named.values())):
        w = zoo.work(name, **dict(zip(named, chosen, strict=True)))
        held = zoo.evaluated(w.held)
        sizes.append(Cell(name, ", ".join(f"{k} {n}" for k, n in zip(named, chosen, strict=True)),
                          lamella.compile(w.step, donate=w.donate), (*held, *w.inputs)))
        work.append(sizes[-1].report.flops)
    found = [(line["predicted_ms"] / n, line["measured_ms"] / n, line["kind"])
             for line, n in zip(measured(sizes, ROUNDS // 2), work, strict=True)]
    taken, best = min(found), min(found, key=lambda f: f[1])
    return {"model": name, "chosen": taken[2], "fastest": best[2],
            "slower_by": round(taken[1] / best[1] - 1, 3)}


def main(arguments: list[str]) -> None:
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
