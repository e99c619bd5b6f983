"""Which values a program keeps from its first half for its second.

A training step is at its peak where the loss is. What lies before and is read behind must be kept,
or computed again: a map of values that are kept anyway costs little more than reading them, as it
fuses with what reads it. The best choice is a minimum cut of the graph between the halves, as in
PyTorch's partitioner for recompute. Nodes of the second half then read copies of the maps.

Before: a simplified Program.   After: one that computes the same, the maps between its halves anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...base.extents import Size, evaluate, symbols
from ...ir.node import Node, topological
from ...ir.program import Program, rebuild
from ...ir.types import tensors
from ...lang import expr
from .defined import CHEAP, definition_of, is_step, kind_of
from .flow import INFINITE, Network

_OPERATION = 0.25   # a cheap operation on one element, as so many bytes moved
_DEAR = 2.0         # an elementary function on one element
MUCH = 2.0          # room for a byte is worth as much as to write and to read it
LITTLE = 0.05       # of two ways that move as many bytes the one that keeps fewer is taken
SMALL = 4096       # values of fewer bytes are not looked at


class Second:
    """The second half of a program: its nodes by id, and which of them are copies of the first's.
    """

    __slots__ = ("copies", "nodes")

    def __init__(self, nodes: frozenset[int] = frozenset(), copies: frozenset[int] = frozenset()):
        self.nodes, self.copies = nodes, copies


NO_SECOND = Second()


def partition(p: Program, worth: float) -> tuple[Program, Second]:
    """The program with maps computed again behind its peak where that moves fewer bytes; each byte
    that need not be kept meanwhile is worth `worth` bytes moved."""
    env = {s.name: s.high for n in p.inputs for t in tensors(n.type) for e in t.shape
           if isinstance(e, Size) for s in symbols(e)}
    order = topological((*p.inputs, *p.outputs))
    at = _peak(order, env)
    again = _Halves(order, at, env, worth).again()
    return _with_copies(p, order, at, again) if again else (p, NO_SECOND)


def _with_copies(p: Program, order: list[Node], at: int,
                 again: set[int]) -> tuple[Program, Second]:
    """The program whose nodes behind place `at` read copies of the nodes `again`."""
    copies: dict[int, Node] = {}
    for n in order[:at + 1]:
        if id(n) in again:
            inputs = tuple(copies.get(id(i), i) for i in n.inputs)
            copies[id(n)] = Node(n.op, inputs, n.params, n.type, n.source, n.token)
    done: dict[int, Node] = {id(n): n for n in order[:at + 1]}
    seen = done | copies
    for n in order[at + 1:]:
        done[id(n)] = seen[id(n)] = rebuild(n, tuple(seen[id(i)] for i in n.inputs))
    made = frozenset(id(n) for n in copies.values())
    behind = made | {id(done[id(n)]) for n in order[at + 1:]}
    return Program(p.inputs, [done[id(o)] for o in p.outputs], p.name), Second(behind, made)


def bytes_of(n: Node, env: Mapping[str, int]) -> int:
    """The most bytes that its values have."""
    return sum(evaluate(t.bytes, env) for t in tensors(n.type))


def is_map(n: Node) -> bool:
    """Whether each of its elements is computed on its own, so that it fuses with what reads it."""
    return n.op.lower is not None and not n.op.loops and not is_step(n) and n.token is None and \
        "update" not in n.op.facts and kind_of(n, definition_of(n)) == "map"


def _fuses(n: Node) -> bool:
    return n.op.name in ("input", "constant") or "view" in n.op.facts or is_map(n)


def _peak(order: list[Node], env: Mapping[str, int]) -> int:
    """The place behind which most bytes are kept, each node read once counted where it is read. Not
    among the last maps: they fuse with what is before them, so nothing between them is kept."""
    number = {id(n): k for k, n in enumerate(order)}
    last = dict.fromkeys(number, -1)
    for k, n in enumerate(order):
        for i in n.inputs:
            last[id(i)] = k
    change = [0] * (len(order) + 1)
    for k, n in enumerate(order):
        if n.op.name not in ("input", "constant") and "view" not in n.op.facts and last[id(n)] > k:
            change[k] += bytes_of(n, env)
            change[last[id(n)]] -= bytes_of(n, env)
    best, held, most = 0, 0, -1
    end = max((k for k, n in enumerate(order) if not _fuses(n)), default=0)
    for k, c in enumerate(change[:end]):
        held += c
        if held > most:
            best, most = k, held
    return best


class _Halves:
    """The nodes up to place `at` of the order, those behind, and what lies between."""

    def __init__(self, order: list[Node], at: int, env: Mapping[str, int], worth: float):
        self.first, self.env, self.worth = order[:at + 1], env, worth
        self.number = {id(n): k for k, n in enumerate(self.first)}
        self.near: dict[int, list[Node]] = {id(n): [] for n in self.first}
        self.far: dict[int, list[Node]] = {id(n): [] for n in self.first}
        for k, n in enumerate(order):
            users = self.near if k <= at else self.far
            for i in n.inputs:
                if id(i) in users:
                    users[id(i)].append(n)

    def again(self) -> set[int]:
        """The nodes (by id) of the first half that the second computes again."""
        count = len(self.first)
        source, sink = 2 * count, 2 * count + 1
        net = Network(2 * count + 2)
        maps = [is_map(n) and bytes_of(n, self.env) >= SMALL for n in self.first]
        for k, n in enumerate(self.first):
            net.edge(source, k, price_again(n, self.far[id(n)], self.env) if maps[k] else INFINITE)
            net.edge(k, count + k, self._keeping(n))
            if self.far[id(n)]:
                net.edge(count + k, sink, INFINITE)
            if maps[k]:
                for i in n.inputs:
                    net.edge(count + self.number[id(i)], k, INFINITE)
        side = net.minimum_cut(source, sink)
        return {id(n) for k, n in enumerate(self.first) if maps[k] and not side[k]}

    def _keeping(self, n: Node) -> float:
        """What it costs to keep a value: to write it, where it is not written anyway, and to read
        it; and the room."""
        if n.op.name in ("constant", "input"):
            return 0.0
        size = bytes_of(n, self.env)
        written = any(not is_map(c) for c in self.near[id(n)])
        return size * (1 + (not written) + self.worth)


def price_again(n: Node, readers: Iterable[Node], env: Mapping[str, int]) -> float:
    """What it costs to compute a map again: its operations, and to write and read it where one of
    its readers cannot compute it."""
    elements = bytes_of(n, env) * 8 // max(1, n.dtype.bits)
    stored = any(not is_map(c) and "view" not in c.op.facts for c in readers)
    work = sum(_OPERATION if e.op.name in CHEAP else _DEAR for e in expr.walk(
        definition_of(n).body) if not isinstance(e.op, str))
    return elements * work + (2 * bytes_of(n, env) if stored else 0)
