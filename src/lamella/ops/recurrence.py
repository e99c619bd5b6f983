"""Linear recurrences: y[k] = a[k] y[k-1] + b[k] along an axis.

The derivatives of running products, and themselves the ends of their own derivatives: nothing is
divided by, so that they hold where elements are 0, to any order.
"""

from __future__ import annotations

import numpy as np

from ..base import dtypes
from ..base.errors import DTypeError, ShapeError
from ..base.extents import product
from ..ir.node import Node, make
from ..ir.op import Op, is_bool
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.expr import Expr, lit
from ..lang.loops import Loop, Set, Store, index_var
from ..lang.routine import RESULT, ZERO, Part, Routine
from .move import pad, reshape, slice_, stacked

_BLOCK = 64   # neighbouring columns that one task owns
_ROWS = 4     # rows whose chains run side by side


def _infer(p: dict, a: TensorType, b: TensorType) -> TensorType:
    if a.rank != 3 or a.shape != b.shape:
        raise ShapeError(f"recurrence: factors and terms are [o, n, p], got {a.shape} and "
                         f"{b.shape}")
    if a.dtype is not b.dtype or not a.dtype.is_inexact:
        raise DTypeError(f"recurrence: factors and terms are of one floating or complex dtype, got "
                         f"{a.dtype} and {b.dtype}; cast with astype")
    return b


def _reference(p: dict, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    dtype, wide = a.dtype, dtypes.widest(dtypes.as_dtype(a.dtype)).numpy
    a, b = (np.flip(x, 1) if p["reverse"] else x for x in (a.astype(wide), b.astype(wide)))
    y, last = np.empty_like(b), np.zeros_like(b[:, 0]) if b.shape[1] else b[:, :0]
    with np.errstate(all="ignore"):
        for k in range(b.shape[1]):
            y[:, k] = last = b[:, k] if k == 0 else a[:, k] * last + b[:, k]
    return (np.flip(y, 1) if p["reverse"] else y).astype(dtype)


class _Chain:
    """The statements of one row's recurrence."""

    def __init__(self, p: dict, x: TensorType, name: str):
        self.reverse, self.type = p["reverse"], x
        self.wide = dtypes.float32 if x.dtype.bits == 16 else x.dtype
        self.last = expr.var(name, self.wide)

    def start(self) -> Set:
        return Set(self.last, lit(0, self.wide))

    def step(self, o: Expr, j: Expr, q: Expr) -> list:
        _, n, w = map(expr.size, self.type.shape)
        at = n - 1 - j if self.reverse else j
        a, b = (scalar.cast(expr.read(k, (o, at, q), self.type.dtype), self.wide) for k in (0, 1))
        grown = a * self.last + b if self.wide.is_complex else scalar.fma(a, self.last, b)
        return [Set(self.last, scalar.where(j < 1, b, grown)),
                Store(RESULT, (o * n + at) * w + q, scalar.cast(self.last, self.type.dtype))]


def _loops(room: int, p: dict, x: TensorType, _) -> Routine:
    return Routine([_along_rows(p, x) if x.shape[2] == 1 else _along_columns(p, x)])


def _along_columns(p: dict, x: TensorType) -> Part:
    w, task, q, j = expr.size(x.shape[2]), index_var("task"), index_var("q"), index_var("j")
    blocks = (w + (_BLOCK - 1)) // _BLOCK
    first = task % blocks * _BLOCK
    chain = _Chain(p, x, "y")
    body = [chain.start(), Loop(j, ZERO, expr.size(x.shape[1]), chain.step(task // blocks, j, q))]
    over = Loop(q, first, scalar.minimum(first + _BLOCK, w), body, "vector")
    return Part("recurrence", task, x.shape[0] * ((x.shape[2] + (_BLOCK - 1)) // _BLOCK), [over],
                flops=x.size * 2)


def _along_rows(p: dict, x: TensorType) -> Part:
    o, task, j = expr.size(x.shape[0]), index_var("task"), index_var("j")
    count = _ROWS if not isinstance(x.shape[0], int) else min(_ROWS, max(1, x.shape[0]))
    chains = [_Chain(p, x, f"y{k}") for k in range(count)]
    steps = [s for k, chain in enumerate(chains)
             for s in chain.step(scalar.minimum(task * count + k, o - 1), j, ZERO)]
    return Part("recurrence", task, (x.shape[0] + (count - 1)) // count,
                [*(c.start() for c in chains), Loop(j, ZERO, expr.size(x.shape[1]), steps)],
                flops=x.size * 2)


def shifted(x: Node, later: bool) -> Node:
    """x with each element one position later (earlier) along axis 1, and 0 where none comes."""
    o, n, p = x.shape
    one, none = (0, 1, 0), (0, 0, 0)
    wide = pad(x, one, none, none) if later else pad(x, none, one, none)
    start = 0 if later else 1
    return slice_(wide, (0, start, 0), (o, n + start, p), (1, 1, 1))


def _vjp(n: Node, g: Node):
    """The cotangent of the terms runs the other way: h[k] = g[k] + a[k+1] h[k+1]."""
    a, back = n.inputs[0], n.params["reverse"]
    h = recurrence(shifted(a, back), g, not back)
    return h * shifted(n, not back), h


def _jvp(n: Node, tangents):
    a, (da, db) = n.inputs[0], tangents
    back = n.params["reverse"]
    terms = [t for t in (None if da is None else da * shifted(n, not back), db) if t is not None]
    return None if not terms else recurrence(a, sum(terms[1:], terms[0]), back)


def _batch(n: Node, inputs, batched):
    a, b = stacked(inputs, batched)
    flat = [reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])) for x in (a, b)]
    return reshape(make(n.op, tuple(flat), n.params), b.shape)


def _samples():
    rng = np.random.default_rng(16)
    shapes = (3, 9, 18), (5, 37, 1), (1, 1, 1), (2, 0, 3), (1, 70, 1)
    found = [({"reverse": r}, [rng.standard_normal(s).astype(np.float32) for _ in range(2)])
             for s in shapes for r in (False, True)]
    holes = rng.integers(-1, 2, (2, 7, 3)).astype(np.float32)
    both = [(rng.standard_normal((2, 5, 3)) + 1j * rng.standard_normal((2, 5, 3))).astype(
        np.complex64) for _ in range(2)]
    hard = np.array([np.nan, 2, np.inf, 0, 1, -np.inf, 1e-40], np.float32).reshape(1, 7, 1)
    return [*found, ({"reverse": False}, [holes, holes[::-1].copy()]), ({"reverse": True}, both),
            ({"reverse": False}, [hard, np.ones_like(hard)])]


RECURRENCE = Op("recurrence", doc="y[o, k, p] = a[o, k, p] y[o, k - 1, p] + b[o, k, p], the first "
                "is b[o, 0, p]; reverse: from the end.", arity=2, params={"reverse": is_bool},
                infer=_infer, reference=_reference, loops=_loops, vjp=_vjp, jvp=_jvp, batch=_batch,
                samples=_samples)


def recurrence(a: Node, b: Node, reverse: bool = False) -> Node:
    """The recurrence along the middle axis of [o, n, p]."""
    return make(RECURRENCE, (a, b), {"reverse": reverse})


def along(a: Node, b: Node, axis: int, reverse: bool = False) -> Node:
    """The recurrence along an axis of arrays of one shape."""
    shape = (product(b.shape[:axis]), b.shape[axis], product(b.shape[axis + 1:]))
    return reshape(recurrence(reshape(a, shape), reshape(b, shape), reverse), b.shape)
