"""When each step of a plan runs: its time, with what earlier steps left in the caches.

A step finds in a cache what was touched last, as far as it holds. The plan is walked twice, so that
the first step finds what the last one of the call before left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from ...base.extents import evaluate
from ...codegen.emit import scratch_bytes
from ...lang.loops import structure
from ..memory.place import Layout
from ..plan import Branch, Buffer, Copy, Host, Launch, Loop, Parallel, Plan
from .profile import Profile
from .roofline import Roofline, bounds
from .timing import Code, Moved, Run, Share, seconds, together

COPY_PIECE = 256 << 10
INSTRUCTION = 12    # bytes of machine code for each that is counted, constants of the code included
COPY_PAST = 32 << 20    # bytes of a copy that goes past the caches


class Timetable:
    """Seconds of each step (by id): of one trip where it is in a loop, all inner trips together."""

    def __init__(self, plan: Plan, layout: Layout, profile: Profile | Roofline, threads: int,
                 env: Mapping[str, int]):
        self.threads, self.env = threads, env
        self.seconds: dict[int, float] = {}
        self.runs: dict[tuple, Run] = {}
        if isinstance(profile, Roofline):
            self.seconds = bounds(plan, profile, env)
            sent = sum(self.seconds.get(id(s), 0.0) for s in plan.transfers)
            self.total = max(sent, self._sum(plan.steps) - sent)    # a queue for each
            return
        self.profile, self.recent = profile, Recent(layout, profile)
        for _ in range(2):
            self._walk(plan.steps)
        self.total = self._sum(plan.steps) + profile.call * 1e-9

    def code(self) -> int:
        """About how many bytes of machine code the kernels are."""
        found = {id(run.code): run.code for run in self.runs.values()}
        return int(INSTRUCTION * sum(c.instructions for c in found.values()))

    def _walk(self, steps: list) -> None:
        for s in steps:
            if isinstance(s, Loop):
                for _ in range(2):
                    self._walk(s.head)
                    self._walk(s.body)
            elif isinstance(s, Branch):
                for arm in s.arms:
                    self._walk(arm)
            elif isinstance(s, Parallel):
                self._parallel(s)
            else:
                self.seconds[id(s)] = self._step(s)

    def _sum(self, steps: list) -> float:
        return sum(map(self.of, steps))

    def of(self, s) -> float:
        """A step's seconds; of a loop all trips, of an open one a single one, of a branch the
        dearest arm."""
        if isinstance(s, Loop):
            trips = 1 if s.trips is None else evaluate(s.trips, self.env)
            return (self._sum(s.head) + self._sum(s.body)) * trips
        if isinstance(s, Branch):
            return max(map(self._sum, s.arms), default=0.0)
        if isinstance(s, Parallel):
            return self._sum([*s.members])
        return self.seconds.get(id(s), 0.0)

    def _step(self, s) -> float:
        if isinstance(s, Launch):
            return self._launch(s)
        if isinstance(s, Copy):
            return self._copy(s)
        assert isinstance(s, Host)
        for b in s.buffers():
            self.recent.touch(b, evaluate(b.bytes, self.env), 1, True)
        return 0.0

    def _copy(self, s: Copy) -> float:
        p, n = self.profile, evaluate(s.source_buffer.bytes, self.env)
        used = min(self.threads, max(1, n // COPY_PIECE))
        if s.spills or s.fetches:
            self.recent.touch(s.target if s.fetches else s.source_buffer, n, used, s.fetches)
            return (n * p.file + p.launch) * 1e-9
        far = 0.0
        for b in s.buffers():
            at, _ = self.recent.touch(b, n, used, b is s.target)
            if b is s.target and n >= COPY_PAST:
                far += n * max(p.past / used, p.levels[-1].shared if used > 1 else 0)
            else:
                far += n * sum(x.read if used == 1 else x.shared for x in p.levels[:at])
        return (max(far, n * p.units["store"] / 64 / used) + p.launch
                + (p.share if used > 1 else 0)) * 1e-9

    def _launch(self, s: Launch) -> float:
        tasks, grain = s.claims(self.env, self.threads)
        if tasks == 0:
            return self.profile.launch * 1e-9
        return seconds(self._share(s, tasks, grain), self.threads)

    def _parallel(self, step: Parallel) -> None:
        """The time of launches that run together, as parts of what each would take alone."""
        for s in step.members:
            self.seconds[id(s)] = 0.0 if isinstance(s, Launch) else self._step(s)
        launches = [s for s in step.members if isinstance(s, Launch)]
        claims = [s.claims(self.env, self.threads) for s in launches]
        busy = [(s, self._share(s, *c)) for s, c in zip(launches, claims, strict=True) if c[0]]
        alone = [seconds(share, self.threads) for _, share in busy]
        if busy:
            whole = together([share for _, share in busy], self.threads)
            for (s, _), each in zip(busy, alone, strict=True):
                self.seconds[id(s)] = whole * each / sum(alone)

    def _share(self, s: Launch, tasks: int, grain: int) -> Share:
        run, chunks = self._run(s, tasks), -(-tasks // grain)
        return Share(run, chunks, *self._moved(s, run, min(self.threads, chunks)))

    def _moved(self, s: Launch, run: Run, used: int) -> tuple[list[Moved], float]:
        """Bytes that come from each level: what crosses into each cache, but for what a launch
        before left there; and bytes that it left in the caches of other cores than those of the
        `used` threads that need them now."""
        handed = 0.0
        levels = range(len(run.crossings))
        ways: list[list[float]] = [[0.0 for _ in levels] for _ in ("read", "written", "leaping")]
        for operand, given in zip(s.operands, s.kernel.operands, strict=True):
            each = [[c.get((given.name, writes), 0.0) for c in run.crossings]
                    for writes in (False, True)]
            size = max(each[0][-1], each[1][-1], 1.0)
            at, cores = self.recent.touch(operand.buffer, size, used, operand.writes)
            if at <= self.profile.owned:
                handed += size * (1 - 1 / cores)
            for sums, crossed, writes in zip(ways, each, (False, True), strict=False):
                leaps = run.leaps.get((given.name, writes), 0.0)
                for k, n in enumerate(crossed):
                    moved = n if k < at else max(0.0, n - crossed[-1])
                    sums[k] += moved
                    ways[2][k] += moved * leaps
        return [Moved(*m) for m in zip(*ways, strict=True)], handed

    def _run(self, s: Launch, tasks: int) -> Run:
        sizes = [evaluate(e, self.env) for e in s.sizes]
        shape = structure(s.kernel)
        capacity = {b.name: float(evaluate(o.bytes, self.env))
                    for o, b in zip(s.operands, s.kernel.operands, strict=True)}
        key = (shape, tuple(sizes), tasks, tuple(capacity.values()))
        found = self.runs.get(key)
        if found is None:
            scratch = float(scratch_bytes(s.kernel, sizes))
            capacity |= {b.name: scratch for b in s.kernel.scratch}
            found = self.runs[key] = Run(code_of(s, shape, self.profile), sizes, tasks,
                                         self.profile, capacity)
        return found


_codes: OrderedDict[tuple, Code] = OrderedDict()


def code_of(s: Launch, shape: tuple, profile: Profile) -> Code:
    """The kernel's code as counts, remembered."""
    key = (shape, profile.vector_bits, profile.adding)
    found = _codes.get(key)
    if found is None:
        if len(_codes) > 2048:
            _codes.popitem(last=False)
        found = _codes[key] = Code(s.kernel, profile.vector_bits, profile.adding)
    return found


class Recent:
    """What was touched last: the buffers, the latest behind."""

    def __init__(self, layout: Layout, profile: Profile):
        self.sizes: OrderedDict[int, float] = OrderedDict()
        self.cores: dict[int | None, tuple[int, bool]] = {}     # that touched it, whether to write
        self.offsets = {id(i.buffer): (i.offset, i.offset + i.size) for i in layout.intervals}
        self.caches = [size for size, _ in profile.caches]

    def touch(self, buffer: Buffer, size: float, used: int, writes: bool) -> tuple[int, int]:
        """(the level that its bytes come from, 0: the first cache; the cores in whose caches they
        lie by chance), and note that `used` threads touch them now. What was only read since it was
        last handed on is where it is needed."""
        root = id(buffer.root)
        between, last = 0.0, None
        mine = self.offsets.get(root)
        for other in reversed(self.sizes):
            if other == root or mine is not None and _meet(mine, self.offsets.get(other)):
                last = other
                break
            between += self.sizes[other]
        before, written = self.cores.get(last, (1, False))
        self.cores[root] = used, writes
        self.sizes[root] = max(size, self.sizes.pop(root, 0.0))
        if last is None:
            return len(self.caches), 1
        at = next((k for k, n in enumerate(self.caches) if between + size <= n), len(self.caches))
        return at, max(used, before) if writes or written else 1


def _meet(a: tuple[int, int], b: tuple[int, int] | None) -> bool:
    return b is not None and a[0] < b[1] and b[0] < a[1]
