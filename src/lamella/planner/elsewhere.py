"""A program on a device that is not at hand: planned for it where its kind is known, and priced."""

from __future__ import annotations

from collections.abc import Callable

from ..base.errors import UnsupportedError
from ..codegen.gpu import by_capability
from .build import build_plan
from .memory.budget import Budget
from .pricing.roofline import Roofline
from .report import Report
from .staged import StagedReport


def elsewhere(here: Callable[[int | None], Report | StagedReport], device: Roofline,
              budget: int | None = None, spills: bool = False) -> Report:
    """What a program needs on the device within a budget in bytes (for which it `spills`), `here`
    what it needs on this machine: by a plan of its own where the device's compute capability is
    stated, else by the plan for this machine. BudgetError where no plan keeps the budget."""
    found = here(None if device.capability else budget)
    if isinstance(found, StagedReport):
        raise UnsupportedError(f"{found.name} runs on several devices, each of which is priced by "
                               f"its own profile; leave the profile {device.name} out")
    if not device.capability:
        found.profile = device
        return found
    within = None if budget is None else Budget(budget, 1, spills)
    plan = build_plan(found.plan.program, by_capability(device.capability), found.plan.donated,
                      found.plan.fixed, budget=within)
    return Report(plan, device, 1, found.env)
