"""Bytes that are touched beside bytes that are planned: 13 models at several batch sizes.

    python -m bench.exact [--batches 1,5,16] [MODEL ...]

For each model and batch size the training step, with donated state, and the inference run over
painted memory. One JSON line for each (planned, touched, machine code stated and made); the last
line is the summary.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import lamella

from . import zoo


def lines(name: str, batch: int) -> Iterator[dict[str, Any]]:
    """The step's and the inference's line."""
    work = zoo.work(name, batch=batch)
    held = zoo.evaluated(work.held)
    for kind, run, given in (
            ("step", lamella.compile(work.step, donate=work.donate), (*held, *work.inputs)),
            ("infer", lamella.compile(work.infer), (held[0], held[2], *work.inputs))):
        report = lamella.plan(run, *given)
        found = lamella.measure(run, *given)
        yield {"model": name, "batch": batch, "kind": kind, "planned": report.peak,
               "touched": found.peak, "code_planned": report.code, "code": found.code}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("models", nargs="*", default=list(zoo.WORKS))
    options.add_argument("--batches", default="1,5,16",
                         type=lambda text: [int(n) for n in text.split(",")])
    chosen = options.parse_args()
    found = []
    for name in chosen.models:
        for batch in chosen.batches:
            for line in lines(name, batch):
                found.append(line)
                print(json.dumps(line), flush=True)
    ratios = [x["code_planned"] / x["code"] for x in found]
    equal = sum(x["planned"] == x["touched"] for x in found)
    print(json.dumps({"cells": len(found), "equal": equal,
                      "code_ratio": [round(min(ratios), 2), round(max(ratios), 2)]}))


if __name__ == "__main__":
    main()
