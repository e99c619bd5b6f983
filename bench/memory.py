"""Memory budgets: 13 training steps within 10 budgets each, and within parts of their activations.

    python -m bench.memory [--cells 3/9,6/9,half] [--spill] [--out FILE] [--svg FILE] [--table]
                           [MODEL ...]

Prints one JSON line per cell (model, budget, floor, planned, measured, grown, time ratio, same
bits) and a last line with the summary. Budgets go from the plan's own peak down to the planner's
floor; two more cells leave the half and a quarter of the store-everything activation bytes: the
temporaries of the uncompiled step, each op's result kept until its last use. With `--spill` values
may rest in a file, too (in the folder for temporary files). With `--out` lines are
added to a file, and cells that it holds are not run again.

`time_ratio` is CPU time of one thread, budget to no budget, least of runs taken in turns;
`predicted_ratio` what the planner expects. Bits are those of all results after two steps.
`measured` is found in painted memory; `grown` is how much the resident memory of a fresh process
grows at its most, under a limit of the claim and 16 MiB.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ["LAMELLA_THREADS"] = "1"

import lamella
from lamella.base.errors import BudgetError
from lamella.engine.executable import Executable
from lamella.engine.kernels import target
from lamella.engine.proof import SLACK, prove
from lamella.planner.build import build_plan
from lamella.planner.report import Report

from . import zoo

BUDGETS = 10
SECONDS = 0.8   # of timed steps for each cell


class Run:
    """A compiled training step with its state."""

    def __init__(self, work: zoo.Work, memory: int | None = None, spill: bool = False):
        self.work = work
        self.compiled = lamella.compile(work.step, donate=work.donate, memory=memory, spill=spill)
        began = time.perf_counter()
        self.report = lamella.plan(self.compiled, *work.held, *work.inputs)
        self.plan_seconds = time.perf_counter() - began
        self.reset()

    def reset(self) -> None:
        """The state as it was before the first step."""
        self.held = lamella.tree.map(lambda a: lamella.asarray(a.numpy().copy()), self.work.held)

    def step(self) -> float:
        """The CPU time of one step."""
        began = time.thread_time()
        *self.held, loss = self.compiled(*self.held, *self.work.inputs)
        float(loss)
        return time.thread_time() - began

    def bits(self) -> list[bytes]:
        """All results after two steps from the beginning."""
        self.reset()
        self.step()
        self.step()
        return [a.numpy().tobytes() for a in lamella.tree.leaves(self.held)]

    def measured(self) -> int:
        """The bytes that a step touches."""
        return lamella.measure(self.compiled, *self.held, *self.work.inputs).peak


def grown(name: str, budget: int, spill: bool = False) -> int:
    """Bytes by which the resident memory of a process of its own grows in a few steps within a
    budget; that process may have no more than what the plan claims and SLACK."""
    done = subprocess.run([sys.executable, "-m", "bench.memory", "--grown", str(budget), name,
                           *["--spill"] * spill], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def _grow(name: str, budget: int, spill: bool) -> int:
    work = zoo.work(name)
    compiled = lamella.compile(work.step, donate=work.donate, memory=budget, spill=spill)
    report = lamella.plan(compiled, *zoo.evaluated(work.held), *work.inputs)
    return prove(Executable(report.plan, report.threads), report.peak + SLACK, 4).grown


def uncompiled_temporaries(whole: Run) -> int:
    """Bytes of the temporaries where each op of the program has results of its own."""
    plan = whole.report.plan
    alone = build_plan(plan.program, target(), plan.donated, plan.fixed, fused=False)
    return Report(alone, whole.report.profile).memory.temporaries


def floor_of(whole: Run) -> int:
    """The planner's floor."""
    w = whole.work
    return min(p.peak for p in lamella.memory_curve(whole.compiled, *w.held, *w.inputs))


def cells(name: str, done: set[str], wanted: list[str], spill: bool = False) -> Any:
    """The wanted lines of one model that are not done yet."""
    keys = [f"{k}/{BUDGETS - 1}" for k in range(BUDGETS)] + ["half", "quarter"]
    if {f"{name} {k}" for k in keys if k in (wanted or keys)} <= done:
        return
    work = zoo.work(name)
    zoo.evaluated(work.held)
    whole = Run(work, spill=spill)
    bits, peak, floor = whole.bits(), whole.report.peak, floor_of(whole)
    stored = uncompiled_temporaries(whole)
    rest = peak - whole.report.memory.temporaries
    budgets = {k: peak - (peak - floor) * n // (BUDGETS - 1) for n, k in enumerate(keys[:-2])}
    budgets |= {"half": rest + stored // 2, "quarter": rest + stored // 4}
    for key, budget in budgets.items():
        if f"{name} {key}" not in done and key in (wanted or keys):
            line = {"model": name, "cell": key, "budget": budget, "floor": floor, "peak": peak,
                    "stored": stored, **_cell(work, whole, budget, bits, spill)}
            yield line


def _cell(work: zoo.Work, whole: Run, budget: int, bits: list[bytes],
          spill: bool) -> dict[str, Any]:
    try:
        run = Run(work, budget, spill)
    except BudgetError:
        return {"feasible": False}
    same, planned = run.bits() == bits, run.report.peak
    first, second = [], []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(first) < 3:
        first.append(whole.step())
        second.append(run.step())
    return {"feasible": True, "planned": planned, "measured": run.measured(),
            "grown": grown(work.name, budget, spill), "kept": planned <= budget, "same_bits": same,
            "again": len(run.report.recomputed), "file": run.report.file_bytes,
            "predicted_ratio": round(run.report.seconds / whole.report.seconds, 4),
            "time_ratio": round(min(second) / min(first), 4),
            "plan_seconds": round(run.plan_seconds, 2)}


def summary(lines: list[dict]) -> dict[str, Any]:
    """What all cells say together."""
    grid = [c for c in lines if "/" in c["cell"]]
    found = [c for c in lines if c["feasible"]]
    monotone = True
    for name in {c["model"] for c in grid}:
        mine = sorted((c["budget"], c.get("planned", 0)) for c in grid if c["model"] == name)
        monotone &= [p for _, p in mine] == sorted(p for _, p in mine)
    out = {"models": len({c["model"] for c in lines}), "cells": len(grid),
           "feasible": sum(c["feasible"] for c in grid),
           "kept": sum(c["kept"] for c in found), "same_bits": sum(c["same_bits"] for c in found),
           "planned_is_measured": sum(c["planned"] == c["measured"] for c in found),
           "grown_within_16_MiB": sum(c["grown"] <= c["planned"] + SLACK for c in found),
           "grown_beyond_plan_worst": max((c["grown"] - c["planned"] for c in found), default=0),
           "of": len(found), "monotone": monotone,
           "plan_seconds_worst": max((c["plan_seconds"] for c in found), default=0)}
    for part in ("half", "quarter"):
        mine = [c for c in lines if c["cell"] == part]
        ratios = [c["time_ratio"] for c in mine if c["feasible"]]
        out[part] = {"feasible": f"{len(ratios)} of {len(mine)}",
                     "time_ratio": _mean(ratios), "predicted_ratio": _mean(
                         [c["predicted_ratio"] for c in mine if c["feasible"]])}
    return out


def _mean(ratios: list[float]) -> float | None:
    return round(math.exp(sum(map(math.log, ratios)) / len(ratios)), 4) if ratios else None


def picture(lines: list[dict]) -> str:
    """Time against memory as SVG: a line for each model, both axes in parts of no budget."""
    names = list(dict.fromkeys(c["model"] for c in lines))
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360" '
             'font-family="sans-serif" font-size="11">',
             '<path d="M50 310H500M50 310V20" stroke="black" fill="none"/>']
    for k in range(6):
        parts.append(f'<text x="{46 + 90 * k}" y="326">{k * 20}%</text>'
                     f'<text x="14" y="{314 - 55 * k}">{1 + k * 0.1:.1f}</text>')
    parts.append('<text x="170" y="348">peak bytes, of the plan without a budget</text>'
                 '<text x="52" y="16">CPU time</text>')
    for n, name in enumerate(names):
        mine = sorted((c["planned"] / c["peak"], c["time_ratio"]) for c in lines
                      if c["model"] == name and c["feasible"] and "/" in c["cell"])
        color = f"hsl({360 * n // len(names)},70%,40%)"
        points = " ".join(f"{50 + 450 * m:.0f},{min(310, max(20, 310 - 550 * (t - 1))):.0f}"
                          for m, t in mine)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}"/>'
                     f'<text x="515" y="{30 + 20 * n}" fill="{color}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def table(lines: list[dict]) -> str:
    """A line of Markdown for each model: its peak and floor in MiB, time ratios within budgets from
    the peak (0) down to the floor (9), peaks and ratios at the half and a quarter, and the most by
    which resident memory grew beyond a plan (less than nothing where pages were not touched)."""
    out = ["| model | no budget | floor | time at 3/9 | 6/9 | floor | half: peak, time "
           "| quarter: peak, time | resident - planned |", "|---" * 9 + "|"]
    for name in dict.fromkeys(c["model"] for c in lines):
        mine = {c["cell"]: c for c in lines if c["model"] == name}
        ratios = [_ratio(mine.get(f"{k}/{BUDGETS - 1}")) for k in (3, 6, 9)]
        parts = [f"{c['planned'] / 2 ** 20:.1f}, {_ratio(c)}" if c and c["feasible"] else
                 "none found" if c else "not run" for c in map(mine.get, ("half", "quarter"))]
        most = max(c["grown"] - c["planned"] for c in mine.values() if c["feasible"]) / 2 ** 20
        any_ = next(iter(mine.values()))
        out.append("| " + " | ".join([
            name, *(f"{any_[n] / 2 ** 20:.1f}" for n in ("peak", "floor")), *ratios, *parts,
            f"{most:+.2f}"]) + " |")
    return "\n".join(out)


def _ratio(cell: dict | None) -> str:
    return "not run" if cell is None else f"{cell['time_ratio']:.2f}"


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("models", nargs="*", default=list(zoo.WORKS))
    options.add_argument("--cells", type=lambda text: text.split(","), default=[],
                         help="run these alone, 0/9 to 9/9, half and quarter")
    options.add_argument("--spill", action="store_true", help="values may rest in a file")
    options.add_argument("--out", type=Path)
    options.add_argument("--svg", type=Path)
    options.add_argument("--table", action="store_true", help="print the cells as Markdown, too")
    options.add_argument("--grown", type=int, metavar="BYTES", help="print what a process grows by")
    chosen = options.parse_args()
    if chosen.grown is not None:
        print(_grow(chosen.models[0], chosen.grown, chosen.spill))
        return
    lines = [json.loads(x) for x in chosen.out.read_text().splitlines()] \
        if chosen.out and chosen.out.exists() else []
    done = {f"{c['model']} {c['cell']}" for c in lines}
    for name in chosen.models:
        for line in cells(name, done, chosen.cells, chosen.spill):
            lines.append(line)
            print(json.dumps(line), flush=True)
            if chosen.out:
                with chosen.out.open("a") as f:
                    f.write(json.dumps(line) + "\n")
    if chosen.svg:
        chosen.svg.write_text(picture(lines))
    if chosen.table:
        print(table(lines))
    print(json.dumps(summary(lines)))


if __name__ == "__main__":
    main()
