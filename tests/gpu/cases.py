"""The ops' samples on a device: which of them the continuous integration takes, and their plans."""

import os

from ops.cases import CASES

from lamella.codegen.gpu import SM90
from lamella.lang.expr import walk
from lamella.lang.routine import expressions
from lamella.planner.build import build_plan

EVERY = os.environ.get("LAMELLA_TEST_EVERY") == "1"     # all samples: a quarter of an hour
_POINTWISE = 12     # of the ops of one scalar each, one in so many is taken

_LONG = ("attend_pullback",)    # a minute each in the interpreter


def _sample() -> list:
    """The first sample of every op, of pointwise ones now and then."""
    pointwise = [c for c in CASES if "pointwise" in c.op.facts]
    others: dict[str, list] = {}
    for c in CASES:
        if "pointwise" not in c.op.facts and c.op.name not in _LONG:
            others.setdefault(c.op.name, []).append(c)
    return pointwise[::_POINTWISE] + [cases[0] for cases in others.values()]


TAKEN = CASES if EVERY else _sample()
each_case = {"argvalues": TAKEN, "ids": [c.name for c in TAKEN]}


def plan_of(program, target=SM90):
    """The program's plan for a device."""
    return build_plan(program, target)


def in_the_processor_s_order(plan) -> bool:
    """Whether no kernel sums along a tile, so that its bits are the processor's."""
    return not any(x.op in ("fold", "product") for step in plan.launches()
                   for e in expressions(step.kernel.body) for x in walk(e))
