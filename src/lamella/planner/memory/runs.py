"""Runs of units in an order, some units more than once, and the bytes alive in each: changed run by
run, and back again. Each run uses that version of a value which was made last before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .occupancy import Work

MADE, FREED, OWN, AFTER, DURING = range(5)


class Run:
    """A unit that runs at place `at`: it reads versions of values and makes others. `after` and
    `before` are runs that it must come behind, or ahead of, whatever it reads."""

    __slots__ = ("after", "at", "before", "makes", "reads", "unit")

    def __init__(self, unit: int, at: int):
        self.unit, self.at = unit, at
        self.reads: list[Version] = []
        self.makes: list[Version] = []
        self.after: list[Run] = []
        self.before: list[Run] = []


class Version:
    """A value as one run makes it (None: it is there from the beginning), and the runs that use it.
    """

    __slots__ = ("kept", "maker", "size", "users", "value")

    def __init__(self, value: int, size: int, maker: Run | None, kept: bool):
        self.value, self.size, self.maker, self.kept = value, size, maker, kept
        self.users: list[Run] = []

    @property
    def since(self) -> int:
        return -1 if self.maker is None else self.maker.at

    @property
    def last(self) -> int:
        """The place of its last use."""
        users = self.users
        if len(users) == 1:
            return users[0].at
        return max([r.at for r in users]) if users else self.since


class Taken:
    """What a further run takes over: of each of its values the version that it replaces and the
    users that come to it; and the versions that it reads."""

    __slots__ = ("at", "reads", "unit", "users")

    def __init__(self, unit: int, at: int, users: list[tuple[Version, list[Run]]],
                 reads: list[Version]):
        self.unit, self.at, self.users, self.reads = unit, at, users, reads


class Runs:
    """Runs of units in an order; `seconds` is what the further ones take.

    Rows of `table`, for each place: bytes that come into being, bytes whose last use this is, bytes
    needed beside (negative where results are written over what is read); and from these, bytes
    alive behind the run and during it.
    """

    def __init__(self, work: Work, needs: Sequence[Sequence[int]] = (),
                 sequence: Sequence[int] | None = None):
        """`needs`: of each unit, those that must come before it beyond what it reads; `sequence`:
        the units in the order in which they run, each at least once (else once, in their order).
        """
        self.work = work
        self.further: list[Run] = []
        self.seconds = 0.0
        self.versions = [[] if m >= 0 else [Version(v, work.sizes[v], None, v in work.kept)]
                         for v, m in enumerate(work.makers)]
        self.begun = work.base + sum(w.size for v in self.versions for w in v)
        first: dict[int, Run] = {}
        self.runs = [self._begun(at, k, first) for at, k in enumerate(
            range(work.count) if sequence is None else sequence)]
        self.firsts = [first[k] for k in range(work.count)]
        for k, before in enumerate(needs):
            for b in before:
                _follow(self.firsts[b], self.firsts[k])
        for r in self.further:
            self._bind(r)
        self.table = np.zeros((5, 2 * len(self.runs) + 8), np.int64)
        for r in self.runs:
            self.table[MADE, r.at] = sum(w.size for w in r.makes)
            self.table[OWN, r.at] = work.units[r.unit].inner
        for v in self.versions:
            for w in v:
                self._end(w, 1)
        self._count(0, len(self.runs))

    def _begun(self, at: int, unit: int, first: dict[int, Run]) -> Run:
        u, r = self.work.units[unit], Run(unit, at)
        again = unit in first or u.fetches is not None
        for v in u.reads:
            r.reads.append(self.versions[v][-1])
            self.versions[v][-1].users.append(r)
        for v in u.writes:
            w = Version(v, self.work.sizes[v], r, v in self.work.kept and not again)
            self.versions[v].append(w)
            r.makes.append(w)
        if again:
            self.further.append(r)
            self.seconds += u.seconds
        first.setdefault(unit, r)
        return r

    @property
    def during(self) -> np.ndarray:
        return self.table[DURING, :len(self.runs)]

    @property
    def peak(self) -> int:
        return int(self.during.max(initial=self.begun))

    @property
    def sequence(self) -> list[int]:
        """The unit that runs at each place."""
        return [r.unit for r in self.runs]

    # -- what may be done --

    def room(self, r: Run) -> tuple[int, int]:
        """The first and the last place where the run may stand: each run uses the version that was
        made last before it."""
        low = max([w.since for w in r.reads] + [q.at for q in r.after], default=-1)
        high = min([q.at for w in r.makes for q in w.users] + [q.at for q in r.before],
                   default=len(self.runs))
        for w in (*r.reads, *r.makes):
            if len(self.versions[w.value]) > 1:
                others = [o for o in self.versions[w.value] if o is not w]
                high = min([o.since for o in others if o.since > r.at] + [high])
                if w.maker is r:
                    low = max([o.last for o in others if o.since < r.at] + [low])
        return low + 1, high - 1

    def may_again(self, unit: int, at: int) -> bool:
        """Whether the unit may run again right before the run at this place."""
        return all(q.at < at for q in self._behind(unit)) and all(
            q.at >= at for q in self._ahead(unit))

    def latest(self, value: int, at: int) -> Version:
        return max((w for w in self.versions[value] if w.since < at), key=lambda w: w.since)

    def others(self, run: Run) -> list[Version] | None:
        """The versions that can serve the users of a run's; None where one cannot be spared."""
        found = []
        for w in run.makes:
            first = min((q.at for q in w.users), default=run.at)
            there = [o for o in self.versions[w.value] if o is not w and o.since < first]
            if not there:
                return None
            found.append(max(there, key=lambda o: o.since))
        return found

    def _behind(self, unit: int) -> list[Run]:
        """The first runs that a further run of the unit must come behind."""
        since = self.work.units[unit].since - 1
        return [self.firsts[k] for k in dict.fromkeys((unit, since)) if 0 <= k < self.work.count]

    def _ahead(self, unit: int) -> list[Run]:
        """And ahead of."""
        until = self.work.units[unit].until
        return [self.firsts[until]] if until < len(self.firsts) else []

    # -- and doing it --

    def shift(self, r: Run, j: int) -> np.ndarray:
        """Move a run to place j; what is needed to move it `back`."""
        i, table = r.at, self.table[:DURING]
        begin, end = min(i, j), max(i, j) + 1
        before = self.table[:, begin:end].copy()
        ends = [(w, last) for w in r.reads if (last := w.last) < end]   # none of the others moves
        for w, last in ends:
            self._end_at(w, last, -1)
        self._reorder(r, j)
        column = table[:, i].copy()
        if i < j:
            table[:, i:j] = table[:, i + 1:j + 1]
        else:
            table[:, j + 1:i + 1] = table[:, j:i]
        table[:, j] = column
        for w, _ in ends:
            self._end(w, 1)
        self._count(begin, end)
        return before

    def back(self, r: Run, i: int, before: np.ndarray) -> None:
        """Move a run that was shifted back to place i."""
        begin = min(i, r.at)
        self._reorder(r, i)
        self.table[:, begin:begin + before.shape[1]] = before

    def _reorder(self, r: Run, j: int) -> None:
        i = r.at
        self.runs.insert(j, self.runs.pop(i))
        self._renumber(min(i, j), max(i, j) + 1)

    def put(self, taken: Taken) -> Run:
        """Run a unit once more."""
        unit, at = self.work.units[taken.unit], taken.at
        run = Run(taken.unit, at)
        for w in {*(w for w, _ in taken.users), *taken.reads}:
            self._end(w, -1)
        self._insert(run)
        for w in taken.reads:
            run.reads.append(w)
            w.users.append(run)
        for w, users in taken.users:
            new = Version(w.value, w.size, run, False)
            self.versions[w.value].append(new)
            run.makes.append(new)
            _hand(w, new, users)
            self._end(new, 1)
        for w in {*(w for w, _ in taken.users), *taken.reads}:
            self._end(w, 1)
        self._bind(run)
        self.further.append(run)
        self.seconds += unit.seconds
        self._count(0, len(self.runs))
        return run

    def take(self, run: Run, others: list[Version]) -> Taken:
        """Leave out a further run, whose users come to other versions; what puts it in again."""
        at = run.at
        taken = Taken(run.unit, at, [(o, list(w.users)) for w, o in zip(
            run.makes, others, strict=True)], list(run.reads))
        for w in {*others, *run.reads, *run.makes}:
            self._end(w, -1)
        for w, o in zip(run.makes, others, strict=True):
            _hand(w, o, list(w.users))
            self.versions[w.value].remove(w)
        for w in run.reads:
            w.users.remove(run)
        del self.runs[at]
        self._renumber(at)
        n = len(self.runs)
        self.table[:, at:n] = self.table[:, at + 1:n + 1]
        for w in {*others, *run.reads}:
            self._end(w, 1)
        for q in run.after:
            q.before.remove(run)
        for q in run.before:
            q.after.remove(run)
        self.further.remove(run)
        self.seconds -= self.work.units[run.unit].seconds
        self._count(0, len(self.runs))
        return taken

    def _bind(self, run: Run) -> None:
        """Keep a further run where it may stand."""
        for q in self._behind(run.unit):
            _follow(q, run)
        for q in self._ahead(run.unit):
            _follow(run, q)

    def _insert(self, run: Run) -> None:
        at, n = run.at, len(self.runs)
        if n == self.table.shape[1]:
            self.table = np.concatenate([self.table, np.zeros_like(self.table)], 1)
        self.table[:, at + 1:n + 1] = self.table[:, at:n]
        self.runs.insert(at, run)
        self._renumber(at)
        u = self.work.units[run.unit]
        self.table[:, at] = sum(self.work.sizes[v] for v in u.writes), 0, u.inner, 0, 0

    def _renumber(self, begin: int, end: int | None = None) -> None:
        for k, run in enumerate(self.runs[begin:end], begin):
            run.at = k

    # -- counting --

    def _end(self, w: Version, sign: int) -> None:
        """Count (or no longer count) the end of a version at its last use."""
        self._end_at(w, w.last, sign)

    def _end_at(self, w: Version, last: int, sign: int) -> None:
        if w.kept or not w.size or last < 0:
            return      # the last: there from the beginning, and never used
        self.table[FREED, last] += sign * w.size
        if last > w.since and w.value in self.work.units[self.runs[last].unit].over:
            self.table[OWN, last] -= sign * w.size

    def _count(self, begin: int, end: int) -> None:
        made, freed, own, after, during = self.table[:, begin:end]
        before = self.table[AFTER, begin - 1] if begin else self.begun
        np.add.accumulate(made - freed, out=after)
        after += before
        np.add(after, freed, out=during)
        during += own


def _follow(a: Run, b: Run) -> None:
    """b must come behind a."""
    a.before.append(b)
    b.after.append(a)


def _hand(old: Version, new: Version, users: list[Run]) -> None:
    """Let users of one version use another."""
    for q in users:
        old.users.remove(q)
        q.reads[q.reads.index(old)] = new
        new.users.append(q)
