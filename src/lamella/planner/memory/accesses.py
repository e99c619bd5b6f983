"""Which bytes each step reads and writes, as the steps are before any two values share bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...base.extents import evaluate
from ..plan import Branch, Buffer, Copy, Host, Launch, Loop, Order, Plan, Step
from .place import aligned

Touch = tuple[Buffer, bool]  # the owner of the bytes, and whether they are written


def touches(step: Step) -> list[Touch]:
    """The owners of the bytes that a step reads or writes, everything within it together."""
    rooted = ((b.root, w) for s in Order([step]).leaves for b, w in _of(s))
    return list({(id(root), w): (root, w) for root, w in rooted}.values())


def windows(step: Step) -> set[int]:
    """The owners of bytes (by id) of which a step touches windows."""
    return {id(b.root) for b in step.buffers() if b.alias is not None}


def _of(s: Any) -> list[Touch]:
    if isinstance(s, Launch):
        return [(o.buffer, o.writes) for o in s.operands]
    if isinstance(s, Copy):
        return [(s.source_buffer, False), (s.target, True)]
    if isinstance(s, Host):
        return [*((b, False) for b, _ in s.operands),
                *((b, True) for b, _ in s.results if b is not None)]
    return [(b, False) for b in s.buffers()]


class History:
    """What happens to the bytes of one buffer: the numbers of the steps that write and read them.

    `movable`: a temporary that launches and copies alone make and that stands for itself, so that
    the same steps may make it again, in other bytes.
    """

    __slots__ = ("buffer", "bytes", "movable", "reads", "writes")

    def __init__(self, buffer: Buffer, size: int):
        self.buffer, self.bytes = buffer, size
        self.reads: list[int] = []
        self.writes: list[int] = []
        self.movable = buffer.role == "temporary"

    @property
    def made(self) -> int:
        """The last step that writes it; -1 for what is there from the beginning."""
        return self.writes[-1] if self.writes else -1

    @property
    def last(self) -> int:
        """The last step that needs it: of a result, one behind all steps."""
        if self.buffer.role in ("result", "argument", "constant"):
            return 1 << 60
        return max(self.made, self.reads[-1] if self.reads else -1)

    def uses(self) -> list[int]:
        """The steps that touch it, in order."""
        return sorted({*self.writes, *self.reads})


def histories(steps: list[Step], seen: list[tuple[list[Touch], set[int]]],
              env: Mapping[str, int]) -> dict[int, History]:
    """The history of each owner of bytes, by id. `seen` are the steps' touches and windows."""
    found: dict[int, History] = {}
    for k, (step, (touched, within)) in enumerate(zip(steps, seen, strict=True)):
        for b, writes in touched:
            h = found.get(id(b))
            if h is None:
                h = found[id(b)] = History(b, aligned(evaluate(b.bytes, env)))
            (h.writes if writes else h.reads).append(k)
            if writes and (isinstance(step, Loop | Branch | Host) or id(b) in within):
                h.movable = False
    return found


def every_buffer(plan: Plan) -> list[Buffer]:
    """All buffers of a plan's steps, arguments and results, each once."""
    found: dict[int, Buffer] = {}
    for b in [*plan.arguments, *plan.results,
              *(b for s in Order(plan.steps).leaves for b in s.buffers())]:
        at: Buffer | None = b
        while at is not None and id(at) not in found:
            found[id(at)] = at
            at = at.alias
    return list(found.values())
