"""The order in which groups run: producers first, and updates after the last look at the old value.

A result that could take the bytes of a donated argument waits for the argument's other readers, so
that parameters are updated in place.
"""

from __future__ import annotations

import heapq

from ..ir.node import Node
from ..ir.program import Program
from .fuse import Fusion, Group


def order_groups(program: Program, fusion: Fusion, donated: frozenset[int]) -> list[Group]:
    """The groups in an order that can run; ties keep the order in which the program states them."""
    groups = fusion.groups
    number = {id(g): k for k, g in enumerate(groups)}
    owner = {id(s.node): g for g in groups for s in g.seeds}
    needs: list[set[int]] = [set() for _ in groups]
    readers: dict[int, list[int]] = {}
    for g in groups:
        for n in g.reads():
            base = fusion.access[id(n)].base
            producer = owner.get(id(base))
            if producer is None:
                known = readers.setdefault(id(base), [])
                if number[id(g)] not in known:
                    known.append(number[id(g)])
            elif producer is not g:
                needs[number[id(g)]].add(number[id(producer)])
    wanted = {k for s in needs for k in s}
    for k, n in enumerate(program.inputs):
        if k in donated:
            _wait_for_readers(n, readers.get(id(n), []), groups, wanted, needs)
    return [groups[k] for k in _sorted(needs)]


def _wait_for_readers(argument: Node, readers: list[int], groups, wanted: set[int], needs) -> None:
    """The group that writes the argument's successor runs after all other readers."""
    heirs = [k for k in readers if k not in wanted and any(
        s.node.type.bytes == argument.type.bytes and s.node.dtype is argument.dtype
        for s in groups[k].seeds)]
    if len(heirs) == 1:
        others = {r for r in readers if r != heirs[0]}
        needs[heirs[0]] |= others
        wanted |= others    # nobody waits for an heir, so that no circle can arise


def _sorted(needs: list[set[int]]) -> list[int]:
    """A topological order, smallest number first."""
    users: list[list[int]] = [[] for _ in needs]
    missing = [len(s) for s in needs]
    for k, s in enumerate(needs):
        for p in s:
            users[p].append(k)
    ready = [k for k, m in enumerate(missing) if m == 0]
    heapq.heapify(ready)
    out: list[int] = []
    while ready:
        k = heapq.heappop(ready)
        out.append(k)
        for u in users[k]:
            missing[u] -= 1
            if missing[u] == 0:
                heapq.heappush(ready, u)
    assert len(out) == len(needs), "groups depend on each other in a circle"
    return out
