"""Extents: integers, bounded symbols, and polynomials in them with floor division.

An `Extent` is a Python int whenever it is constant, so static shapes stay plain tuples of ints;
a `Size` stands for an expression with at least one `Symbol` in it. Equality is by canonical form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from . import source
from .errors import ShapeError, TraceError


class Symbol:
    """A size known only at the call, within `low..high` (both included)."""

    __slots__ = ("high", "low", "name")

    def __init__(self, name: str, low: int, high: int):
        if not 0 <= low <= high:
            raise ShapeError(source.at_line(f"symbol {name}: bounds must satisfy 0 <= low <= high, "
                                            f"got {low}..{high}"))
        self.name, self.low, self.high = name, int(low), int(high)

    def key(self) -> tuple:
        return ("symbol", self.name, self.low, self.high)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        return self.name


class FloorDiv:
    """An atom `numerator // denominator` that does not divide evenly."""

    __slots__ = ("denominator", "name", "numerator")

    def __init__(self, numerator: Size, denominator: int):
        self.numerator, self.denominator = numerator, denominator
        self.name = f"(({numerator}) // {denominator})"

    @property
    def low(self) -> int:
        return lower(self.numerator) // self.denominator

    @property
    def high(self) -> int:
        return upper(self.numerator) // self.denominator

    def key(self) -> tuple:
        return ("floordiv", self.numerator, self.denominator)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FloorDiv) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        return self.name


Atom = Symbol | FloorDiv
Monomial = tuple[Atom, ...]


class Size:
    """A polynomial with integer coefficients in symbols and floor divisions, not constant."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: dict[Monomial, int]):
        self.terms = terms
        self._hash = hash(frozenset(terms.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Extent) -> Extent:
        if not isinstance(other, int | Size):
            return NotImplemented
        return _combine(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Extent) -> Extent:
        if not isinstance(other, int | Size):
            return NotImplemented
        return _combine(self, other, -1)

    def __rsub__(self, other: Extent) -> Extent:
        if not isinstance(other, int | Size):
            return NotImplemented
        return self * -1 + other

    def __neg__(self) -> Extent:
        return self * -1

    def __mul__(self, other: Extent) -> Extent:
        if not isinstance(other, int | Size):
            return NotImplemented
        out: dict[Monomial, int] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in _terms(other).items():
                m = tuple(sorted(m1 + m2, key=lambda a: a.name))
                out[m] = out.get(m, 0) + c1 * c2
        return _make(out)

    __rmul__ = __mul__

    def __floordiv__(self, d: Extent) -> Extent:
        exact = _divide(self, d)
        if exact is not None:
            return exact
        if not isinstance(d, int) or d <= 0:
            raise ShapeError(f"cannot divide the size {self} by {d}")
        return _make({(FloorDiv(self, d),): 1})

    def __rfloordiv__(self, n: int) -> Extent:
        raise ShapeError(f"cannot divide {n} by the symbolic size {self}")

    def __mod__(self, d: int) -> Extent:
        return self - (self // d) * d

    def _not_known(self, *_) -> NoReturn:
        where = source.render(source.here())
        raise TraceError(
            f"the size {self} is a symbol and stands for every value in its bounds, so no Python "
            "loop, comparison or number can be made of it; use scan, fori_loop or cond, or leave "
            f"this axis out of sizes={f' ({where})' if where else ''}")

    __index__ = __lt__ = __le__ = __gt__ = __ge__ = _not_known

    def __repr__(self) -> str:
        text = ""
        for m, c in sorted(self.terms.items(), key=lambda t: tuple(a.name for a in t[0])):
            word = "*".join(([str(abs(c))] if abs(c) != 1 or not m else []) + [a.name for a in m])
            text += (" - " if c < 0 else " + ") + word
        return text[3:] if text.startswith(" + ") else "-" + text[3:]


Extent = int | Size
Shape = tuple[Extent, ...]


def symbol(name: str, low: int, high: int) -> Size:
    """A bounded symbol as an extent: `T = symbol("T", 1, 4096)`."""
    if not isinstance(name, str) or not name.isidentifier():
        raise ShapeError(source.at_line(f"symbol: a name is a word such as 'B', got {name!r}"))
    return Size({(Symbol(name, low, high),): 1})


def _terms(e: Extent) -> dict[Monomial, int]:
    return e.terms if isinstance(e, Size) else ({(): int(e)} if e else {})


def _make(terms: dict[Monomial, int]) -> Extent:
    terms = {m: c for m, c in terms.items() if c}
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    return Size(terms)


def _combine(a: Extent, b: Extent, sign: int) -> Extent:
    out = dict(_terms(a))
    for m, c in _terms(b).items():
        out[m] = out.get(m, 0) + sign * c
    return _make(out)


def _divide(a: Size, d: Extent) -> Extent | None:
    """a // d where it is exact as a polynomial, else None."""
    terms = _terms(d)
    if len(terms) != 1:
        return 1 if a == d else None
    (mono, coef), = terms.items()
    out: dict[Monomial, int] = {}
    for m, c in a.terms.items():
        rest = list(m)
        for atom in mono:
            if atom not in rest:
                return None
            rest.remove(atom)
        if c % coef:
            return None
        out[tuple(rest)] = c // coef
    return _make(out)


def divides(d: Extent, e: Extent) -> bool:
    """Whether d divides e for every value of their symbols (as far as the form shows)."""
    if isinstance(e, int) and isinstance(d, int):
        return d != 0 and e % d == 0
    return e == 0 or (isinstance(e, Size) and _divide(e, d) is not None)


def evaluate(e: Extent, env: Mapping[str, int]) -> int:
    """The integer value of `e` with every symbol's value taken from `env` by name."""
    if isinstance(e, int):
        return e
    total = 0
    for mono, coef in e.terms.items():
        for atom in mono:
            coef *= _atom_value(atom, env)
        total += coef
    return total


def _atom_value(atom: Atom, env: Mapping[str, int]) -> int:
    if isinstance(atom, FloorDiv):
        return evaluate(atom.numerator, env) // atom.denominator
    return env[atom.name]


def upper(e: Extent) -> int:
    """An upper bound of `e` over its symbols' bounds (interval arithmetic)."""
    return e if isinstance(e, int) else _bound(e, high=True)


def lower(e: Extent) -> int:
    """A lower bound of `e` over its symbols' bounds (interval arithmetic)."""
    return e if isinstance(e, int) else _bound(e, high=False)


def _bound(e: Size, high: bool) -> int:
    total = 0
    for mono, coef in e.terms.items():
        for atom in mono:
            coef *= atom.high if (coef > 0) == high else atom.low
        total += coef
    return total


def symbols(e: Extent) -> set[Symbol]:
    """The symbols that `e` depends on."""
    found: set[Symbol] = set()
    for mono in _terms(e):
        for atom in mono:
            found |= symbols(atom.numerator) if isinstance(atom, FloorDiv) else {atom}
    return found


def product(extents) -> Extent:
    """The product of extents; 1 for none."""
    out: Extent = 1
    for e in extents:
        out = out * e
    return out


def solve(e: Extent, value: int, env: dict[str, int]) -> None:
    """Bind the symbol in `e` (a lone symbol, or one already bound) so that e = value."""
    if isinstance(e, int):
        if e != value:
            raise ShapeError(f"extent {value} was given where {e} was declared")
        return
    free = [s for s in symbols(e) if s.name not in env]
    if free and list(e.terms) == [(free[0],)] and e.terms[(free[0],)] == 1:
        s = free[0]
        if not s.low <= value <= s.high:
            raise ShapeError(f"{s.name} = {value} is outside its declared bounds {s.low}..{s.high}")
        env[s.name] = value
        return
    if free:
        raise ShapeError(f"cannot tell {free[0].name} from the extent {e} = {value}; "
                         f"give one argument whose extent is {free[0].name} alone")
    if evaluate(e, env) != value:
        raise ShapeError(f"extent {value} was given where {e} = {evaluate(e, env)} was expected")
