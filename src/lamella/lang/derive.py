"""What follows from a Definition: its gradient, tangent and batching, each a Definition again.

The gradient runs backwards over the distinct subexpressions. The cotangent of a subexpression is a
function of exactly the axes it depends on: what reaches it from a larger scope is summed over the
other axes there. A read x[indices] then adds, at each position p of x, the sum over its axes of
[indices == p] * cotangent; `invert` solves the indices for the axes, so that the sum runs over the
axes that are left and elements are gathered. An axis solved outside of its extent contributes
nothing: reads there have fill=0, and other factors are guarded by `where`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce

from ..base import dtypes
from ..base.extents import Extent
from ..ir.types import TensorType
from . import expr, interpret, scalar
from .definition import PRODUCTS, Definition, reduction
from .expr import Expr, affine, free_axes, lit
from .interpret import canonical, fresh, in_range, nonnegative, rebuilt, rewrite
from .invert import Inverse, linear, simplified

Types = tuple[TensorType, ...]

# ---- gradient -----------------------------------------------------------------------------------


def gradient(d: Definition, wrt: int) -> Definition | None:
    """The cotangent of operand `wrt`, from d's operands and the result's cotangent as one more.

    None where it is zero: the operand or the result is not floating, or none of it is used."""
    target, points, inverses = _inverses(d, wrt)
    if not inverses:
        return None
    operands = (*d.operands, d.type)
    total = reduce(scalar.add, (_gathered(operands, *found) for found in inverses))
    names = [_point_name(k, [i.indices[k] for _, i in inverses]) for k in range(target.rank)]
    axes, body = canonical(points, total, names)
    return Definition(operands, axes, body)


def is_scatter(d: Definition, wrt: int) -> bool:
    """Whether the gradient has to search for the reads of an element (data-dependent indices and
    maps without an inverse): correct, at the cost of the whole index space for each element."""
    return any(inverse.searches for _, inverse in _inverses(d, wrt)[2])


def _inverses(d: Definition, wrt: int):
    target = d.operands[wrt]
    points = tuple(interpret.fresh_axis(f"p{k}", n) for k, n in enumerate(target.shape))
    if not (target.dtype.is_inexact and d.body.dtype.is_inexact):
        return target, points, []
    axes, body = canonical(d.axes, d.body)
    seed = expr.read(len(d.operands), axes, body.dtype)
    order = {a: k for k, a in enumerate(axes)}
    for e in expr.walk(body):
        for a in e.attr[1] if e.op == "reduce" else ():
            order.setdefault(a, len(order))
    found = []
    types = (*d.operands, d.type)
    for read, cotangent in _cotangents(types, body, seed, order, wrt):
        free = sorted(free_axes(read), key=order.__getitem__)
        found.append((cotangent, Inverse(read.args, points, free)))
    return target, points, found


def _cotangents(types: Types, body: Expr, seed: Expr, order: dict[Expr, int],
                wrt: int) -> Iterator[tuple[Expr, Expr]]:
    """Each distinct read of operand `wrt` with its cotangent, a function of the read's axes."""
    active = _active(body, {wrt})
    cotangents: dict[Expr, Expr] = {}

    def add(e: Expr, contribution: Expr, scope: frozenset[Expr]) -> None:
        over = sorted(scope - free_axes(e), key=order.__getitem__)
        contribution = _total(types, tuple(over), contribution)
        cotangents[e] = _joined(cotangents[e], contribution) if e in cotangents else contribution

    add(body, seed, frozenset(seed.args))
    for e in reversed(expr.walk(body)):
        if e not in active or e not in cotangents:
            continue
        g = cotangents[e]
        if e.op == "read":
            yield e, g
            continue
        scope = free_axes(e) | frozenset(e.attr[1] if e.op == "reduce" else ())
        conditions, g = _unguarded(g)
        for child, contribution in _pulled(e, g):
            if child in active and contribution is not None:
                add(child, _when(conditions, contribution), scope)


def _active(body: Expr, wrt: set[int]) -> set[Expr]:
    """The floating subexpressions that vary with the operands in `wrt`."""
    active: set[Expr] = set()
    for e in expr.walk(body):
        if e.dtype.is_inexact and (e.attr[0] in wrt if e.op == "read" else
                                 any(a in active for a in e.args)):
            active.add(e)
    return active


def _pulled(e: Expr, g: Expr) -> list[tuple[Expr, Expr | None]]:
    """What each argument of `e` receives where `e` has the cotangent g."""
    if e.op == "reduce":
        if len(e.args) == 2:  # dot
            a, b = e.args
            return [(a, g * b), (b, g * a)]
        return [(e.args[0], _through(e, g))]
    if e.op is scalar.cast_:
        return [(e.args[0], scalar.cast(g, e.args[0].dtype))]
    if e.op is scalar.where:
        condition, a, b = e.args
        return [(a, _when([condition], g)), (b, _when([scalar.not_(condition)], g))]
    if e.op.rule is None:
        return []
    return list(zip(e.args, e.op.rule(g, e, *e.args)))


def _through(e: Expr, t: Expr) -> Expr:
    """t times the derivative of a reduction of one body by it. max and min share among ties."""
    (monoid, axes), (body,) = e.attr, e.args
    if monoid == "sum":
        return t
    zero, one = lit(0, e.dtype), lit(1, e.dtype)
    if monoid == "prod":  # the product of the others: right where elements are zero
        others = {a: interpret.fresh_axis(*a.attr) for a in axes}
        same = reduce(scalar.and_, (scalar.eq(a, b) for a, b in others.items()))
        rest = scalar.where(same, one, expr.substitute(fresh(body), others))
        return t * expr.reduce("prod", tuple(others.values()), rest)
    taken = scalar.eq(body, e)
    return scalar.where(taken, t / expr.reduce("sum", axes, scalar.where(taken, one, zero)), zero)


# ---- sums over what is left ---------------------------------------------------------------------

def _gathered(types: Types, body: Expr, inverse: Inverse) -> Expr:
    """The sum of the body over the axes left, at the solution for the others."""
    def moved(e: Expr, args: tuple[Expr, ...]) -> Expr:
        if e.op == "axis":
            return inverse.solved.get(e, e)
        if e.op == "read" and args != e.args:
            operand, fill = e.attr
            inside = all(map(in_range, args, types[operand].shape))
            return expr.read(operand, args, e.dtype, None if inside else fill or 0)
        return e if args == e.args else simplified(rebuilt(e, args))

    axes, body = _flattened(tuple(inverse.left), rewrite(fresh(body), moved))
    return _total(types, axes, _guarded(types, body, inverse))


def _total(types: Types, axes: tuple[Expr, ...], body: Expr) -> Expr:
    """The sum over the axes. One that the body's guard sets equal to a value is solved for."""
    axes, body = _flattened(axes, body)
    conditions, inner = _unguarded(body)
    equations = [c for c in conditions if c.op is scalar.eq and c.args[0].dtype is dtypes.index
                 and free_axes(c) & set(axes)]
    if equations:
        sides = [linear(affine(c.args[0]), {t: -k for t, k in affine(c.args[1]).items()})
                 for c in equations]
        inverse = Inverse(tuple(sides), (lit(0, dtypes.index),) * len(sides), list(axes))
        if len(inverse.left) < len(axes):
            others = [c for c in conditions if c not in equations]
            return _gathered(types, _when(others, inner), inverse)
    return _sum(axes, body)


# Guards stand outside of products, where(condition, product, 0): what a factor is where nothing
# counts, such as 1 / 0, is not multiplied by zero. In sums elements of operands are, for dots.

def _when(conditions: list[Expr], body: Expr) -> Expr:
    """The body where all conditions hold, else 0."""
    if not conditions:
        return body
    return scalar.where(reduce(scalar.and_, dict.fromkeys(conditions)), body, 0)


def _unguarded(e: Expr) -> tuple[list[Expr], Expr]:
    """The conditions outside of which a product is 0, and the product without them."""
    if e.op is scalar.mul:
        (first, a), (second, b) = map(_unguarded, e.args)
        return first + second, (a * b if first or second else e)
    if e.op is not scalar.where or e.args[2].op != "lit" or expr.value_of(e.args[2]) != 0:
        return [], e
    conditions, inner = _unguarded(e.args[1])
    return _conjuncts(e.args[0]) + conditions, inner


def _joined(a: Expr, b: Expr) -> Expr:
    """a + b, inside of the guards that both have."""
    (first, a), (second, b) = _unguarded(a), _unguarded(b)
    common = [c for c in first if c in second]
    a = _when([c for c in first if c not in common], a)
    return _when(common, a + _when([c for c in second if c not in common], b))


def _conjuncts(e: Expr) -> list[Expr]:
    return [c for a in e.args for c in _conjuncts(a)] if e.op is scalar.and_ else [e]


def _flattened(axes: tuple[Expr, ...], body: Expr) -> tuple[tuple[Expr, ...], Expr]:
    """A sum of sums as one sum over the axes of all."""
    while body.op == "reduce" and body.attr[0] in ("sum", *PRODUCTS):
        if set(axes) & set(body.attr[1]):
            body = fresh(body)
        axes += body.attr[1]
        body = body.args[0] if len(body.args) == 1 else scalar.mul(*body.args)
    return axes, body


def _sum(axes: tuple[Expr, ...], body: Expr) -> Expr:
    """The sum over the axes; what does not depend on one is multiplied by its extent."""
    used = tuple(a for a in axes if a in free_axes(body))
    for a in axes:
        if a not in used:
            body = body * scalar.cast(expr.size(a.attr[1]), body.dtype)
    conditions, inner = _unguarded(body) if used else ([], body)
    if conditions and inner.op is scalar.mul and any(f.op == "read" for f in inner.args):
        a, b = inner.args
        body = _when(conditions, a) * b if b.op == "read" else a * _when(conditions, b)
    return reduction("sum", used, body)


def _guarded(types: Types, body: Expr, inverse: Inverse) -> Expr:
    """The body where the solution is one. A product of elements of which one reads 0 outside of a
    range is guarded against that: a dot stays one."""
    conditions, body = _unguarded(body)
    factors = body.args if body.op is scalar.mul else (body,)
    reads = [f for f in factors if f.op == "read"]
    kept = inverse.ranges
    if len(reads) == len(factors):
        own = {at for f in reads if f.attr[1] == 0 for at in zip(f.args, types[f.attr[0]].shape)}
        kept = [r for r in kept if r not in own]
    guards = [g for e, n in kept for g in _within(e, n)]
    return _when([*guards, *inverse.conditions, *conditions], body)


def _within(e: Expr, extent: Extent) -> list[Expr]:
    """0 <= e < extent, as far as it is not plain."""
    low, high = interpret.interval(e)
    out = [] if low is not None and nonnegative(low) else [scalar.le(0, e)]
    inside = high is not None and nonnegative(extent - 1 - high)
    return out if inside else [*out, scalar.lt(e, expr.size(extent))]


def _point_name(dimension: int, indices: list[Expr]) -> str:
    """A name for a dimension of the operand: that of the axis that it was read at."""
    for i in sorted(indices, key=lambda i: i.op != "axis"):
        for a in affine(i):
            if a is not None and a.op == "axis":
                return a.attr[0]
    return f"p{dimension}"


# ---- tangent ------------------------------------------------------------------------------------

def tangent(d: Definition, wrt: Iterable[int]) -> Definition:
    """The result's change, from d's operands and the tangents of those in `wrt`, in their order."""
    chosen = sorted(wrt)
    place = {k: len(d.operands) + n for n, k in enumerate(chosen)}
    types = (*d.operands, *(d.operands[k] for k in chosen))
    axes, body = canonical(d.axes, d.body)
    active = _active(body, set(chosen))
    changes: dict[Expr, Expr] = {}
    for e in expr.walk(body):
        if e not in active:
            continue
        if e.op == "read":
            fill = None if e.attr[1] is None else 0
            changes[e] = expr.read(place[e.attr[0]], e.args, e.dtype, fill)
            continue
        given = {a: changes[a] for a in e.args if a in changes}
        parts = _pushed(types, e, given)
        if parts:
            changes[e] = reduce(scalar.add, parts)
    axes, body = canonical(axes, changes.get(body, lit(0, body.dtype)))
    return Definition(types, axes, body)


def _pushed(types: Types, e: Expr, given: dict[Expr, Expr]) -> list[Expr]:
    """The parts of e's change from its arguments' changes."""
    if e.op == "reduce":
        monoid, axes = e.attr
        if len(e.args) == 1:
            return [_total(types, axes, _through(e, t)) for t in given.values()]
        a, b = e.args
        return [_total(types, axes, scalar.mul(*p)) for p in ((given.get(a), b), (a, given.get(b)))
                if None not in p]
    if e.op is scalar.cast_:
        return [scalar.cast(t, e.dtype) for t in given.values()]
    if e.op is scalar.where:
        condition, a, b = e.args
        zero = lit(0, e.dtype)
        return [scalar.where(condition, given.get(a, zero), given.get(b, zero))]
    if e.op.rule is None:
        return []
    # a rule is linear in the cotangent, so that its part for an argument maps tangents too
    parts = [e.op.rule(given[a], e, *e.args)[k] for k, a in enumerate(e.args) if a in given]
    return [p for p in parts if p is not None]


# ---- batching -----------------------------------------------------------------------------------

def batched(d: Definition, flags: tuple[bool, ...], extent: Extent) -> Definition:
    """The definition over one more leading axis, which the flagged operands have too."""
    first = interpret.fresh_axis("b", extent)

    def visit(e: Expr, args: tuple[Expr, ...]) -> Expr:
        if e.op == "read" and flags[e.attr[0]]:
            return expr.make("read", (first, *args), e.attr, e.dtype)
        return rebuilt(e, args)

    axes, body = canonical((first, *d.axes), rewrite(d.body, visit))
    operands = tuple(t.with_shape((extent, *t.shape)) if f else t
                     for t, f in zip(d.operands, flags))
    return Definition(operands, axes, body)
