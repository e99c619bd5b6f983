"""Along which axis a group can be computed in parts: the same definitions with fewer positions.

Along the outermost axis of its values a part of a group is the same kernel with a smaller extent;
so it is along the outermost axis that it sums over. What a part reads and writes are windows, so
the axis must be the outermost one of these buffers. Small values may be read anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...base import dtypes
from ...base.extents import upper
from ...ir.node import Node
from ...lang import expr
from ...lang.expr import Expr
from .group import Fusion, Group, Seed
from .linear import linear

FEW = 4096      # elements of a value that may be read at other places than a part's own
_SUMMED = (dtypes.float32, dtypes.float64)
_KINDS = ("map", "reduce", "dot")


class Way:
    """How a group may be computed in parts of `axis`: `parts` are the stored nodes (by id) that a
    part reads a part of, `whole` those that it reads anywhere; `summed`: the axis is reduced;
    `numbered`: it is used as a number."""

    __slots__ = ("axis", "fusion", "group", "numbered", "parts", "summed", "whole")

    def __init__(self, group: Group, fusion: Fusion, axis: Expr, summed: bool):
        self.group, self.fusion, self.axis, self.summed = group, fusion, axis, summed
        self.parts: set[int] = set()
        self.whole: set[int] = set()
        self.numbered = False

    @property
    def extent(self) -> int:
        return self.axis.attr[1]


def ways_of(group: Group, fusion: Fusion) -> list[Way]:
    """The ways in which a group can be computed in parts."""
    if group.kind not in _KINDS or any(s.kind not in _KINDS for s in group.seeds) or \
            not all(isinstance(n, int) for s in group.seeds for n in s.node.shape):
        return []
    return [w for w in (_mapped(group, fusion), _summed(group, fusion)) if w is not None]


def _mapped(group: Group, fusion: Fusion) -> Way | None:
    """The way along the outermost axis of the group's values."""
    axis = _outermost(group.seeds[0].definition.axes)
    if axis is None or any(_outermost(s.definition.axes) is not axis for s in group.seeds):
        return None
    return _surveyed(Way(group, fusion, axis, False), group.seeds)


def _summed(group: Group, fusion: Fusion) -> Way | None:
    """The way along the outermost axis that the group sums over."""
    seed = group.seeds[0]
    body = seed.definition.body
    if group.kind == "map" or (group.kind == "reduce" and len(group.seeds) > 1) or \
            body.op != "reduce" or body.attr[0] not in ("dot", "sum") or \
            body.dtype not in _SUMMED or not all(isinstance(a.attr[1], int) for a in body.attr[1]):
        return None
    if any(e.op == "reduce" for a in body.args for e in expr.walk(a)) or \
            (body.attr[0] == "dot" and not _has_columns(seed)):
        return None
    axis = _outermost(body.attr[1])
    return None if axis is None else _surveyed(Way(group, fusion, axis, True), [seed])


def _has_columns(seed: Seed) -> bool:
    """Whether the last axis of a product is that of one operand alone."""
    last = next((a for a in reversed(seed.definition.axes) if a.attr[1] != 1), None)
    return last is None or sum(
        last in expr.free_axes(a) for a in seed.definition.body.args) == 1


def _outermost(axes: Sequence[Expr]) -> Expr | None:
    axis = next((a for a in axes if a.attr[1] != 1), None)
    return axis if axis is not None and isinstance(axis.attr[1], int) else None


def _surveyed(way: Way, seeds: Sequence[Seed]) -> Way | None:
    """The way with what the seeds read in parts and whole; None where that is not told apart."""
    fusion = way.fusion
    for s in seeds:
        if not _survey(way, s, fusion) or (s.kind == "dot" and not all(
                way.axis not in expr.free_axes(e) or
                is_part(e, way.axis, s.reads[e.attr[0]], fusion)
                for e in s.definition.body.args)):
            return None
    own = {id(s.node) for s in seeds}
    if own & way.whole or way.parts & way.whole:
        return None
    way.parts -= own
    return way


def _survey(way: Way, s: Seed, fusion: Fusion) -> bool:
    """Note what a seed reads; false where it reads a large value across the parts."""
    axis = way.axis
    seen: set[Expr] = set()
    stack = [s.definition.body]
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        if e is axis:
            way.numbered = True
        elif e.op == "read":
            node = s.reads[e.attr[0]]
            base = id(fusion.access[id(node)].base)
            if axis in expr.free_axes(e) and is_part(e, axis, node, fusion):
                way.parts.add(base)
                stack += [a for a in e.args if axis not in expr.free_axes(a)]
            elif upper(node.type.size) > FEW and any(_moves(a, axis) for a in e.args):
                return False
            else:
                way.whole.add(base)
                stack += e.args
        else:
            stack += e.args
    return True


def _moves(e: Expr, axis: Expr) -> bool:
    """Whether an index depends on the axis other than by what it reads."""
    return e is axis or (e.op != "read" and any(_moves(a, axis) for a in e.args))


def is_part(e: Expr, axis: Expr, node: Node, fusion: Fusion) -> bool:
    """Whether the read, at one place of the axis, stays within one slice of the outermost axis of
    the buffer: the slice of that place."""
    a = fusion.access[id(node)]
    size: Any = a.base.type.size
    if not size or not all(isinstance(n, int) for n in (a.offset, size, *a.strides, *node.shape)):
        return False
    forms = [f for f in map(linear, e.args) if f is not None]
    if e.attr[1] is not None or len(forms) < len(e.args):
        return _is_slice(e, axis, node, fusion)
    low: Any = a.offset
    high: Any = low
    step: Any = 0
    for f, stride, extent in zip(forms, a.strides, node.shape, strict=True):
        low, high = low + f.constant * stride, high + f.constant * stride
        if axis in f.terms and f.terms[axis] * axis.attr[1] != extent:
            return False
        for x, c in f.terms.items():
            if x is axis:
                step += c * stride
                continue
            if not isinstance(c, int) or x.op != "axis" or not isinstance(x.attr[1], int):
                return False
            reach = c * stride * (x.attr[1] - 1)
            low, high = low + min(0, reach), high + max(0, reach)
    return step * axis.attr[1] == size and low >= 0 and high < step


def _is_slice(e: Expr, axis: Expr, node: Node, fusion: Fusion) -> bool:
    """As `is_part`, where other indices may be anything within the extents."""
    a: Any = fusion.access[id(node)]
    at = [d for d, i in enumerate(e.args) if axis in expr.free_axes(i)]
    if len(at) != 1 or e.args[at[0]] is not axis or node.shape[at[0]] != axis.attr[1]:
        return False
    step = a.strides[at[0]]
    others: Any = [(n, s) for d, (n, s) in enumerate(zip(node.shape, a.strides, strict=True))
                   if d != at[0]]
    return step * axis.attr[1] == a.base.type.size and all(s >= 0 for _, s in others) and \
        a.offset + sum((n - 1) * s for n, s in others) < step
