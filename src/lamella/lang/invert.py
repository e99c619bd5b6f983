"""Index maps inverted: from indices over axes to the axes at a given position.

The equations indices[k] == points[k] are solved one by one, each for one axis:

- A lone axis, or one with coefficient S: y*S == u gives y = u // S where S divides u.
- A window y*S + r*D == u: r is fixed modulo S, so r = t + S*r' with t = u * D^-1 mod S, and
  y = (u - D*t) // S - D*r'. Only ceil(R / S) values of r' are left to sum over.
- Floor divisions and remainders of one axis by constants that divide each other, such as i // 4 and
  i % 4, are digits of a mixed radix: the axis becomes a sum of digits, and both become affine.

An equation that none of this solves becomes a condition, and its axes are searched.
"""

from __future__ import annotations

from math import gcd
from typing import Any

from ..base import dtypes
from ..base.extents import Extent, upper
from . import expr, scalar
from .expr import Expr, affine, free_axes
from .interpret import fresh_axis, in_range, rebuilt, rewrite

Terms = dict[Any, int]  # what `affine` gives: {term: coefficient, None: constant}


class Inverse:
    """The axes of `indices` at the position `points`, as far as they are determined.

    solved: axis -> its value, over points and the axes `left`. A position gets something from the
    values of the axes left for which all `ranges` (0 <= value < extent) and `conditions` hold.
    `searches`: an equation could only be made a condition.
    """

    def __init__(self, indices: tuple[Expr, ...], points: tuple[Expr, ...], free: list[Expr]):
        self.indices, self.left = indices, list(free)
        self.solved: dict[Expr, Expr] = {}
        self.ranges: list[tuple[Expr, Extent]] = []
        self.conditions: list[Expr] = []
        self.implied: set[Expr] = set()  # digits whose range follows from that of their axis
        self.searches = False
        self.equations = list(zip(indices, points))
        self._merge()
        for a in list(self.left):
            self._split(a)
        while self.equations:
            self._next()
        self.ranges = [r for r in dict.fromkeys(self.ranges) if not in_range(*r)]

    def _next(self) -> None:
        """Solve the equation with the fewest unknown axes, or make one a condition. Axes inside of
        divisions and reads cannot be solved for there; others can, for each value of those."""
        best: tuple | None = None
        axes: set[Expr] | None = None
        left, right = self.equations[0]
        for equation in self.equations:
            terms = affine(equation[0])
            hidden = frozenset().union(*(free_axes(t) for t in terms if t is not None
                                         and t.op != "axis")) & set(self.left)
            found = {t for t in terms if t in self.left} - hidden
            rank = (bool(hidden), len(found))
            if (found or not hidden) and (best is None or rank < best):
                best, (left, right), axes = rank, equation, found
        self.equations.remove((left, right))
        if axes:
            self._solve(affine(left), right, axes)
        elif left is not right:
            self.searches |= axes is None
            self._require(scalar.eq(left, right))

    def _assign(self, axis: Expr, value: Expr, new: tuple[Expr, ...] = ()) -> None:
        """Put the value in place of the axis everywhere; `new` axes stand where it stood."""
        at = self.left.index(axis)
        self.left[at:at + 1] = new
        mapping = {axis: value}
        memo: dict[Expr, Expr] = {}

        def put(e: Expr) -> Expr:
            return substituted(e, mapping, memo)

        self.solved = {a: put(e) for a, e in self.solved.items()}
        self.ranges = [(put(e), n) for e, n in self.ranges]
        self.conditions = [put(e) for e in self.conditions]
        self.equations = [(put(e), put(p)) for e, p in self.equations]
        self.solved[axis] = value
        if axis not in self.implied:
            self.ranges.append((value, axis.attr[1]))

    def _require(self, condition: Expr) -> None:
        if condition not in self.conditions:
            self.conditions.append(condition)

    # ---- affine equations -----------------------------------------------------------------------

    def _solve(self, terms: Terms, right: Expr, axes: set[Expr]) -> None:
        """Solve sum of terms == right for the axis that leaves the least to sum over."""
        unknown = {t: c for t, c in terms.items() if t in axes}
        u = linear(affine(right), {t: -c for t, c in terms.items() if t not in axes})
        if len(axes) > 1 and self._solve_radix(unknown, u):
            return
        axis, companion = min(
            ((y, r) for y, c in unknown.items() for r in (None, *unknown)
             if r is not y and (r is None or abs(c) > 1)),
            key=lambda p: (_work(unknown, *p), abs(unknown[p[0]]), -upper(p[0].attr[1])))
        s = unknown.pop(axis)
        d = unknown.pop(companion, 0)
        u = linear(affine(u), {t: -c for t, c in unknown.items()})
        if s < 0:
            s, d, u = -s, -d, linear({t: -c for t, c in affine(u).items()})
        u, s, d = self._divided(u, s, d)
        if s == 1:
            self._assign(axis, linear(affine(u), {companion: -d} if d else {}))
            return
        name, extent = companion.attr
        block = _digit(name, (extent + s - 1) // s)
        t = simplified((u * pow(d, -1, s)) % s)
        start = simplified(u // s if d == 1 else linear(affine(u), {t: -d}) // s)
        self._assign(companion, linear(affine(t), {block: s}), _axes(block))
        self._assign(axis, linear(affine(start), {block: -d}))

    def _divided(self, u: Expr, s: int, d: int) -> tuple[Expr, int, int]:
        """s*y + d*r == u without the common divisor of s and d, which has to divide u."""
        common = gcd(s, d)
        if common == 1:
            return u, s, d
        self._require(scalar.eq(simplified(u % common), 0))
        return simplified(u // common), s // common, d // common

    def _solve_radix(self, unknown: Terms, u: Expr) -> bool:
        """Solve at once for axes that number the multiples of one step without gaps (i*4 + j)."""
        places = sorted((c, a.attr[0], a) for a, c in unknown.items())
        if places[0][0] < 1 or any(c * a.attr[1] != up[0] for (c, _, a), up in
                                   zip(places, places[1:])):
            return False
        u, step, _ = self._divided(u, places[0][0], 0)
        for c, _, a in places:
            value = simplified(u // (c // places[0][0]))
            self._assign(a, value if a is places[-1][2] else simplified(value % a.attr[1]))
        return True

    # ---- digits ---------------------------------------------------------------------------------

    def _merge(self) -> None:
        """Make one axis of those that are divided together, as i*8 + j is in (i*8 + j) // 12."""
        for e in dict.fromkeys(t for i, _ in self.equations for t in expr.walk(i)):
            if e.kind != "apply" or e.op.name not in ("floordiv", "mod"):
                continue
            terms = {t: c for t, c in affine(e.args[0]).items() if t is not None}
            places = sorted((c, t.attr[0], t) for t, c in terms.items() if t in self.left)
            if len(places) < 2 or len(places) < len(terms) or places[0][0] != 1:
                continue
            if all(c * a.attr[1] == up[0] for (c, _, a), up in zip(places, places[1:])):
                c, name, top = places[-1]
                whole = fresh_axis(name, c * top.attr[1])
                for c, _, a in places:
                    value = whole // c
                    self._assign(a, value if a is top else simplified(value % a.attr[1]),
                                 (whole,) if a is top else ())

    def _split(self, axis: Expr) -> None:
        """Write the axis as digits if it is divided by constants that divide each other."""
        places: dict[Expr, tuple[int, int, int]] = {}  # term: shift, least place, place past it
        for e in dict.fromkeys(t for i, _ in self.equations for t in expr.walk(i)):
            found = _digits(e, axis)
            if found:
                places[e] = found
        cuts = sorted({1} | {c for _, low, high in places.values() for c in (low, high) if c})
        last = cuts[-1]
        shifts = {shift % last for shift, _, _ in places.values()}
        if last == 1 or len(shifts) != 1 or any(b % a for a, b in zip(cuts, cuts[1:])):
            return
        shift, = shifts
        extents = [b // a for a, b in zip(cuts, cuts[1:])]
        extents.append((axis.attr[1] - 1 + shift) // last + 1)
        digits = [_digit(axis.attr[0], n) for n in extents]
        mapping = {}
        for e, (own, low, high) in places.items():
            chosen = [{a: c // low} for a, c in zip(digits, cuts) if low <= c < (high or c + 1)]
            mapping[e] = linear(*chosen, {} if high else {None: (own - shift) // low})
        value = linear(*({a: c} for a, c in zip(digits, cuts)), {None: -shift})
        self.equations = [(substituted(e, mapping), p) for e, p in self.equations]
        self._assign(axis, value, _axes(*reversed(digits)))
        self.implied.add(digits[-1])  # it is in its range where the whole axis is


def _work(unknown: Terms, y: Expr, r: Expr | None) -> int:
    """How many values are left to sum over when y is solved with the companion r."""
    work = 1
    for a in unknown:
        n = max(upper(a.attr[1]), 1)
        if a is r:
            s = abs(unknown[y]) // gcd(unknown[y], unknown[r])
            n = (n + s - 1) // s
        work *= 1 if a is y else n
    return work


def _digits(e: Expr, axis: Expr) -> tuple[int, int, int] | None:
    """(shift, low, high) where e = (axis + shift) // low % (high // low); high 0: no remainder."""
    if e.kind != "apply" or e.op.name not in ("floordiv", "mod"):
        return None
    value, divisor = e.args
    if divisor.op != "lit" or divisor.attr < 1 or free_axes(value) != {axis}:
        return None
    inner = _digits(value, axis)
    if inner is None:
        terms = affine(value)
        if terms.get(axis) != 1 or set(terms) - {axis, None}:
            return None
        inner = (terms.get(None, 0), 1, 0)
    shift, low, high = inner
    if high:
        return None
    k = low * divisor.attr
    return (shift, k, 0) if e.op.name == "floordiv" else (shift, low, k)


def _digit(name: str, extent: Extent) -> Expr:
    return expr.lit(0, dtypes.index) if extent == 1 else fresh_axis(name, extent)


def _axes(*digits: Expr) -> tuple[Expr, ...]:
    return tuple(d for d in digits if d.op == "axis")


# ---- index arithmetic in its simplest form ------------------------------------------------------

def substituted(e: Expr, mapping: dict[Expr, Expr], memo: dict | None = None) -> Expr:
    """The expression with each key of the mapping replaced, what changed simplified. Axes of the
    mapping must not be bound in `e`, nor those of its values."""
    memo = {} if memo is None else memo
    memo.update(mapping)
    return rewrite(e, lambda x, args: x if args == x.args else simplified(rebuilt(x, args)), memo)


def simplified(e: Expr) -> Expr:
    """Index arithmetic over simple arguments: sums collected, multiples divided out."""
    if e.kind != "apply" or e.dtype is not dtypes.index:
        return e
    if e.op.name in ("add", "sub", "mul", "neg"):
        return linear(affine(e))
    if e.op.name not in ("floordiv", "mod") or e.args[1].op != "lit" or e.args[1].attr < 1:
        return e
    divisor, whole, rest = e.args[1].attr, {}, {}
    for t, c in affine(e.args[0]).items():
        whole[t] = c // divisor if t is None or c % divisor == 0 else 0
        rest[t] = c - whole[t] * divisor
    left = linear(rest)
    if e.op.name == "floordiv" and len(whole) == 1 and left.kind == "apply" and (
            left.op is scalar.floordiv and left.args[1].op == "lit" and left.args[1].attr > 0):
        return left.args[0] // (left.args[1].attr * divisor)
    if e.op.name == "mod":
        return left if in_range(left, divisor) else left % divisor
    return linear(whole, {} if in_range(left, divisor) else affine(left // divisor))


def linear(*parts: Terms) -> Expr:
    """The sum of these terms as an expression."""
    terms: Terms = {}
    t: Any
    for part in parts:
        for t, c in part.items():
            if t is not None and t.op == "lit":
                t, c = None, c * t.attr
            terms[t] = terms.get(t, 0) + c
    terms = {t: c for t, c in _recombined(terms).items() if c}
    constant = terms.pop(None, 0)
    total = None
    if constant > 0 and terms and max(terms.values()) < 0:
        total, constant = expr.lit(constant, dtypes.index), 0
    for t, c in sorted(terms.items(), key=lambda x: x[1] < 0):
        term = t * abs(c)
        total = (term if c > 0 else -term) if total is None else (
            total + term if c > 0 else total - term)
    if total is None:
        return expr.lit(constant, dtypes.index)
    return total + constant if constant > 0 else total - -constant


def _recombined(terms: Terms) -> Terms:
    """u // k * k + u % k is u, and u // k % m * k + u % k is u % (k * m)."""
    for t, c in terms.items():
        if t is None or t.kind != "apply" or t.op.name != "mod" or t.args[1].op != "lit":
            continue
        u, k = t.args[0], t.args[1].attr
        for high, found in terms.items():
            if high is None or found != c * k or high.kind != "apply":
                continue
            whole = {a: f * c for a, f in affine(u).items()} if high is u // k else None
            if high.op.name == "mod" and high.args[0] is u // k and high.args[1].op == "lit":
                whole = {u % (k * high.args[1].attr): c}
            if whole is not None:
                rest = {a: f for a, f in terms.items() if a is not t and a is not high}
                return _recombined({a: rest.get(a, 0) + whole.get(a, 0) for a in {**rest, **whole}})
    return terms
