"""Binary search: where values go in sorted rows."""

from __future__ import annotations

import numpy as np

from ..base import dtypes
from ..base.errors import DTypeError, ShapeError
from ..base.extents import product, upper
from ..ir.node import Node, make
from ..ir.op import Op, is_bool
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.expr import lit
from ..lang.loops import Loop, Set, Store, index_var
from ..lang.routine import RESULT, ZERO, Part, Routine
from .move import reshape, stacked
from .order import key_dtype, key_of, require_order
from .sort import order_of, position_dtype

_BLOCK = 1024  # values that one task looks up


def _infer(p: dict, x: TensorType, v: TensorType) -> TensorType:
    if x.rank != 2 or v.rank != 2 or x.shape[0] != v.shape[0]:
        raise ShapeError(f"searchsorted: rows [b, n] and values [b, m] disagree: {x.shape} and "
                         f"{v.shape}")
    if x.dtype is not v.dtype:
        raise DTypeError(f"searchsorted: the rows are {x.dtype} and the values {v.dtype}; cast one "
                         f"with astype")
    require_order("searchsorted", x.dtype)
    return v.with_dtype(position_dtype(x.shape[1] + 1))


def _reference(p: dict, x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """By sorting both together: on the left values come before equal elements, else after."""
    parts = [v, x] if not p["right"] else [x, v]
    both = np.concatenate(parts, 1)
    order = order_of(both[:, :, None], False)[:, :, 0]
    first = 0 if not p["right"] else x.shape[1]
    is_value = (order >= first) & (order < first + v.shape[1])
    before = np.cumsum(~is_value, 1)
    out = np.zeros(both.shape, np.int64)
    np.put_along_axis(out, order, before, 1)
    return out[:, first:first + v.shape[1]].astype(position_dtype(x.shape[1] + 1).numpy)


def _loops(room: int, p: dict, x: TensorType, v: TensorType) -> Routine:
    """A count of elements that come before the value grows by powers of two."""
    n, m = expr.size(x.shape[1]), expr.size(v.shape[1])
    levels = upper(x.shape[1]).bit_length()
    task, k, j = index_var("task"), index_var("k"), index_var("j")
    blocks = (m + (_BLOCK - 1)) // _BLOCK
    row, first = task // blocks, task % blocks * _BLOCK
    found, key = index_var("found"), expr.var("key", key_dtype(x.dtype))
    more = found + scalar.shl(lit(1, dtypes.index), levels - 1 - k)
    other = key_of(expr.read(0, (row, scalar.minimum(more, n) - 1), x.dtype))
    before = other <= key if p["right"] else other < key
    steps = Loop(k, ZERO, scalar.minimum(n, 1) * levels, [
        Set(found, scalar.where((more <= n) & before, more, found))])
    out = position_dtype(x.shape[1] + 1)
    body = Loop(j, first, scalar.minimum(first + _BLOCK, m), [
        Set(found, ZERO), Set(key, key_of(expr.read(1, (row, j), v.dtype))), steps,
        Store(RESULT, row * m + j, scalar.cast(found, out))], "vector")
    tasks = v.shape[0] * ((v.shape[1] + (_BLOCK - 1)) // _BLOCK)
    return Routine([Part("search", task, tasks, [body])])


def _batch(n: Node, inputs, batched):
    x, v = stacked(inputs, batched)
    flat = [reshape(a, (a.shape[0] * a.shape[1], a.shape[2])) for a in (x, v)]
    return reshape(make(n.op, tuple(flat), n.params), v.shape)


def _samples():
    rng = np.random.default_rng(9)
    x = np.sort(rng.integers(-5, 6, (3, 37)), 1).astype(np.float32)
    v = np.array([-9, -5, 0.5, 0, -0.0, 5, 6, np.nan, np.inf, -np.inf], np.float32)
    v = np.stack([v, v[::-1], rng.permutation(v)])
    odd = [(np.zeros((2, 0), np.float32), v[:2]), (x[:, :1].copy(), v), (x, v[:, :0].copy()),
           (np.sort(rng.integers(0, 99, (1, 64)), 1), rng.integers(-9, 120, (1, 40))),
           (np.array([[0.0, 1.0, np.nan, np.nan]]), np.array([[np.nan, 2.0, 1.0]]))]
    return [({"right": r}, [a, b]) for r in (False, True) for a, b in ((x, v), *odd)]


SEARCHSORTED = Op(
    "searchsorted", doc="How many elements of the sorted row x[b, :] come before v[b, j] (with "
    "`right` also those equal to it), in the order of sort.", arity=2, params={"right": is_bool},
    infer=_infer, reference=_reference, loops=_loops, vjp=lambda n, g: (None, None),
    jvp=lambda n, t: None, batch=_batch, samples=_samples)


def searchsorted(x: Node, v: Node, right: bool = False) -> Node:
    """Places of the values v [*b, ...] in the sorted rows of x [*b, n]."""
    lead = x.type.rank - 1
    rows, count = product(x.shape[:-1]), product(v.shape[lead:])
    y = make(SEARCHSORTED, (reshape(x, (rows, x.shape[-1])), reshape(v, (rows, count))),
             {"right": right})
    return reshape(y, v.shape)
