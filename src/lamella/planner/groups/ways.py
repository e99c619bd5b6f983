"""Along which axis a group can be computed in parts: the same definitions with fewer positions.

Along the outermost axis of its values a part of a group is the same kernel with a smaller extent;
so it is along the outermost axis that it sums over, and along the first axis of attention. A buffer
is then read and written block by block, a part of each block at a time. Where it is one block, the
parts are windows of it; of what is several (queries, keys and values in front of the batch, time in
front of it) parts can be read where the whole stands, and written where nobody needs the whole.
Small values may be read anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ...base import dtypes
from ...base.extents import upper
from ...ir.node import Node
from ...lang import expr
from ...lang.expr import Expr
from .access import Access
from .group import Fusion, Group, Seed
from .linear import linear

FEW = 4096      # elements of a value that may be read at other places than a part's own
FRONT = 4       # places of axes in front of that of the parts
_SUMMED = (dtypes.float32, dtypes.float64)
_KINDS = ("map", "reduce", "dot")
_BLOCKS = {"lead": 0, "lead of three": 3}   # by fact: operands whose cotangents a result holds


class Way:
    """How a group may be computed in parts of `axis`: `parts` are the stored nodes (by id) that a
    part reads a part of, with the elements of a block; `makes` are its own so; `whole` are those
    that it reads anywhere; `summed`: the axis is reduced; `numbered`: it is used as a number."""

    __slots__ = ("axis", "fusion", "group", "makes", "numbered", "parts", "summed", "whole")

    def __init__(self, group: Group, fusion: Fusion, axis: Expr, summed: bool):
        self.group, self.fusion, self.axis, self.summed = group, fusion, axis, summed
        self.parts: dict[int, int] = {}
        self.makes: dict[int, int] = {}
        self.whole: set[int] = set()
        self.numbered = False

    @property
    def extent(self) -> int:
        return self.axis.attr[1]


def ways_of(group: Group, fusion: Fusion) -> list[Way]:
    """The ways in which a group can be computed in parts."""
    if not all(isinstance(n, int) for s in group.seeds for n in s.node.shape):
        return []
    if group.kind == "routine":
        found = [_along_lead(group, fusion)]
    elif group.kind in _KINDS and all(s.kind in _KINDS for s in group.seeds):
        axes = group.seeds[0].definition.axes
        found = [*(_mapped(group, fusion, a) for a in _foremost(axes)), _summed(group, fusion)]
    else:
        found = []
    return [w for w in found if w is not None]


def _foremost(axes: Sequence[Expr]) -> list[Expr]:
    """The outermost axis, and that behind it where it has few places."""
    found = [a for a in axes if a.attr[1] != 1][:2]
    return found if found and found[0].attr[1] <= FRONT else found[:1]


def _mapped(group: Group, fusion: Fusion, axis: Expr) -> Way | None:
    """The way along an axis of the group's values."""
    way = Way(group, fusion, axis, False)
    for s in group.seeds:
        if axis not in s.definition.axes:
            return None
        place = s.definition.axes.index(axis)
        way.makes[id(s.node)] = prod(s.node.shape[place:])
    return _surveyed(way, group.seeds)


def _along_lead(group: Group, fusion: Fusion) -> Way | None:
    """The way along the first axis of a routine's operands in front of the last three (rows, heads,
    widths), each place of which is computed on its own; its result has a block for each of some
    operands of one size, or is one."""
    seed, = group.seeds
    blocks = _BLOCKS.get(next((f for f in _BLOCKS if f in seed.node.op.facts), ""))
    operands = seed.node.inputs
    if blocks is None or len(operands[0].shape) < 4:
        return None
    axis = expr.axis("a0", operands[0].shape[0])
    way = Way(group, fusion, axis, False)
    for n in operands:
        access = fusion.access.get(id(n))
        if access is None or not n.shape or n.shape[0] != axis.attr[1]:
            return None
        block = block_of(reading(n), axis, n, fusion)
        if not block or way.parts.setdefault(id(access.base), block) != block:
            return None
    if blocks and (len({n.type.size for n in operands[:blocks]}) > 1 or
                   blocks * operands[0].type.size != seed.node.type.size):
        return None
    size: Any = seed.node.type.size
    way.makes[id(seed.node)] = size // (blocks or 1)
    return way


def reading(n: Node) -> Expr:
    """A read of a node at axes of its own."""
    return expr.read(0, tuple(expr.axis(f"a{k}", e) for k, e in enumerate(n.shape)), n.dtype)


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
                block_of(e, way.axis, s.reads[e.attr[0]], fusion)
                for e in s.definition.body.args)):
            return None
    own = {id(s.node) for s in seeds}
    if own & way.whole or way.parts.keys() & way.whole or any(
            way.parts.pop(i, block) != block for i, block in way.makes.items()):
        return None
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
            block = block_of(e, axis, node, fusion) if axis in expr.free_axes(e) else 0
            if block:
                if way.parts.setdefault(base, block) != block:
                    return False
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


def block_of(e: Expr, axis: Expr, node: Node, fusion: Fusion) -> int:
    """The elements of the blocks of a buffer of which the read, at one place of the axis, stays
    within that place's slice; 0 where it does not, or where there are no such blocks."""
    a = fusion.access[id(node)]
    size: Any = a.base.type.size
    if not size or not all(isinstance(n, int) for n in (a.offset, size, *a.strides, *node.shape)):
        return 0
    terms = _terms(e, axis, node, a)
    if terms is None or not terms[0] or not axis.attr[1]:
        return 0
    step, constant, others = terms
    block = step * axis.attr[1]
    low = high = constant % block
    for reach in others:
        if reach[0] % block:
            low, high = low + min(0, reach[1]), high + max(0, reach[1])
    return block if size % block == 0 and low >= 0 and high < step else 0


def _terms(e: Expr, axis: Expr, node: Node, a: Access) -> tuple[int, int, list] | None:
    """(elements from one place of the axis to the next, the offset, and of each other term of the
    place that is read the step and how far it reaches)."""
    strides: Any = a.strides
    constant: Any = a.offset
    step, others = 0, []
    forms = [f for f in map(linear, e.args) if f is not None]
    if e.attr[1] is not None or len(forms) < len(e.args):   # anything within the extents
        at = [d for d, i in enumerate(e.args) if axis in expr.free_axes(i)]
        if len(at) != 1 or e.args[at[0]] is not axis or node.shape[at[0]] != axis.attr[1]:
            return None
        others = [(s, (n - 1) * s) for d, (n, s) in enumerate(zip(node.shape, strides, strict=True))
                  if d != at[0]]
        return strides[at[0]], constant, others
    for f, stride, extent in zip(forms, strides, node.shape, strict=True):
        constant = constant + f.constant * stride
        if axis in f.terms and f.terms[axis] * axis.attr[1] != extent:
            return None
        for x, c in f.terms.items():
            if x is axis:
                step += c * stride
            elif isinstance(c, int) and x.op == "axis" and isinstance(x.attr[1], int):
                others.append((c * stride, c * stride * (x.attr[1] - 1)))
            else:
                return None
    return step, constant, others
