"""Maps that ask for a place's residue, for each residue anew.

What a strided read gives back (the gradient of a pooling, or of a slice with steps) stands S places
apart in its result: there an element asks whether its place is a multiple of S, and for the places
of what stands there. Here S neighbouring places are written together, each by an expression of its
own, in which the question has its answer; what is not at such a place is not read for it.
"""

from __future__ import annotations

from itertools import product
from math import lcm, prod

from ...base import dtypes
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES
from ..groups.linear import linear, within
from ..plan import Launch
from .nest import Nest, stores_after
from .rows import Rows

MOST = 16       # places written together
MOST_STEPS = 1200   # operations of their expressions
COMPARED = {"eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b,
            "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b}


def schedule_residues(nest: Nest, buffers) -> list[Launch] | None:
    """The launches of a group of maps that ask for residues of their places along some axes but the
    last; None where no such axis is a whole number of periods long."""
    assert nest.group.domain is not None
    rows, inner = nest.group.domain
    axes = [expr.axis(f"a{k}", e) for k, e in enumerate(rows)]
    outputs = nest.outputs()
    if any(len(s.definition.axes) != len(rows) + 1 for s, _ in outputs) or any(
            e.op == "reduce" for body in nest.bodies for e in expr.walk(body)):
        return None
    periods = _periods(nest.bodies, axes)
    steps = sum(len(expr.walk(body)) for _, body in outputs)
    if not periods or prod(periods.values()) > min(MOST, MOST_STEPS // steps):
        return None
    return _Residues(nest, buffers, axes, periods).launches()


def _periods(bodies: list[Expr], axes: list[Expr]) -> dict[Expr, int]:
    """The period of each axis whose residues the bodies ask for."""
    found: dict[Expr, int] = {}
    for e in {e: None for body in bodies for e in expr.walk(body)}:
        if e.op is scalar.mod and e.args[1].op == "lit" and e.args[1].attr > 1:
            form = linear(e.args[0])
            for a in form.terms if form is not None else ():
                found[a] = lcm(found.get(a, 1), e.args[1].attr)
    return {a: found[a] for a in axes if a in found and isinstance(a.attr[1], int)
            and a.attr[1] > 0 and a.attr[1] % found[a] == 0}


class _Residues(Rows):
    """Rows over the numbers of periods (axes named as those that they are numbers of)."""

    def __init__(self, nest: Nest, buffers, axes: list[Expr], periods: dict[Expr, int]):
        self.periods = {a: (expr.axis(a.attr[0], a.attr[1] // s), s) for a, s in periods.items()}
        super().__init__(nest, buffers)
        self.residues = [dict(zip(periods, r)) for r in product(*map(range, periods.values()))]
        variants = [[_Answered(nest, self.periods, r).of(body) for body in nest.bodies]
                    for r in self.residues]
        self.nest = self.b.nest = nest.restated([body for some in variants for body in some])
        kept = [k for k, s in enumerate(nest.group.seeds) if id(s.node) in nest.kept]
        self.variants = [[some[k] for k in kept] for some in variants]
        self.row_axes = [self.periods[a][0] if a in self.periods else a for a in axes]

    def _fixed(self) -> set[Expr]:
        return super()._fixed() | {q for q, _ in self.periods.values()}

    def _stores(self, places, which=None, lanes: int = LANES) -> list:
        found: list = []
        for residues, bodies in zip(self.residues, self.variants, strict=True):
            here = places | {a: places[q] * s + residues[a] for a, (q, s) in self.periods.items()}
            memo: dict[Expr, Expr] = {}
            pairs = []
            for (seed, _), body in zip(self.outputs, bodies, strict=True):
                name = self.b.output(seed.node)
                strides = self.nest.strides(seed)
                pairs.append((name, self.b.address(name, strides, here),
                              self.b.lowered(body, here, memo)))
            found += stores_after(pairs, lanes)
        return found


class _Answered:
    """Expressions at places of given residues."""

    def __init__(self, nest: Nest, periods: dict[Expr, tuple[Expr, int]],
                 residues: dict[Expr, int]):
        self.nest, self.periods, self.residues = nest, periods, residues
        self.memo: dict[Expr, Expr] = {}

    def of(self, e: Expr) -> Expr:
        """The expression, what the residues decide decided."""
        found = self.memo.get(e)
        if found is None:
            found = self.memo[e] = self._found(e)
        return found

    def _found(self, e: Expr) -> Expr:
        if e.op == "read":
            return self._read(e)
        if e.op in (scalar.floordiv, scalar.mod):
            return self._quotient(e)
        args = tuple(map(self.of, e.args))
        if e.op is scalar.where and args[0].op == "lit":
            return args[1] if args[0].attr else args[2]
        literal = [a.op == "lit" for a in args]
        name = None if isinstance(e.op, str) else e.op.name
        if name in COMPARED and all(literal) and args[0].dtype is dtypes.index:
            return lit(COMPARED[name](args[0].attr, args[1].attr), dtypes.bool_)
        if name in ("and", "or") and e.dtype is dtypes.bool_ and any(literal):
            known, other = args if literal[0] else args[::-1]
            return known if known.attr == (name == "or") else other
        return e if args == e.args else expr.rebuild(e, args)

    def _quotient(self, e: Expr) -> Expr:
        """A quotient or a residue of what moves by whole periods."""
        x, by = e.args
        form = linear(x) if by.op == "lit" and by.attr > 1 else None
        if form is None or not isinstance(form.constant, int) or not all(
                a in self.periods and isinstance(c, int) for a, c in form.terms.items()):
            return e
        rest = form.constant + sum(c * self.residues[a] for a, c in form.terms.items())
        steps = {self.periods[a][0]: c * self.periods[a][1] for a, c in form.terms.items()}
        if any(c % by.attr for c in steps.values()):
            return e
        if e.op is scalar.mod:
            return lit(rest % by.attr, dtypes.index)
        found = lit(rest // by.attr, dtypes.index)
        for q, c in steps.items():
            found = q * (c // by.attr) + found
        return found

    def _read(self, e: Expr) -> Expr:
        """A read, which asks for the operand's bounds only where it may leave them."""
        if e in self.nest.reads:
            return e
        args = tuple(map(self.of, e.args))
        shape = self.nest.nodes[e.attr[0]].shape
        fill = e.attr[1]
        if fill is not None and all(
                i is not None and within(i, e) for i, e in zip(map(linear, args), shape)):
            fill = None
        return expr.read(e.attr[0], args, e.dtype, fill)

