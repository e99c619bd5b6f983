"""Indexing by values: gathers, scatters, slices at run-time positions, and counting.

An index outside of its axis is clamped to the nearest end; negative numbers do not wrap here (the
array functions resolve them first).
"""

from __future__ import annotations

import numpy as np

from ..base import dtypes
from ..base.errors import DTypeError, ShapeError
from ..base.extents import upper
from ..ir.node import Node, literal, make
from ..ir.op import (
    Op,
    at_least,
    each,
    in_range,
    is_axis,
    is_dtype,
    is_extent,
    is_int,
    is_shape,
)
from ..ir.types import TensorType, tensor
from ..lang import expr, scalar
from ..lang.definition import Definition, axes_for
from .move import broadcast, reshape, transpose, zeros_like
from .pointwise import apply, cast


def _require_index(name: str, t: TensorType) -> None:
    if not t.dtype.is_int:
        raise DTypeError(f"{name}: indices must be integers, got {t.dtype}; cast with astype")


def _clamped(e: expr.Expr, extent) -> expr.Expr:
    at = scalar.cast(e, dtypes.index)
    return scalar.maximum(scalar.minimum(at, expr.size(extent) - 1), 0)


def _clamp_array(i: np.ndarray, n: int) -> np.ndarray:
    return np.clip(i.astype(np.int64), 0, max(n - 1, 0))


# ---- iota ---------------------------------------------------------------------------------------

def _iota_lower(p: dict) -> Definition:
    axes = axes_for(p["shape"])
    return Definition((), axes, scalar.cast(axes[p["axis"]], p["dtype"]))


def _iota_infer(p: dict) -> TensorType:
    last = upper(p["shape"][p["axis"]]) - 1
    if not in_range(max(last, 0), p["dtype"]):
        raise DTypeError(f"iota: {p['dtype']} has not all of the positions 0..{last} along axis "
                         f"{p['axis']} of {p['shape']}; choose a wider integer dtype")
    return tensor(p["dtype"], p["shape"])


def _is_axis_of_shape(v, p, types) -> bool:
    """an axis of the shape"""
    return is_int(v) and 0 <= v < len(p["shape"])


def iota(shape, axis: int, dtype=dtypes.int32) -> Node:
    """0, 1, 2, ... along an axis."""
    return make(IOTA, (), {"shape": tuple(shape), "axis": axis, "dtype": dtype})


IOTA = Op("iota", doc="y[i...] = i[axis].", arity=0, infer=_iota_infer,
          params={"shape": is_shape, "axis": _is_axis_of_shape, "dtype": is_dtype},
          reference=lambda p: np.broadcast_to(
              np.arange(p["shape"][p["axis"]]).astype(p["dtype"].numpy).reshape(
                  [-1 if d == p["axis"] else 1 for d in range(len(p["shape"]))]),
              p["shape"]).copy(),
          lower=_iota_lower, vjp=lambda n, g: (), jvp=lambda n, t: None,
          samples=lambda: [({"shape": (3, 20), "axis": 1, "dtype": dtypes.int32}, []),
                           ({"shape": (5,), "axis": 0, "dtype": dtypes.float32}, [])])


# ---- take: whole slices by index ----------------------------------------------------------------

def _take_infer(p: dict, x: TensorType, i: TensorType) -> TensorType:
    _require_index("take", i)
    a = p["axis"]
    if x.shape[a] == 0 and i.size != 0:
        raise ShapeError(f"take: axis {a} of shape {x.shape} is empty; there is nothing to take")
    return x.with_shape((*x.shape[:a], *i.shape, *x.shape[a + 1:]))


def _take_lower(p: dict, x: TensorType, i: TensorType) -> Definition:
    a, axes = p["axis"], axes_for(_take_infer(p, x, i).shape)
    at = _clamped(expr.read(1, axes[a:a + i.rank], i.dtype), x.shape[a])
    return Definition((x, i), axes, expr.read(0, (*axes[:a], at, *axes[a + i.rank:]), x.dtype))


def _take_vjp(n: Node, g: Node):
    x, i = n.inputs
    if not n.dtype.is_float:
        return (None, None)
    return scatter_add(i, g, n.params["axis"], x.shape[n.params["axis"]]), None


def _take_jvp(n: Node, t):
    return take(t[0], n.inputs[1], n.params["axis"]) if t[0] is not None else None


def _take_batch(n: Node, inputs, batched):
    (x, i), a = inputs, n.params["axis"]
    if not batched[1]:
        return take(x, i, a + 1)
    if not batched[0]:
        out = take(x, i, a)
        return transpose(out, (a, *range(a), *range(a + 1, out.type.rank)))
    return _take_both(x, i, a)


def _take_both(x: Node, i: Node, a: int) -> Node:
    """Each batch its own indices: by one flat axis of batch and position."""
    batch, extent, rank = x.shape[0], x.shape[a + 1], x.type.rank
    x = transpose(x, (0, a + 1, *(d for d in range(1, rank) if d != a + 1)))
    flat = reshape(x, (batch * extent, *x.shape[2:]))
    count = i.type.rank
    offset = iota((batch,) + (1,) * (count - 1), 0, dtypes.int64)
    bounded = apply("max", apply("min", cast(i, dtypes.int64), literal(extent - 1, dtypes.int64)),
                    literal(0, dtypes.int64))
    out = take(flat, offset * extent + bounded, 0)
    return transpose(out, (0, *range(count, count + a), *range(1, count),
                           *range(count + a, out.type.rank)))


def take(x: Node, i: Node, axis: int) -> Node:
    """x's slices along the axis at the positions i, i's axes in the axis' place."""
    return make(TAKE, (x, i), {"axis": axis})


def _take_samples():
    x = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    return [({"axis": 0}, [x, np.array([2, 0, 0, 1], np.int32)]),
            ({"axis": 1}, [x, np.array([[3, -1], [9, 2]], np.int64)]),
            ({"axis": 2}, [x, np.array(4, np.int32)]),
            ({"axis": 0}, [np.ones((7, 33), np.float32), np.array([6, 6, 1], np.int32)])]


TAKE = Op("take", doc="y[o, j..., p] = x[o, i[j...], p]; indices clamped.", infer=_take_infer,
          arity=2, params={"axis": is_axis},
          reference=lambda p, x, i: np.take(x, _clamp_array(i, x.shape[p["axis"]]), p["axis"]),
          lower=_take_lower, vjp=_take_vjp, jvp=_take_jvp, batch=_take_batch, samples=_take_samples)


# ---- scatter_add: the transpose of take ---------------------------------------------------------

def _scatter_infer(p: dict, i: TensorType, u: TensorType) -> TensorType:
    _require_index("scatter_add", i)
    a = p["axis"]
    if a + i.rank > u.rank or u.shape[a:a + i.rank] != i.shape:
        raise ShapeError(f"scatter_add: updates {u.shape} must have the indices' axes {i.shape} "
                         f"at axis {a}")
    if u.dtype is dtypes.bool_:
        raise DTypeError("scatter_add: adds numbers, got bool; cast with astype")
    if p["size"] == 0 and i.size != 0:
        raise ShapeError(f"scatter_add: an axis of extent 0 has no place for indices {i.shape}")
    return u.with_shape((*u.shape[:a], p["size"], *u.shape[a + i.rank:]))


def _scatter_reference(p: dict, i: np.ndarray, u: np.ndarray) -> np.ndarray:
    a = p["axis"]
    lead = np.moveaxis(u, range(a, a + i.ndim), range(i.ndim)).reshape(
        (i.size, *u.shape[:a], *u.shape[a + i.ndim:]))
    wide = np.zeros((p["size"], *lead.shape[1:]), np.float64 if u.dtype.kind in "fV" else u.dtype)
    np.add.at(wide, _clamp_array(i, p["size"]).reshape(-1), lead.astype(wide.dtype))
    return np.moveaxis(wide, 0, a).astype(u.dtype)


def _scatter_lower(p: dict, i: TensorType, u: TensorType) -> Definition:
    """y[o, s, p] = chain over j... of u[o, j..., p] where i[j...] = s."""
    a = p["axis"]
    axes = axes_for(_scatter_infer(p, i, u).shape)
    bound = tuple(expr.axis(f"j{d}", e) for d, e in enumerate(i.shape))
    at = _clamped(expr.read(0, bound, i.dtype), p["size"])
    update = expr.read(1, (*axes[:a], *bound, *axes[a + 1:]), u.dtype)
    hit = at.apply("eq", at, axes[a])
    return Definition((i, u), axes, expr.reduce("scatter", bound, update, hit))


def _scatter_vjp(n: Node, g: Node):
    i, _ = n.inputs
    return None, take(g, i, n.params["axis"]) if n.dtype.is_float else None


def _scatter_jvp(n: Node, t):
    if t[1] is None:
        return None
    return make(SCATTER_ADD, (n.inputs[0], t[1]), n.params)


def _scatter_batch(n: Node, inputs, batched):
    (i, u), p = inputs, n.params
    if not batched[0]:
        return scatter_add(i, u, p["axis"] + 1, p["size"])
    if not batched[1]:
        u = broadcast(u, (i.shape[0], *u.shape))
    batch, a, count = i.shape[0], p["axis"], i.type.rank - 1
    rank = u.type.rank
    u = transpose(u, (0, *range(a + 1, a + 1 + count), *range(1, a + 1),
                      *range(a + 1 + count, rank)))
    bounded = apply("min", cast(i, dtypes.int64), literal(p["size"] - 1, dtypes.int64))
    bounded = apply("max", bounded, literal(0, dtypes.int64))
    offset = iota((batch,) + (1,) * count, 0, dtypes.int64) * p["size"]
    flat = scatter_add(offset + bounded, u, 0, batch * p["size"])
    out = reshape(flat, (batch, p["size"], *flat.shape[1:]))
    return transpose(out, (0, *range(2, 2 + a), 1, *range(2 + a, out.type.rank)))


def scatter_add(i: Node, u: Node, axis: int, size) -> Node:
    """Zeros of extent `size` along the axis, with u's slices added at the positions i, in order."""
    return make(SCATTER_ADD, (i, u), {"axis": axis, "size": size})


def _scatter_samples():
    u = np.random.default_rng(1).standard_normal((4, 5)).astype(np.float32)
    return [({"axis": 0, "size": 6}, [np.array([5, 0, 0, 2], np.int32), u]),
            ({"axis": 1, "size": 3}, [np.array([2, 2, 0, -4, 9], np.int64), u]),
            ({"axis": 0, "size": 3}, [np.array([[1, 0], [1, 1]], np.int32), u.reshape(2, 2, 5)])]


SCATTER_ADD = Op("scatter_add", doc="y[o, i[j...], p] += u[o, j..., p] from zeros, in ascending j.",
                 arity=2, params={"axis": at_least(0), "size": is_extent},
                 infer=_scatter_infer, reference=_scatter_reference, lower=_scatter_lower,
                 vjp=_scatter_vjp, jvp=_scatter_jvp, batch=_scatter_batch,
                 samples=_scatter_samples, facts=frozenset({"scatter"}))


# ---- slices at run-time positions ---------------------------------------------------------------

def _check_starts(name: str, x: TensorType, starts) -> None:
    if len(starts) != x.rank:
        raise ShapeError(f"{name}: needs one start for each of the {x.rank} axes, "
                         f"got {len(starts)}")
    for t in starts:
        _require_index(name, t)
        if t.rank:
            raise ShapeError(f"{name}: starts must be scalars, got shape {t.shape}")


def _start(k: int, t: TensorType, extent, taken) -> expr.Expr:
    """The start, clamped so that the slice stays inside."""
    at = scalar.cast(expr.read(k, (), t.dtype), dtypes.index)
    return scalar.maximum(scalar.minimum(at, expr.size(extent - taken)), 0)


def _slice_infer(p: dict, x: TensorType, *starts: TensorType) -> TensorType:
    _check_starts("dynamic_slice", x, starts)
    for d, (size, e) in enumerate(zip(p["sizes"], x.shape, strict=True)):
        rest = e - size
        if isinstance(rest, int) and rest < 0:
            raise ShapeError(f"dynamic_slice: {size} elements do not fit axis {d} of {x.shape}")
    return x.with_shape(p["sizes"])


def _slice_lower(p: dict, x: TensorType, *starts: TensorType) -> Definition:
    axes = axes_for(p["sizes"])
    at = tuple(a + _start(k + 1, t, e, s) for k, (a, t, e, s) in
               enumerate(zip(axes, starts, x.shape, p["sizes"], strict=True)))
    return Definition((x, *starts), axes, expr.read(0, at, x.dtype))


def _corner(x: np.ndarray, sizes, starts) -> tuple[slice, ...]:
    corner = [min(max(int(s), 0), e - n) for s, e, n in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(c, c + n) for c, n in zip(corner, sizes, strict=True))


def _slice_vjp(n: Node, g: Node):
    x, *starts = n.inputs
    return (update_slice(zeros_like(x), g, starts), *(None for _ in starts))


def _slice_jvp(n: Node, t):
    return dynamic_slice(t[0], n.inputs[1:], n.params["sizes"]) if t[0] is not None else None


def _unstacked_starts(name: str, batched) -> None:
    if any(batched):
        raise ShapeError(f"{name}: batched starts are not one slice; use take inside vmap")


def _slice_batch(n: Node, inputs, batched):
    _unstacked_starts("dynamic_slice", batched[1:])
    x, *starts = inputs
    return dynamic_slice(x, (literal(0, dtypes.int32), *starts), (x.shape[0], *n.params["sizes"]))


def dynamic_slice(x: Node, starts, sizes) -> Node:
    """`sizes` elements of x from the run-time position `starts` (clamped inside)."""
    return make(DYNAMIC_SLICE, (x, *starts), {"sizes": tuple(sizes)})


_AT = [np.array(1, np.int32), np.array(9, np.int32)]

DYNAMIC_SLICE = Op(
    "dynamic_slice", doc="y[i] = x[start + i], starts clamped inside.", infer=_slice_infer,
    arity=1, more=True, params={"sizes": each(is_extent)},
    reference=lambda p, x, *s: x[_corner(x, p["sizes"], s)].copy(), lower=_slice_lower,
    vjp=_slice_vjp, jvp=_slice_jvp, batch=_slice_batch,
    samples=lambda: [({"sizes": (2, 3)}, [np.arange(60, dtype=np.float32).reshape(5, 12), *_AT])])


def _update_infer(p: dict, x: TensorType, u: TensorType, *starts: TensorType) -> TensorType:
    _check_starts("update_slice", x, starts)
    if u.rank != x.rank or u.dtype is not x.dtype or any(
            isinstance(rest, int) and rest < 0
            for rest in (b - a for a, b in zip(u.shape, x.shape, strict=True))):
        raise ShapeError(f"update_slice: the update {u} does not fit into {x}")
    return x


def _update_lower(p: dict, x: TensorType, u: TensorType, *starts: TensorType) -> Definition:
    axes = axes_for(x.shape)
    inside, at = None, []
    for k, (a, t, e, n) in enumerate(zip(axes, starts, x.shape, u.shape, strict=True)):
        rel = a - _start(k + 2, t, e, n)
        hit = (rel >= 0) & (rel < expr.size(n))
        inside = hit if inside is None else inside & hit
        at.append(rel)
    old = expr.read(0, axes, x.dtype)
    if inside is None:
        return Definition((x, u), axes, expr.read(1, (), u.dtype))
    new = expr.read(1, tuple(at), u.dtype, 0)
    return Definition((x, u, *starts), axes, scalar.where(inside, new, old))


def _update_reference(p: dict, x: np.ndarray, u: np.ndarray, *starts) -> np.ndarray:
    out = x.copy()
    out[_corner(x, u.shape, starts)] = u
    return out


def _update_vjp(n: Node, g: Node):
    x, u, *starts = n.inputs
    if not n.dtype.is_float:
        return (None,) * len(n.inputs)
    return (update_slice(g, zeros_like(u), starts), dynamic_slice(g, starts, u.shape),
            *(None for _ in starts))


def _update_jvp(n: Node, t):
    if t[0] is None and t[1] is None or not n.dtype.is_float:
        return None
    x, u, *starts = n.inputs
    return update_slice(zeros_like(x) if t[0] is None else t[0],
                        zeros_like(u) if t[1] is None else t[1], starts)


def _update_batch(n: Node, inputs, batched):
    _unstacked_starts("update_slice", batched[2:])
    x, u, *starts = inputs
    extent = (x if batched[0] else u).shape[0]
    x = x if batched[0] else broadcast(x, (extent, *x.shape))
    u = u if batched[1] else broadcast(u, (extent, *u.shape))
    return update_slice(x, u, (literal(0, dtypes.int32), *starts))


def update_slice(x: Node, u: Node, starts) -> Node:
    """x with u written at the run-time position `starts` (clamped inside); in place if x may go."""
    return make(UPDATE_SLICE, (x, u, *starts), {})


UPDATE_SLICE = Op(
    "update_slice", doc="y = x, but y[start + i] = u[i]; starts clamped inside.",
    arity=2, more=True, params={},
    infer=_update_infer, reference=_update_reference, lower=_update_lower, vjp=_update_vjp,
    jvp=_update_jvp, batch=_update_batch, facts=frozenset({"update"}),
    samples=lambda: [({}, [np.arange(60, dtype=np.float32).reshape(5, 12),
                           -np.ones((2, 3), np.float32), *_AT])])
