"""Indexing by values: gathers and scatters.

An index outside of its axis is clamped to the nearest end, in reads and in writes; negative numbers
do not wrap here (the array functions resolve them first). Updates of one place are made one after
another, in the row-major order of their indices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base import dtypes
from ..base.errors import DTypeError, ShapeError
from ..base.extents import Extent, Shape, product
from ..ir.node import Node, literal, make
from ..ir.op import (
    Op,
    is_axis,
    is_int,
    one_of,
    op_named,
)
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.definition import Definition, axes_for
from ..lang.loops import Store, index_var
from ..lang.routine import RESULT, ZERO, Part, Routine, serial, vector
from .iota import iota
from .move import reshape, slice_, stacked, transpose, zeros_like
from .pointwise import apply, broadcast_to, cast


def require_index(name: str, t: TensorType) -> None:
    if not t.dtype.is_int:
        raise DTypeError(f"{name}: indices must be integers, got {t.dtype}; cast with astype")


def _clamped(e: expr.Expr, extent) -> expr.Expr:
    at = scalar.cast(e, dtypes.index)
    return scalar.maximum(scalar.minimum(at, expr.size(extent) - 1), 0)


def _clamp_array(i: np.ndarray, n: int) -> np.ndarray:
    return np.clip(i.astype(np.int64), 0, max(n - 1, 0))


# ---- take: slices by index ----------------------------------------------------------------------

def _is_batch(v, p, types) -> bool:
    """the number of leading axes that operand and indices share, at most `axis`"""
    return is_int(v) and 0 <= v <= p["axis"] and v <= types[1].rank


def _take_infer(p: dict, x: TensorType, i: TensorType) -> TensorType:
    a, b = p["axis"], p["batch"]
    require_index("take", i)
    if i.shape[:b] != x.shape[:b]:
        raise ShapeError(f"take: the first {b} axes of {x.shape} and of the indices {i.shape} must "
                         f"agree")
    if x.shape[a] == 0 and i.size != 0:
        raise ShapeError(f"take: axis {a} of shape {x.shape} is empty; there is nothing to take")
    return x.with_shape((*x.shape[:a], *i.shape[b:], *x.shape[a + 1:]))


def _take_lower(p: dict, x: TensorType, i: TensorType) -> Definition:
    a, b, axes = p["axis"], p["batch"], axes_for(_take_infer(p, x, i).shape)
    end = a + i.rank - b
    at = _clamped(expr.read(1, (*axes[:b], *axes[a:end]), i.dtype), x.shape[a])
    return Definition((x, i), axes, expr.read(0, (*axes[:a], at, *axes[end:]), x.dtype))


def _take_reference(p: dict, x: np.ndarray, i: np.ndarray) -> np.ndarray:
    a, b = p["axis"], p["batch"]
    out = np.empty((*x.shape[:a], *i.shape[b:], *x.shape[a + 1:]), x.dtype)
    for at in np.ndindex(*x.shape[:b]):
        out[at] = np.take(x[at], _clamp_array(i[at], x.shape[a]), a - b)
    return out


def _take_vjp(n: Node, g: Node):
    x, i = n.inputs
    if not n.dtype.is_inexact:
        return (None, None)
    return scatter(zeros_like(x), i, g, n.params["axis"], "sum", n.params["batch"]), None


def _take_jvp(n: Node, t):
    return None if t[0] is None else make(TAKE, (t[0], n.inputs[1]), n.params)


def _take_batch(n: Node, inputs, batched):
    (x, i), a, b = inputs, n.params["axis"], n.params["batch"]
    if not batched[1] and b == 0:
        return take(x, i, a + 1)
    if not batched[0] and b == 0:  # the batch is one more axis of the indices
        out = take(x, i, a)
        return transpose(out, (a, *range(a), *range(a + 1, out.type.rank)))
    x, i = stacked((x, i), batched)
    return take(x, i, a + 1, b + 1)


def take(x: Node, i: Node, axis: int, batch: int = 0) -> Node:
    """x's slices along the axis at the positions i, i's axes in the axis' place. The first `batch`
    axes of i are x's own: each member of the batch has positions of its own."""
    return make(TAKE, (x, i), {"axis": axis, "batch": batch})


def take_along(x: Node, i: Node, axis: int) -> Node:
    """y[o, j, p] = x[o, i[o, j, p], p]: positions for each element, clamped."""
    to, back = last_axis(x.type.rank, axis)
    rank = x.type.rank
    return transpose(take(transpose(x, to), transpose(i, to), rank - 1, rank - 1), back)


def scatter_along(x: Node, i: Node, u: Node, axis: int, monoid: str) -> Node:
    """x with u[o, j, p] joined to the place [o, i[o, j, p], p], as `scatter` does."""
    to, back = last_axis(x.type.rank, axis)
    rank = x.type.rank
    x, i, u = (transpose(n, to) for n in (x, i, u))
    return transpose(scatter(x, i, u, rank - 1, monoid, rank - 1), back)


def last_axis(rank: int, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The permutation that moves an axis to the end, and the one that undoes it."""
    return ((*(d for d in range(rank) if d != axis), axis),
            (*range(axis), rank - 1, *range(axis, rank - 1)))


def gather_nd(x: Node, i: Node, batch: int = 0) -> Node:
    """y[b, j..., p] = x[b, i[b, j..., 0], i[b, j..., 1], ..., p], each position clamped."""
    flat, merged = _flat_places(x, i, batch)
    return take(reshape(x, merged), flat, batch, batch)


def scatter_nd(x: Node, i: Node, u: Node, monoid: str, batch: int = 0) -> Node:
    """x with u[b, j..., p] joined to the place [b, i[b, j..., :], p], as `scatter` does."""
    flat, merged = _flat_places(x, i, batch)
    return reshape(scatter(reshape(x, merged), flat, u, batch, monoid, batch), x.shape)


def _flat_places(x: Node, i: Node, batch: int) -> tuple[Node, Shape]:
    """Row-major numbers of the positions in i's last axis, each clamped; x's shape with the axes
    that they run over as one."""
    width = i.shape[-1]
    if not isinstance(width, int) or width > x.type.rank - batch:
        raise ShapeError(f"gather_nd: {width} positions for the {x.type.rank - batch} axes of "
                         f"{x.shape[batch:]}")
    flat = literal(0, dtypes.int64, i.shape[:-1])
    axes = x.shape[batch:batch + width]
    for d, extent in enumerate(axes):
        at = reshape(slice_(i, (*(0,) * (i.type.rank - 1), d), (*i.shape[:-1], d + 1),
                            (1,) * i.type.rank), i.shape[:-1])
        at = apply("min", cast(at, dtypes.int64), long(extent - 1))
        flat = flat * long(extent) + apply("max", at, long(0))
    return flat, (*x.shape[:batch], product(axes), *x.shape[batch + width:])


def long(extent: Extent) -> Node:
    """An extent as an int64 number."""
    if isinstance(extent, int):
        return literal(extent, dtypes.int64)
    return make(op_named("size"), (), {"size": extent, "dtype": dtypes.int64})


def _take_samples():
    x = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    rng = np.random.default_rng(4)
    whole = {"batch": 0}
    return [({"axis": 0, **whole}, [x, np.array([2, 0, 0, 1], np.int32)]),
            ({"axis": 1, **whole}, [x, np.array([[3, -1], [9, 2]], np.int64)]),
            ({"axis": 2, **whole}, [x, np.array(4, np.int32)]),
            ({"axis": 0, **whole}, [np.ones((7, 33), np.float32), np.array([6, 6, 1], np.int32)]),
            ({"axis": 2, "batch": 2}, [x, rng.integers(-2, 8, (3, 4, 18)).astype(np.int32)]),
            ({"axis": 2, "batch": 1}, [x, rng.integers(0, 5, (3, 2)).astype(np.int64)]),
            ({"axis": 1, "batch": 1}, [x, np.array([3, 0, 1], np.uint8)])]


TAKE = Op("take", doc="y[b, o, j..., p] = x[b, o, i[b, j...], p]; indices clamped; b are the first "
          "`batch` axes.", infer=_take_infer, arity=2,
          params={"axis": is_axis, "batch": _is_batch}, reference=_take_reference,
          lower=_take_lower, vjp=_take_vjp, jvp=_take_jvp, batch=_take_batch,
          samples=_take_samples)


# ---- scatter: updates at positions --------------------------------------------------------------

_JOIN: dict[str, Callable] = {"set": lambda old, new: new, "sum": scalar.add, "prod": scalar.mul,
                              "max": scalar.maximum, "min": scalar.minimum}
_JOIN_ARRAYS: dict[str, Callable] = {"sum": np.add.at, "prod": np.multiply.at,
                                     "max": np.maximum.at, "min": np.minimum.at}
_BLOCK = 256  # elements of a slice that one task owns


def _scatter_infer(p: dict, x: TensorType, i: TensorType, u: TensorType) -> TensorType:
    require_index("scatter", i)
    if x.rank != 4 or i.rank != 2 or u.rank != 4 or i.shape[0] != x.shape[0] or \
            u.shape != (*x.shape[:2], i.shape[1], x.shape[3]):
        raise ShapeError(f"scatter: operand [b, o, s, p], indices [b, j] and updates [b, o, j, p] "
                         f"disagree: {x.shape}, {i.shape} and {u.shape}")
    if u.dtype is not x.dtype:
        raise DTypeError(f"scatter: the updates are {u.dtype} and the operand is {x.dtype}; cast "
                         f"one with astype")
    if x.dtype is dtypes.bool_ and p["monoid"] in ("sum", "prod"):
        raise DTypeError("scatter: adds and multiplies numbers, got bool; cast with astype")
    orders = p["monoid"] in ("max", "min")
    if p["monoid"] != "set" and (x.dtype.kind == "float8" or (orders and x.dtype.is_complex)):
        raise DTypeError(f"scatter: no {p['monoid']} of {x.dtype}; cast with astype")
    if x.shape[2] == 0 and i.size != 0:
        raise ShapeError(f"scatter: an axis of extent 0 has no place for indices {i.shape}")
    return x


def _scatter_reference(p: dict, x: np.ndarray, i: np.ndarray, u: np.ndarray) -> np.ndarray:
    join = _JOIN_ARRAYS.get(p["monoid"])
    wide = dtypes.widest(dtypes.as_dtype(x.dtype)).numpy
    out = x.astype(wide if p["monoid"] in ("sum", "prod") else x.dtype)
    with np.errstate(all="ignore"):
        for b, places in enumerate(_clamp_array(i, x.shape[2])):
            rows, new = np.swapaxes(out[b], 0, 1), np.swapaxes(u[b], 0, 1).astype(out.dtype)
            if join is not None:
                join(rows, places, new)
            else:
                for k, place in enumerate(places):
                    rows[place] = new[k]
        return out.astype(x.dtype)


def _scatter_loops(room: int, p: dict, x: TensorType, i: TensorType, u: TensorType) -> Routine:
    """A task owns some p of one [b, o]: it copies x there, then joins the updates in order."""
    _, o, s, w = map(expr.size, x.shape)
    narrow = x.shape[3] == 1
    task = index_var("task")
    blocks = (w + (_BLOCK - 1)) // _BLOCK
    first = task % blocks * _BLOCK
    last = scalar.minimum(first + _BLOCK, w)
    row = task // blocks
    b, inner = row // o, row % o

    def place(at: expr.Expr, q: expr.Expr) -> expr.Expr:
        return (row * s + at) * w + q

    def copy(at: expr.Expr, q: expr.Expr) -> Store:
        return Store(RESULT, place(at, q), expr.read(0, (b, inner, at, q), x.dtype))

    def join(j: expr.Expr, q: expr.Expr) -> Store:
        at = place(_clamped(expr.read(1, (b, j), i.dtype), x.shape[2]), q)
        new = expr.read(2, (b, inner, j, q), x.dtype)
        return Store(RESULT, at, _JOIN[p["monoid"]](expr.load(RESULT, at, x.dtype), new))

    def over(each: Callable, name: str, extent: expr.Expr):
        return serial(name, extent, lambda k: [vector(f"{name}p", last, lambda q: [each(k, q)],
                                                      first)])

    if narrow:
        body = [vector("s", s, lambda at: [copy(at, ZERO)]),
                serial("j", expr.size(i.shape[1]), lambda j: [join(j, ZERO)])]
    else:
        body = [over(copy, "s", s), over(join, "j", expr.size(i.shape[1]))]
    tasks = x.shape[0] * x.shape[1] * ((x.shape[3] + (_BLOCK - 1)) // _BLOCK)
    return Routine([Part("scatter", task, tasks, body, flops=u.size)])


def _winners(n: Node) -> tuple[Node, Node]:
    """For a scatter that sets: where x stays, and which updates are not written over."""
    x, i, u = n.inputs
    b, _, s, _ = x.shape
    count = (b, 1, i.shape[1], 1)
    order = iota(count, 2, dtypes.int32)
    none = literal(-1, dtypes.int32, (b, 1, s, 1))
    last = make(SCATTER, (none, i, order), {"monoid": "max"})
    kept = broadcast_to(last < 0, x.shape)
    return kept, broadcast_to(apply("eq", take(last, i, 2, 1), order), u.shape)


def _shares(n: Node) -> tuple[Node, Node]:
    """The parts that x and u have in max and min: the chosen elements, ties sharing equally."""
    x, i, u = n.inputs
    one, zero = literal(1, n.dtype), literal(0, n.dtype)
    stays = apply("where", apply("eq", x, n), one, zero)
    enters = apply("where", apply("eq", u, take(n, i, 2, 1)), one, zero)
    count = make(SCATTER, (stays, i, enters), {"monoid": "sum"})
    part = one / apply("max", count, one)
    return stays * part, enters * take(part, i, 2, 1)


def _others(n: Node) -> tuple[Node, Node]:
    """What x and u are multiplied with in a product: right where some of them are 0."""
    x, i, u = n.inputs
    one, zero = literal(1, n.dtype), literal(0, n.dtype)
    holes = [apply("where", apply("eq", v, zero), one, zero) for v in (x, u)]
    filled = [apply("where", apply("eq", v, zero), one, v) for v in (x, u)]
    rest = make(SCATTER, (filled[0], i, filled[1]), {"monoid": "prod"})
    count = make(SCATTER, (holes[0], i, holes[1]), {"monoid": "sum"})

    def others(hole: Node, value: Node, product: Node, zeros: Node) -> Node:
        return apply("where", apply("eq", zeros - hole, zero), product / value, zero)

    return (others(holes[0], filled[0], rest, count),
            others(holes[1], filled[1], take(rest, i, 2, 1), take(count, i, 2, 1)))


def _weights(n: Node) -> tuple[Node, Node]:
    """The derivatives of the result by x and by u, element by element."""
    return _others(n) if n.params["monoid"] == "prod" else _shares(n)


def _scatter_vjp(n: Node, g: Node):
    i, monoid = n.inputs[1], n.params["monoid"]
    if not n.dtype.is_inexact:
        return None, None, None
    taken = take(g, i, 2, 1)
    if monoid == "sum":
        return g, None, taken
    if monoid == "set":
        kept, written = _winners(n)
        zero = literal(0, n.dtype)
        return apply("where", kept, g, zero), None, apply("where", written, taken, zero)
    for_x, for_u = _weights(n)
    return for_x * g, None, for_u * taken


def _scatter_jvp(n: Node, t):
    x, i, u = n.inputs
    if not n.dtype.is_inexact or (t[0] is None and t[2] is None):
        return None
    of_x = zeros_like(x) if t[0] is None else t[0]
    of_u = zeros_like(u) if t[2] is None else t[2]
    if n.params["monoid"] in ("sum", "set"):
        return make(SCATTER, (of_x, i, of_u), n.params)
    for_x, for_u = _weights(n)
    return make(SCATTER, (for_x * of_x, i, for_u * of_u), {"monoid": "sum"})


def _scatter_batch(n: Node, inputs, batched):
    (x, i, u), (xs, _, us) = inputs, batched
    if not batched[1]:  # the batch joins the axis o
        x, u = stacked((x, u), (xs, us))
        both = [transpose(v, (1, 0, 2, 3, 4)) for v in (x, u)]
        shape = both[0].shape
        merged = [reshape(v, (v.shape[0], v.shape[1] * v.shape[2], *v.shape[3:])) for v in both]
        y = make(n.op, (merged[0], i, merged[1]), n.params)
        return transpose(reshape(y, shape), (1, 0, 2, 3, 4))
    full = stacked(inputs, batched)
    x, i, u = (reshape(v, (v.shape[0] * v.shape[1], *v.shape[2:])) for v in full)
    return reshape(make(n.op, (x, i, u), n.params), full[0].shape)


def scatter(x: Node, i: Node, u: Node, axis: int, monoid: str, batch: int = 0) -> Node:
    """x, but y[b, o, i[b, j...], p] = monoid(y[...], u[b, o, j..., p]) for one j after another.

    monoid: set, sum, prod, max or min; j ascends in row-major order, so that the last update of a
    place is what `set` leaves there. Indices are clamped. The first `batch` axes of i are x's own.
    """
    b, o, p = product(x.shape[:batch]), product(x.shape[batch:axis]), product(x.shape[axis + 1:])
    count = product(i.shape[batch:])
    if u.shape != (*x.shape[:axis], *i.shape[batch:], *x.shape[axis + 1:]):
        raise ShapeError(f"scatter: the updates {u.shape} must have x's axes {x.shape} with those "
                         f"of the indices {i.shape[batch:]} in place of axis {axis}")
    y = make(SCATTER, (reshape(x, (b, o, x.shape[axis], p)), reshape(i, (b, count)),
                       reshape(u, (b, o, count, p))), {"monoid": monoid})
    return reshape(y, x.shape)


def scatter_add(i: Node, u: Node, axis: int, size) -> Node:
    """Zeros of extent `size` along the axis, with u's slices added at the positions i, in order."""
    zeros = literal(0, u.dtype, (*u.shape[:axis], size, *u.shape[axis + i.type.rank:]))
    return scatter(zeros, i, u, axis, "sum")


def _scatter_samples():
    rng = np.random.default_rng(1)
    u = rng.standard_normal((1, 1, 4, 5)).astype(np.float32)
    x = rng.standard_normal((1, 1, 6, 5)).astype(np.float32)
    found = [({"monoid": m}, [x, np.array([[5, 0, 0, 2]], np.int32), u]) for m in _JOIN]
    wide = [rng.standard_normal((2, 3, s, 17)).astype(np.float32) for s in (3, 5)]
    found += [({"monoid": m}, [wide[0], np.array([[2, 2, 0, -4, 9], [1, 1, 1, 1, 1]]), wide[1]])
              for m in _JOIN]
    holes = np.array([0, 2, 0, 3, 0, 0], np.float32).reshape(1, 1, 6, 1)
    found += [({"monoid": m}, [np.ones((1, 1, 4, 1), np.float32),
                               np.array([[0, 0, 1, 1, 2, 2]], np.int32), holes])
              for m in ("prod", "max")]
    none = [np.zeros((1, 2, 3, 1), np.int64), np.zeros((1, 0), np.uint8),
            np.zeros((1, 2, 0, 1), np.int64)]
    return [*found, ({"monoid": "sum"}, none)]


SCATTER = Op("scatter", doc="y = x, then y[b, o, i[b, j], p] = monoid(y[...], u[b, o, j, p]) in "
             "ascending j; indices clamped. monoid: set, sum, prod, max, min.",
             arity=3, params={"monoid": one_of(*_JOIN)}, infer=_scatter_infer,
             reference=_scatter_reference, loops=_scatter_loops, vjp=_scatter_vjp,
             jvp=_scatter_jvp, batch=_scatter_batch, samples=_scatter_samples)
