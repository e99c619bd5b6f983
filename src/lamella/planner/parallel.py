"""Launches that run in parallel: those that do not need each other are shared out together.

A launch of few tasks, or of a number that threads do not divide, leaves threads idle at its end.
Where another one that does not need it (a branch, an expert, a head, a gradient beside a gradient)
could use them, both become one Parallel step, whose chunks are claimed one after another, the
longest first: list scheduling (Graham, "Bounds on multiprocessing timing anomalies", 1969).

Before: steps in the order that needs little memory.   After: some brought forward, into the step of
an earlier one. What they touch is then alive together, so that no value of one shares bytes with a
value of another: where that would break a memory budget, steps that gain less stay apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .memory.accesses import touches
from .memory.liveness import rough_seconds
from .plan import Host, Launch, Loop, Parallel, Plan, Step, inner_steps
from .pricing.profile import DEFAULTS
from .pricing.timing import makespan

GAINS = (0.5e-6, 8e-6, 64e-6)   # seconds that a launch more in a step has to gain: within a budget
#                                 the first of them is taken for which the plan keeps it
CALL = 1e-3     # that a call of a host function is taken to last: nobody knows how long it does
LITTLE = 2e-5   # of the time of all steps: to gain less is not worth what it keeps alive
_AHEAD = 32     # steps by which a launch is brought forward, at most
_MOST = 16      # launches of one step


def run_in_parallel(plan: Plan, threads: int, fits: Callable[[], bool] | None = None
                    ) -> Callable[[], None]:
    """Let launches of a plan, whose values do not share bytes yet, run in parallel where so many
    threads gain by it; `fits` says whether the plan keeps its budget. What is returned takes it
    back."""
    env = {s.name: s.high for s in plan.symbols}
    lists = [(steps, list(steps), _needs(steps, taken)) for steps, taken in _bodies(plan)] \
        if threads > 1 else []

    def apart() -> None:
        for steps, before, _ in lists:
            steps[:] = before

    for gain in GAINS if lists else ():
        for steps, before, needs in lists:
            steps[:] = _Joining(before, needs, env, threads, gain).steps()
        if fits is None or fits():
            return apart
    apart()
    return apart


def _bodies(plan: Plan):
    """(a list of steps, what a step that writes a buffer may take the bytes of, by id) of the plan
    and of all that is in it."""
    given = [plan.arguments[k] for k in plan.donated]
    yield plan.steps, {id(b.root): given for b in plan.results}

    def within(steps: Sequence[Step]):
        for s in steps:
            taken = {id(made.root): [carried.root] for made, carried in s.carries} \
                if isinstance(s, Loop) else {}
            for inner in inner_steps(s):
                yield inner, taken
                yield from within(inner)

    yield from within(plan.steps)


class _Bytes:
    """Who touched a buffer so far, as sets of steps (bits): whoever wrote it in `before`, what
    wrote it since in parts of its own, and who reads that."""

    __slots__ = ("before", "readers", "writers")

    def __init__(self):
        self.before = self.writers = self.readers = 0

    def read(self, k: int) -> int:
        self.readers |= 1 << k
        return self.before | self.writers

    def write(self, k: int, parted: bool) -> int:
        if self.readers or not parted:
            self.before, self.writers, self.readers = \
                self.before | self.writers | self.readers, 0, 0
        self.writers |= 1 << k
        found = self.before
        if not parted:
            self.before = 1 << k
        return found


def _needs(steps: Sequence[Step], taken: Mapping[int, list]) -> list[int]:
    """The steps (bits) that each must come behind: what it reads and writes over, and the other
    readers of what it may take the bytes of."""
    seen: dict[int, _Bytes] = {}
    found: list[int] = []
    call = 0    # the last call of a host function: these keep their order
    for k, s in enumerate(steps):
        touched, need = touches(s), 0
        if isinstance(s, Host):
            need, call = call, 1 << k
        read = {id(b) for b, writes in touched if not writes}
        for b, writes in touched:
            state = seen.setdefault(id(b), _Bytes())
            need |= state.write(k, b.parted and id(b) not in read) if writes else state.read(k)
            for old in taken.get(id(b), ()) if writes else ():
                if id(old) in read and id(old) in seen:
                    need |= seen[id(old)].readers
        found.append(need & ~(1 << k))
    return found


class _Joining:
    """A list of steps, walked once: each launch takes in those behind it that may run beside it."""

    def __init__(self, steps: Sequence[Step], needs: Sequence[int], env: Mapping[str, int],
                 threads: int, gain: float):
        self.all, self.needs, self.threads = steps, needs, threads
        self.costs = [self._cost(s, env) for s in steps]
        self.alone = [self._time([k]) for k in range(len(steps))]
        self.gain = max(gain, LITTLE * sum(self.alone))
        self.idle = [t - each * n / threads     # no step of several gains more than theirs
                     for t, (each, n) in zip(self.alone, self.costs, strict=True)]

    def _cost(self, s: Step, env: Mapping[str, int]) -> tuple[float, int]:
        """(seconds of a chunk, how many there are); nothing of what runs alone."""
        if isinstance(s, Host):
            return CALL, 1
        if not isinstance(s, Launch):
            return 0.0, 0
        tasks, grain = s.claims(env, self.threads)
        chunks = -(-tasks // grain)
        return (rough_seconds(s, env) / chunks if chunks else 0.0), chunks

    def _time(self, members: Sequence[int]) -> float:
        """Seconds of a step of these launches."""
        chunks = sorted((self.costs[k] for k in members), reverse=True)
        p = DEFAULTS["avx2"]
        shared = p.share if sum(n for _, n in chunks) > 1 else 0.0
        return makespan(chunks, self.threads) + (p.launch + shared) * 1e-9

    def steps(self) -> list[Step]:
        """The steps, those that run in parallel as one."""
        out: list[Step] = []
        gone = 0
        for k, s in enumerate(self.all):
            if gone >> k & 1:
                continue
            members = self._beside(k, gone) if self.costs[k][1] else [k]
            gone |= sum(1 << m for m in members)
            members.sort(key=lambda m: (isinstance(self.all[m], Launch), -self.costs[m][0]))
            out.append(s if len(members) == 1 else Parallel(
                [x for m in members if isinstance(x := self.all[m], Launch | Host)]))
        return out

    def _beside(self, k: int, gone: int) -> list[int]:
        """The launch k with those behind it that gain by running beside it, none of which needs
        another, or what is left between."""
        members, before, spent, idle = [k], 1 << k, self.alone[k], self.idle[k]
        for j in range(k + 1, min(len(self.all), k + 1 + _AHEAD)):
            if gone >> j & 1:
                continue
            before |= 1 << j
            if not self.costs[j][1] or idle + self.idle[j] < self.gain or \
                    self.needs[j] & before or len(members) == _MOST:
                continue
            gained = spent + self.alone[j] - self._time([*members, j])
            if gained >= self.gain:
                members.append(j)
                spent += self.alone[j] - gained
                idle += self.idle[j] - gained
        return members
