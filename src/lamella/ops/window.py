"""Slices at run-time positions, read and written; where one would leave its axis, its start is
clamped so that it stays inside."""

from __future__ import annotations

import numpy as np

from ..base import dtypes
from ..base.errors import ShapeError
from ..ir.node import Node, literal, make
from ..ir.op import Op, each, is_extent
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.definition import Definition, axes_for
from .index import gather_nd, long, require_index, scatter_nd
from .iota import iota
from .move import broadcast, concat, members, reshape, zeros_like
from .pointwise import apply, cast


def _check_starts(name: str, x: TensorType, starts) -> None:
    if len(starts) != x.rank:
        raise ShapeError(f"{name}: needs one start for each of the {x.rank} axes, "
                         f"got {len(starts)}")
    for t in starts:
        require_index(name, t)
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


def _places(x: Node, starts, batched, sizes) -> Node:
    """Where the elements of each member's slice of x [b, ...] lie: [b, *sizes, axes]."""
    out = []
    for d, (s, flag, n) in enumerate(zip(starts, batched, sizes, strict=True)):
        last = long(x.shape[d + 1] - n)
        first = apply("max", apply("min", cast(s, dtypes.int64), last), long(0))
        first = reshape(first, (first.shape if flag else (1,)) + (1,) * len(sizes))
        at = first + iota((1,) * (d + 1) + (n,) + (1,) * (len(sizes) - d - 1), d + 1, dtypes.int64)
        out.append(reshape(broadcast(at, (x.shape[0], *sizes)), (x.shape[0], *sizes, 1)))
    return concat(out, len(sizes) + 1)


def _slice_batch(n: Node, inputs, batched):
    x, *starts = inputs
    if any(batched[1:]):  # members have slices of their own: elements by their positions
        x = x if batched[0] else broadcast(x, (members(inputs, batched), *x.shape))
        return gather_nd(x, _places(x, starts, batched[1:], n.params["sizes"]), 1)
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
    if not n.dtype.is_inexact:
        return (None,) * len(n.inputs)
    return (update_slice(g, zeros_like(u), starts), dynamic_slice(g, starts, u.shape),
            *(None for _ in starts))


def _update_jvp(n: Node, t):
    if t[0] is None and t[1] is None or not n.dtype.is_inexact:
        return None
    x, u, *starts = n.inputs
    return update_slice(zeros_like(x) if t[0] is None else t[0],
                        zeros_like(u) if t[1] is None else t[1], starts)


def _update_batch(n: Node, inputs, batched):
    x, u, *starts = inputs
    extent = members(inputs, batched)
    x = x if batched[0] else broadcast(x, (extent, *x.shape))
    u = u if batched[1] else broadcast(u, (extent, *u.shape))
    if any(batched[2:]):
        return scatter_nd(x, _places(x, starts, batched[2:], u.shape[1:]), u, "set", 1)
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
