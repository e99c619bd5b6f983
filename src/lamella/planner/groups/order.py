"""The order in which groups run: producers first, and updates after the last look at the old value.

A result that could take the bytes of a donated argument waits for the argument's other readers, so
that parameters are updated in place.
"""

from __future__ import annotations

import heapq

from ...ir.node import Node
from ...ir.program import Program
from .group import Fusion, Group


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
    return [groups[k] for k in _sunk(_sorted(needs), needs, _early(groups, needs, fusion))]


def _early(groups: list[Group], needs: list[set[int]], fusion: Fusion) -> set[int]:
    """Groups of the second half that could run in the first, for others of the second: they need
    nothing but its values and copies of them."""
    second = fusion.second
    copies = {k for k, g in enumerate(groups) if all(id(s.node) in second.copies for s in g.seeds)}
    first = {k for k, g in enumerate(groups) if id(g.seeds[0].node) not in second.nodes}
    needed = set().union(*needs)
    return {k for k in needed - first if k in copies or needs[k] <= first | copies}


def _sunk(order: list[int], needs: list[set[int]], early: set[int]) -> list[int]:
    """The order with each of `early` right before the first that needs it."""
    out: list[int] = []
    begun: set[int] = set()

    def put(k: int) -> None:
        begun.add(k)
        for c in sorted(needs[k] & early - begun):
            if c not in begun:
                put(c)
        out.append(k)

    for k in order:
        if k not in early:
            put(k)
    assert len(out) == len(order), "a group is needed by itself"
    return out


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
