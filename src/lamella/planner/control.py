"""Loops and choices as steps: the programs inside planned over the buffers around them.

A loop's carries live in the buffers of its results: the first values are copied there, and each
trip's new values at its end. Slices of operands and of stacked results are windows that advance by
one slice on each trip. What of these copies is needed is decided when bytes are shared (`alias`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..base.extents import Extent
from ..ir.node import ITEM, Node
from ..ir.program import Program
from ..ir.types import TensorType, tensors
from .groups.group import Fusion, Group, producer
from .plan import Branch, Buffer, Copy, Launch, Loop, Order, Step

# (program, its inputs' buffers, which of these it may overwrite, which stay the same whenever it
# runs again) -> (steps, its outputs' buffers)
Region = Callable[[Program, list[Buffer], frozenset[int], frozenset[int]],
                  tuple[list[Step], list[Buffer]]]


def schedule_control(group: Group, fusion: Fusion, buffers: dict[int, Buffer],
                     region: Region) -> list[Step]:
    """The steps of a node that has programs inside."""
    node = producer(group.seeds[0].node)
    operands = [buffers[id(fusion.access[id(i)].base)] for i in node.inputs]
    if node.op.name == "barrier":  # the same bytes: nothing to do but to come before what follows
        for s in group.seeds:
            buffers[id(s.node)] = operands[s.node.params["index"]]
        return []
    results = _results(node, group, buffers)
    plan = {"scan": _scan, "while": _while, "cond": _cond}[node.op.name]
    return plan(node, operands, results, region)


def _results(node: Node, group: Group, buffers: dict[int, Buffer]) -> list[Buffer]:
    """A buffer for each of the node's results, those nobody reads too."""
    found: dict[int, Buffer] = {}
    for s in group.seeds:
        if s.node.op is ITEM:
            k = s.node.params["index"]
            buffers[id(s.node)] = found.setdefault(k, buffers[id(s.node)])
    return [found.get(k) or temporary(t, node.op.name) for k, t in enumerate(tensors(node.type))]


def temporary(t: TensorType, label: str) -> Buffer:
    """A fresh buffer for a value of the type."""
    return Buffer(t.dtype, t.size, "temporary", label)


def _scan(node: Node, operands: list[Buffer], results: list[Buffer], region: Region) -> list[Step]:
    p = node.params
    body: Program = p["body"]
    n, count, length = p["consts"], p["carries"], p["length"]
    carried, stacked = results[:count], results[count:]
    loop = Loop(length, f"scan of {body.name}", node.source)

    def window(whole: Buffer, t: TensorType, of: Buffer | None = None) -> Buffer:
        """`of` (a fresh buffer where None) as this trip's slice of a whole."""
        b = of or Buffer(t.dtype, t.size, "temporary", whole.label)
        size: Extent = t.size
        b.alias = whole
        b.offset = (length - 1) * size if p["reverse"] else 0
        b.advance = (loop, size * -1 if p["reverse"] else size)
        return b

    slices = [window(b, t) for b, t in zip(operands[n + count:], body.input_types[n + count:],
                                           strict=True)]
    given = [*operands[:n], *carried, *slices]
    steps, ends = region(body, given, frozenset(range(n, n + count)), frozenset(range(n)))
    own = _Own(given)
    early: list[Step] = []
    late: list[Step] = []
    for whole, end, t in zip(stacked, ends[count:], body.output_types[count:], strict=True):
        if own.takes(end):
            window(whole, t, end)
        else:
            (early if own.given(end) else late).append(
                Copy(end, window(whole, t), "copy", node.source))
    carrying = _carrying(loop, carried, ends[:count], early)
    once, steps = _apart(steps, [*carried, *slices])
    loop.body = [*early, *steps, *late, *carrying]
    return [*once, *_begin(node, operands[n:n + count], carried), loop]


def _while(node: Node, operands: list[Buffer], results: list[Buffer], region: Region) -> list[Step]:
    p = node.params
    n = p["consts"]
    loop = Loop(None, f"while of {p['body'].name}", node.source)
    given = [*operands[:n], *results]
    still = frozenset(range(n))
    loop.head, (loop.flag,) = region(p["condition"], given, frozenset(), frozenset())
    steps, ends = region(p["body"], given, frozenset(range(n, len(given))), still)
    early: list[Step] = []
    carrying = _carrying(loop, results, ends, early)
    once, steps = _apart(steps, results)
    loop.body = [*early, *steps, *carrying]
    return [*once, *_begin(node, operands[n:], results), loop]


def _cond(node: Node, operands: list[Buffer], results: list[Buffer], region: Region) -> list[Step]:
    arms: list[list[Step]] = []
    for branch in node.params["branches"]:
        steps, ends = region(branch, operands[1:], frozenset(), frozenset())
        own = _Own(operands)
        for result, end in zip(results, ends, strict=True):
            if own.takes(end):
                end.alias = result
            else:
                steps = [*steps, Copy(end, result, "copy", node.source)]
        arms.append(steps)
    return [Branch(operands[0], arms, "cond", node.source)]


def _apart(steps: list[Step], varying: Sequence[Buffer]) -> tuple[list[Step], list[Step]]:
    """(launches that do the same on every trip, to be done once before; the others)."""
    writers: dict[int, int] = {}
    for s in Order(steps).leaves:
        for b in _written(s):
            writers[id(b.root)] = writers.get(id(b.root), 0) + 1
    changing = {*(id(b.root) for b in varying), *writers}
    once: list[Step] = []
    rest: list[Step] = []
    for s in steps:
        if isinstance(s, Launch) and all(
                b.alias is None and writers[id(b)] == 1 for b in _written(s)) and not any(
                id(o.buffer.root) in changing for o in s.operands if not o.writes):
            once.append(s)
            changing -= set(map(id, _written(s)))
        else:
            rest.append(s)
    return once, rest


def _written(s) -> list[Buffer]:
    """The buffers that a step writes (all that it touches, of one that is no launch)."""
    if isinstance(s, Launch):
        return [o.buffer for o in s.operands if o.writes]
    return s.buffers()


def _begin(node: Node, first: Sequence[Buffer], carried: Sequence[Buffer]) -> list[Step]:
    return [Copy(a, b, "first carry", node.source) for a, b in zip(first, carried, strict=True)]


def _carrying(loop: Loop, carried: Sequence[Buffer], ends: Sequence[Buffer],
              early: list[Step]) -> list[Step]:
    """The copies at a trip's end. A carry that becomes another one is put aside early, before a
    trip writes over it."""
    steps: list[Step] = []
    for target, end in zip(carried, ends, strict=True):
        if end is target:
            continue
        if any(end is c for c in carried):
            aside = Buffer(end.dtype, end.count, "temporary", "carry put aside")
            early.append(Copy(end, aside, "copy", loop.source))
            end = aside
        loop.carries.append((end, target))
        steps.append(Copy(end, target, "carry", loop.source))
    return steps


class _Own:
    """Which of a region's values are its own, so that each may be one result in place."""

    def __init__(self, given: Sequence[Buffer]):
        self.outer = set(map(id, given))
        self.taken: set[int] = set()

    def given(self, b: Buffer) -> bool:
        """Whether the value is one of the region's inputs."""
        return id(b) in self.outer

    def takes(self, b: Buffer) -> bool:
        """Whether the value may have the bytes of a result; true once."""
        if b.alias is not None or self.given(b) or id(b) in self.taken:
            return False
        self.taken.add(id(b))
        return True
