"""Arguments that a run overwrites: which, and from which step on, so that a run that fails midway
can tell those that are still as they were from those that are not."""

from __future__ import annotations

from collections.abc import Mapping

from ..planner.memory.accesses import touches
from ..planner.plan import Plan

NEVER = (1 << 63) - 1


def overwritten(plan: Plan, begins: Mapping[int, int]) -> list[int]:
    """For each argument the first step of the table that may write into its memory, or NEVER.

    `begins` gives the first one of each step of the plan, by id. What lies within a loop, a branch
    or a group counts from its beginning on.
    """
    numbers = {id(b): k for k, b in enumerate(plan.arguments)}
    first = [NEVER] * len(numbers)
    for step in plan.steps:
        for owner, writes in touches(step):
            k = numbers.get(id(owner))
            if writes and k is not None:
                first[k] = min(first[k], begins[id(step)])
    return first
