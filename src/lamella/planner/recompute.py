"""Values computed again, so that their bytes need not be kept in between.

A value that rests between two uses, while memory is short, may be given up after the first use; the
steps that made it then run once more before the second, from what is alive there. What they read
and is not alive any more is made again as well, or kept where it is small. They are the same
kernels over the same operands: the bits are the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .accesses import History, over
from .liveness import Draft
from .plan import Buffer, Copy, Launch, Step

_SMALL = 8  # an operand of less than 1/8 of the value's bytes is kept rather than made again
_MOST = 64  # values that are looked at for one move


class Move:
    """One value given up from step `since` on and made again before step `at`.

    `again`: the numbers of the steps that run again; `late`: of steps that wait for these, because
    they write over an argument that these read; `renamed`: the values whose later uses read what is
    made again; `kept`: values that stay alive until then.
    """

    __slots__ = ("again", "at", "kept", "late", "renamed", "seconds")

    def __init__(self, again: list[int], at: int, late: list[int], renamed: list[History],
                 kept: list[History], seconds: float):
        self.again, self.at, self.late, self.renamed, self.kept = again, at, late, renamed, kept
        self.seconds = seconds


def moves(draft: Draft, limit: int) -> list[tuple[float, Move]]:
    """What may be computed again to need less than `limit`, each with its price: seconds for a
    byte of the excess (summed over the steps). The cheapest first."""
    excess = np.maximum(draft.live - limit, 0)
    before = int(excess.sum())
    found: list[tuple[float, Move]] = []
    for h, at in resting(draft, excess):
        known: list[int] = []
        for small in (_SMALL, 0):
            move = move_of(draft, h, at, small)
            if move is None or move.again == known:
                continue
            known = move.again
            gain = before - _excess_with(draft, move, limit)
            if gain > 0:
                found.append((move.seconds / gain, move))
    return sorted(found, key=lambda f: f[0])


def resting(draft: Draft, excess: np.ndarray) -> list[tuple[History, int]]:
    """(value, the step it rests until) while there is an excess, those that matter most first."""
    found: list[tuple[int, History, int]] = []
    running = np.concatenate([[0], np.cumsum(excess)])
    for h in draft.histories.values():
        if not h.movable or not draft.rents(h.buffer) or not h.writes:
            continue
        uses = h.uses()
        for since, at in zip(uses, uses[1:], strict=False):
            if since >= h.made and at > h.opaque and running[at] > running[since + 1]:
                gain = int(np.minimum(excess[since + 1:at], h.bytes).sum())
                found.append((gain, h, at))
    found.sort(key=lambda f: -f[0])
    return [(h, at) for _, h, at in found[:_MOST]]


def move_of(draft: Draft, value: History, at: int, small: int) -> Move | None:
    """What must run again to have the value at a step; None where something cannot."""
    again: set[int] = set()
    kept: dict[int, History] = {}
    made: dict[int, History] = {}
    stack = [value]
    while stack:
        h = stack.pop()
        made[id(h)] = h
        for k in h.writes:
            if k in again:
                continue
            again.add(k)
            for b, writes in draft.touches[k]:
                o = draft.histories[id(b)]
                if writes:
                    if o.made >= at or any(not isinstance(draft.steps[w], Launch | Copy)
                                           for w in o.writes):
                        return None
                    if id(o) not in made:
                        stack.append(o)
                elif id(o) in made:
                    continue
                elif o.made >= k:
                    return None     # it does not hold any more what the step read
                elif o.last < at:
                    if o.movable and small and o.bytes * small > value.bytes:
                        stack.append(o)
                        kept.pop(id(o), None)
                    else:
                        kept[id(o)] = o
    numbers = sorted(again)
    late = _late(draft, numbers, at)
    if late is None:
        return None
    for k in late:
        reads = [draft.histories[id(b)] for b, writes in draft.touches[k] if not writes]
        kept |= {id(h): h for h in reads if h.last < at}
    renamed = [h for h in made.values() if h.movable and h.opaque < at <= h.last]
    return Move(numbers, at, late, renamed, [h for k, h in kept.items() if k not in made],
                sum(map(draft.seconds, numbers)))


def _late(draft: Draft, again: list[int], at: int) -> list[int] | None:
    """The steps before `at` that write over an argument which the steps `again` read; None where
    one of them cannot wait until these are done."""
    read = {id(b) for k in again for b, writes in draft.touches[k] if not writes}
    late = sorted({k for a, k in draft.heirs.items() if a in read and k < at})
    for k in late:
        for b, writes in draft.touches[k]:
            h = draft.histories[id(b)]
            if any(k < u < at and u not in late for u in (h.uses() if writes else h.writes)):
                return None
    return late


def _excess_with(draft: Draft, move: Move, limit: int) -> int:
    """The excess over the limit that is left with a move, as far as can be told without sharing
    bytes anew."""
    live = draft.live.copy()
    at = move.at
    there = int(draft.between[at])
    for h in move.renamed:
        since = max(u for u in h.uses() if u < at)
        if draft.rents(h.buffer):
            live[since + 1:at] -= h.bytes
            there -= h.bytes
    for h in move.kept:
        if draft.rents(h.buffer):
            live[h.last + 1:at] += h.bytes
            there += h.bytes
    extra = sum(max(0, n - limit) for n in _again_live(draft, move, there))
    return int(np.maximum(live - limit, 0).sum()) + extra


def _again_live(draft: Draft, move: Move, there: int) -> Iterator[int]:
    """Bytes alive at each of the steps that run again, with `there` around them; values that share
    bytes now will share them again."""
    def places(k: int, written: bool) -> set[int]:
        return {draft.owner[id(b)] for b, writes in draft.touches[k] if writes or not written}

    sizes = {draft.owner[id(b)]: draft.histories[id(b)].bytes
             for k in move.again for b, writes in draft.touches[k] if writes}
    last = {p: k for k in move.again for p in places(k, False)}
    staying = {draft.owner[id(h.buffer)] for h in move.renamed}
    held: set[int] = set()
    for k in move.again:
        held |= places(k, True)
        yield there + sum(sizes[p] for p in held)
        held -= {p for p in held if last[p] == k and p not in staying}


def applied(draft: Draft, move: Move) -> list[Step]:
    """The draft's steps with the move done."""
    fresh: dict[int, Buffer] = {}
    for k in move.again:
        for b, writes in draft.touches[k]:
            if writes and id(b) not in fresh:
                fresh[id(b)] = Buffer(b.dtype, b.count, "temporary", b.label, space=b.space)
    again: list[Step] = []
    for k in move.again:
        step = over(draft.steps[k], fresh)
        assert isinstance(step, Launch | Copy) and step is not draft.steps[k]
        step.again = True
        again.append(step)
    later = {id(h.buffer): fresh[id(h.buffer)] for h in move.renamed}
    late = [draft.steps[k] for k in move.late]
    before = [s for k, s in enumerate(draft.steps[:move.at]) if k not in move.late]
    return [*before, *again, *late, *(over(s, later) for s in draft.steps[move.at:])]
