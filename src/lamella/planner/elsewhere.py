"""A program on a device that is not at hand: planned for it where its kind is known, and priced."""

from __future__ import annotations

from collections.abc import Callable

from ..codegen.gpu import by_capability
from .build import build_plan
from .memory.budget import Budget
from .pricing.roofline import Roofline
from .report import Report


def elsewhere(here: Callable[[int | None], Report], device: Roofline,
              budget: int | None = None) -> Report:
    """What a program needs on the device within a budget in bytes, `here` what it needs on this
    machine: by a plan of its own where the device's compute capability is stated, else by the plan
    for this machine. BudgetError where no plan keeps the budget."""
    if not device.capability:
        found = here(budget)
        found.profile = device
        return found
    found = here(None)
    plan = build_plan(found.plan.program, by_capability(device.capability), found.plan.donated,
                      found.plan.fixed, budget=None if budget is None else Budget(budget))
    return Report(plan, device, 1, found.env)
