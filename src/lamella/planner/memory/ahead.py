"""Values that a device fetches from the host's memory, sent for so early that nothing waits.

A fetch needs its bytes from when it is queued on. It is moved in front of so many steps as are
predicted to take as long as it does, or of fewer, as far as the budget has room.
"""

from __future__ import annotations

from ..plan import Copy, Plan
from .budget import Budget, fits
from .liveness import rough_seconds

_TRIED = 4      # places of a fetch, each half as far ahead as the one before


def fetch_ahead(plan: Plan, budget: Budget) -> None:
    """Move the fetches of a plan whose values do not share bytes yet."""
    env = {s.name: s.high for s in plan.symbols}
    for fetch in [s for s in plan.steps if isinstance(s, Copy) and s.fetches]:
        needed = rough_seconds(fetch, env, plan.level)
        at = plan.steps.index(fetch)
        first = at
        while needed > 0 and first > 0 and not _makes(plan.steps[first - 1], fetch):
            first -= 1
            step = plan.steps[first]
            if not (isinstance(step, Copy) and (step.spills or step.fetches)):
                needed -= rough_seconds(step, env, plan.level)
        for _ in range(_TRIED):
            if first >= at:
                break
            before = plan.steps
            plan.steps = _moved(before, at, first)
            if fits(plan, budget):
                break
            plan.steps = before
            first = (first + at + 1) // 2


def _makes(step, fetch: Copy) -> bool:
    """Whether the step writes what is fetched."""
    return isinstance(step, Copy) and step.target is fetch.source_buffer


def _moved(steps: list, at: int, to: int) -> list:
    return [*steps[:to], steps[at], *steps[to:at], *steps[at + 1:]]
