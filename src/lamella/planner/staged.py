"""What the plans of a program's stages say together: bytes of each device, transfers, time."""

from __future__ import annotations

from collections.abc import Mapping

from ..base.devices import Device
from ..base.extents import evaluate
from ..base.source import render
from .memory.peak import Memory, bytes_text
from .memory.place import aligned
from .report import Report, time_text
from .stages import Route, Stage, Transfer


class StagedReport:
    """Plans of stages on several devices, for given values of their symbols. `reports` has each
    stage's (by id), `peaks` the most bytes of each device: what the stages hand on, as long as it
    is needed, the arena that they share, and their constants."""

    __slots__ = ("env", "link", "name", "peaks", "reports", "route", "run_seconds")

    def __init__(self, name: str, route: Route, reports: Mapping[int, Report], link: float,
                 env: Mapping[str, int] | None = None):
        """`link`: bytes a second between the devices; 0 where that is not known."""
        self.name, self.route, self.reports, self.link = name, route, reports, link
        self.run_seconds = 0.0
        self.env: dict[str, int] = {s.name: s.high for r in reports.values()
                                    for s in r.plan.symbols}
        self.env |= env or {}
        self.peaks = _Living(self).peaks()

    @property
    def peak(self) -> int:
        """The peak bytes of all devices together."""
        return sum(self.peaks.values())

    @property
    def transferred(self) -> int:
        """Bytes that go from one device to another."""
        return sum(self.bytes(s.target) for s in self.route.transfers)

    @property
    def flops(self) -> int:
        """Floating-point operations of all stages."""
        return sum(r.flops for r in self.reports.values())

    @property
    def traffic(self) -> int:
        """Bytes that all stages read and write."""
        return sum(r.traffic for r in self.reports.values())

    @property
    def seconds(self) -> float:
        """Predicted time, stages and transfers one after another."""
        sent = self.transferred / self.link if self.link else 0.0
        return sent + sum(r.seconds for r in self.reports.values())

    def bytes(self, value: int) -> int:
        """Bytes of a value of the route."""
        return evaluate(self.route.types[value].bytes, self.env)

    def kernels(self) -> str:
        """The tables of the stages' steps, and the transfers between them."""
        out = []
        for k, s in enumerate(self.route.steps):
            out.append(f"{k:>4}  {self._line(s)}")
            if isinstance(s, Stage):
                out.append(self.reports[id(s)].kernels())
        return "\n".join(out)

    def __str__(self) -> str:
        lines = [f"plan of {self.name}: {len(self.route.stages)} stages, "
                 f"{len(self.route.transfers)} transfers"]
        lines += [f"  peak memory  {bytes_text(n):>12}   on {device}"
                  for device, n in self.peaks.items()]
        lines.append(f"  transferred  {bytes_text(self.transferred):>12}")
        lines.append(f"  predicted    {time_text(self.seconds):>12}   one after another")
        return "\n".join([*lines, *(f"  {self._line(s)}" for s in self.route.steps)])

    def _line(self, s: Stage | Transfer) -> str:
        if isinstance(s, Stage):
            r = self.reports[id(s)]
            return f"on {s.device}: {len(r.plan.launches())} launches, {time_text(r.seconds)}"
        source = self.route.homes[s.source]
        return f"{source} to {s.device}: {s.type}, {bytes_text(self.bytes(s.target))}" \
               f"  {render(s.line)}"


class _Living:
    """What is alive on each device while the steps run. Values may share bytes: `owners` says whose
    a value's are, `sizes` how many an owner has."""

    def __init__(self, report: StagedReport):
        self.report, self.route = report, report.route
        self.owners: dict[int, object] = {}
        self.sizes: dict[object, tuple[Device, int]] = {}
        self.inputs = set(self.route.inputs)
        self.last = self.route.last_reads()
        for k in self.route.inputs:
            self._own(k)

    def _own(self, value: int) -> None:
        self.owners[value] = value
        self.sizes[value] = self.route.homes[value], self.report.bytes(value)

    def peaks(self) -> dict[Device, int]:
        arenas: dict[Device, int] = {}
        constants: dict[Device, int] = {}
        most: dict[Device, int] = {}
        for stage in self.route.stages:
            m: Memory = self.report.reports[id(stage)].memory
            device = stage.device
            arenas[device] = max(arenas.get(device, 0), m.temporaries + m.scratch)
            constants[device] = constants.get(device, 0) + m.constants
        self._note(most)
        for k, s in enumerate(self.route.steps):
            if isinstance(s, Transfer):
                self._own(s.target)
            else:
                self._give(s)
            self._note(most)
            for n in s.reads:
                if self.last.get(n) == k and n not in self.inputs:
                    self.owners.pop(n, None)
        return {d: n + arenas.get(d, 0) + constants.get(d, 0) for d, n in most.items()}

    def _give(self, s: Stage) -> None:
        plan = self.report.reports[id(s)].plan
        for n, b in zip(s.gives, plan.results, strict=True):
            root = b.root
            if root.role == "argument":
                self.owners[n] = self.owners[s.reads[root.index]]
            else:
                self.owners[n] = (id(s), id(root))
                self.sizes[id(s), id(root)] = s.device, aligned(evaluate(root.bytes,
                                                                         self.report.env))

    def _note(self, most: dict[Device, int]) -> None:
        now: dict[Device, int] = {}
        for owner in set(self.owners.values()):
            device, size = self.sizes[owner]
            now[device] = now.get(device, 0) + size
        for device, size in now.items():
            most[device] = max(most.get(device, 0), size)
