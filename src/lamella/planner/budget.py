"""The search for a plan within a memory budget: a second order of steps, and values made again.

It goes one trail that does not depend on the budget: a limit sinks by a few percent, and for each a
plan is sought that keeps it (`planner/search.py`). The budget takes the first plan of the
trail that keeps it, so that a smaller budget never has a larger peak; the smallest plan of the
trail is the floor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..base.errors import BudgetError
from ..base.extents import evaluate
from ..base.source import render
from .alias import may_lie_over
from .liveness import Draft, temporaries
from .memory import Memory, bytes_text
from .occupancy import Occupancy
from .place import aligned
from .plan import Buffer, Order, Plan
from .recompute import with_repeats
from .reorder import reordered
from .search import Search
from .units import work_of

_SINK = 0.05     # how far a limit lies below the peak before it, at first
_LEAST = 0.006   # and at last: then nothing helps any more


class Budget:
    """The bytes that a run may need, arguments included, with the scratch of so many threads."""

    __slots__ = ("bytes", "threads")

    def __init__(self, size: int, threads: int = 1):
        self.bytes, self.threads = size, threads

    def __repr__(self) -> str:
        return f"<{self.bytes} bytes, {self.threads} threads>"


def settle(plan: Plan) -> None:
    """Put the plan's steps, whose values do not share bytes yet, in the order that needs less."""
    draft = Draft(plan, plan.steps, {s.name: s.high for s in plan.symbols})
    other = reordered(draft)
    if other.peak < draft.peak:
        plan.steps = other.steps


def fits(plan: Plan, budget: Budget) -> bool:
    """Whether the plan, whose values do not share bytes yet, keeps the budget as it is."""
    env = {s.name: s.high for s in plan.symbols}
    return Draft(plan, plan.steps, env).memory(budget.threads).peak <= budget.bytes


def keep(plan: Plan, budget: Budget) -> None:
    """Give the plan, whose values do not share bytes yet, steps that keep the budget; BudgetError
    where none are found."""
    env = {s.name: s.high for s in plan.symbols}
    least: tuple[Memory, Draft] | None = None
    first: Memory | None = None
    for draft in trail(plan, env):
        if least is not None and draft.peak >= least[0].results + least[0].temporaries:
            continue    # placed it would need no less
        found = draft.memory(budget.threads)
        first = first or found
        if found.peak <= budget.bytes:
            plan.steps, plan.temporaries = draft.steps, temporaries(draft.steps)
            return
        if least is None or found.peak < least[0].peak:
            least = found, draft
    assert least is not None and first is not None
    raise BudgetError(_refusal(plan, budget, first, *least))


def trail(plan: Plan, env: Mapping[str, int]) -> Iterator[Draft]:
    """Drafts of the plan, each within a limit that sinks."""
    draft = Draft(plan, plan.steps, env)
    yield draft
    other = reordered(draft)
    if other.peak < draft.peak:
        draft = other
        yield draft
    occupancy = Occupancy(work_of(draft))
    search = Search(occupancy)
    sink = _SINK
    while sink >= _LEAST:
        if search.below(int(occupancy.peak * (1 - sink))):
            yield with_repeats(draft, occupancy)
        else:
            sink /= 2


# ---- what a refusal says ------------------------------------------------------------------------

def least_bytes(draft: Draft, threads: int) -> int:
    """Bytes that no plan of these kernels can do without: arguments, constants, scratch, and the
    results or all that some step reads and writes, whichever is more.

    Counted are values that cannot lie in the bytes of a donated argument (of the same size), and
    of a step's results those that cannot be written over what it reads.
    """
    plan, env = draft.plan, draft.env

    def size(b: Buffer) -> int:
        return aligned(evaluate(b.bytes, env))

    given = {size(plan.arguments[k]) for k in plan.donated}
    results = {id(b.root): size(b.root) for b in plan.results if b.root.role == "result"}
    most = sum(n for n in results.values() if n not in given)
    for s in Order(plan.steps).leaves:
        owners = {id(b.root): b.root for b in s.buffers()}
        held = [b for b in owners.values() if b.role in ("temporary", "result")
                and size(b) not in given and not may_lie_over(s, b)]
        most = max(most, sum(map(size, held)))
    found = draft.memory(threads)
    return found.arguments + found.constants + found.scratch + most


def _refusal(plan: Plan, budget: Budget, first: Memory, floor: Memory, draft: Draft) -> str:
    k = int(draft.live.argmax()) if len(draft.live) else -1
    pin = ""
    if k >= 0:
        step = draft.steps[k]
        where = render(step.source)
        pin = f", where {step.names}{f' ({where})' if where else ''} runs with " \
              f"{bytes_text(int(draft.live[k]))} alive"
    return (f"{plan.name} needs {bytes_text(first.peak)} and the budget is "
            f"{bytes_text(budget.bytes)}: arguments {bytes_text(first.arguments)}, results "
            f"{bytes_text(first.results)}, temporaries {bytes_text(first.temporaries)}. The "
            f"smallest plan found, with values computed again, needs {bytes_text(floor.peak)} "
            f"({floor.peak} bytes){pin}; no plan of these kernels needs less than "
            f"{bytes_text(least_bytes(draft, budget.threads))}; a smaller batch needs less")
