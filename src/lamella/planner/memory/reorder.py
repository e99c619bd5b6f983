"""A second order of units: those that free bytes run as early as they can.

List scheduling over what each unit reads and writes: of the units that can run, one that frees
about as much as it takes goes first, else the earliest of the given order. So an optimizer's update
follows its gradient at once, and the gradients need not all be alive together. A unit that is at
the peak by what it needs for itself then waits until more has been freed.
"""

from __future__ import annotations

from bisect import insort

import numpy as np

from ..plan import Host
from .liveness import Draft
from .occupancy import Occupancy, Work
from .units import work_of

_LITTLE = 1000  # growth by so small a part of the peak is as good as none
_WAITS = 32     # units that are made to wait, at most


def reordered(draft: Draft) -> Draft:
    """The draft with its steps in the second order."""
    if not draft.steps:
        return draft
    work = work_of(draft)
    listed = _listed(draft, work, users_of(draft, work))
    draft = draft.changed([draft.steps[s] for k in listed for s in work.units[k].steps])
    work = work_of(draft)
    order, users = list(range(len(work.units))), users_of(draft, work)
    for _ in range(_WAITS):
        later = _with_a_wait(work, order, users)
        if later is None:
            break
        order = later
    return draft.changed([draft.steps[s] for k in order for s in work.units[k].steps])


def _listed(draft: Draft, work: Work, users: list[list[int]]) -> list[int]:
    """The units, of those that can run one first that takes little more than it frees."""
    missing = [0] * len(users)
    for behind in users:
        for u in behind:
            missing[u] += 1
    left = [len(readers) for readers in work.readers]
    ready = [k for k, m in enumerate(missing) if not m]
    out: list[int] = []
    while ready:
        k = next((k for k in ready if _growth(work, k, left) * _LITTLE <= draft.peak), ready[0])
        ready.remove(k)
        out.append(k)
        for v in work.units[k].reads:
            left[v] -= 1
        for u in users[k]:
            missing[u] -= 1
            if not missing[u]:
                insort(ready, u)
    assert len(out) == len(users), "units depend on each other in a circle"
    return out


def _with_a_wait(work: Work, order: list[int], users: list[list[int]]) -> list[int] | None:
    """The order with the unit at the peak run where less is alive; None where that does not help.
    """
    now = Work([work.units[k] for k in order], work.sizes, work.kept, work.base)
    o = Occupancy(now)
    t = int(o.during.argmax())
    u, place = now.units[t], {k: n for n, k in enumerate(order)}
    end = min((place[n] for n in users[order[t]]), default=len(order))
    if end <= t + 2:
        return None
    freed = sum(now.sizes[v] for v in u.reads if now.readers[v][-1] == t)
    more = freed - sum(now.sizes[v] for v in u.writes)
    alone = int(o.during[t] - o.across[t]) + freed
    between = np.maximum.accumulate(o.during[t + 1:end] + more)
    behind = np.append(o.across[t + 2:], now.base)[:len(between)] + alone
    q = int(np.maximum(between, behind).argmin())
    moved = [*order[:t], *order[t + 1:t + 2 + q], order[t], *order[t + 2 + q:]]
    there = Occupancy(Work([work.units[k] for k in moved], work.sizes, work.kept, work.base))
    return moved if there.peak < o.peak else None


def _growth(work: Work, k: int, left: list[int]) -> int:
    """Bytes that unit k makes alive, less those that die with it."""
    u = work.units[k]
    return sum(work.sizes[v] for v in u.writes) - sum(
        work.sizes[v] for v in u.reads if left[v] == 1 and v not in work.kept)


def users_of(draft: Draft, work: Work) -> list[list[int]]:
    """The units that must come behind each."""
    place = {s: k for k, u in enumerate(work.units) for s in u.steps}
    found: list[set[int]] = [set() for _ in range(work.count)]
    for s, before in enumerate(needs(draft)):
        for b in before:
            found[place[b]].add(place[s])
    return [sorted(n - {k}) for k, n in enumerate(found)]


def needs(draft: Draft) -> list[set[int]]:
    """The steps that must come before each: writers of what it reads, and whoever touched what it
    writes; a step that takes a donated argument's bytes behind the argument's readers. Calls of
    host functions keep their order."""
    found: list[set[int]] = [set() for _ in draft.steps]
    for h in draft.histories.values():
        written = -1
        readers: list[int] = []
        for k in h.uses():
            writes = k in h.writes
            if written >= 0:
                found[k].add(written)
            if writes:
                found[k] |= set(readers)
                written, readers = k, []
            else:
                readers.append(k)
        heir = draft.heirs.get(id(h.buffer))
        if heir is not None:
            found[heir] |= {k for k in h.reads if k < heir}
    calls = [k for k, s in enumerate(draft.steps) if isinstance(s, Host)]
    for before, k in zip(calls, calls[1:], strict=False):
        found[k].add(before)
    return [n - {k} for k, n in enumerate(found)]
