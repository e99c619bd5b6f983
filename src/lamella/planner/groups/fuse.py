"""Fusion: which values are stored, and which of them one kernel computes together.

Fusion is substitution: a stored value's definition is written in terms of other stored values,
everything between them having been substituted. Two stored values may then share a kernel when
their definitions run over the same rows (and the same inner axis), one reading the other only at
its own place.

Before: a simplified Program.   After: a list of `Group`s in an order that can run.
"""

from __future__ import annotations

from ...ir.program import Program
from ...lang import expr
from ...lang.expr import Expr
from .access import Access
from .group import ALONE, Fusion, Group, Seed, producer
from .linear import linear
from .merge import merge
from .partition import NO_SECOND, Second
from .storing import Storing


def fuse(p: Program, tags: dict[int, int] | None = None, room: int = 8,
         second: Second = NO_SECOND) -> Fusion:
    """Groups of the program. With `tags` only values of the same tag (one uncompiled op) fuse;
    `room` is the target's (codegen/target.py); copies in the second half fuse with what lies there.
    """
    storing = Storing(p, tags, room, second)
    storing.decide()
    seeds = [storing.seed(n) for n in storing.order if id(n) in storing.stored
             and n.op.name != "input"]
    groups = merge(_grouped(seeds, storing.access), storing)
    return Fusion(groups, storing.access, list(p.outputs), second)


def _grouped(seeds: list[Seed], access) -> list[Group]:
    """One group for each seed; the results of one step together."""
    groups: list[Group] = []
    of_step: dict[int, Group] = {}
    for k, s in enumerate(seeds):
        if s.kind == "step":
            found = of_step.get(id(producer(s.node)))
            if found is not None:
                found.seeds.append(s)
                continue
        groups.append(Group(s, _domain(s, access), k))
        if s.kind == "step":
            of_step[id(producer(s.node))] = groups[-1]
    return groups


def _domain(s: Seed, access: dict[int, Access]) -> tuple | None:
    """(row extents, inner extent) that a seed runs over; None where it shares with nobody."""
    d = s.definition
    if s.kind in ALONE:
        return None
    if s.kind == "map":
        return (d.shape[:-1], d.shape[-1]) if d.shape else ((), 1)
    if s.kind != "reduce":
        return None
    bound = d.body.attr[1]
    if len(bound) != 1 or any(e.op == "reduce" for a in d.body.args for e in expr.walk(a)):
        return None
    return (d.shape, bound[0].attr[1]) if _along_rows(s, bound[0], access) else None


def _along_rows(s: Seed, bound: Expr, access: dict[int, Access]) -> bool:
    """Whether the reduced axis is the contiguous one of some operand (or all are constant); what
    is the same for all rows does not count beside one that is not."""
    steps: dict[bool, list] = {True: [], False: []}
    for e in expr.walk(s.definition.body):
        if e.op == "read" and bound in expr.free_axes(e):
            a = access[id(s.reads[e.attr[0]])]
            forms = [f for f in map(linear, e.args) if f is not None]
            steps[len(expr.free_axes(e)) > 1].append(sum(
                f.terms.get(bound, 0) * st for f, st in zip(forms, a.strides, strict=True))
                if len(forms) == len(e.args) else 1)
    found = steps[True] or steps[False]
    return not found or 1 in found
