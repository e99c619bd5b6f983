"""Figures of a Plan before anything runs: bytes, operations, traffic, time, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base.extents import evaluate
from .layers import Layers
from .memory.peak import Memory, memory_of
from .memory.place import Layout, lower_bound, place, place_in_file
from .plan import Copy, Host, Launch, Loop, Order, Plan, inner_steps
from .pricing.cost import total
from .pricing.profile import Profile
from .pricing.roofline import Roofline
from .pricing.timetable import Timetable


class Figures:
    """What a plan needs for given values of its symbols (their upper bounds where none are given).

    `flops`, `traffic` (bytes read and written) and `seconds` are sums over the steps; `formulas`
    states flops and traffic in the symbols. `measured` has the seconds that each step (by id) took
    in a run, all trips of a loop together, where there was one; `run_seconds` is the whole run's.
    """

    __slots__ = ("_layers", "_timetable", "env", "layout", "measured", "memory", "plan", "profile",
                 "run_seconds", "threads")

    def __init__(self, plan: Plan, profile: Profile | Roofline, threads: int = 1,
                 env: Mapping[str, int] | None = None,
                 measured: Mapping[int, float] | None = None, run_seconds: float = 0.0):
        self.plan, self.profile, self.threads = plan, profile, threads
        self.measured, self.run_seconds = measured, run_seconds
        self.env = dict(env or {s.name: s.high for s in plan.symbols})
        self.layout: Layout = place(plan, self.env)
        self._layers: Layers | None = None
        self._timetable: Timetable | None = None
        self.memory: Memory = memory_of(plan, self.layout, threads, self.env)

    @property
    def peak(self) -> int:
        """Peak bytes of a run."""
        return self.memory.peak

    @property
    def hosts(self) -> list[Host]:
        """The steps that are calls of host functions."""
        return [s for s in Order(self.plan.steps).leaves if isinstance(s, Host)]

    @property
    def workspace(self) -> int:
        """Bytes that calls of host functions may allocate beside the peak: the largest bound."""
        return max((evaluate(s.workspace, self.env) for s in self.hosts), default=0)

    @property
    def same_bits(self) -> bool:
        """Whether the bits of the results depend on the arguments alone: no host function says that
        its own depend on more."""
        return all(s.same_bits for s in self.hosts)

    @property
    def recomputed(self) -> list:
        """The steps that compute again what was computed before, to keep a memory budget."""
        return [s for s in Order(self.plan.steps).leaves
                if isinstance(s, Launch | Copy) and s.again]

    @property
    def in_parts(self) -> list[Loop]:
        """The regions that are computed in parts, to keep a memory budget."""
        return [s for s in self.plan.steps if isinstance(s, Loop) and s.parts]

    @property
    def spilled(self) -> list[Copy]:
        """The steps that write a value into a file (of a device: into the host's memory), to keep a
        memory budget."""
        return [s for s in self.plan.transfers if s.spills]

    @property
    def file_bytes(self) -> int:
        """Bytes of that file (of a device: of the host's memory), which are no part of the peak."""
        return place_in_file(self.plan, self.env).size

    @property
    def file_traffic(self) -> int:
        """Bytes that a run writes into that file and reads from it."""
        return sum(evaluate(s.source_buffer.bytes, self.env) for s in self.plan.transfers)

    @property
    def flops(self) -> int:
        """Floating-point operations of a run; of an open loop, one trip's."""
        return self._total(lambda s: evaluate(s.flops, self.env))

    @property
    def traffic(self) -> int:
        """Bytes that the steps read and write, each operand once a step."""
        return self._total(lambda s: evaluate(s.traffic, self.env))

    def _total(self, of) -> Any:
        return total(self.plan.steps, of, self.env)

    @property
    def layers(self) -> Layers:
        """Which layer of the model each step and value belongs to."""
        if self._layers is None:
            self._layers = Layers(self.plan, self.env)
        return self._layers

    @property
    def timetable(self) -> Timetable:
        """The predicted time of each step."""
        if self._timetable is None:
            self._timetable = Timetable(self.plan, self.layout, self.profile, self.threads,
                                        self.env)
        return self._timetable

    @property
    def seconds(self) -> float:
        """Predicted time of a run, host functions left out."""
        return self.timetable.total

    @property
    def code(self) -> int:
        """About how many bytes of machine code the kernels are; they are not part of the peak, and
        0 for a device of which only a data sheet is known."""
        return self.timetable.code()

    def formulas(self) -> dict[str, str]:
        """Flops and traffic as formulas in the symbols."""
        steps = self.plan.steps
        return {"flops": str(total(steps, lambda s: s.flops)),
                "traffic": str(total(steps, lambda s: s.traffic))}

    def liveness_bound(self) -> int:
        """Bytes that no placement of the temporaries can do without."""
        return lower_bound(self.layout.intervals)

    def price(self, s) -> tuple[int, int]:
        """A step's operations and bytes; of a loop or a branch those of what is in it, all trips
        together."""
        return (total([s], lambda s: evaluate(s.flops, self.env), self.env),
                total([s], lambda s: evaluate(s.traffic, self.env), self.env))

    def spent(self, steps) -> float:
        """Measured seconds of steps and of all that is in them."""
        measured = self.measured or {}
        return sum(measured.get(id(s), 0.0) + sum(map(self.spent, inner_steps(s))) for s in steps)

    def rows(self) -> list[tuple[int, Any, int]]:
        """Every step with its depth and the trips of the loops around it (0: not known), loops and
        branches before what is in them."""
        rows: list[tuple[int, Any, int]] = []

        def visit(steps, depth: int, trips: int) -> None:
            for s in steps:
                rows.append((depth, s, trips))
                inside = trips * evaluate(s.trips or 0, self.env) if isinstance(s, Loop) else trips
                for inner in inner_steps(s):
                    visit(inner, depth + 1, inside)

        visit(self.plan.steps, 0, 1)
        return rows
