"""Running sums, products and extremes along an axis.

The operand is [o, n, p] and the axis is the middle one; `cumulative` shapes any array so. Positions
are counted from the start of the axis, or from its end with `reverse`. The order of a running sum
is fixed by position alone (docs/numerics.md): chunks of 1024 positions run from the identity, and a
chunk's values are joined to the running total of the chunks before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..base import dtypes
from ..base.dtypes import DType
from ..base.errors import DTypeError, ShapeError
from ..base.extents import Extent, product
from ..ir.node import Node, literal, make
from ..ir.op import Op, is_bool, one_of
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.expr import Expr, lit
from ..lang.loops import Loop, Set, Store, index_var
from ..lang.order import SUM_CHUNK
from ..lang.routine import RESULT, ZERO, Part, Routine
from .index import scatter_along, take_along
from .iota import iota
from .move import reshape, stacked, zeros_like
from .pointwise import apply, broadcast_to
from .recurrence import recurrence, shifted
from .reduce import SIZE

_BLOCK = 128  # neighbouring columns that one task owns
_ROWS = 4     # rows whose chains run side by side, so that none waits for its own last addition


def _logaddexp(a: Expr, b: Expr) -> Expr:
    """log(e^a + e^b): the larger, plus log1p(e^(less - larger)); -inf and inf by themselves."""
    top, less = scalar.maximum(a, b), scalar.minimum(a, b)
    rest = scalar.ALL["log1p"](scalar.exp(less - top))
    infinite = scalar.eq(scalar.abs_(top), lit(math.inf, a.dtype))
    return scalar.where(infinite, top, top + rest)


_JOIN: dict[str, Callable] = {"sum": scalar.add, "prod": scalar.mul, "max": scalar.maximum,
                              "min": scalar.minimum, "logsumexp": _logaddexp}
_ARRAYS: dict[str, np.ufunc] = {"sum": np.add, "prod": np.multiply, "max": np.maximum,
                                "min": np.minimum, "logsumexp": np.logaddexp}


_KINDS = {"sum": ("float", "int", "uint", "complex"), "prod": ("float", "int", "uint", "complex"),
          "max": ("float", "int", "uint", "bool"), "min": ("float", "int", "uint", "bool"),
          "logsumexp": ("float",)}


def identity(monoid: str, dtype: DType) -> float | int | bool:
    """The number that leaves every other one as it is."""
    if monoid in ("sum", "prod"):
        return int(monoid == "prod")
    if dtype is dtypes.bool_:
        return monoid == "min"
    if dtype.is_float:
        return math.inf if monoid == "min" else -math.inf
    info = np.iinfo(dtype.numpy)
    return int(info.min if monoid == "max" else info.max)


def _infer(p: dict, x: TensorType) -> TensorType:
    if x.rank != 3:
        raise ShapeError(f"cumulative: the operand is [o, n, p], got {x.shape}")
    kinds = _KINDS[p["monoid"]]
    if x.dtype.kind not in kinds:
        raise DTypeError(f"cumulative: {p['monoid']} takes {', '.join(kinds)} values, got "
                         f"{x.dtype}; cast with astype")
    return x


def _reference(p: dict, x: np.ndarray) -> np.ndarray:
    wide = x.astype(dtypes.widest(dtypes.as_dtype(x.dtype)).numpy)
    wide = np.flip(wide, 1) if p["reverse"] else wide
    first = np.full((x.shape[0], 1, x.shape[2]), identity(
        p["monoid"], dtypes.as_dtype(x.dtype)), wide.dtype)
    if p["exclusive"]:
        wide = np.concatenate([first, wide], 1)[:, :x.shape[1]]
    with np.errstate(all="ignore"):
        y = _ARRAYS[p["monoid"]].accumulate(wide, axis=1, dtype=wide.dtype) if x.size else wide
        return (np.flip(y, 1) if p["reverse"] else y).astype(x.dtype)


def _loops(room: int, p: dict, x: TensorType) -> Routine:
    if x.shape[2] == 1:
        return Routine([_along_rows(p, x)])
    return Routine([_along_columns(p, x)])


class _Chain:
    """The statements of one running total: `step` at a position, `chunk` after each 1024."""

    def __init__(self, p: dict, x: TensorType, name: str):
        wide = dtypes.float32 if x.dtype.is_float and x.dtype.bits == 16 else x.dtype
        self.params, self.type, self.wide = p, x, wide
        self.none = lit(identity(p["monoid"], wide), wide)
        self.join = _JOIN[p["monoid"]]
        self.before, self.inside = expr.var(f"{name}b", wide), expr.var(f"{name}i", wide)

    def step(self, o: Expr, j: Expr, q: Expr) -> list:
        _, n, w = map(expr.size, self.type.shape)
        at = n - 1 - j if self.params["reverse"] else j
        x = scalar.cast(expr.read(0, (o, at, q), self.type.dtype), self.wide)
        y = scalar.cast(self.join(self.before, self.inside), self.type.dtype)
        grow, store = Set(self.inside, self.join(self.inside, x)), \
            Store(RESULT, (o * n + at) * w + q, y)
        return [store, grow] if self.params["exclusive"] else [grow, store]


def _chunked(chains: list[_Chain], places: list[tuple[Expr, Expr]], extent: Extent) -> list:
    """The chains side by side over the whole axis, chunk by chunk."""
    n = expr.size(extent)
    c, j = index_var("c"), index_var("j")
    steps = [s for chain, (o, q) in zip(chains, places, strict=True) for s in chain.step(o, j, q)]
    high = scalar.minimum((c + 1) * SUM_CHUNK, n)
    inner = [*(Set(k.inside, k.none) for k in chains), Loop(j, c * SUM_CHUNK, high, steps),
             *(Set(k.before, k.join(k.before, k.inside)) for k in chains)]
    return [*(Set(k.before, k.none) for k in chains),
            Loop(c, ZERO, (n + (SUM_CHUNK - 1)) // SUM_CHUNK, inner)]


def _along_columns(p: dict, x: TensorType) -> Part:
    """Neighbouring columns side by side in vectors."""
    w = expr.size(x.shape[2])
    task, q = index_var("task"), index_var("q")
    blocks = (w + (_BLOCK - 1)) // _BLOCK
    first = task % blocks * _BLOCK
    body = _chunked([_Chain(p, x, "a")], [(task // blocks, q)], x.shape[1])
    over = Loop(q, first, scalar.minimum(first + _BLOCK, w), body, "vector")
    return Part("cumulative", task, x.shape[0] * ((x.shape[2] + (_BLOCK - 1)) // _BLOCK), [over],
                flops=x.size * 2)


def _along_rows(p: dict, x: TensorType) -> Part:
    """Some rows' chains side by side; the last task repeats the last row where some are missing."""
    o = expr.size(x.shape[0])
    task = index_var("task")
    count = _ROWS if not isinstance(x.shape[0], int) else min(_ROWS, max(1, x.shape[0]))
    rows = [scalar.minimum(task * count + k, o - 1) for k in range(count)]
    chains = [_Chain(p, x, f"a{k}") for k in range(count)]
    return Part("cumulative", task, (x.shape[0] + (count - 1)) // count,
                _chunked(chains, [(r, ZERO) for r in rows], x.shape[1]), flops=x.size * 2)


# ---- derivatives --------------------------------------------------------------------------------

def _again(x: Node, p: dict, **changes) -> Node:
    return make(CUMULATIVE, (x,), {**p, **changes})


def _chosen(n: Node) -> tuple[Node, Node]:
    """The position that each running max or min was taken from (the first of equal ones, of NaNs
    too), and whether there is one."""
    x, p = n.inputs[0], n.params
    before = _again(x, p, exclusive=True)
    better = x <= before if p["monoid"] == "max" else before <= x
    number = apply("eq", before, before)
    at = broadcast_to(iota((1, x.shape[1], 1), 1), x.shape)
    marks = _count(x) - at if p["reverse"] else at + 1  # they grow along the way
    new = apply("or", apply("and", apply("not", better), number), marks <= 1)
    seen = _again(apply("where", new, marks, literal(0, dtypes.int32)), p, monoid="max")
    found = seen - 1 if not p["reverse"] else _count(x) - seen
    return found, literal(0, dtypes.int32) < seen


def _count(x: Node) -> Node:
    """The extent of the axis, int32."""
    extent = x.shape[1]
    return literal(extent, dtypes.int32) if isinstance(extent, int) else \
        make(SIZE, (), {"size": extent, "dtype": dtypes.int32})


def _product_vjp(n: Node, g: Node) -> Node:
    """The product of what came before, times the sum over later positions of g and the products of
    what lies between: h[k] = g[k] + x[k+1] h[k+1]. (Exclusive: g and h one position later.)"""
    x, p = n.inputs[0], n.params
    later = recurrence(shifted(x, p["reverse"]),
                       shifted(g, p["reverse"]) if p["exclusive"] else g, not p["reverse"])
    return later * _again(x, p, exclusive=True)


def _product_jvp(n: Node, t: Node) -> Node:
    x, p = n.inputs[0], n.params
    terms = t * _again(x, p, exclusive=True)
    y = recurrence(x, terms, p["reverse"])
    return shifted(y, not p["reverse"]) if p["exclusive"] else y


def _vjp(n: Node, g: Node):
    x, p = n.inputs[0], n.params
    if not x.dtype.is_inexact:
        return (None,)
    if p["monoid"] == "sum":
        return (_again(g, p, reverse=not p["reverse"]),)
    if p["monoid"] == "prod":
        return (_product_vjp(n, g),)
    if p["monoid"] == "logsumexp":
        return (_logsumexp_vjp(n, g),)
    at, some = _chosen(n)
    part = apply("where", some, g, literal(0, g.dtype))
    return (scatter_along(zeros_like(x), at, part, 1, "sum"),)


def _logsumexp_vjp(n: Node, g: Node) -> Node:
    """e^x times the sum over later positions of g e^-y, whose parts of either sign are themselves
    sums of exponentials: no term overflows before the last."""
    x, p = n.inputs[0], n.params
    low, zero = literal(-math.inf, x.dtype), literal(0, x.dtype)
    some = apply("lt", low, n)

    def part(sign: float) -> Node:
        size = g * sign
        positive = apply("and", zero < size, some)
        logs = apply("log", apply("where", positive, size, literal(1, x.dtype))) - n
        later = _again(apply("where", positive, logs, low), p, reverse=not p["reverse"])
        return apply("where", apply("eq", later, low), zero, apply("exp", x + later))

    return part(1.0) - part(-1.0)


def _jvp(n: Node, tangents):
    x, p, t = n.inputs[0], n.params, tangents[0]
    if t is None or not x.dtype.is_inexact:
        return None
    if p["monoid"] == "sum":
        return _again(t, p)
    if p["monoid"] == "prod":
        return _product_jvp(n, t)
    if p["monoid"] == "logsumexp":
        return _logsumexp_jvp(n, t)
    at, some = _chosen(n)
    return apply("where", some, take_along(t, at, 1), literal(0, t.dtype))


def _logsumexp_jvp(n: Node, t: Node) -> Node:
    """The mean of the tangents so far, weighted by e^(x - y), in parts of either sign."""
    x, p = n.inputs[0], n.params
    low, zero = literal(-math.inf, x.dtype), literal(0, x.dtype)

    def part(sign: float) -> Node:
        size = t * sign
        logs = apply("log", apply("where", zero < size, size, literal(1, x.dtype))) + x
        sums = _again(apply("where", zero < size, logs, low), p)
        return apply("where", apply("eq", sums, low), zero, apply("exp", sums - n))

    return part(1.0) - part(-1.0)


def _batch(n: Node, inputs, batched):
    x, = stacked(inputs, batched)
    y = make(n.op, (reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])),), n.params)
    return reshape(y, x.shape)


def _samples():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((3, 20, 18)).astype(np.float32)
    row = rng.standard_normal((5, 37, 1)).astype(np.float32)
    hard = np.array([1, -0.0, 3, np.nan, 2, np.inf, -np.inf, 1e-40, 0, 7], np.float32)
    plain = {"exclusive": False, "reverse": False}
    ways = [{"exclusive": e, "reverse": r} for e in (False, True) for r in (False, True)]
    found = [({"monoid": m, **w}, [a]) for m in _JOIN for w in ways for a in (x, row)
             if m in ("sum", "prod") or not w["exclusive"]]
    found += [({"monoid": m, **w}, [row.astype(np.int32)]) for m in ("max", "min") for w in ways]
    found += [({"monoid": m, **plain}, [hard.reshape(1, 10, 1)]) for m in ("sum", "max", "min")]
    holes = rng.integers(0, 3, (2, 9, 3)).astype(np.float32)
    found += [({"monoid": "prod", **w}, [holes]) for w in ways]
    found += [({"monoid": "sum", **plain}, [a]) for a in (
        np.zeros((2, 0, 3), np.float32), np.arange(12, dtype=np.int8).reshape(2, 3, 2),
        rng.standard_normal((2, 2500, 1)).astype(np.float32))]
    both = (rng.standard_normal((2, 7, 3)) + 1j * rng.standard_normal((2, 7, 3)))
    found += [({"monoid": m, **plain}, [both.astype(np.complex64)]) for m in ("sum", "prod")]
    return found


CUMULATIVE = Op(
    "cumulative", doc="y[o, j, p] = monoid (sum, prod, max, min, logsumexp) over k <= j of "
    "x[o, k, p]; exclusive: k < j; reverse: k >= j.", arity=1,
    params={"monoid": one_of(*_JOIN), "exclusive": is_bool, "reverse": is_bool}, infer=_infer,
    reference=_reference, loops=_loops, vjp=_vjp, jvp=_jvp, batch=_batch, samples=_samples)


def cumulative(x: Node, axis: int, monoid: str, exclusive: bool = False,
               reverse: bool = False) -> Node:
    """Running totals along an axis of any array."""
    o, p = product(x.shape[:axis]), product(x.shape[axis + 1:])
    y = make(CUMULATIVE, (reshape(x, (o, x.shape[axis], p)),),
             {"monoid": monoid, "exclusive": exclusive, "reverse": reverse})
    return reshape(y, x.shape)
