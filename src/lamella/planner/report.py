"""What a Plan says before anything runs: bytes, operations, traffic, time, and its kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base.extents import evaluate
from ..base.source import render
from .layers import Layers
from .memory.peak import Memory, bytes_text, memory_of
from .memory.place import Layout, lower_bound, place, place_in_file
from .plan import Copy, Host, Launch, Loop, Order, Plan, inner_steps
from .pricing.cost import total
from .pricing.profile import Profile
from .pricing.roofline import Roofline
from .pricing.timetable import Timetable


class Report:
    """A plan for given values of its symbols (their upper bounds where none are given).

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

    def __str__(self) -> str:
        m = self.memory
        head = f"plan of {self.plan.name}: {len(self._rows())} steps, " \
               f"{len({id(s.kernel) for s in self.plan.launches()})} launches, " \
               f"{self.threads} threads"
        if self.plan.fast:
            head += ", fast"
        if self.env:
            head += ", " + ", ".join(f"{k} = {v}" for k, v in self.env.items())
        lines = [head,
                 f"  peak memory  {bytes_text(m.peak):>12}   arguments {bytes_text(m.arguments)}, "
                 f"results {bytes_text(m.results)}, constants {bytes_text(m.constants)}, "
                 f"temporaries {bytes_text(m.temporaries)}, scratch {bytes_text(m.scratch)}",
                 f"  operations   {count_text(self.flops):>12}flop",
                 f"  traffic      {bytes_text(self.traffic):>12}",
                 f"  predicted    {time_text(self.seconds):>12}   by the profile "
                 f"{self.profile.title}"]
        if self.code:
            lines.append(f"  code         {bytes_text(self.code):>12}   about, beside the peak: "
                         f"{len({id(s.kernel) for s in self.plan.launches()})} kernels")
        if isinstance(self.profile, Roofline) and m.peak > self.profile.memory:
            lines.append(f"  {'':26}   the device has {bytes_text(int(self.profile.memory))}: the "
                         "peak does not fit")
        if self.run_seconds:
            lines.append(f"  measured     {time_text(self.run_seconds):>12}   the prediction is "
                         f"off by {self.seconds / self.run_seconds - 1:+.0%}")
        if self.hosts:
            own = "" if self.same_bits else "; bits are their libraries'"
            lines.append(f"  host calls   {len(self.hosts):>12}   at most "
                         f"{bytes_text(self.workspace)} of their own beside the peak{own}")
        if self.recomputed:
            flops = self._total(lambda s: evaluate(s.flops, self.env) if getattr(
                s, "again", False) else 0)
            lines.append(f"  recomputed   {len(self.recomputed):>12}   steps, "
                         f"{count_text(flops)}flop, to keep the budget")
        if self.spilled:
            labels = dict.fromkeys(s.target.label for s in self.spilled)
            where = "on the host" if self.plan.level == "tiles" else "in a file"
            lines.append(f"  {where:<12} {bytes_text(self.file_bytes):>12}   {len(self.spilled)} "
                         f"of {_few(list(labels))}, {bytes_text(self.file_traffic)} written and "
                         "read")
        lines += self._parts_lines()
        if self.plan.symbols:
            f = self.formulas()
            lines += [f"  flops(...)   {f['flops']}", f"  traffic(...) {f['traffic']}"]
        return "\n".join(lines)

    def _parts_lines(self) -> list[str]:
        """A line for each region in parts: how many, of what, its lines, and whose weights."""
        out = []
        for loop in self.in_parts:
            steps = Order([loop]).leaves[:-1]
            lines = dict.fromkeys(render(s.source) for s in steps if getattr(s, "source", None))
            read = dict.fromkeys(b.label for s in steps for b in s.buffers()
                                 if b.role == "argument")
            out.append(f"  in parts     {loop.parts:>12}   {len(steps)} steps of "
                       f"{', '.join(lines)}{' with ' if read else ''}{_few(list(read))}")
        return out

    def kernels(self) -> str:
        """A table of the steps: what each computes, its operations, bytes and predicted time; of
        a run the measured time too, and how near it came to the machine's peak rates; the layer of
        the model that it belongs to, where there are layers, and the user's line."""
        shown = "" if self.measured is None else f" {'measured':>9} {'of peak':>7}"
        lines = [f"{'step':>4}  {'kernel':<9} {'computes':<34} {'flop':>9} {'bytes':>10} "
                 f"{'time':>9}{shown}  {self._layer('layer')}line"]
        for k, (depth, s, trips) in enumerate(self._rows()):
            kind = s.kernel.name if isinstance(s, Launch) else type(s).__name__.lower()
            if isinstance(s, Copy) and (s.spills or s.fetches):
                kind = "host" if self.plan.level == "tiles" else "file"
            flops, traffic = self.price(s)
            what = "  " * depth + s.names + self._trips(s)
            lines.append(f"{k:>4}  {kind:<9} {what[:34]:<34} {count_text(flops):>9} "
                         f"{bytes_text(traffic):>10} {time_text(self.timetable.of(s)):>9}"
                         f"{self._beside(s, flops, traffic, trips)}  "
                         f"{self._layer(self.layers.of(s))}{render(s.source)}")
        return "\n".join(lines)

    def _layer(self, name: str) -> str:
        """A name in the column of layers; nothing where there are none."""
        return f"{name[-30:]:<30} " if self.layers else ""

    def _beside(self, s, flops: int, traffic: int, trips: int) -> str:
        """The columns of a step that was run: a trip's share of its time in so many trips of the
        loops around it, as its operations and bytes are; nothing where these are not known."""
        if self.measured is None:
            return ""
        if not trips:
            return " " * 18
        seconds = self.spent([s]) / trips
        least = self.profile.least_seconds(flops, traffic, self.threads)
        return f" {time_text(seconds):>9} {least / seconds if seconds else 0:>7.0%}"

    def spent(self, steps) -> float:
        """Measured seconds of steps and of all that is in them."""
        measured = self.measured or {}
        return sum(measured.get(id(s), 0.0) + sum(map(self.spent, inner_steps(s))) for s in steps)

    def _rows(self) -> list[tuple[int, Any, int]]:
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

    def price(self, s) -> tuple[int, int]:
        """A step's operations and bytes; of a loop or a branch those of what is in it."""
        return (self._price(s, lambda s: evaluate(s.flops, self.env)),
                self._price(s, lambda s: evaluate(s.traffic, self.env)))

    def _price(self, s, of) -> Any:
        """A step's price; of a loop or a branch what is in it, all trips together."""
        return total([s], of, self.env)

    def _trips(self, s) -> str:
        if not isinstance(s, Loop):
            return ""
        return ", open" if s.trips is None else f", {evaluate(s.trips, self.env)} trips"

    def memory_map(self, width: int = 64) -> str:
        """The arena as text: time across, a line for each temporary, by address."""
        steps = max(1, len(Order(self.plan.steps).leaves))
        lines = [f"arena {bytes_text(self.layout.size)} "
                 f"(liveness bound {bytes_text(self.liveness_bound())})"]
        for i in sorted(self.layout.intervals, key=lambda i: (i.offset, i.first)):
            a = i.first * width // steps
            z = max(a + 1, (i.last + 1) * width // steps)
            bar = " " * a + "#" * (z - a)
            lines.append(f"{i.offset:>10} {bytes_text(i.size):>9} |{bar:<{width}}| "
                         f"{i.buffer.label}")
        return "\n".join(lines)


def _few(names: list[str], most: int = 4) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def count_text(n: int) -> str:
    """A count with a metric prefix."""
    for unit, size in (("T", 10 ** 12), ("G", 10 ** 9), ("M", 10 ** 6), ("k", 10 ** 3)):
        if n >= size:
            return f"{n / size:.2f} {unit}"
    return f"{n} "


def time_text(s: float) -> str:
    """Seconds for people."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if s >= size:
            return f"{s / size:.2f} {unit}"
    return f"{s * 1e9:.0f} ns"


