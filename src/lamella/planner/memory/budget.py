"""A plan within a memory budget, or why there is none.

The budget takes the fastest plan of a trail (`planner/memory/trail.py`, `front.py`) that keeps it,
so that a smaller budget never has a larger peak; the smallest plan of the trail is the floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from ...base.errors import BudgetError
from ...base.extents import evaluate
from ...base.source import render
from ..plan import Buffer, Order, Plan
from .alias import may_lie_over
from .front import front
from .liveness import Draft, sharing, temporaries
from .peak import Memory, bytes_text, memory_of
from .place import aligned, place
from .regions import MOST
from .reorder import reordered
from .trail import Divider


class Budget:
    """The bytes that a run may need, arguments included, with the scratch of so many threads; where
    it `spills`, values may also rest in a file."""

    __slots__ = ("bytes", "spills", "threads")

    def __init__(self, size: int, threads: int = 1, spills: bool = False):
        self.bytes, self.threads, self.spills = size, threads, spills

    def __repr__(self) -> str:
        return f"<{self.bytes} bytes, {self.threads} threads{', a file' if self.spills else ''}>"


def settle(plan: Plan) -> None:
    """Put the plan's steps, whose values do not share bytes yet, in the order that needs less."""
    draft = Draft(plan, plan.steps, {s.name: s.high for s in plan.symbols})
    other = reordered(draft)
    if other.peak < draft.peak:
        plan.steps = other.steps


def fits(plan: Plan, budget: Budget) -> bool:
    """Whether the plan, whose values do not share bytes yet, keeps the budget as it is."""
    return peak(plan, budget.threads) <= budget.bytes


def peak(plan: Plan, threads: int) -> int:
    """The bytes that the plan, whose values do not share bytes yet, needs as it is."""
    env = {s.name: s.high for s in plan.symbols}
    with sharing(plan):
        return memory_of(plan, place(plan, env), threads, env).peak


def keep(makers: Sequence[Callable[[], Plan]], budget: Budget,
         divider: Divider | None = None) -> Plan:
    """A plan that keeps the budget: of those that are made, whose values do not share bytes yet,
    with the steps that are found to take the least time; BudgetError where none do, at once where
    no plan of these kernels can."""
    makers = [cache(make) for make in makers]
    begun = (Draft(plan, plan.steps, {s.name: s.high for s in plan.symbols})
             for plan in (make() for make in makers))
    needed: list[tuple[Draft, int]] = []
    while draft := next(begun, None):
        needed.append((draft, least_bytes(draft, budget.threads, divider)))
        if needed[-1][1] <= budget.bytes:
            break
    else:
        raise BudgetError(_refusal(budget, needed, None))
    for stop in front((make() for make in makers), budget.threads, divider, budget.spills):
        if stop.next is None or stop.next.memory.peak < budget.bytes:
            steps, memory = stop.cheapest()
            if memory.peak <= budget.bytes:
                stop.plan.steps, stop.plan.temporaries = steps.steps, temporaries(steps.steps)
                return stop.plan
    needed += [(draft, least_bytes(draft, budget.threads, divider)) for draft in begun]
    raise BudgetError(_refusal(budget, needed, (memory, steps)))


class Point:
    """A plan on the curve of time against memory: its peak in bytes, predicted seconds, how many
    of its steps compute again what was computed before, and how many bytes go into a file or come
    from there."""

    __slots__ = ("again", "moved", "peak", "seconds")

    def __init__(self, peak: int, seconds: float, again: int, moved: int = 0):
        self.peak, self.seconds, self.again, self.moved = peak, seconds, again, moved


def point(plan: Plan, threads: int) -> Point:
    """The plan, whose values do not share bytes yet, as it is."""
    draft = Draft(plan, plan.steps, {s.name: s.high for s in plan.symbols})
    return _point(draft, draft.memory(threads))


def points(plans: Iterable[Plan], threads: int, divider: Divider | None,
           spills: bool) -> list[Point]:
    """The plans that budgets choose from, the fastest first; the last one is the floor."""
    return [_point(*stop.cheapest()) for stop in front(plans, threads, divider, spills)]


def _point(draft: Draft, memory: Memory) -> Point:
    return Point(memory.peak, sum(map(draft.seconds, range(len(draft.steps)))),
                 sum(getattr(s, "again", False) for s in Order(draft.steps).leaves),
                 sum(evaluate(s.source_buffer.bytes, draft.env) for s in draft.plan.transfers))


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


def _refusal(budget: Budget, needed: list[tuple[Draft, int]],
             floor: tuple[Memory, Draft] | None) -> str:
    """`needed`: first drafts, and the bytes that no plan of their kernels can do without."""
    first, bound = needed[0][0], min(n for _, n in needed)
    whole = first.memory(budget.threads)
    said = (f"{first.plan.name} needs {bytes_text(whole.peak)} and the budget is "
            f"{bytes_text(budget.bytes)}: arguments {bytes_text(whole.arguments)}, results "
            f"{bytes_text(whole.results)}, "
            f"{f'constants {bytes_text(whole.constants)}, ' if whole.constants else ''}"
            f"temporaries {bytes_text(whole.temporaries)}. ")
    if floor is not None:
        memory, draft = floor
        ways = "computed again, in parts or in a file" if budget.spills else \
            "computed again or in parts"
        said += (f"The smallest plan found, with values {ways}, needs "
                 f"{bytes_text(memory.peak)} ({memory.peak} bytes){_pin(draft)}; ")
    none = "no plan" if floor else "No plan"
    return (f"{said}{none} of these kernels needs less than {bytes_text(bound)} ({bound} bytes)"
            f"{'' if floor else _pin(first)}; a smaller batch needs less")


def _pin(draft: Draft) -> str:
    """The step that needs most."""
    if not len(draft.live):
        return ""
    k = int(draft.live.argmax())
    step, alive = draft.steps[k], bytes_text(int(draft.live[k]))
    where = render(step.source)
    return f", where {step.names}{f' ({where})' if where else ''} runs with {alive} alive"
