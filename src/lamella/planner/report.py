"""What a Plan says before anything runs: its figures, its kernels and its memory map, as text."""

from __future__ import annotations

from ..base.extents import evaluate
from ..base.source import render
from .figures import Figures
from .memory.peak import bytes_text
from .plan import Copy, Launch, Loop, Order
from .pricing.cost import total
from .pricing.roofline import Roofline


class Report(Figures):
    """A plan's figures for given values of its symbols; printed, what they are for people."""

    __slots__ = ()

    def __str__(self) -> str:
        lines = [self._head(), *self._figures(), *self._kept(), *self._parts()]
        if self.plan.symbols:
            f = self.formulas()
            lines += [f"  flops(...)   {f['flops']}", f"  traffic(...) {f['traffic']}"]
        return "\n".join(lines)

    def _head(self) -> str:
        """What is planned: steps, launches, threads, mode, values of symbols."""
        head = f"plan of {self.plan.name}: {len(self.rows())} steps, " \
               f"{self._launches()} launches, {self.threads} threads"
        if self.plan.fast:
            head += ", fast"
        return ", ".join([head, *(f"{k} = {v}" for k, v in self.env.items())])

    def _launches(self) -> int:
        """Launches of different kernels."""
        return len({id(s.kernel) for s in self.plan.launches()})

    def _figures(self) -> list[str]:
        """Lines for bytes, operations and time; for the time of a run, where there was one."""
        m = self.memory
        lines = [_line("peak memory", bytes_text(m.peak), f"arguments {bytes_text(m.arguments)}, "
                       f"results {bytes_text(m.results)}, constants {bytes_text(m.constants)}, "
                       f"temporaries {bytes_text(m.temporaries)}, scratch {bytes_text(m.scratch)}"),
                 _line("operations", count_text(self.flops), unit="flop"),
                 _line("traffic", bytes_text(self.traffic)),
                 _line("predicted", time_text(self.seconds),
                       f"by the profile {self.profile.title}")]
        if self.code:
            lines.append(_line("code", bytes_text(self.code),
                               f"about, beside the peak: {self._launches()} kernels"))
        if isinstance(self.profile, Roofline) and self.profile.context:
            lines.append(_line("context", bytes_text(self.profile.context),
                               "beside the peak: the driver's, once for a process"))
        if isinstance(self.profile, Roofline) and m.peak > self.profile.memory:
            lines.append(_line("", "", f"the device has {bytes_text(int(self.profile.memory))}: "
                               "the peak does not fit"))
        if self.run_seconds:
            lines.append(_line("measured", time_text(self.run_seconds), "the prediction is off by "
                               f"{self.seconds / self.run_seconds - 1:+.0%}"))
        if self.hosts:
            own = "" if self.same_bits else "; bits are their libraries'"
            lines.append(_line("host calls", len(self.hosts), "at most "
                               f"{bytes_text(self.workspace)} of their own beside the peak{own}"))
        return lines

    def _kept(self) -> list[str]:
        """Lines for what runs again, and what rests in a file, to keep a budget."""
        lines = []
        if self.recomputed:
            flops = total(self.plan.steps, lambda s: evaluate(s.flops, self.env) if getattr(
                s, "again", False) else 0, self.env)
            lines.append(_line("recomputed", len(self.recomputed),
                               f"steps, {count_text(flops)}flop, to keep the budget"))
        if self.spilled:
            labels = dict.fromkeys(s.target.label for s in self.spilled)
            where = "on the host" if self.plan.level == "tiles" else "in a file"
            lines.append(_line(where, bytes_text(self.file_bytes),
                               f"{len(self.spilled)} of {_few(list(labels))}, "
                               f"{bytes_text(self.file_traffic)} written and read"))
        return lines

    def _parts(self) -> list[str]:
        """A line for each region in parts: how many, of what, its lines, and whose weights."""
        out = []
        for loop in self.in_parts:
            steps = Order([loop]).leaves[:-1]
            lines = dict.fromkeys(render(s.source) for s in steps if getattr(s, "source", None))
            read = dict.fromkeys(b.label for s in steps for b in s.buffers()
                                 if b.role == "argument")
            out.append(_line("in parts", loop.parts, f"{len(steps)} steps of {', '.join(lines)}"
                             f"{' with ' if read else ''}{_few(list(read))}"))
        return out

    def kernels(self) -> str:
        """A table of the steps: what each computes, its operations, bytes and predicted time; of
        a run the measured time too, and how near it came to the machine's peak rates; the layer of
        the model that it belongs to, where there are layers, and the user's line."""
        shown = "" if self.measured is None else f" {'measured':>9} {'of peak':>7}"
        lines = [f"{'step':>4}  {'kernel':<9} {'computes':<34} {'flop':>9} {'bytes':>10} "
                 f"{'time':>9}{shown}  {self._layer('layer')}line"]
        for k, (depth, s, trips) in enumerate(self.rows()):
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


def _line(name: str, figure: object, told: str = "", unit: str = "") -> str:
    """A name, its figure, and what is to be said of it."""
    return f"  {name:<12} {figure:>12}{unit}" + (f"   {told}" if told else "")


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
