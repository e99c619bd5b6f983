"""From a Program to a Plan: the visible list of planning stages."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.extents import Size, symbols
from ..ir.program import Program, programs
from ..ir.types import tensors
from ..lang.machine import on_machine
from . import fuse as fusing
from .access import stored
from .alias import share_bytes
from .budget import Budget, keep
from .contract import schedule_contraction
from .control import schedule_control, temporary
from .cost import price
from .fuse import Fusion, Group, producer
from .host import schedule_host
from .indexed import schedule_update
from .liveness import temporaries
from .narrow import narrow
from .nest import Nest
from .order import order_groups
from .plan import Branch, Buffer, Copy, Loop, Plan, Step
from .prologue import hoist
from .prune import prune
from .reduction import schedule_reduction
from .routine import schedule_routine
from .rows import schedule_rows
from .simplify import expand, share
from .split import split


def build_plan(program: Program, target, donated: frozenset[int] = frozenset(),
               fixed: frozenset[int] = frozenset(), fused: bool = True,
               budget: Budget | None = None) -> Plan:
    """The plan of a program: expand -> narrow -> split -> share -> fuse -> schedule -> hoist ->
    keep the budget -> share bytes -> price. BudgetError where no plan within the budget is found.

    `donated` numbers the inputs whose bytes the plan may reuse, `fixed` those that are the same at
    every call. With `fused` false every op keeps a
    kernel of its own (composites one for all of their parts where that is possible).
    """
    arguments = [Buffer(n.dtype, n.type.size, "argument", n.params["name"] or f"argument {k}", k)
                 for k, n in enumerate(program.inputs)]
    steps, results = region(program, arguments, donated, target, fused)
    for k, b in enumerate(results):
        if b.role == "temporary":
            b.role, b.index = "result", k
    plan = Plan(program.name, program, steps, arguments, results, temporaries(steps), donated,
                fixed, tuple(_symbols(program)))
    hoist(plan)
    if budget is not None:
        keep(plan, budget)
    share_bytes(plan)
    plan.steps = _without_vain_copies(plan.steps)
    if _has_parts(program):
        for launch in plan.launches():
            launch.kernel = on_machine(launch.kernel)
    price(plan)
    return plan


def region(program: Program, given: list[Buffer], owned: frozenset[int], target,
           fused: bool) -> tuple[list[Step], list[Buffer]]:
    """(the steps of a program over its inputs' buffers, its outputs' buffers). `owned` numbers the
    inputs that it may overwrite. Programs inside of nodes are regions of their own."""
    tags: dict[int, int] | None = None if fused else {}
    program = expand(prune(program), tags)
    if tags is None:  # composites may bring loops; pruning would lose the tags
        program = prune(program)
    program = narrow(program, tags)
    program = split(program, tags)
    program = share(program, tags)
    fusion = fusing.fuse(program, tags, target.room)
    kept = _kept(fusion)
    buffers = _buffers(program, given, fusion, kept)
    steps: list[Step] = []
    for group in order_groups(program, fusion, owned):
        if group.kind == "step" and "host" in producer(group.seeds[0].node).op.facts:
            steps.append(schedule_host(group, fusion, buffers, kept))
        elif group.kind == "step":
            steps += schedule_control(group, fusion, buffers,
                                      lambda p, b, o: region(p, b, o, target, fused))
        elif any(id(s.node) in kept for s in group.seeds):
            steps += _steps(group, fusion, kept, buffers, target)
    return steps, [buffers[id(fusion.access[id(o)].base)] for o in fusion.outputs]


def _has_parts(program: Program) -> bool:
    """Whether any value, in programs inside too, is of a dtype that machines see as parts."""
    return any(t.dtype.part is not t.dtype for n in program.nodes() for t in tensors(n.type)) or \
        any(_has_parts(p) for n in program.nodes() for p in programs(n.params))


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


def _steps(group: Group, fusion: Fusion, kept: set[int], buffers, target) -> Sequence[Step]:
    if group.kind == "update" and _plain_update(group, fusion):
        return schedule_update(Nest(group, fusion, kept), buffers, False)
    nest = Nest(group, fusion, kept)
    if group.kind == "dot":
        return schedule_contraction(nest, buffers, fusion, target)
    if group.kind == "routine":
        return schedule_routine(nest, buffers)
    if group.kind == "reduce" and len(group.seeds) == 1:
        return schedule_reduction(nest, buffers, fusion)
    if group.domain is None:
        shape = group.seeds[0].node.shape
        group.domain = (shape[:-1], shape[-1]) if shape else ((), 1)
    return [schedule_rows(nest, buffers)]


def _plain_update(group: Group, fusion: Fusion) -> bool:
    """Whether the updated operand is a whole packed buffer, the update readable by strides."""
    node = group.seeds[0].node
    if len(group.seeds) > 1 or not node.shape:
        return False
    inputs = [fusion.access.get(id(i)) for i in node.inputs]
    x = inputs[0]
    if x is None or any(a is None for a in inputs):
        return False
    return x.offset == 0 and x.base.type.size == node.type.size and \
        x.strides == stored(node).strides


def _symbols(program: Program) -> list:
    found = {}
    for t in program.input_types:
        for e in t.shape:
            if isinstance(e, Size):
                for s in symbols(e):
                    found[s.name] = s
    return [found[k] for k in sorted(found)]
