"""A draft as the search sees it: units of work in an order, and the values between them.

A unit is a step with what lays out operands for it alone. It may run again, behind its first run;
values that share bytes are told apart, and what a unit may write over is known. Where values may be
spilled, units that fetch one come beside: they make it again, too, and read nothing.
"""

from __future__ import annotations

from ..plan import Copy, Launch
from .accesses import History
from .alias import pairs_in_place
from .liveness import Draft
from .occupancy import Occupancy, Unit, Work

_LEAST = 64 << 10   # bytes that are worth a fetch


def work_of(draft: Draft, spills: bool = False) -> Work:
    """The units of a draft, in its order; where it `spills`, with those that fetch values."""
    return _Gathering(draft).work(spills)


class _Gathering:
    """Steps into units: each with the steps that lay out operands for it alone, and all writers of
    one value together where nothing must run between them."""

    def __init__(self, draft: Draft):
        self.draft = draft
        self.unit = list(range(len(draft.steps)))   # of each step, the last step of its unit
        self.fixed: set[int] = set()                # last steps of units that run once
        self._gather()

    def _gather(self) -> None:
        for k in range(len(self.draft.steps) - 1, -1, -1):
            step = self.draft.steps[k]
            if not isinstance(step, Launch) or not step.lays_out:
                continue
            users = {u for h in self._written(k) for u in h.uses() if u != k}
            if len(users) == 1 and all(h.movable and h.writes == [k] for h in self._written(k)):
                self.unit[k] = self.unit[users.pop()]

    def _written(self, k: int) -> list[History]:
        return [self.draft.histories[id(b)] for b, writes in self.draft.touches[k] if writes]

    def work(self, spills: bool) -> Work:
        draft = self.draft
        members: dict[int, list[int]] = {}
        for k, last in enumerate(self.unit):
            members.setdefault(last, []).append(k)
        order = sorted(members)
        number = {last: n for n, last in enumerate(order)}
        self.place = [number[last] for last in self.unit]
        shared = {i: h for i, h in draft.histories.items() if h.buffer.role == "temporary"
                  and len({self.place[k] for k in h.uses()}) > 1}
        self.values = {i: n for n, i in enumerate(shared)}
        self.first = {i: self.place[h.uses()[0]] for i, h in shared.items()}
        self.limits = {a: self.place[k] for a, k in draft.heirs.items()}
        sizes = [h.bytes if draft.rents(h.buffer) else 0 for h in shared.values()]
        kept = [self.values[i] for i, h in shared.items() if h.last >= 1 << 60]
        units = [self._made(members[last]) for last in order]
        work = Work(units, sizes, kept, draft.own)
        _state_inner(work, draft)
        fetches = [self._fetch(h, n) for n, h in enumerate(shared.values())
                   if spills and sizes[n] >= _LEAST and n not in kept and self._rests(h)]
        return Work(units, sizes, kept, draft.own, fetches) if fetches else work

    def _rests(self, h: History) -> bool:
        """Whether a value is read later than right behind what makes it, and not fetched itself."""
        return self.place[h.last] > self.place[h.made] + 1 and not any(
            isinstance(s, Copy) and s.fetches for s in (self.draft.steps[k] for k in h.writes))

    def _fetch(self, h: History, value: int) -> Unit:
        price = self.draft.seconds_to_file(h.bytes)
        return Unit((), (value,), 2 * price, since=self.place[h.made] + 1, fetches=h.buffer)

    def _made(self, steps: list[int]) -> Unit:
        draft, at = self.draft, self.place[steps[-1]]
        touched = [t for k in steps for t in draft.touches[k]]
        writes = {id(b) for b, w in touched if w}
        reads = {id(b) for b, w in touched if not w} - writes
        begun = {i for i in writes if self.first.get(i) == at}
        used = ((reads | writes) & self.values.keys()) - begun
        over = {self.values[i] for k in steps for made, i in pairs_in_place(
            draft.steps[k], draft.owner) if i in used and self._begins(made, k)}
        since, until = self._again(steps, writes, reads)
        return Unit(sorted(self.values[i] for i in used),
                    sorted(self.values[i] for i in begun), sum(map(draft.seconds, steps)),
                    0, over, since, until, steps)

    def _begins(self, made: int, k: int) -> bool:
        """Whether step k is the first that touches a buffer (by id)."""
        history = self.draft.histories.get(made)
        return history is None or history.uses()[0] == k

    def _again(self, steps: list[int], writes: set[int], reads: set[int]) -> tuple[int, int]:
        """The first and the last slot in which a unit of these steps may run again."""
        draft, at = self.draft, self.place[steps[-1]]
        made = [draft.histories[i] for i in writes]
        if any(not isinstance(draft.steps[k], Launch | Copy) for k in steps) or \
                any(not h.movable or {self.place[k] for k in h.writes} != {at} for h in made) or \
                any(self.place[draft.histories[i].made] > at for i in reads
                    if draft.histories[i].made >= 0):
            return 1, 0
        last = [self.limits[i] for i in (*reads, *writes) if i in self.limits]
        return at + 1, min(last, default=1 << 60)


def _state_inner(work: Work, draft: Draft) -> None:
    """What each unit needs beside the values: all that is alive during its steps, less those."""
    during = Occupancy(work).during
    for k, u in enumerate(work.units):
        steps = u.steps if u.steps[-1] - u.steps[0] < len(u.steps) else u.steps[-1:]
        u.inner = max(0, int(max(draft.live[s] for s in steps) - during[k]))
