"""The time of a launch, from its kernel's code: what each block keeps busy, how often it runs, and
the bytes that move between the levels of memory.

Within a level of memory, arithmetic and loads overlap; between levels bytes move one level after
another (the execution-cache-memory model: Stengel, Treibig, Hager & Wellein, ICS 2015). A core
looks `window` instructions ahead, so values that wait for each other cost time only where nothing
else is near.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...codegen.outline import Block, Outline
from ...lang.expr import Expr
from ...lang.loops import Kernel
from .footprint import Touch
from .instructions import Mix, mix
from .profile import Profile
from .trips import Trips, Weighted, likely, merged


class Busy(NamedTuple):
    """Nanoseconds of one thread: `busy` at work, `near` of these for loads and stores, `wait` until
    the last value is there; `issue` instructions."""

    busy: float
    near: float
    wait: float
    issue: float


class Code:
    """A kernel's code as counts: its outline with the mix of each block."""

    __slots__ = ("mixes", "outline")

    def __init__(self, kernel: Kernel, vector_bits: int):
        self.outline = Outline(kernel)
        self.mixes: dict[int, Mix] = {}
        self._count(self.outline.root, vector_bits)

    def _count(self, block: Block, vector_bits: int) -> None:
        lines = [x for x in block.items if isinstance(x, str)]
        self.mixes[id(block)] = mix(lines, block.phis, vector_bits)
        for x in block.items:
            if isinstance(x, Block):
                self._count(x, vector_bits)


class Run:
    """A kernel at given sizes on a machine: `task`, the time of a task without what moves between
    the levels of memory, and what moves."""

    __slots__ = ("code", "crossings", "env", "profile", "task", "tasks", "trips")

    def __init__(self, code: Code, sizes: Sequence[int], tasks: int, profile: Profile,
                 capacity: Mapping[str, float]):
        self.code, self.profile, self.tasks = code, profile, tasks
        kernel = code.outline.kernel
        self.env: dict[Expr, int] = dict(zip(kernel.sizes, sizes, strict=True))
        self.trips: dict[int, float] = {}
        whole = self._block(code.outline.root, [(1.0, self.env)])
        self.task = Busy(*(x / max(1, tasks) for x in whole))
        touch = Touch(code.outline, self.trips, self.env, capacity)
        self.crossings = [touch.crossing(size, ways) for size, ways in profile.caches]

    def _block(self, block: Block, around: Weighted) -> Busy:
        """One run of a block, or all iterations of a loop's."""
        times, inside = 1.0, around
        if block.loop is not None:
            found = Trips(block.loop, around, self.code.outline.places,
                          (0, self.tasks) if block.loop.kind == "parallel" else None)
            self.trips[id(block.loop)] = found.count
            times, inside = found.whole if block.whole else found.count, merged(found.inside)
        elif block.rest is not None:
            found = Trips(block.rest, around, self.code.outline.places)
            times, inside = found.partial, merged(found.inside)
            self.trips.setdefault(id(block.rest), found.count)
        elif block.when is not None:
            times = likely(block.when, around, self.code.outline.sets)
        if times <= 0:
            return Busy(0, 0, 0, 0)
        return self._times(block, times, self._once(block, inside))

    def _once(self, block: Block, around: Weighted) -> Busy:
        """What one iteration keeps busy."""
        m, cycle, rate = self.code.mixes[id(block)], self.profile.cycle, self.profile.units
        u = m.units
        near = max(u["load"] * rate["load"], u["store"] * rate["store"])
        slow = u["gather"] * rate["gather"] + u["scatter"] * rate["scatter"]
        busy = max(near, u["vector"] * rate["vector"], u["issue"] * rate["issue"],
                   u["divide"] * rate["divide"]) + slow + \
            u["integer_divide"] * rate["integer_divide"]
        parts = [Busy(busy, near + slow, m.path * cycle, u["issue"])]
        parts += [self._block(x, around) for x in block.items if isinstance(x, Block)]
        return Busy(*map(sum, zip(*parts, strict=True)))

    def _times(self, block: Block, times: float, once: Busy) -> Busy:
        """So many iterations: as fast as the units allow, as values are handed on, and as far as
        the core looks ahead."""
        if block.loop is None:
            return Busy(*(times * x for x in once))
        chain = self.code.mixes[id(block)].chain * self.profile.cycle
        ahead = max(1.0, self.profile.window / max(1.0, once.issue))
        each = max(once.busy, chain, once.wait / ahead)
        wait = max(times * each, times * chain + once.wait)
        return Busy(times * each, times * once.near, wait, times * once.issue)


class Moved(NamedTuple):
    """Bytes read from and written to one level."""

    read: float
    written: float


def seconds(run: Run, chunks: int, threads: int, moved: Sequence[Moved]) -> float:
    """The time of a launch in so many chunks, of which `moved` come from each level."""
    p = run.profile
    used = max(1, min(threads, chunks))
    crowd = p.crowd if used > 1 else 1.0
    share = -(-chunks // used) / max(1, chunks)     # of the thread that has most to do
    far = 0.0
    for level, m in zip(p.levels, moved, strict=True):
        alone = (m.read * level.read + m.written * level.write) * share
        far += max(alone, (m.read + m.written) * level.shared) if used > 1 else alone
    tasks = run.tasks * share * crowd
    spent = max(run.task.busy * tasks, run.task.near * tasks + far)
    return (spent * p.slack + p.launch + (p.share if used > 1 else 0.0)) * 1e-9
