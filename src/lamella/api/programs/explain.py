"""trace, plan, memory_curve, measure, explain: what a function does and needs, before it runs or
while it does. It may be compiled or not; one that is not is looked at as `compile` would make it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ...base import tree
from ...base.errors import UnsupportedError
from ...engine.measure import Measurement
from ...ir.program import Program
from ...planner.elsewhere import elsewhere
from ...planner.memory.budget import Point
from ...planner.pricing.roofline import device
from ...planner.report import Report
from ...planner.staged import StagedReport
from ..arrays.values import error, located
from .compiled import Compiled
from .leaf import type_of
from .options import options
from .parameters import Parameters
from .traced import traced


def trace(f: Callable, *args) -> Program:
    """The Program that f does for arguments (arrays or specs) of these types."""
    f = f.f if isinstance(f, Compiled) else f
    name = getattr(f, "__name__", type(f).__name__)
    leaves, _ = tree.flatten(args)
    return traced(f, args, [type_of(a, name) for a in leaves], name).program


def plan(f: Callable, *args, memory: str | int | None = None, profile: str | None = None,
         spill: bool = False, **kwargs) -> Report | StagedReport:
    """What a call of f with these arguments (arrays or specs) needs; nothing is compiled or run.

    memory: a budget in bytes ("64 MiB") that the plan keeps in place of f's own; BudgetError where
    none is found that does. spill: values may rest in a file for it. profile: a device ("h200") to
    plan and price it for, or a JSON file with its peak rates, in place of this machine
    (planner/pricing/roofline.py). f's own parameters of these names go by position.
    """
    found = _compiled(f)
    if memory is not None:
        found = found.within(memory, spill)
    if profile is None:
        return found.plan(*args, **kwargs)
    return elsewhere(lambda budget: found.within(budget).plan(*args, **kwargs),
                     located(device)(profile), found.options.bytes, found.options.spills)


def memory_curve(f: Callable, *args, spill: bool = False, **kwargs) -> list[Point]:
    """Time against memory: the plans for these arguments (arrays or specs) that memory budgets
    choose from, each with its peak in bytes, predicted seconds, steps that run again, and bytes
    that go into a file and come back (with `spill`, or where f is compiled with it). The first is
    the one without a budget, the last the floor; nothing is compiled or run."""
    found = _compiled(f)
    return (found.within(None, True) if spill else found).memory_curve(*args, **kwargs)


def measure(f: Callable, *args, **kwargs) -> Measurement:
    """What a call of f really touches and takes, to be held against `plan`; f is run on copies."""
    return _compiled(f).measure(*args, **kwargs)


def explain(f: Callable, *args, code: bool = False, run: bool = False,
            html: str | os.PathLike | None = None) -> str:
    """Every stage of f for these arguments as text: program, kernels, memory map, and with `code`
    the loop nests and the generated LLVM text. With `run` f is run, on copies of the arguments,
    and the table of kernels shows measured times beside the predicted ones. `html` names a file for
    a page with the memory map, the timeline, the roofline and the kernels."""
    from ...engine.explain import explain_plan, write_page
    report = measure(f, *args).report if run else plan(f, *args)
    if html is not None:
        if isinstance(report, StagedReport):
            raise error(UnsupportedError, "explain: a page shows a plan of one device; leave html "
                                          "out")
        write_page(report, html)
    return explain_plan(report, code)


def _compiled(f: Callable) -> Compiled:
    if isinstance(f, Compiled):
        return f
    parameters = Parameters(f)
    return Compiled(parameters, options(parameters))


__all__ = ["explain", "measure", "memory_curve", "plan", "trace"]
