"""The search for a plan within a memory budget: a second order of steps, and values computed again.

Greedy, along one trail that does not depend on the budget: the limit sinks by a few percent, and
while some step needs more, the move is done that costs the least time for a byte of the excess. The
budget takes the first plan of the trail that keeps it, so that a smaller budget never has a larger
peak; the smallest plan of the trail is the floor. What may be computed again is Chen et al.,
"Training Deep Nets with Sublinear Memory Cost" (2016); to choose by cost, size and how long a value
rests is the rule of Kirisame et al., "Dynamic Tensor Rematerialization" (2021), done ahead of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..base.errors import BudgetError
from ..base.extents import evaluate
from ..base.source import render
from .alias import may_lie_over
from .liveness import Draft, temporaries
from .memory import Memory, bytes_text
from .place import aligned
from .plan import Buffer, Order, Plan
from .recompute import applied, moves
from .reorder import reordered

_SINK = 0.06     # how far the limit lies below the peak at first
_LEAST = 0.004   # and at last: then nothing helps any more
_TRIES = 6       # moves that are tried where the first ones help less than was estimated


class Budget:
    """The bytes that a run may need, arguments included, with the scratch of so many threads."""

    __slots__ = ("bytes", "threads")

    def __init__(self, size: int, threads: int = 1):
        self.bytes, self.threads = size, threads

    def __repr__(self) -> str:
        return f"<{self.bytes} bytes, {self.threads} threads>"


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
    """Drafts of the plan, each with a smaller excess over a limit that sinks with the peak."""
    draft = Draft(plan, plan.steps, env)
    yield draft
    other = draft.changed(reordered(draft))
    if other.peak < draft.peak:
        draft = other
        yield draft
    sink, lowest = _SINK, draft.peak
    while sink >= _LEAST:
        limit = int(lowest * (1 - sink))
        while draft.peak > limit:
            better = _better(draft, limit)
            if better is None:
                sink /= 2
                break
            draft = better
            lowest = min(lowest, draft.peak)
            yield draft


def _better(draft: Draft, limit: int) -> Draft | None:
    """The draft with the cheapest move that lessens its excess over the limit."""
    now = _excess(draft, limit)
    for _, move in moves(draft, limit)[:_TRIES]:
        found = draft.changed(applied(draft, move))
        if _excess(found, limit) < now:
            return found
    return None


def _excess(draft: Draft, limit: int) -> int:
    return int((draft.live - limit).clip(min=0).sum())


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
