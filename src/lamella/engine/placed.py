"""Programs on devices, called as those of the processor are: stage after stage, transfers between.

Device stages are queued and run while Python goes on; only what comes back to the processor waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from ..base.devices import Device, cpu
from ..base.errors import UnsupportedError
from ..ir.program import Program
from ..planner.build import build_plan
from ..planner.memory.budget import Budget
from ..planner.plan import Plan
from ..planner.report import Report
from ..planner.staged import StagedReport
from ..planner.stages import Route, Stage, Transfer, route
from . import kernels
from .device import Arena, DeviceExecutable
from .executable import Executable
from .measure import Measurement
from .measure_device import measure
from .overwritten import NEVER, overwritten
from .plans import executable, plan_for
from .profile import profile
from .rates import rates
from .stations import station
from .value import Value


def planned(program: Program, home: Device | None, donated: frozenset[int] = frozenset(),
            fused: bool = True, budget: Budget | None = None) -> tuple[Route, dict[int, Plan]]:
    """The route of a program, and the plan of each stage (by id) that is not the processor's. What
    is donated, or was copied for it, may be overwritten by a stage that alone reads it. Plans of
    compiled programs are kept on disk."""
    found = route(program, home)
    if budget is not None and len(found.steps) > 1:
        raise UnsupportedError(f"{program.name} runs on several devices, for which no memory "
                               "budget is kept yet; leave memory out")
    plans = {}
    for s in found.stages:
        if s.device is not cpu:
            target, owned = station(s.device).target, _owned(found, s, donated)
            plans[id(s)] = plan_for(target, s.program, owned, budget) if fused else \
                build_plan(s.program, target, owned, fused=False)
    return found, plans


def _owned(route: Route, stage: Stage, donated: frozenset[int]) -> frozenset[int]:
    """The numbers of a stage's inputs that it may overwrite."""
    readers = Counter([*route.outputs, *(n for s in route.steps for n in s.reads)])
    copies = {s.target for s in route.transfers}
    return frozenset(k for k, n in enumerate(stage.reads)
                     if readers[n] == 1 and (n in donated or n in copies))


def _written(plan: Plan, stage: Stage) -> set[int]:
    """The values whose memory some step of the stage writes into."""
    first = overwritten(plan, {id(s): k for k, s in enumerate(plan.steps)})
    return {n for n, k in zip(stage.reads, first, strict=True) if k != NEVER}


def report(program: Program, home: Device | None, donated: frozenset[int],
           budget: Budget | None, threads: int, env: Mapping[str, int] | None
           ) -> Report | StagedReport:
    """What a call needs: the plan's report where all is on one device, else that of the stages.
    Nothing is compiled."""
    found, plans = planned(program, home, donated, True, budget)
    return _told(program.name, found, plans, threads, env)


def _told(name: str, found: Route, plans: dict[int, Plan], threads: int,
          env: Mapping[str, int] | None = None) -> Report | StagedReport:
    reports, link = {}, 0.0
    for s in found.stages:
        if s.device is cpu:
            plan = build_plan(s.program, kernels.target(), threads=threads)
            reports[id(s)] = Report(plan, profile(), threads, env)
        else:
            known = rates(station(s.device).runtime)
            reports[id(s)], link = Report(plans[id(s)], known, 1, env), known.link
    if len(found.steps) == 1 and reports:
        return next(iter(reports.values()))
    return StagedReport(name, found, reports, link, env)


class Placed:
    """A program over several devices. `home`: where it runs and its results are, whatever its
    arguments' devices; without one each part runs where its operands are."""

    def __init__(self, program: Program, home: Device | None = None,
                 donated: frozenset[int] = frozenset(), fused: bool = True,
                 budget: Budget | None = None):
        self.name, self.donated = program.name, donated
        self.route, self.plans = planned(program, home, donated, fused, budget)
        self.last = self.route.last_reads()
        arenas: dict[Device, Arena] = {}
        self.runs = {id(s): _Run(s, self.plans.get(id(s)), arenas, fused)
                     for s in self.route.stages}
        self.written = {id(s): _written(self.plans[id(s)], s) & donated
                        for s in self.route.stages if id(s) in self.plans}

    def __call__(self, values: Sequence[Value], lost: set[int] | None = None) -> list[Value]:
        """The results for these arguments; donated ones must not be used afterwards. Where the run
        fails, `lost` is given the numbers of those that a stage whose steps were being queued
        writes into.
        """
        begun: list[Stage] = []
        try:
            return self._run(values, begun)
        finally:
            if lost is not None:
                lost |= {n for s in begun for n in self.written[id(s)]}

    def _run(self, values: Sequence[Value], begun: list[Stage]) -> list[Value]:
        homes = self.route.homes
        known: dict[int, Value] = {k: v.on(homes[k]) for k, v in enumerate(values)}
        for number, step in enumerate(self.route.steps):
            if isinstance(step, Transfer):
                known[step.target] = known[step.source].on(step.device)
            else:
                made = self.runs[id(step)]([known[k] for k in step.reads],
                                           partial(begun.append, step))
                known |= zip(step.gives, made, strict=True)
            for k in step.reads:
                if self.last.get(k) == number:
                    del known[k]
        return [known[k] for k in self.route.outputs]

    @property
    def plan(self) -> Plan:
        """The plan of the one stage of a program that nothing crosses in."""
        plan, = self.plans.values()
        return plan

    def report(self, threads: int) -> Report | StagedReport:
        """What a call needs, of programs with symbols at their bounds."""
        return _told(self.name, self.route, self.plans, threads)

    def measure(self, values: Sequence[Value]) -> Measurement:
        """Bytes and times of a call over copies of these values; UnsupportedError where the program
        is not of one GPU alone."""
        if len(self.route.steps) != 1 or not self.plans:
            raise UnsupportedError(f"measure: {self.name} runs on several devices; name one with "
                                   "device=, or measure its parts")
        stage, = self.route.stages
        there = [values[k].on(stage.device).copy() for k in stage.reads]
        return measure(self.runs[id(stage)].run, there)

    def sign(self, kind: type | None = None, donated: Collection[int] = ()) -> None:
        """There is no shorter way for calls with arrays of that kind."""

    def call(self, leaves: list, gone: object = None) -> None:
        """None: the call has to be looked up."""


class _Run:
    """A stage ready to run."""

    def __init__(self, stage: Stage, plan: Plan | None, arenas: dict[Device, Arena],
                 fused: bool):
        self.device = stage.device
        self.on_processor: Executable | None = None
        if plan is None:
            self.on_processor = executable(stage.program, frozenset(), {}) if fused else \
                Executable(build_plan(stage.program, kernels.target(), fused=False))
            return
        at = station(stage.device)
        arena = arenas.setdefault(stage.device, Arena(at.blocks, kept=fused))
        self.run = DeviceExecutable(plan, at.runtime, at.blocks, arena)

    def __call__(self, values: list[Value], begins: Callable[[], None]) -> list[Value]:
        """The results; `begins` is called before the first step on a device is queued."""
        if self.on_processor is not None:
            return self.on_processor(values)
        owners = [_aligned(v) for v in values]
        found = self.run.run([v.type.shape for v in values], owners, begins)
        return [Value(address, block, t.on(self.device)) for block, address, t in found]


def _aligned(value: Value) -> Any:
    """What the value's elements are the first of: kernels read whole words from there on."""
    if value.address == value.owner.address:  # type: ignore[attr-defined]
        return value.owner
    return value.copy().owner
