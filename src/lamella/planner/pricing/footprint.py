"""The bytes that a kernel's accesses touch, and how often they cross into a cache of a given size.

Each access is an offset in loop variables. What it touches within some of its loops is bounded by
how many values the offset takes, how far they lie apart, and whole cache lines. A loop whose one
iteration touches no more than a cache holds finds there what an earlier iteration brought
(Ferrante, Sarkar & Thrash, "On estimating and enhancing cache effectiveness", LCPC 1991).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd

from ...base import dtypes
from ...codegen.outline import ROW, Outline, Site
from ...lang.expr import Expr, walk
from ...lang.loops import LANES, Loop, lane_index
from .trips import Unknown, value

LINE = 64
WAY = 4096      # bytes after which sets of the first cache come again


class Span:
    """Values of an offset: how many (at most), how far from the first to the last, and how many
    follow one another without a gap."""

    __slots__ = ("count", "run", "width")

    def __init__(self, count: float, width: float, run: float):
        self.count, self.width, self.run = count, width, run

    def at_most(self, count: float) -> Span:
        """These values, of which there are no more than `count`."""
        return self if self.count <= count else Span(count, self.width, min(self.run, count))

    @property
    def gap(self) -> float:
        """The distance from one run to the next."""
        runs = self.count / self.run
        return (self.width - self.run + 1) / (runs - 1) if runs > 1 else 1


ONE = Span(1, 0, 1)
_BLOCK = Span(LANES, LANES - 1, LANES)
_FAR = 1e18


class Stream:
    """Accesses to one buffer inside of the same loops, at several offsets."""

    __slots__ = ("bases", "buffer", "loops", "offset", "past", "wide", "writes")

    def __init__(self, sites: list[Site], env: Mapping[Expr, int], sets: Mapping[Expr, Expr]):
        first = sites[0]
        self.buffer, self.writes, self.loops = first.buffer, first.writes, first.loops
        self.offset, self.wide = first.offset, any(
            s.wide and lane_index() not in walk(s.offset) for s in sites)
        self.past = first.past
        start = {**env, **{loop.var: 0 for loop in self.loops}, lane_index(): 0, ROW: 0}
        self.bases = Span(1, 0, 1)
        if len(sites) > 1:
            try:
                places = [value(s.offset, start, sets) for s in sites]
                width: float = max(places) - min(places)
                count = len(set(places))
            except Unknown:
                width, count = _FAR, len(sites)
            self.bases = Span(count, width, count if width == count - 1 else 1)


class Touch:
    """A kernel's accesses at given sizes: `trips` of each loop, and what does not vary in `env`."""

    def __init__(self, outline: Outline, trips: Mapping[int, float], env: Mapping[Expr, int],
                 capacity: Mapping[str, float]):
        """`capacity` bounds the bytes of each buffer."""
        self.sets, self.trips, self.env, self.capacity = outline.sets, trips, env, capacity
        groups: dict[tuple, dict[Expr, Site]] = {}
        for s in outline.sites:
            key = s.buffer.name, s.writes, s.loops, s.past
            groups.setdefault(key, {}).setdefault(s.offset, s)
        streams = [Stream([*g.values()], env, outline.sets) for g in groups.values()]
        self.streams = [s for s in streams if not s.past]
        self.outside = [s for s in streams if s.past]
        self.spans: dict[tuple, Span] = {}
        self.plain: dict[tuple, Span] = {}      # of one of a stream's offsets
        self.rooms: dict[tuple, float] = {}

    def span(self, s: Stream, inside: int) -> Span:
        """The elements that a stream touches while its loops from the `inside`-th on run once."""
        found = self.spans.get((id(s), inside))
        if found is None:
            varying: dict[Expr, Loop | None] = {x.var: x for x in s.loops[inside:]}
            for x in s.loops[:inside]:
                if x.kind == "vector":
                    varying[x.var] = None       # LANES iterations at once
            found = self._span(s.offset, varying, frozenset()).at_most(self._iterations(s, inside))
            if s.wide:
                found = _sum(found, _BLOCK)
            self.plain[id(s), inside] = found
            found = self.spans[id(s), inside] = _sum(found, s.bases)
        return found

    def _iterations(self, s: Stream, inside: int) -> float:
        """How many values an offset takes at most while the loops from the `inside`-th on run: one
        in each iteration, also where parts of it, told from one number, seem to vary each on their
        own; LANES in each where lanes have their own."""
        lanes = any(x.kind == "vector" for x in s.loops[:inside]) or self._of_lanes(s.offset)
        found = float(LANES if lanes else 1)
        for loop in s.loops[inside:]:
            found *= max(1.0, self.trips.get(id(loop), 1.0))
        return found

    def _of_lanes(self, e: Expr) -> bool:
        """Whether each lane has another value."""
        return any(x.op == "lane" or x in self.sets and self._of_lanes(self.sets[x])
                   for x in walk(e) if self.sets.get(x) is not e)

    def leaps(self) -> dict[tuple[str, bool], float]:
        """Of each (buffer, written) how crowded its lines are on their way: the root of how many
        lines apart rows begin that fall on few sets of a cache, which hold few lines at once, for
        each line of a row; 0 where all lines follow each other."""
        found: dict[tuple[str, bool], float] = {}
        for s in self.streams:
            key = s.buffer.name, s.writes
            found[key] = min(found.get(key, _FAR), self._leap(s))
        return found

    def _leap(self, s: Stream) -> float:
        run, size = 1.0, s.buffer.dtype.bytes
        for inside in range(len(s.loops), -1, -1):
            whole = self.span(s, inside)
            span = self.plain[id(s), inside]
            if span.count > span.run and whole.count > whole.run:
                gap, apart = span.gap * size, s.bases.gap * size
                if gap != int(gap):
                    return 0.0
                if s.bases.count > 1 and apart == int(apart) and apart >= LINE:
                    gap = gcd(int(gap), int(apart))
                lines = gcd(int(gap), WAY) / LINE
                return lines ** 0.5 * LINE / max(LINE, run * size) if lines >= 2 else 0.0
            run = max(span.run if span.count <= span.run else 1.0,
                      whole.run if whole.count <= whole.run else 1.0)
        return 0.0

    def bytes(self, s: Stream, inside: int) -> float:
        """Bytes that a stream touches while its loops from the `inside`-th on run once."""
        span, size = self.span(s, inside), s.buffer.dtype.bytes
        runs, each = span.count / span.run, span.run * size
        if each < LINE:
            each = max(each, min(LINE, span.gap * size))
        return min(runs * each, (span.width + 1) * size, self.capacity[s.buffer.name])

    def room(self, s: Stream, inside: int, way: float) -> float:
        """The bytes of a cache that those need: more where their distance is such that only some
        of its sets can hold them (`way` is what the sets hold once)."""
        span, size = self.span(s, inside), s.buffer.dtype.bytes
        found, gap = self.bytes(s, inside), span.gap * size
        if not way or not LINE < gap < _FAR or gap != int(gap) or span.count <= span.run:
            return found
        return found * max(1.0, gcd(int(gap), int(way)) / max(LINE, span.run * size))

    def past(self) -> float:
        """Bytes that are stored past the caches."""
        return sum(self.bytes(s, 0) for s in self.outside)

    def crossings(self, caches: Sequence[tuple[float, int]]) -> list[dict[tuple[str, bool], float]]:
        """Bytes of each (buffer, written) that come into each cache, nearest first: no more into
        one than into the one before, which asks it for them."""
        found: list[dict[tuple[str, bool], float]] = []
        for size, ways in caches:
            before = found[-1] if found else {}
            found.append({key: min(n, before.get(key, n))
                          for key, n in self.crossing(size, ways).items()})
        return found

    def crossing(self, cache: float, ways: int) -> dict[tuple[str, bool], float]:
        """Bytes of each (buffer, written) that come into a cache of that many bytes; ways 0: a line
        may lie anywhere."""
        way = cache / ways if ways else 0.0
        groups: dict[tuple[str, bool], list[Stream]] = {}
        for s in self.streams:
            groups.setdefault((s.buffer.name, s.writes), []).append(s)
        return {key: self._crossing(g, (), cache, way) for key, g in groups.items()}

    def _crossing(self, streams: list[Stream], around: tuple[Loop, ...], cache: float,
                  way: float) -> float:
        """Bytes that streams of one buffer bring in while what is inside of these loops runs once:
        of those that fit together, what one brought serves all."""
        depth = len(around)
        if self._all(around, way) <= cache:
            return max(self.bytes(s, depth) for s in streams)
        total = 0.0
        inner: dict[tuple[Loop, ...], list[Stream]] = {}
        for s in streams:
            if len(s.loops) == depth:
                total += self.bytes(s, depth)
            else:
                inner.setdefault(s.loops[:depth + 1], []).append(s)
        for loops, group in inner.items():
            if self._all(loops, way) <= cache:
                total += max(self.bytes(s, depth) for s in group)
            else:
                total += self._rounds(loops[-1]) * self._crossing(group, loops, cache, way)
        return total

    def _rounds(self, loop: Loop) -> float:
        """Iterations of a loop, those of LANES values together as one."""
        trips = self.trips.get(id(loop), 1.0)
        return -(-trips // LANES) if loop.kind == "vector" else trips

    def _all(self, loops: tuple[Loop, ...], way: float) -> float:
        """The room that all accesses inside of these loops need in one iteration of the last."""
        key = (way, *map(id, loops))
        found = self.rooms.get(key)
        if found is None:
            depth = len(loops)
            each: dict[str, float] = {}
            for s in self.streams:
                if s.loops[:depth] == loops:
                    name = s.buffer.name
                    each[name] = max(each.get(name, 0.0), self.room(s, depth, way))
            found = self.rooms[key] = sum(each.values())
        return found

    # ---- spans -----------------------------------------------------------------------------------

    def _span(self, e: Expr, loops: Mapping[Expr, Loop | None], seen: frozenset[Expr]) -> Span:
        """The values of an offset while the loops run."""
        if e.op == "lit":
            return ONE
        if e.op == "var":
            return self._variable(e, loops, seen)
        if e.op == "lane":
            return _BLOCK
        if e.op == "load":
            inner = self._span(e.args[0], loops, seen)
            if e.dtype is dtypes.index:     # a table of the planner's: places near each other
                return Span(inner.count, inner.count - 1, inner.count)
            return Span(inner.count, _FAR if inner.count > 1 else 0, 1)
        if isinstance(e.op, str):
            return ONE
        divisor = _remainder(e)
        if divisor is not None:
            found = self._span(e.args[0], loops, seen)
            return _modulo(found, self._number(divisor)) if found.count > 1 else ONE
        args = [self._span(a, loops, seen) for a in e.args]
        if all(a.count <= 1 for a in args):
            return ONE
        return _combined(e.op.name, e, args, self._number)

    def _variable(self, e: Expr, loops: Mapping[Expr, Loop | None], seen: frozenset[Expr]) -> Span:
        loop = loops.get(e, e)
        if loop is None:
            return _BLOCK
        if isinstance(loop, Loop):
            n = max(1.0, self.trips.get(id(loop), 1.0))
            own = Span(n, (n - 1) * loop.step, n if loop.step == 1 else 1)
            return _sum(self._span(loop.low, loops, seen), own)
        if e in self.sets and e not in seen:
            return self._span(self.sets[e], loops, seen | {e})
        return ONE

    def _number(self, e: Expr) -> float:
        """A factor or divisor, as far as it is known."""
        try:
            return value(e, self.env)
        except Unknown:
            return 1


def _combined(name: str, e: Expr, args: list[Span], number) -> Span:
    """The values of an operation on varying operands."""
    if name in ("add", "sub"):
        return _sum(*args)
    if name == "mul":
        for s, factor, other in ((args[0], e.args[1], args[1]), (args[1], e.args[0], args[0])):
            if other.count <= 1:
                c = abs(number(factor))
                return Span(s.count, s.width * c, s.run if c == 1 else 1) if c else ONE
        flag, other = sorted(args, key=lambda s: s.width)
        if flag.width <= 1:     # 0 or 1
            return other
        return Span(flag.count * other.count, _FAR, 1)
    if name == "floordiv":
        n = max(1, abs(number(e.args[1])))
        count = min(args[0].count, args[0].width // n + 1)
        return Span(count, args[0].width / n, count if args[0].run > 1 else 1)
    if name == "mod":
        return _modulo(args[0], number(e.args[1]))
    if e.dtype is dtypes.bool_:
        return Span(2, 1, 2)
    if name == "where":
        args = args[1:]
    if name in ("max", "min", "where", "cast", "neg"):
        return Span(max(a.count for a in args), max(a.width for a in args),
                    max(a.run for a in args))
    return Span(max(a.count for a in args), _FAR, 1)


def _modulo(x: Span, divisor: float) -> Span:
    """The values of what is left by a division."""
    n = max(1, abs(divisor))
    return Span(min(x.count, n), min(x.width, n - 1), min(x.run, n))


def _remainder(e: Expr) -> Expr | None:
    """The divisor n where an expression is x - x // n * n, as places are told from a number."""
    if e.op.name != "sub" or isinstance(e.args[1].op, str) or e.args[1].op.name != "mul":
        return None
    quotient, n = map(_bare, e.args[1].args)
    if isinstance(quotient.op, str) or quotient.op.name != "floordiv":
        return None
    return n if [*map(_bare, quotient.args)] == [_bare(e.args[0]), n] else None


def _bare(e: Expr) -> Expr:
    """The expression without casts around it."""
    while not isinstance(e.op, str) and e.op.name == "cast":
        e = e.args[0]
    return e


def _sum(a: Span, b: Span) -> Span:
    """The values of a sum of two that vary on their own."""
    if a.width > b.width:
        a, b = b, a
    width = a.width + b.width
    count = min(a.count * b.count, width + 1)
    if a.count == a.run and b.count == b.run:
        return Span(count, width, count)
    if a.count == a.run and b.count > 1 and b.width / (b.count - 1) <= a.count:
        return Span(count, width, count)
    return Span(count, width, min(count, max(a.run, b.run)))
