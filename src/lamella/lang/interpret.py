"""What expressions mean: their values by NumPy, their intervals, and the scopes of their axes.

`evaluate_definition` is the reference for definitions: every expression becomes an array over the
axes in scope. `interval` is the same walk with bounds for values, and proves reads in range.
`canonical` gives bound axes their final names; transformations work on `fresh` ones.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np

from ..base import dtypes
from ..base.errors import ExecutionError, UnsupportedError
from ..base.extents import Extent, FloorDiv, Size, divides, evaluate, lower, solve
from ..ir.types import TensorType
from . import expr, scalar
from . import math as _math  # noqa: F401 (installs the references that NumPy lacks)
from .definition import PRODUCTS, Definition, reduction
from .expr import Expr, affine, free_axes

# ---- values -------------------------------------------------------------------------------------

_UFUNCS = {"sum": np.add, "prod": np.multiply, "max": np.maximum,
           "min": np.minimum, "any": np.logical_or, "all": np.logical_and}


def evaluate_definition(d: Definition, *arrays: np.ndarray) -> np.ndarray:
    """The array that the definition states; reductions of floats run in float64, rounded once."""
    arrays = tuple(np.asarray(a) for a in arrays)
    env = _symbol_values(d.operands, arrays)
    value = _Values(arrays, env).of(d.body, d.axes)
    shape = tuple(evaluate(e, env) for e in d.shape)
    return np.ascontiguousarray(np.broadcast_to(value, shape), d.body.dtype.numpy).reshape(shape)


def _symbol_values(types: tuple[TensorType, ...], arrays: tuple[np.ndarray, ...]) -> dict[str, int]:
    if len(types) != len(arrays):
        raise ExecutionError(f"{len(arrays)} arrays were given where {len(types)} are read")
    pairs: list[tuple[Extent, int]] = []
    for k, (t, a) in enumerate(zip(types, arrays)):
        if a.ndim != t.rank or a.dtype != t.dtype.numpy:
            raise ExecutionError(f"operand {k}: {a.dtype}{list(a.shape)} was given for {t}")
        pairs += zip(t.shape, a.shape)
    env: dict[str, int] = {}
    for extent, value in sorted(pairs, key=lambda p: len(str(p[0]))):  # lone symbols first
        solve(extent, value, env)
    return env


class _Values:
    """Arrays with one dimension for each axis in scope, of length 1 where it does not matter."""

    def __init__(self, arrays: tuple[np.ndarray, ...], env: dict[str, int]):
        self.arrays, self.env = arrays, env
        self.memo: dict[tuple, np.ndarray] = {}

    def of(self, e: Expr, scope: tuple[Expr, ...]) -> np.ndarray:
        """The value of `e` over the scope; computed over the axes up to the last that matters."""
        short, need = scope, free_axes(e)
        while short and short[-1] not in need:
            short = short[:-1]
        found = self.memo.get((e, short))
        if found is None:
            found = self.memo[e, short] = self.compute(e, short)
        return found.reshape(found.shape + (1,) * (len(scope) - found.ndim))

    def compute(self, e: Expr, scope: tuple[Expr, ...]) -> np.ndarray:
        if e.op == "axis":
            shape = [1] * len(scope)
            shape[-1] = evaluate(e.attr[1], self.env)  # the last axis of the scope is this one
            return np.arange(shape[-1], dtype=np.int64).reshape(shape)
        if e.op == "lit":
            return np.full((1,) * len(scope), expr.value_of(e), e.dtype.numpy)
        if e.op == "size":
            return np.full((1,) * len(scope), evaluate(e.attr, self.env), np.int64)
        if e.op == "reduce":
            return self.reduce(e, scope)
        args = [self.of(a, scope) for a in e.args]
        if e.op == "read":
            return self.read(e, args, len(scope))
        if e.op is scalar.cast_:
            return scalar.cast_array(args[0], e.attr)
        if e.op is scalar.bitcast_:
            return args[0].view(e.attr.numpy)
        if isinstance(e.op, str) or e.op.reference is None:
            raise UnsupportedError(f"{e.op} has no NumPy meaning here")
        with np.errstate(all="ignore"):
            return np.asarray(e.op.reference(*args)).astype(e.dtype.numpy, copy=False)

    def read(self, e: Expr, indices: list[np.ndarray], rank: int) -> np.ndarray:
        operand, fill = e.attr
        array = self.arrays[operand]
        inside = np.ones((1,) * rank, bool)
        for i, n in zip(indices, array.shape):
            inside = inside & (i >= 0) & (i < n)
        if fill is None and not inside.all():
            raise ExecutionError(f"{e} reads outside of operand {operand}{list(array.shape)}")
        if array.size == 0:
            return np.full(inside.shape, 0 if fill is None else fill, array.dtype)
        clipped = tuple(np.clip(i, 0, n - 1) for i, n in zip(indices, array.shape))
        value = array[clipped] if clipped else array.reshape((1,) * rank)
        return value if fill is None else np.where(inside, value, np.asarray(fill, array.dtype))

    def reduce(self, e: Expr, scope: tuple[Expr, ...]) -> np.ndarray:
        monoid, axes = e.attr
        extents = tuple(evaluate(a.attr[1], self.env) for a in axes)
        wide = dtypes.widest(e.dtype).numpy
        with np.errstate(all="ignore"):
            body, *other = (self.of(a, scope + axes).astype(wide) for a in e.args)
            for factor in other:
                body = body * factor
            body = np.broadcast_to(body, body.shape[:len(scope)] + extents)
            over = tuple(range(len(scope), len(scope) + len(axes)))
            added = "sum" if monoid in PRODUCTS else monoid
            out = _UFUNCS[added].reduce(body, axis=over, initial=_identity(added, wide))
            return np.asarray(out).astype(e.dtype.numpy)


def _identity(monoid: str, dtype: np.dtype):
    if monoid not in ("max", "min"):
        return {"sum": 0, "prod": 1, "any": False, "all": True}[monoid]
    if dtype.kind == "b":
        return monoid == "min"
    if dtype.kind == "f":
        return -np.inf if monoid == "max" else np.inf
    return np.iinfo(dtype).min if monoid == "max" else np.iinfo(dtype).max


# ---- intervals ----------------------------------------------------------------------------------

Bound = Extent | None  # None: no bound is known


def nonnegative(e: Extent) -> bool:
    """Whether `e` >= 0 is plain for all values of its symbols."""
    if lower(e) >= 0:
        return True
    while isinstance(e, Size):  # n//d <= n/d and n//d >= (n - d + 1)/d, times d
        atom = next((m[0] for m in e.terms if len(m) == 1 and isinstance(m[0], FloorDiv)), None)
        if not isinstance(atom, FloorDiv):
            break
        c = e.terms[atom,]
        bound = atom.numerator if c < 0 else atom.numerator - (atom.denominator - 1)
        e = (e - Size({(atom,): c})) * atom.denominator + bound * c
    return lower(e) >= 0


def in_range(e: Expr, extent: Extent) -> bool:
    """Whether 0 <= e < extent is plain, for all values of its axes and symbols."""
    low, high = interval(e)
    return (low is not None and high is not None and nonnegative(low)
            and nonnegative(extent - 1 - high))


def interval(e: Expr) -> tuple[Bound, Bound]:
    """Bounds of an integer expression, both included, as extents."""
    low: Bound = 0
    high: Bound = 0
    for term, c in affine(e).items():
        a, b = (1, 1) if term is None else _term_interval(term)
        a, b = (a, b) if c > 0 else (b, a)
        low = None if low is None or a is None else low + a * c
        high = None if high is None or b is None else high + b * c
    return low, high


def _term_interval(e: Expr) -> tuple[Bound, Bound]:
    if e.op == "axis":
        return 0, e.attr[1] - 1
    if e.op == "size":
        return e.attr, e.attr
    name = "" if isinstance(e.op, str) else e.op.name
    if name in ("floordiv", "mod"):
        return _division_interval(name, interval(e.args[0]), interval(e.args[1]))
    if name in ("max", "min", "where"):
        (a, b), (c, d) = interval(e.args[-2]), interval(e.args[-1])
        low = _choose(a, c, False) if name != "max" else _either(a, c, True)
        return low, (_choose(b, d, True) if name != "min" else _either(b, d, False))
    if name == "mul":
        (a, b), (c, d) = interval(e.args[0]), interval(e.args[1])
        if (a is not None and b is not None and c is not None and d is not None
                and nonnegative(a) and nonnegative(c)):
            return a * c, b * d
    return None, None


def _division_interval(name: str, value, divisor) -> tuple[Bound, Bound]:
    (low, high), (d, other) = value, divisor
    if d is None or d != other or not nonnegative(d - 1):
        return None, None
    known = low is not None and high is not None
    if known and nonnegative(low) and nonnegative(d - 1 - high):
        return (0, 0) if name == "floordiv" else (low, high)
    if name == "mod":
        return 0, d - 1
    if isinstance(d, int):
        return (None if low is None else low // d), (None if high is None else high // d)
    if known and nonnegative(low) and divides(d, high + 1):
        return 0, (high + 1) // d - 1
    return None, None


def _choose(a: Bound, b: Bound, larger: bool) -> Bound:
    """The larger (or smaller) of two bounds, if it is plain which that is."""
    if a is None or b is None:
        return None
    if nonnegative(b - a):
        return b if larger else a
    return (a if larger else b) if nonnegative(a - b) else None


def _either(a: Bound, b: Bound, larger: bool) -> Bound:
    """The better of two bounds that both hold."""
    best = _choose(a, b, larger)
    return best if best is not None else (b if b is not None else a)


# ---- scopes -------------------------------------------------------------------------------------

_counter = itertools.count()


def fresh_axis(name: str, extent: Extent) -> Expr:
    """An axis equal to no other; `canonical` gives it a plain name."""
    return expr.axis(f"{plain_name(name)}'{next(_counter)}", extent)


def plain_name(name: str) -> str:
    """The name as the user wrote it, without what made it unique."""
    return re.sub(r"(_\d+)?('\d+)?$", "", name) or "i"


def rewrite(e: Expr, visit: Callable[[Expr, tuple[Expr, ...]], Expr],
            memo: dict[Expr, Expr] | None = None) -> Expr:
    """`e` rebuilt from its leaves: each distinct subexpression becomes visit(it, new args)."""
    memo = {} if memo is None else memo
    found = memo.get(e)
    if found is None:
        found = memo[e] = visit(e, tuple(rewrite(a, visit, memo) for a in e.args))
    return found


def rebuilt(e: Expr, args: tuple[Expr, ...]) -> Expr:
    """The usual visit: the same operation over the new arguments."""
    return e if args == e.args else expr.rebuild(e, args)


def fresh(e: Expr, env: dict[Expr, Expr] | None = None, memo: dict | None = None) -> Expr:
    """`e` with fresh axes in its reductions (and its free axes as `env` says): nothing put in
    place of a free axis afterwards can be captured."""
    env, memo = env or {}, {} if memo is None else memo
    key = (e, frozenset((a, env[a]) for a in free_axes(e) if a in env))
    found = memo.get(key)
    if found is not None:
        return found
    if e.op == "reduce":
        monoid, axes = e.attr
        new = tuple(fresh_axis(*a.attr) for a in axes)
        inner = {**env, **dict(zip(axes, new))}
        found = expr.reduce(monoid, new, *(fresh(a, inner, memo) for a in e.args))
    elif e.args:
        found = rebuilt(e, tuple(fresh(a, env, memo) for a in e.args))
    else:
        found = env.get(e, e)
    memo[key] = found
    return found


def canonical(axes: tuple[Expr, ...], body: Expr, names: list[str] | None = None,
              extent: Callable[[Expr], Extent] = lambda a: a.attr[1]
              ) -> tuple[tuple[Expr, ...], Expr]:
    """Result axes and body with final names: plain, made unique from the inside out, so that equal
    reductions are the same expression and no axis hides another. Sums of products become dots."""
    body = fresh(body)
    final: dict[Expr, Expr] = {}
    taken: frozenset[str] = frozenset()
    for a, name in zip(axes, names or [a.attr[0] for a in axes]):
        taken |= {_name(final, a, name, taken, extent)}
    inside: dict[Expr, frozenset[str]] = {}
    for e in expr.walk(body):
        bound: frozenset[str] = frozenset().union(*(inside[a] for a in e.args))
        if e.op == "reduce":
            for a in e.attr[1]:
                bound |= {_name(final, a, a.attr[0], taken | bound, extent)}
        inside[e] = bound

    def visit(e: Expr, args: tuple[Expr, ...]) -> Expr:
        if e.op == "axis":
            return final.get(e, e)
        if e.op != "reduce":
            return rebuilt(e, args)
        monoid, new = e.attr[0], tuple(final[a] for a in e.attr[1])
        return (expr.reduce if monoid in PRODUCTS else reduction)(monoid, new, *args)

    return tuple(final[a] for a in axes), rewrite(body, visit)


def _name(final: dict, a: Expr, name: str, taken: frozenset[str], extent: Callable) -> str:
    plain = plain_name(name)
    unique = next(n for n in itertools.chain([plain], (f"{plain}_{k}" for k in itertools.count(1)))
                  if n not in taken)
    final[a] = expr.axis(unique, extent(a))
    return unique

