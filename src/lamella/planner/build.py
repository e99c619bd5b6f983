"""From a Program to a Plan: the visible list of planning stages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..base import status
from ..base.extents import Size, symbols
from ..ir.node import Node
from ..ir.program import Program, programs
from ..ir.types import tensors
from ..lang.loops import Kernel
from ..lang.machine import on_machine
from .control import schedule_control, temporary
from .groups import fuse as fusing
from .groups.group import Fusion, producer
from .groups.narrow import narrow
from .groups.order import order_groups
from .groups.partition import LITTLE, MUCH, NO_SECOND, partition
from .groups.placing import place_parts
from .groups.prune import prune
from .groups.relax import relax
from .groups.simplify import expand, share
from .groups.split import split
from .groups.trips import keep_less
from .host import schedule_host
from .memory.ahead import fetch_ahead
from .memory.alias import share_bytes
from .memory.budget import Budget, Point, fits, keep, peak, point, points, settle
from .memory.liveness import temporaries
from .memory.peak import bytes_text
from .memory.trail import Divider
from .parallel import run_in_parallel
from .plan import Branch, Buffer, Copy, Loop, Plan, Step
from .pricing.cost import price
from .prologue import hoist
from .schedule import Scheduler
from .streaming import stream


def build_plan(program: Program, target, donated: frozenset[int] = frozenset(),
               fixed: frozenset[int] = frozenset(), fused: bool = True,
               budget: Budget | None = None, fast: bool = False,
               ahead: Callable[[Kernel], None] | None = None, threads: int = 1) -> Plan:
    """The plan of a program: expand -> split (-> relax) -> share -> partition -> fuse ->
    schedule -> hoist -> settle the order -> keep the budget -> run in parallel -> share bytes ->
    stream -> price. BudgetError where no plan within the budget is found.

    `donated` numbers the inputs whose bytes the plan may reuse, `fixed` those that are the same at
    every call. With `fused` false every op keeps a
    kernel of its own (composites one for all of their parts where that is possible). With `fast`
    sums may have another order than the program states. `ahead` is shown kernels that the plan
    will have while the rest of it is still being made. `threads`: how many will run it, as far as
    that is known; any number may.
    """
    known = budget is None and not _has_parts(program)
    scheduler = Scheduler(target, fast, ahead if known else None)
    plan = _planned(program, scheduler, donated, fixed, fused, LITTLE)
    first = plan.steps
    if fused:
        settle(plan)
    if budget is not None and not _fits(plan, threads, budget):
        plan.steps, whole = first, plan
        with status.doing(f"{program.name} within {bytes_text(budget.bytes)}"):
            plan = keep([partial(_planned, program, scheduler, donated, fixed, fused, MUCH),
                         lambda: whole], budget, _divider(scheduler))
        if target.level == "tiles":
            fetch_ahead(plan, budget)
    in_parallel(plan, threads, budget)
    share_bytes(plan)
    plan.steps = _without_vain_copies(plan.steps)
    if _has_parts(program):
        for launch in (*plan.prologue, *plan.launches()):
            launch.kernel = on_machine(launch.kernel)
    if target.level == "loops":
        stream(plan)
    price(plan)
    for launch in (*plan.prologue, *plan.launches()):
        launch.origin = None
    return plan


def memory_curve(program: Program, target, donated: frozenset[int] = frozenset(),
                 fixed: frozenset[int] = frozenset(), threads: int = 1,
                 fast: bool = False, spills: bool = False) -> list[Point]:
    """The plans that memory budgets choose from, the largest first and the floor last; where it
    `spills`, with values in a file."""
    scheduler = Scheduler(target, fast)
    whole = _planned(program, scheduler, donated, fixed, True, LITTLE)
    first = whole.steps
    settle(whole)
    free = point(whole, threads)
    apart = in_parallel(whole, threads, None)
    free.peak = peak(whole, threads)
    apart()
    whole.steps = first
    with status.doing(f"the memory curve of {program.name}"):
        much = _planned(program, scheduler, donated, fixed, True, MUCH)
        found = points([much, whole], threads, _divider(scheduler), spills)
    return [free, *(p for p in found if p.peak < free.peak)]


def in_parallel(plan: Plan, threads: int, budget: Budget | None) -> Callable[[], None]:
    """Let launches run in parallel (what is returned takes that back), within the budget; where the
    program asks for memory by `checkpoint`, within what the plan needs without."""
    if plan.level == "tiles":
        return lambda: None
    if budget is None and _has(plan.program, lambda n: n.op.name == "barrier"):
        budget = Budget(peak(plan, threads), threads)
    return run_in_parallel(plan, threads, None if budget is None else partial(fits, plan, budget))


def _fits(plan: Plan, threads: int, budget: Budget) -> bool:
    """Whether the plan keeps the budget as it is, or with launches in parallel: their other order
    may need less."""
    if fits(plan, budget):
        return True
    apart = in_parallel(plan, threads, budget)
    found = fits(plan, budget)
    apart()
    return found


def _divider(scheduler: Scheduler) -> Divider | None:
    """What computes regions in parts; a device's kernels have no sums that go on."""
    return Divider(scheduler) if scheduler.target.level == "loops" else None


def _planned(program: Program, scheduler: Scheduler, donated: frozenset[int],
             fixed: frozenset[int], fused: bool, worth: float) -> Plan:
    """The plan in its first order of steps, before any two values share bytes."""
    arguments = [Buffer(n.dtype, n.type.size, "argument", n.params["name"] or f"argument {k}", k)
                 for k, n in enumerate(program.inputs)]
    steps, results = region(program, arguments, donated, fixed, scheduler, fused, worth)
    for k, b in enumerate(results):
        if b.role == "temporary":
            b.role, b.index = "result", k
    plan = Plan(program.name, program, steps, arguments, results, temporaries(steps), donated,
                fixed, tuple(_symbols(program)), scheduler.fast,
                scheduler.target.level)
    hoist(plan)
    return plan


def region(program: Program, given: list[Buffer], owned: frozenset[int], steady: frozenset[int],
           scheduler: Scheduler, fused: bool,
           worth: float | None) -> tuple[list[Step], list[Buffer]]:
    """(the steps of a program over its inputs' buffers, its outputs' buffers). `owned` numbers the
    inputs that it may overwrite, `steady` those that are the same whenever the steps run again;
    `worth` says how much room is worth where maps may be computed again (see `partition`).
    Programs inside of nodes are regions of their own."""
    tags: dict[int, int] | None = None if fused else {}
    program = expand(prune(program), tags)
    if tags is None:  # composites may bring loops; pruning would lose the tags
        program = prune(program)
        if worth is not None:
            program = keep_less(program, worth)
    program = split(program, tags)
    if scheduler.target.quads or scheduler.target.float8:
        program = narrow(program, scheduler.target, tags)
    if scheduler.fast and tags is None:
        program = relax(program, _steady(program, steady), scheduler.target)
    program = share(program, tags)
    second = NO_SECOND
    if tags is None and worth is not None:
        program, second = partition(program, worth)
    fusion = fusing.fuse(program, tags, scheduler.target.room, second)
    fusion.steady = _steady(program, steady)
    joins = place_parts(fusion) if tags is None and scheduler.target.level == "loops" else {}
    kept = _kept(fusion)
    buffers = _buffers(program, given, fusion, kept)
    for part, join in joins.items():
        buffers[part] = buffers[id(join)]
        buffers[part].parted = True
    steps: list[Step] = []
    for group in order_groups(program, fusion, owned):
        if group.kind == "placed":
            continue
        if group.kind == "step" and "host" in producer(group.seeds[0].node).op.facts:
            steps.append(schedule_host(group, fusion, buffers, kept))
        elif group.kind == "step":
            steps += schedule_control(group, fusion, buffers,
                                      lambda p, b, o, s: region(p, b, o, s, scheduler, fused, None))
        elif any(id(s.node) in kept for s in group.seeds):
            steps += scheduler.steps(group, fusion, kept, buffers)
    return steps, [buffers[id(fusion.access[id(o)].base)] for o in fusion.outputs]


def _steady(program: Program, inputs: frozenset[int]) -> set[int]:
    """The nodes (by id) whose values follow from these inputs alone."""
    found = {id(n) for k, n in enumerate(program.inputs) if k in inputs}
    for n in program.nodes():
        if n.inputs and found.issuperset(map(id, n.inputs)):
            found.add(id(n))
    return found


def _has_parts(program: Program) -> bool:
    """Whether any value is of a dtype that machines see as parts."""
    return _has(program, lambda n: any(t.dtype.part is not t.dtype for t in tensors(n.type)))


def _has(program: Program, wanted: Callable[[Node], bool]) -> bool:
    """Whether any node is so, in programs inside too."""
    return any(wanted(n) or any(_has(p, wanted) for p in programs(n.params))
               for n in program.nodes())


def _without_vain_copies(steps: list[Step]) -> list[Step]:
    """The steps without copies that have become ones of bytes onto themselves."""
    for s in steps:
        if isinstance(s, Loop):
            s.head, s.body = _without_vain_copies(s.head), _without_vain_copies(s.body)
        elif isinstance(s, Branch):
            s.arms = [_without_vain_copies(arm) for arm in s.arms]
    return [s for s in steps if not (isinstance(s, Copy) and s.in_vain)]


def _kept(fusion: Fusion) -> set[int]:
    """Seeds whose values are read outside of their group, or are results."""
    kept = {id(fusion.access[id(o)].base) for o in fusion.outputs}
    for g in fusion.groups:
        kept |= {id(fusion.access[id(n)].base) for n in g.reads()}
    return kept


def _buffers(program: Program, given: list[Buffer], fusion: Fusion,
             kept: set[int]) -> dict[int, Buffer]:
    """A buffer for each value that is stored: `given` for the inputs."""
    buffers = {id(n): b for n, b in zip(program.inputs, given, strict=True)}
    for g in fusion.groups:
        for s in g.seeds:
            if id(s.node) in kept or g.kind == "step":
                buffers[id(s.node)] = temporary(s.node.type, producer(s.node).op.name)
    return buffers


def _symbols(program: Program) -> list:
    found = {}
    for t in program.input_types:
        for e in t.shape:
            if isinstance(e, Size):
                for s in symbols(e):
                    found[s.name] = s
    return [found[k] for k in sorted(found)]
