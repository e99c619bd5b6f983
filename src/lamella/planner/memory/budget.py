"""The search for a plan within a memory budget: a second order of steps, and values made again.

It goes one trail that does not depend on the budget (`planner/memory/trail.py`). The budget takes
the first plan of the trail that keeps it, so that a smaller budget never has a larger peak; the
smallest plan of the trail is the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from ...base.errors import BudgetError
from ...base.extents import evaluate
from ...base.source import render
from ..plan import Buffer, Order, Plan
from .alias import may_lie_over
from .liveness import Draft, temporaries
from .peak import Memory, bytes_text
from .place import aligned
from .regions import MOST
from .reorder import reordered
from .trail import Divider, trail


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


def keep(makers: Sequence[Callable[[], Plan]], budget: Budget,
         divider: Divider | None = None) -> Plan:
    """A plan that keeps the budget: of those that are made, whose values do not share bytes yet,
    the first for which steps are found; BudgetError where none are, at once where no plan of these
    kernels can."""
    first: Draft | None = None
    least: tuple[Memory, Draft] | None = None
    bound = 0
    for make in makers:
        plan = make()
        env = {s.name: s.high for s in plan.symbols}
        begun = Draft(plan, plan.steps, env)
        needed = least_bytes(begun, budget.threads, divider)
        first, bound = first or begun, min(bound or needed, needed)
        for draft, memory in smaller(trail(begun, divider), budget.threads) \
                if needed <= budget.bytes else ():
            if memory.peak <= budget.bytes:
                plan.steps, plan.temporaries = draft.steps, temporaries(draft.steps)
                return plan
            if least is None or memory.peak < least[0].peak:
                least = memory, draft
    assert first is not None
    raise BudgetError(_refusal(budget, first, bound, least))


def smaller(drafts: Iterable[Draft], threads: int) -> Iterator[tuple[Draft, Memory]]:
    """The drafts that need less than all before them, placed."""
    least: Memory | None = None
    for draft in drafts:
        if least is not None and draft.peak >= least.results + least.temporaries:
            continue    # placed it would need no less
        found = draft.memory(threads)
        if least is None or found.peak < least.peak:
            least = found
            yield draft, found


class Point:
    """A plan on the curve of time against memory: its peak in bytes, predicted seconds, and how
    many of its steps compute again what was computed before."""

    __slots__ = ("again", "peak", "seconds")

    def __init__(self, peak: int, seconds: float, again: int):
        self.peak, self.seconds, self.again = peak, seconds, again


def points(plan: Plan, threads: int, divider: Divider | None = None,
           at_most: int | None = None) -> list[Point]:
    """The plans that budgets choose from, the fastest first; the last one is the floor."""
    begun = Draft(plan, plan.steps, {s.name: s.high for s in plan.symbols})
    return [Point(memory.peak, sum(map(draft.seconds, range(len(draft.steps)))),
                  sum(getattr(s, "again", False) for s in Order(draft.steps).leaves))
            for draft, memory in islice(smaller(trail(begun, divider), threads), at_most)]


# ---- what a refusal says ------------------------------------------------------------------------

def least_bytes(draft: Draft, threads: int, divider: Divider | None = None) -> int:
    """Bytes that no plan of these kernels can do without: arguments, constants, scratch, and the
    results or all that some step reads and writes, whichever is more; of what a step can read and
    write in parts, one part.

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
        whole = sum(map(size, held))
        parts = [] if divider is None or whole <= most else divider.regions.parts_of(s)
        most = max(most, min([whole, *(
            sum(size(b) // (MOST if id(b) in apart else 1) for b in held if id(b) not in spared)
            for apart, spared in parts)]))
    found = draft.memory(threads)
    return found.arguments + found.constants + found.scratch + most


def _refusal(budget: Budget, first: Draft, bound: int, floor: tuple[Memory, Draft] | None) -> str:
    whole = first.memory(budget.threads)
    said = (f"{first.plan.name} needs {bytes_text(whole.peak)} and the budget is "
            f"{bytes_text(budget.bytes)}: arguments {bytes_text(whole.arguments)}, results "
            f"{bytes_text(whole.results)}, temporaries {bytes_text(whole.temporaries)}. ")
    if floor is not None:
        memory, draft = floor
        said += (f"The smallest plan found, with values computed again or in parts, needs "
                 f"{bytes_text(memory.peak)} ({memory.peak} bytes){_pin(draft)}; ")
    return (f"{said}no plan of these kernels needs less than {bytes_text(bound)} ({bound} bytes)"
            f"{'' if floor else _pin(first)}; a smaller batch needs less")


def _pin(draft: Draft) -> str:
    """The step that needs most."""
    if not len(draft.live):
        return ""
    k = int(draft.live.argmax())
    step, alive = draft.steps[k], bytes_text(int(draft.live[k]))
    where = render(step.source)
    return f", where {step.names}{f' ({where})' if where else ''} runs with {alive} alive"
