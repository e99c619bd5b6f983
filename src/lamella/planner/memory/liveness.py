"""How many bytes are alive at each step of a plan that is not final yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial

import numpy as np

from ...base.extents import evaluate
from ..plan import Branch, Buffer, Copy, Launch, Loop, Order, Plan, Step
from ..pricing.cost import flops_of
from ..pricing.profile import DEFAULTS
from ..pricing.roofline import bound, device
from .accesses import Touch, every_buffer, histories, touches, windows
from .alias import share_bytes
from .peak import Memory, memory_of, own_results
from .place import Layout, lifetimes, settle

_MIDDLE = DEFAULTS["avx2"]  # a machine of the middle: the same choice everywhere
_gpu = cache(partial(device, "h200"))


def temporaries(steps: list[Step]) -> list[Buffer]:
    """The temporaries that the steps touch, owners of their bytes too, each once."""
    found: dict[int, Buffer] = {}
    for s in Order(steps).leaves:
        for b in s.buffers():
            while b is not None:
                if b.role == "temporary":
                    found[id(b)] = b
                b = b.alias
    return list(found.values())


@contextmanager
def sharing(plan: Plan) -> Iterator[list[Buffer]]:
    """Inside, the plan's values share bytes; behind, they stand apart as before. All buffers."""
    every = every_buffer(plan)
    before = [(b, b.alias, b.role, b.index) for b in every]
    share_bytes(plan)
    try:
        yield every
    finally:
        for b, alias, role, index in before:
            b.alias, b.role, b.index = alias, role, index


class _Known:
    """What follows from a step alone (by its id), which many drafts have: its predicted time; its
    touches and windows while values stand apart."""

    def __init__(self, env: Mapping[str, int], level: str):
        self.env, self.level = env, level
        self._seconds: dict[int, tuple[Step, float]] = {}
        self._seen: dict[int, tuple[Step, tuple[list[Touch], set[int]]]] = {}

    def seconds(self, step: Step) -> float:
        found = self._seconds.get(id(step))
        if found is None:
            found = self._seconds[id(step)] = step, rough_seconds(step, self.env, self.level)
        return found[1]

    def seen(self, step: Step) -> tuple[list[Touch], set[int]]:
        found = self._seen.get(id(step))
        if found is None:
            found = self._seen[id(step)] = step, (touches(step), windows(step))
        return found[1]


class Draft:
    """Steps in an order, and the bytes that a plan of them needs.

    `live[k]`: bytes of temporaries and results during step k; `between[k]`: from step k - 1 on to
    step k. `peak` is the largest of `live`; placing the temporaries may need a little more.
    `intervals` are what is placed. `owner`: by id, the owner of a buffer's bytes once values share
    them. `heirs`: of a donated argument (by id), the step that takes its bytes. `spills`: values
    may rest in a file.
    """

    __slots__ = ("between", "env", "heirs", "histories", "intervals", "known", "live", "own",
                 "owner", "peak", "plan", "rented", "spills", "steps", "touches")

    def __init__(self, plan: Plan, steps: list[Step], env: Mapping[str, int],
                 known: _Known | None = None, spills: bool = False):
        self.steps, self.env, self.spills = steps, env, spills
        self.known = known or _Known(env, plan.level)
        seen = [self.known.seen(s) for s in steps]
        self.touches = [touched for touched, _ in seen]
        self.histories = histories(steps, seen, env)
        self.plan = Plan(plan.name, plan.program, steps, plan.arguments, plan.results,
                         temporaries(steps), plan.donated, plan.fixed, plan.symbols, plan.fast,
                         plan.level)
        self.plan.prologue, self.plan.constants = plan.prologue, plan.constants
        with sharing(self.plan) as every:
            self._survey(every)

    def _survey(self, every: list[Buffer]) -> None:
        own = self.own = own_results(self.plan, self.env)
        self.owner = {id(b): id(b.root) for b in every}
        self.rented = {id(b) for b in every if b.root.role == "temporary"}
        self.heirs: dict[int, int] = {}
        for k, s in enumerate(self.steps):
            for b in () if isinstance(s, Loop | Branch) else s.buffers():
                if b.root is not b and b.root.role == "argument":
                    self.heirs.setdefault(id(b.root), k)
        number = _numbers(self.steps)
        during = np.zeros(len(number) + 2, np.int64)
        before = np.zeros(len(number) + 2, np.int64)
        self.intervals = lifetimes(self.plan, self.env)
        for i in self.intervals:
            end = min(i.last, len(number)) + 1
            during[i.first] += i.size
            before[i.first + 1] += i.size
            during[end] -= i.size
            before[end] -= i.size
        self.live = np.full(len(self.steps), own, np.int64)
        np.maximum.at(self.live, number, np.cumsum(during)[:len(number)] + own)
        starts = np.searchsorted(number, np.arange(len(self.steps)))
        self.between = np.cumsum(before)[starts] + own
        self.peak = int(self.live.max(initial=own))

    def changed(self, steps: list[Step]) -> Draft:
        """A draft of other steps."""
        return Draft(self.plan, steps, self.env, self.known, self.spills)

    def seconds(self, k: int) -> float:
        """The predicted time of a step on a machine of the middle: the same choice everywhere."""
        return self.known.seconds(self.steps[k])

    def seconds_to_file(self, size: int) -> float:
        """The predicted time in which so many bytes go into the run's file (of a device: to the
        host's memory), or come from there."""
        return size / _gpu().link if self.plan.level == "tiles" else \
            size * _MIDDLE.file * 1e-9

    def rents(self, b: Buffer) -> bool:
        """Whether the bytes are the arena's, and not a result's or a donated argument's."""
        return id(b) in self.rented

    def memory(self, threads: int) -> Memory:
        """The bytes of a run by class, the temporaries placed."""
        layout = Layout(self.intervals, settle(self.intervals))
        return memory_of(self.plan, layout, threads, self.env, self.own)


def rough_seconds(step: Step, env: Mapping[str, int], level: str = "loops") -> float:
    """The time of a step by one thread of a machine of the middle, by operations and bytes; of a
    plan for a device, by a device's peak rates."""
    if isinstance(step, Loop) and step.trips is not None:
        return evaluate(step.trips, env) * sum(rough_seconds(s, env, level) for s in step.body)
    if level == "tiles":
        flops = evaluate(flops_of(step), env) if isinstance(step, Launch) else 0
        traffic = sum(evaluate(b.bytes, env) for b in {id(b): b for b in step.buffers()}.values())
        return bound(step, _gpu(), flops, traffic, env)
    if isinstance(step, Copy) and (step.spills or step.fetches):
        return evaluate(step.source_buffer.bytes, env) * _MIDDLE.file * 1e-9
    flops = evaluate(flops_of(step), env) if isinstance(step, Launch) else 0
    kind = step.kernel.name if isinstance(step, Launch) else "copy"
    traffic = sum(evaluate(b.bytes, env) for b in {id(b): b for b in step.buffers()}.values())
    return _MIDDLE.seconds(kind, flops, traffic, 1)


def _numbers(steps: list[Step]) -> np.ndarray:
    """Of each place of the order, the step that it belongs to."""
    found: list[int] = []
    for k, s in enumerate(steps):
        found += [k] * (len(Order([s]).leaves) if isinstance(s, Loop | Branch) else 1)
    return np.array(found, np.int64)
