"""Index expressions as linear forms of axes with extents as coefficients."""

from __future__ import annotations

from ...base.extents import Extent
from ...lang.expr import Expr


class Linear:
    """constant + sum(coefficient * axis)."""

    __slots__ = ("constant", "terms")

    def __init__(self, constant: Extent, terms: dict[Expr, Extent]):
        self.constant, self.terms = constant, terms

    def scaled(self, k: Extent) -> Linear:
        return Linear(self.constant * k, {a: c * k for a, c in self.terms.items()})

    def plus(self, other: Linear) -> Linear:
        terms = dict(self.terms)
        for a, c in other.terms.items():
            terms[a] = terms.get(a, 0) + c
        return Linear(self.constant + other.constant, {a: c for a, c in terms.items() if c != 0})


def linear(e: Expr) -> Linear | None:
    """The linear form of an index expression, or None if it is not one."""
    if e.op == "lit":
        return Linear(e.attr, {})
    if e.op == "size":
        return Linear(e.attr, {})
    if e.op == "axis":
        return Linear(0, {e: 1})
    if isinstance(e.op, str) or e.op.name not in ("add", "sub", "mul", "neg"):
        return None
    parts = [p for p in map(linear, e.args) if p is not None]
    if len(parts) != len(e.args):
        return None
    if e.op.name == "neg":
        return parts[0].scaled(-1)
    a, b = parts
    if e.op.name == "mul":
        if b.terms and a.terms:
            return None
        return b.scaled(a.constant) if not a.terms else a.scaled(b.constant)
    return a.plus(b if e.op.name == "add" else b.scaled(-1))


def within(index: Linear, extent: Extent) -> bool:
    """Whether the index is surely inside of 0..extent."""
    low = high = index.constant
    for a, c in index.terms.items():
        if a.attr[1] == extent and c == 1 and index.constant == 0 and len(index.terms) == 1:
            return True
        if not (isinstance(c, int) and isinstance(a.attr[1], int)):
            return False
        span = (a.attr[1] - 1) * c
        low, high = (low, high + span) if c > 0 else (low + span, high)
    return isinstance(low, int) and isinstance(extent, int) and isinstance(high, int) \
        and low >= 0 and high < extent
