"""A second order of steps: those that free bytes run as early as they can.

List scheduling over what each step reads and writes: of the steps that can run, one that frees as
much as it takes goes first, else the earliest of the given order. So an optimizer's update follows
its gradient at once, and the gradients need not all be alive together.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from .liveness import Draft
from .plan import Host, Step


def reordered(draft: Draft) -> list[Step]:
    """The draft's steps in the second order."""
    needs = _needs(draft)
    users: list[list[int]] = [[] for _ in needs]
    for k, before in enumerate(needs):
        for p in before:
            users[p].append(k)
    missing = [len(n) for n in needs]
    left = {i: len(h.uses()) for i, h in draft.histories.items()}
    ready = [k for k, m in enumerate(missing) if not m]
    heapq.heapify(ready)
    out: list[int] = []
    begun: set[int] = set()
    while ready:
        k = next((k for k in sorted(ready) if _growth(draft, k, left, begun) <= 0), ready[0])
        ready.remove(k)
        heapq.heapify(ready)
        out.append(k)
        for b in _owners(draft, k):
            left[b] -= 1
            begun.add(b)
        for u in users[k]:
            missing[u] -= 1
            if not missing[u]:
                heapq.heappush(ready, u)
    assert len(out) == len(needs), "steps depend on each other in a circle"
    return [draft.steps[k] for k in out]


def _owners(draft: Draft, k: int) -> set[int]:
    return {id(b) for b, _ in draft.touches[k]}


def _growth(draft: Draft, k: int, left: Mapping[int, int], begun: set[int]) -> int:
    """Bytes that step k makes alive, less those that die with it."""
    grown = 0
    for b in _owners(draft, k):
        h = draft.histories[b]
        if h.buffer.role == "temporary" and draft.rents(h.buffer):
            grown += h.bytes * ((b not in begun) - (left[b] == 1))
    return grown


def _needs(draft: Draft) -> list[set[int]]:
    """The steps that must come before each: writers of what it reads, and whoever touched what it
    writes; a step that takes a donated argument's bytes behind the argument's readers. Calls of
    host functions keep their order."""
    needs: list[set[int]] = [set() for _ in draft.steps]
    for h in draft.histories.values():
        written = -1
        readers: list[int] = []
        for k in h.uses():
            writes = k in h.writes
            if written >= 0:
                needs[k].add(written)
            if writes:
                needs[k] |= set(readers)
                written, readers = k, []
            else:
                readers.append(k)
        heir = draft.heirs.get(id(h.buffer))
        if heir is not None:
            needs[heir] |= {k for k in h.reads if k < heir}
    calls = [k for k, s in enumerate(draft.steps) if isinstance(s, Host)]
    for before, k in zip(calls, calls[1:], strict=False):
        needs[k].add(before)
    return [n - {k} for k, n in enumerate(needs)]
