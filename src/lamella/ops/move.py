"""Moves: the same numbers elsewhere. Most are a change of strides and cost nothing."""

from __future__ import annotations

import numpy as np

from ..base.dtypes import index as index_dtype
from ..base.errors import DTypeError, ShapeError
from ..base.extents import Extent, Shape, product
from ..ir.node import Node, make, zeros_like
from ..ir.op import (
    Op,
    at_least,
    check_extents,
    each,
    fits,
    is_axes,
    is_axis,
    is_extent,
    is_int,
    is_shape,
)
from ..ir.types import TensorType, row_major, tensor
from ..lang import expr
from ..lang.definition import Definition, axes_for
from ..lang.scalar import where
from .pointwise import aligned_read, sum_to

VIEW = frozenset({"view", "move"})
MOVE = frozenset({"move"})


def _same_move(node: Node, tangents):
    """The tangent of a move is the same move of the tangents."""
    if not node.dtype.is_inexact:
        return None
    moved = tuple(zeros_like(n) if t is None else t
                  for n, t in zip(node.inputs, tangents, strict=True))
    return make(node.op, moved, node.params)


def _x(*shape) -> np.ndarray:
    size = int(np.prod(shape))
    return (np.arange(size, dtype=np.float32) - size / 3).reshape(shape)


# ---- transpose ----------------------------------------------------------------------------------

def _is_perm(v, p, types) -> bool:
    """a permutation of the operand's axes"""
    return (isinstance(v, tuple) and all(map(is_int, v))
            and sorted(v) == list(range(types[0].rank)))


def _transpose_infer(p: dict, t: TensorType) -> TensorType:
    if sorted(p["perm"]) != list(range(t.rank)):
        raise ShapeError(f"transpose: {p['perm']} is no permutation of the axes of shape {t.shape}")
    return t.with_shape(tuple(t.shape[d] for d in p["perm"]))


def _transpose_lower(p: dict, t: TensorType) -> Definition:
    axes = axes_for(tuple(t.shape[d] for d in p["perm"]))
    return Definition((t,), axes, expr.read(0, tuple(axes[d] for d in inverse(p["perm"])), t.dtype))


def inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes perm."""
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def transpose(x: Node, perm: tuple[int, ...]) -> Node:
    """x with its axes in the order perm."""
    return x if perm == tuple(range(len(perm))) else make(TRANSPOSE, (x,), {"perm": tuple(perm)})


TRANSPOSE = Op(
    "transpose", doc="y[i[perm]] = x[i]: axis d of y is axis perm[d] of x.", infer=_transpose_infer,
    arity=1, params={"perm": _is_perm},
    reference=lambda p, x: np.transpose(x, p["perm"]), lower=_transpose_lower, jvp=_same_move,
    vjp=lambda n, g: (transpose(g, inverse(n.params["perm"])),),
    batch=lambda n, i, b: transpose(i[0], (0,) + tuple(d + 1 for d in n.params["perm"])),
    samples=lambda: [({"perm": (1, 0)}, [_x(3, 20)]), ({"perm": (2, 0, 1)}, [_x(2, 3, 17)]),
                     ({"perm": ()}, [_x()])], facts=VIEW)


# ---- reshape ------------------------------------------------------------------------------------

def _reshape_infer(p: dict, t: TensorType) -> TensorType:
    if product(p["shape"]) != t.size:
        raise ShapeError(f"reshape: {t.shape} has {t.size} elements and {p['shape']} has "
                         f"{product(p['shape'])}; the counts must agree (-1 is found for you)")
    return t.with_shape(p["shape"])


def _reshape_lower(p: dict, t: TensorType) -> Definition:
    axes = axes_for(p["shape"])
    flat: expr.Expr = expr.lit(0, index_dtype)
    for a, s in zip(axes, row_major(p["shape"]), strict=True):
        flat = flat + a * expr.size(s)
    indices = []
    for e, s in zip(t.shape, row_major(t.shape), strict=True):
        indices.append(flat // expr.size(s) % expr.size(e))
    return Definition((t,), axes, expr.read(0, tuple(indices), t.dtype))


def reshape(x: Node, shape: Shape) -> Node:
    """x's elements in row-major order, as another shape."""
    return x if x.shape == shape else make(RESHAPE, (x,), {"shape": tuple(shape)})


RESHAPE = Op(
    "reshape", doc="y has x's elements in row-major order, in another shape.", infer=_reshape_infer,
    arity=1, params={"shape": is_shape},
    reference=lambda p, x: np.reshape(x, p["shape"]), lower=_reshape_lower, jvp=_same_move,
    vjp=lambda n, g: (reshape(g, n.inputs[0].shape),),
    batch=lambda n, i, b: reshape(i[0], (i[0].shape[0],) + n.params["shape"]),
    samples=lambda: [({"shape": (6, 10)}, [_x(3, 20)]), ({"shape": (60,)}, [_x(3, 4, 5)]),
                     ({"shape": (1, 1)}, [_x()]), ({"shape": (0, 3)}, [_x(0, 5)])], facts=VIEW)


# ---- broadcast ----------------------------------------------------------------------------------

def _broadcast_infer(p: dict, t: TensorType) -> TensorType:
    shape = p["shape"]
    extra = len(shape) - t.rank
    if extra < 0 or any(e != 1 and e != shape[d + extra] for d, e in enumerate(t.shape)):
        raise ShapeError(f"broadcast: shape {t.shape} cannot repeat to {shape}: aligned at the "
                         f"last axis, each extent must be equal or 1")
    check_extents("broadcast", shape)
    return t.with_shape(shape)


def _broadcast_lower(p: dict, t: TensorType) -> Definition:
    axes = axes_for(p["shape"])
    return Definition((t,), axes, aligned_read(0, t, axes))


def _broadcast_batch(n: Node, i, b) -> Node:
    x, = i
    shape = n.params["shape"]
    missing = len(shape) - (x.type.rank - 1)
    x = reshape(x, (x.shape[0],) + (1,) * missing + x.shape[1:])
    return broadcast(x, (x.shape[0], *shape))


def broadcast(x: Node, shape: Shape) -> Node:
    """x repeated to the shape, aligned at the last axis."""
    return x if x.shape == shape else make(BROADCAST, (x,), {"shape": tuple(shape)})


def members(nodes, batched) -> Extent:
    """The extent of the batch: that of the first node that has one."""
    return next(n.shape[0] for n, flag in zip(nodes, batched, strict=True) if flag)


def stacked(nodes, batched) -> list[Node]:
    """The nodes with a leading batch axis each: those that lack it are repeated."""
    extent = members(nodes, batched)
    return [n if flag else broadcast(n, (extent, *n.shape))
            for n, flag in zip(nodes, batched, strict=True)]


BROADCAST = Op(
    "broadcast", doc="y[i, j] = x[j] aligned at the last axis; extents of 1 repeat.",
    arity=1, params={"shape": is_shape},
    infer=_broadcast_infer, reference=lambda p, x: np.broadcast_to(x, p["shape"]).copy(),
    lower=_broadcast_lower, jvp=_same_move, vjp=lambda n, g: (sum_to(g, n.inputs[0].shape),),
    batch=_broadcast_batch, facts=VIEW,
    samples=lambda: [({"shape": (4, 3, 17)}, [_x(3, 1)]), ({"shape": (5,)}, [_x()]),
                     ({"shape": (0, 2)}, [_x(1, 2)])])


# ---- slice and flip -----------------------------------------------------------------------------

def _slice_infer(p: dict, t: TensorType) -> TensorType:
    out = []
    for d, (a, b, s) in enumerate(zip(p["starts"], p["stops"], p["steps"], strict=True)):
        e = t.shape[d]
        if s < 1 or any(isinstance(v, int) and v < 0 for v in (a, (b - a + s - 1) // s, e - b)):
            raise ShapeError(f"slice: {a}:{b}:{s} is outside of axis {d} of shape {t.shape}")
        out.append((b - a + s - 1) // s)
    return t.with_shape(tuple(out))


def _slice_lower(p: dict, t: TensorType) -> Definition:
    axes = axes_for(_slice_infer(p, t).shape)
    indices = tuple(a * s + expr.size(start)
                    for a, s, start in zip(axes, p["steps"], p["starts"], strict=True))
    return Definition((t,), axes, expr.read(0, indices, t.dtype))


def _slice_vjp(n: Node, g: Node):
    low, high, inner = [], [], []
    for e, o, a, s in zip(n.inputs[0].shape, n.shape, n.params["starts"], n.params["steps"],
                          strict=True):
        low.append(a if o != 0 else e)
        inner.append(s - 1)
        high.append(e - a - ((o - 1) * s + 1) if o != 0 else 0)
    return (pad(g, tuple(low), tuple(high), tuple(inner)),)


def _slice_batch(n: Node, i, b) -> Node:
    p = n.params
    return slice_(i[0], (0, *p["starts"]), (i[0].shape[0], *p["stops"]), (1, *p["steps"]))


def slice_(x: Node, starts: Shape, stops: Shape, steps: tuple[int, ...] | None = None) -> Node:
    """x[starts:stops:steps] in every axis, with steps >= 1."""
    steps = steps or (1,) * x.type.rank
    if all(a == 0 and b == e and s == 1 for a, b, s, e in
           zip(starts, stops, steps, x.shape, strict=True)):
        return x
    return make(SLICE, (x,), {"starts": tuple(starts), "stops": tuple(stops),
                              "steps": tuple(steps)})


SLICE = Op(
    "slice", doc="y[i] = x[start + i * step] in each axis.", infer=_slice_infer, jvp=_same_move,
    arity=1, params={"starts": each(is_extent), "stops": each(is_extent),
                     "steps": each(at_least(1))},
    reference=lambda p, x: x[tuple(map(slice, p["starts"], p["stops"], p["steps"]))].copy(),
    lower=_slice_lower, vjp=_slice_vjp, batch=_slice_batch, facts=VIEW,
    samples=lambda: [({"starts": (1, 3), "stops": (3, 18), "steps": (1, 4)}, [_x(3, 20)]),
                     ({"starts": (0, 2), "stops": (2, 2), "steps": (1, 1)}, [_x(2, 5)])])

FLIP = Op(
    "flip", doc="y[i] = x[n - 1 - i] along each of the axes.", infer=lambda p, t: t,
    arity=1, params={"axes": is_axes},
    reference=lambda p, x: np.flip(x, p["axes"]).copy(), jvp=_same_move,
    lower=lambda p, t: Definition((t,), axes_for(t.shape), expr.read(0, tuple(
        expr.size(e) - 1 - a if d in p["axes"] else a
        for d, (a, e) in enumerate(zip(axes_for(t.shape), t.shape, strict=True))), t.dtype)),
    vjp=lambda n, g: (flip(g, n.params["axes"]),),
    batch=lambda n, i, b: flip(i[0], tuple(a + 1 for a in n.params["axes"])),
    samples=lambda: [({"axes": (1,)}, [_x(3, 20)]), ({"axes": (0, 1)}, [_x(2, 5)])], facts=VIEW)


def flip(x: Node, axes: tuple[int, ...]) -> Node:
    """x reversed along the axes."""
    return make(FLIP, (x,), {"axes": tuple(sorted(axes))}) if axes else x


# ---- pad and concatenate ------------------------------------------------------------------------

def _is_fill(v, p, types) -> bool:
    """a number that the operand's dtype has"""
    return fits(v, types[0].dtype)


def _pad_infer(p: dict, t: TensorType) -> TensorType:
    if any(isinstance(v, int) and v < 0 for key in ("low", "high", "inner") for v in p[key]):
        raise ShapeError(f"pad: amounts must not be negative, got {p['low']} and {p['high']}")
    return t.with_shape(tuple(
        low + high + (e + (e - 1) * i if e != 0 else 0) for e, low, high, i in
        zip(t.shape, p["low"], p["high"], p["inner"], strict=True)))


def _pad_reference(p: dict, x: np.ndarray) -> np.ndarray:
    shape: tuple = _pad_infer(p, tensor("float32", x.shape)).shape
    out = np.full(shape, p["value"], x.dtype)
    where_ = tuple(slice(lo, lo + (e - 1) * (i + 1) + 1 if e else lo, i + 1)
                   for e, lo, i in zip(x.shape, p["low"], p["inner"], strict=True))
    out[where_] = x
    return out


def _pad_lower(p: dict, t: TensorType) -> Definition:
    axes = axes_for(_pad_infer(p, t).shape)
    indices, on_grid = [], None
    for a, low, step in zip(axes, p["low"], p["inner"], strict=True):
        at = a - expr.size(low)
        indices.append(at // (step + 1) if step else at)
        if step:
            hit = (at % (step + 1)).apply("eq", at % (step + 1), 0)
            on_grid = hit if on_grid is None else on_grid & hit
    body = expr.read(0, tuple(indices), t.dtype, p["value"])
    if on_grid is not None:
        body = where(on_grid, body, expr.lit(p["value"], t.dtype))
    return Definition((t,), axes, body)


def _pad_vjp(n: Node, g: Node):
    e = n.inputs[0].shape
    steps = tuple(i + 1 for i in n.params["inner"])
    stops = tuple(lo + (ext - 1) * s + 1 if ext != 0 else lo
                  for lo, ext, s in zip(n.params["low"], e, steps, strict=True))
    return (slice_(g, n.params["low"], stops, steps),)


def _pad_jvp(n: Node, tangents):
    return make(PAD, tangents, {**n.params, "value": 0.0}) if tangents[0] is not None else None


def _pad_batch(n: Node, i, b) -> Node:
    p = n.params
    return pad(i[0], (0, *p["low"]), (0, *p["high"]), (0, *p["inner"]), p["value"])


_PYTHON: dict = {"float": float, "complex": complex, "float8": float, "bool": int, "int": int,
                 "uint": int}


def pad(x: Node, low: Shape, high: Shape, inner: tuple[int, ...] | None = None, value=0.0) -> Node:
    """x with `low` values before, `high` after and `inner` between its elements in each axis."""
    inner = inner or (0,) * x.type.rank
    if not any((*low, *high, *inner)):
        return x
    value = _PYTHON[x.dtype.kind](value)
    return make(PAD, (x,), {"low": tuple(low), "high": tuple(high), "inner": tuple(inner),
                            "value": value})


PAD = Op("pad", doc="x with a value put before, after and between its elements.", infer=_pad_infer,
         arity=1, params={"low": each(is_extent), "high": each(is_extent),
                          "inner": each(at_least(0)), "value": _is_fill},
         reference=_pad_reference, lower=_pad_lower, vjp=_pad_vjp, jvp=_pad_jvp, batch=_pad_batch,
         samples=lambda: [
             ({"low": (1, 0), "high": (0, 3), "inner": (0, 0), "value": 2.5}, [_x(3, 17)]),
             ({"low": (0, 2), "high": (1, 0), "inner": (1, 2), "value": 0.0}, [_x(3, 5)]),
             ({"low": (2,), "high": (1,), "inner": (0,), "value": 1.0}, [_x(0)])], facts=MOVE)


def _concat_infer(p: dict, *types: TensorType) -> TensorType:
    first, axis = types[0], p["axis"]
    total: Extent = 0
    for t in types:
        same = t.rank == first.rank and all(
            a == b for d, (a, b) in enumerate(zip(t.shape, first.shape, strict=True)) if d != axis)
        if not same:
            raise ShapeError(f"concat: shapes {', '.join(str(u.shape) for u in types)} must agree "
                             f"in all axes but {axis}; reshape, or join along another axis")
        if t.dtype is not first.dtype:
            raise DTypeError(f"concat: dtypes {', '.join(str(u.dtype) for u in types)} differ; "
                             f"cast with astype")
        total = total + t.shape[axis]
    return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1:]))


def _concat_lower(p: dict, *types: TensorType) -> Definition:
    axis = p["axis"]
    axes = axes_for(_concat_infer(p, *types).shape)
    starts: list[Extent] = [0]
    for t in types:
        starts.append(starts[-1] + t.shape[axis])
    body = None
    for k in reversed(range(len(types))):
        indices = (*axes[:axis], axes[axis] - expr.size(starts[k]), *axes[axis + 1:])
        part = expr.read(k, indices, types[k].dtype, 0)
        body = part if body is None else where(axes[axis] < expr.size(starts[k + 1]), part, body)
    assert body is not None
    return Definition(types, axes, body)


def _concat_vjp(n: Node, g: Node):
    axis, at, out = n.params["axis"], 0, []
    for i in n.inputs:
        starts = tuple(at if d == axis else 0 for d in range(g.type.rank))
        stops = tuple(at + i.shape[axis] if d == axis else e for d, e in enumerate(g.shape))
        out.append(slice_(g, starts, stops))
        at = at + i.shape[axis]
    return tuple(out)


def _concat_batch(n: Node, inputs, batched) -> Node:
    extent = next(i.shape[0] for i, b in zip(inputs, batched, strict=True) if b)
    full = [i if b else broadcast(i, (extent, *i.shape))
            for i, b in zip(inputs, batched, strict=True)]
    return concat(full, n.params["axis"] + 1)


def concat(nodes, axis: int) -> Node:
    """The nodes one after another along the axis."""
    return nodes[0] if len(nodes) == 1 else make(CONCAT, tuple(nodes), {"axis": axis})


CONCAT = Op("concat", doc="The operands one after another along an axis.", infer=_concat_infer,
            arity=1, more=True, params={"axis": is_axis},
            reference=lambda p, *xs: np.concatenate(xs, p["axis"]), lower=_concat_lower,
            vjp=_concat_vjp, jvp=_same_move, batch=_concat_batch, facts=MOVE,
            samples=lambda: [({"axis": 1}, [_x(3, 5), _x(3, 17), _x(3, 0)]),
                             ({"axis": 0}, [_x(1, 4), _x(2, 4)])])
