"""The steps of a plan in which some units run again, and some values are fetched from a file.

A value that rests between two uses, while memory is short, need not be kept: the unit that made it
runs once more before the second, and writes other bytes, which all later uses read. They are the
same kernels over the same operands: the bits are the same. Or it is written to a file, once, behind
what makes it, and read into other bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..plan import Buffer, Copy, Launch, Step
from .liveness import Draft
from .occupancy import Unit, Work
from .substitute import over


def with_repeats(draft: Draft, work: Work, sequence: list[int]) -> Draft:
    """The draft with its units (which `work` has) run in this sequence, some more than once."""
    now: dict[int, Buffer] = {}     # by id of a buffer, that which holds its value by now
    out: list[Step] = []
    ran: set[int] = set()
    files = _Files(draft, (work.units[k] for k in dict.fromkeys(sequence)))
    for unit in sequence:
        u = work.units[unit]
        if u.fetches is not None:
            out.append(files.fetch(u, now))
        elif unit not in ran:
            ran.add(unit)
            out += [over(draft.steps[k], now) for k in u.steps]
            out += files.spills_behind(unit, now)
        else:
            out += _again(draft, u.steps, now)
    return draft.changed(out)


class _Files:
    """The values that some of the units fetch, and where these lie in the file."""

    def __init__(self, draft: Draft, units: Iterable[Unit]):
        self.draft = draft
        self.behind: dict[int, list[Buffer]] = {}   # units' values that go into the file
        self.places: dict[int, Buffer] = {}         # by id of a value's buffer
        for u in units:
            if u.fetches is not None:
                b = u.fetches
                self.behind.setdefault(u.since - 1, []).append(b)
                self.places[id(b)] = Buffer(b.dtype, b.count, "file", b.label)

    def spills_behind(self, unit: int, now: dict[int, Buffer]) -> list[Step]:
        """The copies into the file that follow a unit."""
        return [Copy(now.get(id(b), b), self.places[id(b)], f"spill {b.label}", self._line(b))
                for b in self.behind.get(unit, ())]

    def fetch(self, u: Unit, now: dict[int, Buffer]) -> Step:
        """The copy from the file, into bytes that hold the value from then on."""
        b = u.fetches
        now[id(b)] = Buffer(b.dtype, b.count, "temporary", b.label, space=b.space)
        return Copy(self.places[id(b)], now[id(b)], f"fetch {b.label}", self._line(b))

    def _line(self, b: Buffer):
        return self.draft.steps[self.draft.histories[id(b)].made].source


def _again(draft: Draft, steps, now: dict[int, Buffer]) -> list[Step]:
    """The steps of a unit once more."""
    fresh = _fresh(draft, steps)
    out: list[Step] = []
    for k in steps:
        step = over(draft.steps[k], {**now, **fresh})
        assert isinstance(step, Launch | Copy) and step is not draft.steps[k]
        step.again = True
        out.append(step)
    now.update(fresh)
    return out


def _fresh(draft: Draft, steps) -> dict[int, Buffer]:
    """Other buffers for those that the steps write, by id."""
    written = {id(b): b for k in steps for b, writes in draft.touches[k] if writes}
    return {i: Buffer(b.dtype, b.count, "temporary", b.label, space=b.space)
            for i, b in written.items()}
