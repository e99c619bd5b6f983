"""A run of a plan, recorded: its steps one after another on a track of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..base import events
from ..base.source import render
from ..planner.plan import Host, Parallel
from .bind import Bound


def run_recorded(name: str, b: Bound, bases: Sequence[int], reached: list[int]) -> None:
    """Run the table, and record the run and the time of each step (of a loop all trips together).
    Steps that call host functions state what they read and write. `reached` is as `Table.run`'s."""
    b.table.timed = True
    began = time.perf_counter_ns()
    try:
        b.table.run(bases, reached)
    finally:
        spent = time.perf_counter_ns() - began
        ticks = b.table.ticks()
        b.table.timed = False
    rate, at = spent / max(1, int(ticks.sum())), float(began)
    for recorder in events.now:
        recorder.add(name, began, spent, "calls")
        for k, (step, count) in enumerate(zip(b.origins, ticks, strict=True)):
            took = float(count) * rate
            if isinstance(step, Parallel) and k and step is b.origins[k - 1]:
                continue    # the time of all is the first one's
            recorder.add(step.names, int(at), int(took), "steps", _about(step))
            at += took


def _about(step) -> dict[str, str]:
    """A step's line, and what the host function that it calls reads and writes."""
    about = {"line": render(step.source)}
    for s in step.members if isinstance(step, Parallel) else [step]:
        if isinstance(s, Host):
            about["reads"] = ", ".join(x.label for x, _ in s.operands)
            about["writes"] = ", ".join(x.label for x, _ in s.results if x is not None)
    return about
