"""Sorting along an axis: the sorted values, and the positions that sort.

The operand is [o, n, p] and the axis is the middle one; `sort` and `argsort` shape any array so.
The order is total and stable: elements by their `order.order_key`, equal ones by position. NaN
comes last, with `descending` too; -0 and +0 are equal.
"""

from __future__ import annotations

import numpy as np

from ..base import dtypes
from ..base.dtypes import DType
from ..base.errors import DTypeError, ShapeError
from ..base.extents import lower, product, upper
from ..ir.node import Node, make
from ..ir.op import Op, in_range, is_bool, is_dtype, is_extent
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.expr import Expr, lit
from ..lang.loops import LANES, Loop, Set, Store, When, index_var, lane_tree
from ..lang.routine import ZERO, Part, Routine, serial, vector
from .index import scatter_along, take_along
from .move import reshape, zeros_like
from .order import key_dtype, key_of, require_order
from .radix import Row, positions, sorted_rows, values, zeros_in_order

_FEW = 64         # so many first positions are found by insertion
_PASS = 256       # elements that are passed over at once there


# ---- the first few ------------------------------------------------------------------------------

def _by_insertion(row: Row, descending: bool, count: int, out: DType) -> Part:
    """The first `count` positions only: a sorted list of them, into which the rare better element
    goes. Blocks of the row whose least key is no better are passed over."""
    wide = key_dtype(row.type.dtype)
    key, worst = expr.var("key", wide), expr.var("worst", wide)
    least = expr.var("least", wide, LANES)
    hole, block = index_var("hole"), index_var("block")
    full = lit((1 << wide.bits) - 1, wide)
    last = count - 1

    def insert(i: Expr, end: Expr | int) -> list:
        """Those behind it move by one, from the place `end` on, and it goes before them."""
        def shift(s: Expr) -> list:
            at = end - 1 - s
            before = expr.load("keys", at, wide)
            return [When(key < before, [
                Store("keys", at + 1, before), Set(hole, at),
                Store("places", at + 1, expr.load("places", at, dtypes.index))])]

        return [Set(hole, end + ZERO), serial("s", end, shift), Store("keys", hole, key),
                Store("places", hole, i), Set(worst, expr.load("keys", last + ZERO, wide))]

    def take(i: Expr) -> list:
        return [Set(key, key_of(row.read(i), descending))]

    first = serial("a", scalar.minimum(row.n, expr.size(count)), lambda i: [
        *take(i), *insert(i, i)])
    low = block * _PASS + count
    high = scalar.minimum(low + _PASS, row.n)
    rest = Loop(block, ZERO, (row.n - count + (_PASS - 1)) // _PASS, [
        Set(least, full),
        vector("v", high, lambda i: [Set(least, scalar.minimum(least, key_of(
            row.read(i), descending)))], low),
        When(lane_tree("min", least) < worst, [serial("b", high, lambda i: [
            *take(i), When(key < worst, insert(i, last))], low)])])
    body = [Set(worst, full), first, rest, vector("j", row.count, lambda j: [row.store(
        j, scalar.cast(expr.load("places", j, dtypes.index), out))])]
    return row.part(body, [("keys", wide, expr.size(count)),
                           ("places", dtypes.index, expr.size(count))])


# ---- the ops ------------------------------------------------------------------------------------

def _check(name: str, x: TensorType) -> None:
    if x.rank != 3:
        raise ShapeError(f"{name}: the operand is [o, n, p], got {x.shape}")
    require_order(name, x.dtype)
    if upper(x.shape[1]) >= 1 << 32:
        raise ShapeError(f"{name}: sorts at most 2**32 - 1 elements, got {x.shape[1]}")


def _sort_infer(p: dict, x: TensorType) -> TensorType:
    _check("sort", x)
    return x


def _argsort_infer(p: dict, x: TensorType) -> TensorType:
    _check("argsort", x)
    if upper(p["count"]) > upper(x.shape[1]) or lower(p["count"]) > lower(x.shape[1]):
        raise ShapeError(f"argsort: an axis of {x.shape[1]} has no first {p['count']}")
    if not in_range(max(upper(x.shape[1]) - 1, 0), p["dtype"]):
        raise DTypeError(f"argsort: {p['dtype']} has not all positions of an axis of {x.shape[1]}; "
                         f"choose a wider integer dtype")
    return x.with_shape((x.shape[0], p["count"], x.shape[2])).with_dtype(p["dtype"])


def order_of(x: np.ndarray, descending: bool) -> np.ndarray:
    """Stable positions that sort axis 1, NaN last."""
    wide = x.astype(np.float32) if x.dtype.kind == "V" else x
    nan = np.isnan(wide) if wide.dtype.kind == "f" else np.zeros(x.shape, bool)
    clean = np.where(nan, np.zeros((), wide.dtype), wide)
    by_value = np.argsort(np.flip(clean, 1) if descending else clean, 1, kind="stable")
    if descending:  # the flipped order of the flipped row is stable too
        by_value = np.flip(x.shape[1] - 1 - by_value, 1)
    last = np.argsort(np.take_along_axis(nan, by_value, 1), 1, kind="stable")
    return np.take_along_axis(by_value, last, 1)


def _sort_reference(p: dict, x: np.ndarray) -> np.ndarray:
    return np.take_along_axis(x, order_of(x, p["descending"]), 1)


def _sort_loops(room: int, p: dict, x: TensorType) -> Routine:
    found = sorted_rows(x, x.shape[1], values(x.dtype, p["descending"]))
    if x.dtype.is_float:
        found.parts.append(zeros_in_order(x, p["descending"]))
    return found


def _argsort_loops(room: int, p: dict, x: TensorType) -> Routine:
    row = Row(x, p["count"])
    if isinstance(p["count"], int) and isinstance(x.shape[1], int) and \
            p["count"] * 8 <= x.shape[1] and 0 < p["count"] <= _FEW:
        return Routine([_by_insertion(row, p["descending"], p["count"], p["dtype"])])
    return sorted_rows(x, p["count"], positions(x.dtype, p["descending"], p["dtype"]))


def _permutation(n: Node) -> Node:
    """The positions that sort the operand of a sort."""
    x = n.inputs[0]
    return make(ARGSORT, (x,), {"descending": n.params["descending"], "count": x.shape[1],
                                "dtype": position_dtype(x.shape[1])})


def position_dtype(extent) -> DType:
    """The dtype of positions along an axis: int32 where that is wide enough."""
    return dtypes.int32 if upper(extent) <= 1 << 31 else dtypes.int64


def _sort_vjp(n: Node, g: Node):
    x = n.inputs[0]
    if not x.dtype.is_float:
        return (None,)
    return (scatter_along(zeros_like(x), _permutation(n), g, 1, "set"),)


def _sort_jvp(n: Node, t):
    if t[0] is None or not n.dtype.is_float:
        return None
    return take_along(t[0], _permutation(n), 1)


def _batch(n: Node, inputs, batched):
    x, = inputs
    y = make(n.op, (reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])),), n.params)
    return reshape(y, (*x.shape[:2], *y.shape[1:]))


def _arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    hard = np.array([1, -0.0, 0.0, np.nan, 2, np.inf, -np.inf, 1e-40, -1e-40, 1, np.nan, -3])
    found = [rng.standard_normal(s).astype(np.float32) for s in
             ((3, 17, 5), (2, 200, 1), (2, 130, 3), (4, 1, 2), (2, 0, 3))]
    found += [hard.astype(np.float32).reshape(1, 12, 1),
              rng.permutation(np.append(hard, np.arange(9.0, 237.0))).reshape(1, 240, 1)]
    for kind in ("int8", "uint8", "int32", "uint16", "int64", "uint64"):
        info = np.iinfo(kind)
        found.append(rng.integers(info.min, info.max, (2, 110, 1), dtype=kind, endpoint=True))
    return [*found, rng.random((3, 9, 2)) < 0.5]


def _sort_samples():
    return [({"descending": d}, [x]) for x in _arrays() for d in (False, True)]


def _argsort_samples():
    found = [({"descending": d, "count": x.shape[1], "dtype": dtypes.int32}, [x])
             for x in _arrays() for d in (False, True)]
    return found + [({"descending": d, "count": k, "dtype": dtypes.int64}, [x])
                    for x in _arrays() if x.shape[1] > 100 for d in (False, True) for k in (3, 90)]


def _is_integer(v, p, types) -> bool:
    """an integer dtype"""
    return is_dtype(v) and v.is_int


SORT = Op("sort", doc="y[o, :, p] = x[o, :, p] in ascending (descending) order, NaN last.", arity=1,
          params={"descending": is_bool}, infer=_sort_infer, reference=_sort_reference,
          loops=_sort_loops, vjp=_sort_vjp, jvp=_sort_jvp, batch=_batch, samples=_sort_samples)

ARGSORT = Op("argsort", doc="The first `count` positions of x[o, :, p] in its stable order, NaN "
             "last.", arity=1,
             params={"descending": is_bool, "count": is_extent, "dtype": _is_integer},
             infer=_argsort_infer,
             reference=lambda p, x: order_of(x, p["descending"])[:, :p["count"]].astype(
                 p["dtype"].numpy),
             loops=_argsort_loops, vjp=lambda n, g: (None,), jvp=lambda n, t: None, batch=_batch,
             samples=_argsort_samples)


def sort(x: Node, axis: int, descending: bool = False) -> Node:
    """x's elements in order along an axis."""
    return reshape(make(SORT, (_rows(x, axis),), {"descending": descending}), x.shape)


def argsort(x: Node, axis: int, descending: bool = False, count=None) -> Node:
    """The positions that sort x along an axis, or the first `count` of them."""
    count = x.shape[axis] if count is None else count
    y = make(ARGSORT, (_rows(x, axis),), {"descending": descending, "count": count,
                                          "dtype": position_dtype(x.shape[axis])})
    return reshape(y, (*x.shape[:axis], count, *x.shape[axis + 1:]))


def _rows(x: Node, axis: int) -> Node:
    return reshape(x, (product(x.shape[:axis]), x.shape[axis], product(x.shape[axis + 1:])))
