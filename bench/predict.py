"""Predicted time against measured, over the zoo.

    python -m bench.predict [MODEL ...]            one JSON line for each step and inference
    python -m bench.predict --choose MODEL         twenty sizes of a model: has the one of which
                                                   the most operations a second are predicted them?

Run `lamella calibrate` first; no model takes part in that. `error` is predicted / measured - 1 of
the least time of a run. The last line is the summary.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from typing import Any

import lamella
from lamella.engine.profile import profile

from . import zoo

ROUNDS = 3      # measurements of each, of twenty runs


def lines(name: str) -> list[dict[str, Any]]:
    """Predicted and measured milliseconds of a model's training step and of an inference."""
    w = zoo.work(name)
    held = zoo.evaluated(w.held)
    return [_line(name, "step", lamella.compile(w.step, donate=w.donate), (*held, *w.inputs)),
            _line(name, "infer", lamella.compile(w.infer), (held[0], held[2], *w.inputs))]


def _line(name: str, kind: str, run: lamella.Compiled, args: tuple) -> dict[str, Any]:
    found = [run.measure(*args) for _ in range(ROUNDS)]
    measured, predicted = min(m.seconds for m in found), found[0].report.seconds
    return {"model": name, "kind": kind, "predicted_ms": round(1e3 * predicted, 3),
            "measured_ms": round(1e3 * measured, 3),
            "error": round(predicted / measured - 1, 3)}


def choose(name: str) -> dict[str, Any]:
    """Of twenty sizes (batch and width) the operations a second of the one that is predicted
    fastest, beside those of the fastest measured."""
    found = []
    for batch, width in itertools.product((4, 8, 16, 32, 64), (64, 96, 128, 192)):
        w = zoo.work(name, batch=batch, width=width)
        held = zoo.evaluated(w.held)
        line = _line(name, f"batch {batch}, width {width}",
                     lamella.compile(w.step, donate=w.donate), (*held, *w.inputs))
        print(json.dumps(line), flush=True)
        work = lamella.plan(w.step, *held, *w.inputs).flops
        found.append((line["predicted_ms"] / work, line["measured_ms"] / work, line["kind"]))
    chosen, best = min(found), min(found, key=lambda f: f[1])
    return {"model": name, "chosen": chosen[2], "fastest": best[2],
            "slower_by": round(chosen[1] / best[1] - 1, 3)}


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--choose"]:
        print(json.dumps(choose(arguments[1])), flush=True)
        return
    errors = []
    for name in arguments or zoo.WORKS:
        for line in lines(name):
            print(json.dumps(line), flush=True)
            errors.append(abs(line["error"]))
    print(json.dumps({"profile": profile().name, "measured_profile": profile().measured,
                      "median_error": round(statistics.median(errors), 3),
                      "worst_error": max(errors)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
