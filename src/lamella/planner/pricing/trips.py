"""How often a kernel's loops run, for given sizes: an average over the loops around them.

An outer loop whose variable decides is looked at in its first, middle and last iteration; the
middle stands for all others. Of tasks more are looked at, as one number counts several axes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import numpy as np

from ...lang.expr import Expr, free_axes, value_of, walk
from ...lang.loops import LANES, Loop

UNKNOWN = 8.0    # trips of a loop whose bounds are data
_MOST = 32       # environments that are kept apart
_TASKS = 16      # tasks that are looked at
_GOLDEN = (5 ** 0.5 - 1) / 2
NOTHING: Mapping[Expr, Expr] = {}
Env = dict[Expr, int]
Weighted = list[tuple[float, Env]]

_FAST: dict[str, Callable] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "max": max, "min": min,
    "floordiv": lambda a, b: a // b if b else 0, "mod": lambda a, b: a % b if b else 0,
    "lt": operator.lt, "le": operator.le, "eq": operator.eq, "ne": operator.ne,
    "and": operator.and_, "or": operator.or_, "where": lambda c, a, b: a if c else b,
    "shr": lambda a, b: a >> b if 0 <= b < 64 else 0,
    "shl": lambda a, b: a << b if 0 <= b < 64 else 0,
}


class Unknown(Exception):
    """A value that depends on data."""


def value(e: Expr, env: Mapping[Expr, int], sets: Mapping[Expr, Expr] = NOTHING) -> int:
    """An index expression as a number, registers by what they were set to; Unknown where it
    depends on what memory holds."""
    if e.op == "lit":
        return value_of(e)
    if e.op == "var":
        if e in env:
            return env[e]
        if e not in sets:
            raise Unknown
        return value(sets[e], env, {x: y for x, y in sets.items() if x is not e})
    if e.op == "ctz":
        n = value(e.args[0], env, sets)
        return (n & -n).bit_length() - 1 if n else 64
    if isinstance(e.op, str):
        if e.op == "lane" and e in env:
            return env[e]
        raise Unknown
    args = [value(a, env, sets) for a in e.args]
    fast = _FAST.get(e.op.name)
    if fast is not None:
        return fast(*args)
    if e.op.name == "cast":
        return int(args[0])
    if e.op.reference is None:
        raise Unknown
    return int(e.op.reference(*map(np.int64, args)))


class Trips:
    """Average trips of a loop within weighted environments, and the environments inside of it."""

    __slots__ = ("count", "inside", "partial", "whole")

    def __init__(self, loop: Loop, around: Weighted, sets: Mapping[Expr, Expr] = NOTHING,
                 tasks: tuple[int, int] | None = None):
        """`sets` has what registers were set to, `tasks` is the range of a parallel loop."""
        self.count = self.whole = self.partial = 0.0
        self.inside: Weighted = []
        for weight, env in around:
            low, trips = _range(loop, env, sets, tasks)
            self.count += weight * trips
            self.whole += weight * (trips // LANES)
            self.partial += weight * (trips % LANES > 0)
            if trips > 0:
                self.inside += _looks(loop, weight, env, sets, low, trips)
        total = sum(w for w, _ in self.inside) or 1.0
        self.inside = [(w / total, e) for w, e in self.inside]


def _range(loop: Loop, env: Env, sets: Mapping[Expr, Expr],
           tasks: tuple[int, int] | None) -> tuple[int, float]:
    if tasks is not None:
        return tasks[0], max(0, tasks[1] - tasks[0])
    try:
        low, high = value(loop.low, env, sets), value(loop.high, env, sets)
    except Unknown:
        return 0, UNKNOWN
    return low, max(0, -(-(high - low) // loop.step))


def _looks(loop: Loop, weight: float, env: Env, sets: Mapping[Expr, Expr], low: int,
           trips: float) -> Weighted:
    """The environments of the iterations that are looked at."""
    last = int(trips) - 1
    if not _decides(loop, sets):
        places = {last // 2: trips}
    elif loop.kind == "parallel":
        places = _spread(int(trips))
    else:
        places = {0: 1.0, last: 1.0, last // 2: 1.0}
        places[last // 2] += max(0.0, trips - len(places))
    return [(weight * w, {**env, loop.var: low + k * loop.step}) for k, w in places.items()]


def _spread(trips: int) -> dict[int, float]:
    """Iterations that stand for all, with how many each stands for. Tasks count through several
    axes, so what decides comes again and again: the places follow no period (multiples of the
    golden ratio, which lie apart from each other at any number of them)."""
    if trips <= _TASKS:
        return dict.fromkeys(range(trips), 1.0)
    inner = {1 + int((trips - 2) * (k * _GOLDEN % 1.0)) for k in range(_TASKS)}
    return {0: 1.0, trips - 1: 1.0, **dict.fromkeys(sorted(inner), (trips - 2) / len(inner))}


def _decides(loop: Loop, sets: Mapping[Expr, Expr]) -> bool:
    """Whether a bound or a condition inside of the loop depends on its variable."""
    found: set[Expr] = set()
    stack = list(loop.body)
    while stack:
        s = stack.pop()
        if isinstance(s, Loop):
            found |= free_axes(s.low) | free_axes(s.high)
            stack += s.body
        elif hasattr(s, "body"):
            found |= free_axes(s.cond)
            stack += s.body
    seen: set[Expr] = set()
    while found:
        x = found.pop()
        if x is loop.var:
            return True
        if x in sets and x not in seen:
            found |= free_axes(sets[x])
        seen.add(x)
    return False


def merged(around: Weighted) -> Weighted:
    """Few environments that stand for many."""
    if len(around) <= _MOST:
        return around
    kept = around[::-(-len(around) // _MOST)]
    total = sum(w for w, _ in kept)
    return [(w / total, e) for w, e in kept]


def likely(cond: Expr, around: Weighted, sets: Mapping[Expr, Expr] = NOTHING) -> float:
    """How often a condition holds; one that depends on data, half of the time, that one of several
    such does, if they are independent, and one with lanes, for some of them, always."""
    if any(e.op == "lane" for e in walk(cond)):
        return 1.0
    try:
        return sum(w for w, env in around if value(cond, env, sets))
    except Unknown:
        return 1.0 - 0.5 ** _counted(cond)


def _counted(cond: Expr) -> int:
    """The terms of the sum that a condition asks to be positive."""
    if isinstance(cond.op, str) or cond.op.name != "lt" or cond.args[0].op != "lit":
        return 1
    terms, stack = 0, [cond.args[1]]
    while stack:
        e = stack.pop()
        if not isinstance(e.op, str) and e.op.name == "add":
            stack += e.args
        else:
            terms += 1
    return terms
