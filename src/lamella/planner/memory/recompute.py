"""The steps of a plan in which some units run again.

A value that rests between two uses, while memory is short, need not be kept: the unit that made it
runs once more before the second, and writes other bytes, which all later uses read. They are the
same kernels over the same operands: the bits are the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..plan import Buffer, Copy, Launch, Step
from .accesses import over
from .liveness import Draft
from .occupancy import Work


def with_repeats(draft: Draft, work: Work, sequence: Iterable[int]) -> Draft:
    """The draft with its units (which `work` has) run in this sequence, some more than once."""
    now: dict[int, Buffer] = {}     # by id of a buffer, that which holds its value by now
    out: list[Step] = []
    ran: set[int] = set()
    for unit in sequence:
        steps = work.units[unit].steps
        if unit not in ran:
            ran.add(unit)
            out += [over(draft.steps[k], now) for k in steps]
            continue
        fresh = _fresh(draft, steps)
        for k in steps:
            step = over(draft.steps[k], {**now, **fresh})
            assert isinstance(step, Launch | Copy) and step is not draft.steps[k]
            step.again = True
            out.append(step)
        now.update(fresh)
    return draft.changed(out)


def _fresh(draft: Draft, steps) -> dict[int, Buffer]:
    """Other buffers for those that the steps write, by id."""
    written = {id(b): b for k in steps for b, writes in draft.touches[k] if writes}
    return {i: Buffer(b.dtype, b.count, "temporary", b.label, space=b.space)
            for i, b in written.items()}
