"""The time of a launch, from its kernel's code: what each block keeps busy, how often it runs, and
the bytes that move between the levels of memory.

Within a level of memory, arithmetic and loads overlap; between levels bytes move one level after
another (the execution-cache-memory model: Stengel, Treibig, Hager & Wellein, ICS 2015). A core
looks `window` instructions ahead, so values that wait for each other cost time only where nothing
else is near.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...codegen.outline import Block, Outline
from ...lang.expr import Expr, free_axes, lit
from ...lang.loops import Kernel, Loop
from .counters import counters, expected
from .footprint import Touch
from .instructions import Mix, mix
from .profile import Profile
from .trips import UNKNOWN, Trips, Weighted, likely, merged

MISSED = 15     # cycles that are lost where a core took the wrong way at a condition


class Busy(NamedTuple):
    """Nanoseconds of one thread: `busy` at work, `near` of these for loads and stores, `wait` until
    the last value is there; `issue` instructions."""

    busy: float
    near: float
    wait: float
    issue: float


class Code:
    """A kernel's code as counts: its outline with the mix of each block, and the registers that
    count."""

    __slots__ = ("counters", "mixes", "outline")

    def __init__(self, kernel: Kernel, vector_bits: int, adding: int = 4):
        self.outline, self.counters = Outline(kernel), counters(kernel.body)
        self.mixes: dict[int, Mix] = {}
        self._count(self.outline.root, vector_bits, adding)

    @property
    def instructions(self) -> float:
        """How many instructions the code has."""
        return sum(m.units["issue"] for m in self.mixes.values())

    def _count(self, block: Block, vector_bits: int, adding: int) -> None:
        lines = [x for x in block.items if isinstance(x, str)]
        self.mixes[id(block)] = mix(lines, block.phis, vector_bits, adding)
        for x in block.items:
            if isinstance(x, Block):
                self._count(x, vector_bits, adding)


class Run:
    """A kernel at given sizes on a machine: `task`, the time of a task without what moves between
    the levels of memory, and what moves."""

    __slots__ = ("chances", "code", "crossings", "env", "leaps", "past", "places", "profile",
                 "task", "tasks", "trips")

    def __init__(self, code: Code, sizes: Sequence[int], tasks: int, profile: Profile,
                 capacity: Mapping[str, float]):
        self.code, self.profile, self.tasks = code, profile, tasks
        kernel = code.outline.kernel
        self.env: dict[Expr, int] = dict(zip(kernel.sizes, sizes, strict=True))
        self.trips: dict[int, float] = {}
        self.chances: dict[Expr, float] = {}        # of each condition
        self.places = dict(code.outline.places)
        whole = self._block(code.outline.root, [(1.0, self.env)])
        self.task = Busy(*(x / max(1, tasks) for x in whole))
        touch = Touch(code.outline, self.trips, self.env, capacity)
        self.crossings = touch.crossings(profile.caches)
        self.leaps, self.past = touch.leaps(), touch.past()

    def _block(self, block: Block, around: Weighted) -> Busy:
        """One run of a block, or all iterations of a loop's."""
        times, inside = 1.0, around
        if block.loop is not None:
            self._count(block.loop)
            found = Trips(block.loop, around, self.places,
                          (0, self.tasks) if block.loop.kind == "parallel" else None)
            self.trips[id(block.loop)] = found.count
            times, inside = found.whole if block.whole else found.count, merged(found.inside)
        elif block.rest is not None:
            found = Trips(block.rest, around, self.places)
            times, inside = found.partial, merged(found.inside)
            self.trips.setdefault(id(block.rest), found.count)
        elif block.when is not None:
            times = self.chances[block.when] = likely(block.when, around, self.places)
        missed = MISSED * self.profile.cycle * min(times, 1 - times) / 2 if block.when is not None \
            else 0.0
        if times <= 0:
            return Busy(0, 0, 0, 0)
        busy = self._times(block, times, self._once(block, inside))
        return busy._replace(busy=busy.busy + missed, wait=busy.wait + missed)

    def _count(self, loop: Loop) -> None:
        """What registers that the loop's end needs have counted by then."""
        for x in free_axes(loop.high) & self.code.counters.keys():
            n = expected(self.code.counters[x], lambda s: self.trips.get(id(s), UNKNOWN),
                         lambda cond: self.chances.get(cond, 0.5))
            self.places[x] = lit(n, x.dtype)

    def _once(self, block: Block, around: Weighted) -> Busy:
        """What one iteration keeps busy."""
        m, cycle, rate = self.code.mixes[id(block)], self.profile.cycle, self.profile.units
        u = m.units
        near = max(u["load"] * rate["load"], u["store"] * rate["store"])
        slow = u["gather"] * rate["gather"] + u["scatter"] * rate["scatter"]
        busy = max(near, u["vector"] * rate["vector"], u["issue"] * rate["issue"],
                   u["divide"] * rate["divide"], u["matrix"] * rate["matrix"]) + slow + \
            u["integer_divide"] * rate["integer_divide"]
        parts = [Busy(busy, near + slow, m.path * cycle, u["issue"])]
        ways = [0.0]        # conditions next to each other do not wait for each other
        for x in block.items:
            if isinstance(x, Block):
                inner = self._block(x, around)
                if x.when is not None:
                    ways.append(inner.wait)
                    inner = inner._replace(wait=0.0)
                parts.append(inner)
        parts.append(Busy(0, 0, max(ways), 0))
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
    """Bytes read from and written to one level, and these times how crowded they are on their way
    (`Touch.leaps`)."""

    read: float
    written: float
    leaping: float


class Share(NamedTuple):
    """A launch as it is shared out: its chunks, the bytes `moved` from each level, and the bytes
    `handed` over from the caches of other cores."""

    run: Run
    chunks: int
    moved: Sequence[Moved]
    handed: float = 0.0


def seconds(s: Share, threads: int) -> float:
    """The time of a launch that runs alone."""
    run, chunks = s.run, s.chunks
    p = run.profile
    used = max(1, min(threads, chunks))
    share = -(-chunks // used) / max(1, chunks)     # of the thread that has most to do
    spent = _spent(s, share, used, used > 1)
    shared = p.share + p.claim * chunks * share if used > 1 else 0.0
    return (spent * p.slack + p.launch + shared) * 1e-9


def together(shares: Sequence[Share], threads: int) -> float:
    """The time of launches whose chunks are claimed one after another by all threads."""
    p, chunks = shares[0].run.profile, sum(s.chunks for s in shares)
    used = max(1, min(threads, chunks))
    least = sum((m.read + m.written) * level.shared for s in shares
                for level, m in zip(p.levels, s.moved, strict=True))
    least += sum(s.run.past for s in shares) * p.levels[-1].shared
    spent = makespan([(_spent(s, 1 / max(1, s.chunks), used, False), s.chunks) for s in shares],
                     used)
    return (max(spent, least) * p.slack + p.launch + p.share + p.claim * chunks / used) * 1e-9


def makespan(chunks: Sequence[tuple[float, int]], threads: int) -> float:
    """When the last of `threads` is done, each of which takes the next chunk as it is free: of
    (seconds of a chunk, how many of them) in order."""
    free = [0.0] * threads
    for each, count in chunks:
        for _ in range(count):
            heapq.heapreplace(free, free[0] + each)
    return max(free)


def _spent(s: Share, share: float, used: int, one: bool) -> float:
    """Nanoseconds of a thread that does so much of a launch; `one`: all `used` threads are at it,
    so that it takes no less than the levels need that they share."""
    run, p = s.run, s.run.profile
    far = s.handed * p.handed * share
    for level, m in zip(p.levels, s.moved, strict=True):
        alone = (m.read * level.read + m.written * level.write + m.leaping * level.leap) * share
        far += max(alone, (m.read + m.written) * level.shared) if one else alone
    past = run.past * p.past * share
    far += max(past, run.past * p.levels[-1].shared) if one else past
    tasks = run.tasks * share * (p.crowd if used > 1 else 1.0)
    return max(run.task.busy * tasks, run.task.near * tasks + far)
