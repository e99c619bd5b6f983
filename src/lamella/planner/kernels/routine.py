"""Routines to steps: an op's own loops over the buffers of a Plan."""

from __future__ import annotations

from ...lang import expr
from ...lang.expr import Expr
from ...lang.interpret import rebuilt, rewrite
from ...lang.loops import Loop
from ...lang.routine import RESULT, ZERO, Part, buffers_of, rewritten
from ..plan import Buffer, Launch
from .nest import Builder, Nest


def schedule_routine(nest: Nest, buffers) -> list[Launch]:
    """The launches of a routine, one for each part."""
    seed, = nest.group.seeds
    assert seed.routine is not None
    shared = {name: Buffer(dtype, count, "temporary", f"{seed.node.op.name} {name}")
              for name, dtype, count in seed.routine.workspaces}
    return [_launch(nest, buffers, shared, part) for part in seed.routine.parts]


def _launch(nest: Nest, buffers, shared: dict[str, Buffer], part: Part) -> Launch:
    b = Builder(nest, buffers)
    node = nest.group.seeds[0].node
    names: dict[str, str] = {}
    for name, writes in buffers_of(part.body).items():
        if name == RESULT:
            names[name] = b.operand(node, 0, node.dtype, writes)
        elif name in shared:
            names[name] = b.buffer(shared[name], 0, shared[name].dtype, writes)
    memo: dict[Expr, Expr] = {}
    renamed: dict[Expr, Expr] = {}

    def rename(e: Expr, args: tuple[Expr, ...]) -> Expr:
        if e.op == "load":
            return expr.make("load", args, (names.get(e.attr[0], e.attr[0]), *e.attr[1:]), e.dtype)
        return rebuilt(e, args)

    def visit(e: Expr) -> Expr:
        return rewrite(b.lowered(e, {}, memo), rename, renamed)

    for name, dtype, count in part.scratch:
        names[name] = b.scratch(dtype, visit(count))
    body = rewritten(part.body, visit, names)
    over = Loop(part.task, ZERO, b.size(("tasks",), part.tasks), body, "parallel")
    step = b.launch(part.name, [over], part.tasks, part.grain)
    step.flops = part.flops
    step.kernel.warps, step.kernel.stages = part.warps, part.stages
    return step
