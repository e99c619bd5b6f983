"""Reductions that stand alone: one inner axis if strides allow, else by way of a packed copy."""

from __future__ import annotations

from ...base.extents import product
from ...lang import expr
from ...lang.definition import Definition
from ...lang.expr import Expr
from ..groups.group import Fusion, Group, Seed
from ..plan import Buffer, Launch
from .columns import schedule_columns
from .nest import Nest, merged_axes
from .rows import schedule_map, schedule_rows


def schedule_reduction(nest: Nest, buffers, fusion: Fusion) -> list[Launch]:
    """The launches of a group of one reduction over any axes."""
    (seed, body), = nest.outputs()
    bound = list(body.attr[1])
    loose = nest.loose_axes(body.args)
    runs = merged_axes(bound, [r.strides for r in nest.reads.values()], loose)
    if len(runs) > 1 or (len(bound) > 1 and loose & set(bound)):
        return _packed(nest, buffers, fusion, seed, body)
    return _flattened(nest, seed, body, bound, runs)(buffers)


def _flattened(nest: Nest, seed: Seed, body: Expr, bound: list[Expr], runs):
    """The reduction with its bound axes as one, dispatched to rows or columns."""
    rank = len(seed.definition.axes)
    extent = product(b.attr[1] for b in bound)
    last = runs[-1][2] if runs else bound[-1]
    single = expr.axis("r", extent)
    for r in nest.reads.values():
        step = r.strides.get(last, 0)
        r.strides = {a: s for a, s in r.strides.items() if a not in bound}
        if step != 0:
            r.strides[single] = step
    element = body.args[0]
    if len(bound) == 1:
        element = expr.substitute(element, {bound[0]: single})
        _rekey(nest, {bound[0]: single})
    flat = expr.make("reduce", (element,), (body.attr[0], (single,)), body.dtype)
    nest.bodies = [flat]
    nest.group.domain = (seed.definition.shape, extent)
    if rank and _columns_better(nest, seed, single):
        return lambda buffers: schedule_columns(nest, buffers, single)
    inner = expr.axis(f"a{rank}", extent)
    for r in nest.reads.values():
        if single in r.strides:
            r.strides[inner] = r.strides.pop(single)
    return lambda buffers: schedule_rows(nest, buffers)


def _rekey(nest: Nest, mapping: dict[Expr, Expr]) -> None:
    """Reads of the element under its new axis names."""
    nest.reads = {expr.substitute(e, mapping): r for e, r in nest.reads.items()}


def _columns_better(nest: Nest, seed: Seed, inner: Expr) -> bool:
    """Whether the last kept axis, not the reduced one, is the contiguous one of the operands that
    have both."""
    last = seed.definition.axes[-1]
    reads = [r for r in nest.reads.values()
             if r.strides.get(inner, 0) != 0 and r.strides.get(last, 0) != 0]
    by_row = sum(r.strides[inner] == 1 for r in reads)
    return sum(r.strides[last] == 1 for r in reads) > by_row


def _packed(nest: Nest, buffers, fusion: Fusion, seed: Seed, body: Expr) -> list[Launch]:
    """The element values written row-major (kept axes, then bound), then reduced in rows."""
    from ...ir.node import placeholder
    from ...ir.types import tensor
    from ..groups.access import stored
    axes = (*seed.definition.axes, *body.attr[1])
    named = tuple(expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate(axes))
    element = expr.substitute(seed.definition.body.args[0], dict(zip(axes, named, strict=True)))
    values = placeholder(tensor(body.dtype, tuple(a.attr[1] for a in axes)), "packed")
    buffer = Buffer(values.dtype, values.type.size, "temporary", "packed")
    access = {**fusion.access, id(values): stored(values)}
    local = Fusion([], access, [])
    known = {**buffers, id(values): buffer}
    write = Seed(values, "map", Definition(seed.definition.operands, named, element), seed.reads)
    group = Group(write, (values.shape[:-1], values.shape[-1]))
    first = schedule_map(Nest(group, local, {id(values)}), known)
    count = product(a.attr[1] for a in body.attr[1])
    kept = seed.definition.axes
    inner = expr.axis(f"a{len(kept)}", count)
    flat = placeholder(tensor(body.dtype, (*seed.definition.shape, count)), "packed")
    access[id(flat)] = stored(flat)
    known[id(flat)] = buffer
    read = expr.read(0, (*kept, inner), body.dtype)
    again = Seed(seed.node, "reduce", Definition((flat.type,), kept, expr.make(
        "reduce", (read,), (body.attr[0], (inner,)), body.dtype)), [flat])
    group = Group(again, (seed.definition.shape, count))
    second = schedule_rows(Nest(group, local, {id(seed.node)}), known)
    return [first, *second]
