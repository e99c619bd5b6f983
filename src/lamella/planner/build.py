"""From a Program to a Plan: the visible list of planning stages."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.extents import Size, symbols
from ..ir.program import Program
from ..lang.machine import on_machine
from . import fuse as fusing
from .access import stored
from .alias import share_bytes
from .contract import schedule_contraction
from .cost import price
from .fuse import Fusion, Group
from .indexed import schedule_update
from .nest import Nest
from .order import order_groups
from .plan import Buffer, Copy, Plan, Step
from .reduction import schedule_reduction
from .routine import schedule_routine
from .rows import schedule_rows
from .simplify import expand, share
from .split import split


def build_plan(program: Program, target, donated: frozenset[int] = frozenset(),
               fused: bool = True) -> Plan:
    """The plan of a program: expand -> split -> share -> fuse -> schedule -> share bytes -> price.

    `donated` numbers the inputs whose bytes the plan may reuse. With `fused` false every op keeps a
    kernel of its own (composites one for all of their parts where that is possible).
    """
    tags: dict[int, int] | None = None if fused else {}
    program = expand(program, tags)
    program = split(program, tags)
    program = share(program, tags)
    fusion = fusing.fuse(program, tags)
    return schedule(program, fusion, target, donated)


def schedule(program: Program, fusion: Fusion, target, donated: frozenset[int]) -> Plan:
    """Buffers for what must be stored, and the steps that compute it."""
    kept = _kept(fusion)
    buffers, arguments = _buffers(program, fusion, kept)
    steps: list[Step] = []
    for group in order_groups(program, fusion, donated):
        if any(id(s.node) in kept for s in group.seeds):
            steps += _steps(group, fusion, kept, buffers, target)
    results = _results(program, fusion, buffers)
    temporaries = _temporaries(steps)
    plan = Plan(program.name, program, steps, arguments, results, [], temporaries, donated,
                tuple(_symbols(program)))
    share_bytes(plan)
    plan.steps = [s for s in plan.steps if not _copies_itself(s)]
    if any(n.dtype.part is not n.dtype for n in program.nodes()):
        for launch in plan.launches():
            launch.kernel = on_machine(launch.kernel)
    price(plan)
    return plan


def _copies_itself(step: Step) -> bool:
    """Whether a copy has become one of bytes onto themselves."""
    return isinstance(step, Copy) and step.source_buffer.root is step.target.root


def _kept(fusion: Fusion) -> set[int]:
    """Seeds whose values are read outside of their group, or are results."""
    kept = {id(fusion.access[id(o)].base) for o in fusion.outputs}
    for g in fusion.groups:
        kept |= {id(fusion.access[id(n)].base) for n in g.reads()}
    return kept


def _buffers(program: Program, fusion: Fusion, kept: set[int]):
    buffers: dict[int, Buffer] = {}
    arguments = []
    for k, n in enumerate(program.inputs):
        b = Buffer(n.dtype, n.type.size, "argument", n.params["name"] or f"argument {k}", k)
        arguments.append(b)
        buffers[id(n)] = b
    for g in fusion.groups:
        for s in g.seeds:
            if id(s.node) in kept:
                buffers[id(s.node)] = Buffer(s.node.dtype, s.node.type.size, "temporary",
                                             s.node.op.name)
    return buffers, arguments


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


def _results(program: Program, fusion: Fusion, buffers) -> list[Buffer]:
    results, seen = [], set()
    for k, o in enumerate(program.outputs):
        base = fusion.access[id(o)].base
        buffer = buffers[id(base)]
        if buffer.role == "temporary":
            buffer.role, buffer.index = "result", k
        seen.add(id(buffer))
        results.append(buffer)
    return results


def _temporaries(steps: list[Step]) -> list[Buffer]:
    found: dict[int, Buffer] = {}
    for s in steps:
        for b in s.buffers():  # type: ignore[union-attr]
            if b.role == "temporary":
                found[id(b)] = b
    return list(found.values())


def _symbols(program: Program) -> list:
    found = {}
    for t in program.input_types:
        for e in t.shape:
            if isinstance(e, Size):
                for s in symbols(e):
                    found[s.name] = s
    return [found[k] for k in sorted(found)]
