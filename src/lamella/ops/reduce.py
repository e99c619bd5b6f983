"""Reductions over a monoid, and the accumulations derived from them.

y[o...] = monoid over r... of x[o..., r...]. The order of a sum is fixed by positions along the
reduced axes alone (docs/numerics.md): the axes are flattened, in order, into one position k.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base import dtypes
from ..base.dtypes import as_dtype, widest
from ..base.errors import DTypeError, ShapeError
from ..base.extents import lower, product, upper
from ..ir.node import Node, literal, make
from ..ir.op import Op, fits, is_axes, is_dtype, is_extent, one_of, op_named
from ..ir.types import TensorType, tensor
from ..lang import expr
from ..lang.definition import Definition, axes_for, reduction
from ..lang.scalar import cast as cast_expr
from .pointwise import apply, broadcast_to, reshape_to

_NUMPY: dict[str, Callable] = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min,
                               "any": np.any, "all": np.all}


def _infer(params: dict, t: TensorType) -> TensorType:
    monoid, axes = params["monoid"], params["axes"]
    if monoid in ("any", "all") and t.dtype is not dtypes.bool_:
        raise DTypeError(f"{monoid}: takes bool, got {t.dtype}; compare with 0 first")
    if monoid in ("sum", "prod") and t.dtype.kind in ("bool", "float8"):
        raise DTypeError(f"{monoid}: takes numbers, got {t.dtype}; cast with astype")
    if monoid in ("max", "min") and t.dtype.kind in ("complex", "float8"):
        raise DTypeError(f"{monoid}: {t.dtype} has no order here; take real or abs, or cast")
    if monoid in ("max", "min") and any(t.shape[a] == 0 for a in axes):
        raise ShapeError(f"{monoid}: an empty axis has no {monoid}: shape {t.shape}, axes {axes}")
    return tensor(t.dtype, tuple(e for d, e in enumerate(t.shape) if d not in axes))


def _reference(params: dict, x: np.ndarray) -> np.ndarray:
    f, axes = _NUMPY[params["monoid"]], params["axes"]
    if x.dtype.kind in "fcV" and params["monoid"] in ("sum", "prod"):
        with np.errstate(all="ignore"):
            total = f(x.astype(widest(as_dtype(x.dtype)).numpy), axis=axes)
            return np.asarray(total).astype(x.dtype)
    if x.dtype.kind in "iu" and params["monoid"] in ("sum", "prod"):
        return np.asarray(f(x, axis=axes, dtype=x.dtype))
    return np.asarray(f(x, axis=axes))


def _lower(params: dict, t: TensorType) -> Definition:
    axes = axes_for(t.shape)
    bound = tuple(axes[a] for a in params["axes"])
    kept = tuple(a for d, a in enumerate(axes) if d not in params["axes"])
    body = expr.read(0, axes, t.dtype)
    return Definition((t,), kept, reduction(params["monoid"], bound, body))


def keepdims(node: Node, of: Node, axes: tuple[int, ...]) -> Node:
    """node (reduced over `axes` of `of`) with those axes back as extents of 1."""
    return reshape_to(node, tuple(1 if d in axes else e for d, e in enumerate(of.shape)))


def _vjp(node: Node, g: Node):
    x, = node.inputs
    monoid, axes = node.params["monoid"], node.params["axes"]
    if not x.dtype.is_inexact or monoid in ("any", "all"):
        return (None,)
    g = keepdims(g, x, axes)
    if monoid == "sum":
        return (broadcast_to(g, x.shape),)
    if monoid == "prod":
        return (g * _product_of_others(x, axes),)
    hit = _hits(node, x, axes)
    return (hit * (g / keepdims(reduce("sum", hit, axes), x, axes)),)


def indicator(cond: Node, dtype) -> Node:
    """1 where the condition holds, else 0, as dtype."""
    return apply("where", cond, literal(1, dtype), literal(0, dtype))


def _hits(node: Node, x: Node, axes) -> Node:
    """1 where x attains the extreme (NaN where that is NaN), else 0."""
    y = keepdims(node, x, axes)
    return indicator(apply("or", apply("eq", x, y), apply("ne", x, x)), x.dtype)


def _product_of_others(x: Node, axes) -> Node:
    """For each element the product of those before it, times that of those behind it: nothing is
    divided by, so that derivatives of any order hold at zeros."""
    kept = tuple(d for d in range(x.type.rank) if d not in axes)
    order = (*kept, *axes)
    turned = make(op_named("transpose"), (x,), {"perm": order})
    o, n = product([x.shape[d] for d in kept]), product([x.shape[d] for d in axes])
    rows = make(op_named("reshape"), (turned,), {"shape": (o, n, 1)})
    before, behind = (make(op_named("cumulative"), (rows,), {
        "monoid": "prod", "exclusive": True, "reverse": r}) for r in (False, True))
    back = make(op_named("reshape"), (before * behind,), {"shape": turned.shape})
    places = tuple(map(order.index, range(len(order))))
    return make(op_named("transpose"), (back,), {"perm": places})


def _jvp(node: Node, tangents):
    x, = node.inputs
    t, = tangents
    monoid, axes = node.params["monoid"], node.params["axes"]
    if t is None or monoid in ("any", "all"):
        return None
    if monoid == "sum":
        return reduce("sum", t, axes)
    if monoid == "prod":
        return reduce("sum", t * _product_of_others(x, axes), axes)
    hit = _hits(node, x, axes)
    return reduce("sum", hit * t, axes) / reduce("sum", hit, axes)


def _batch(node: Node, inputs, batched):
    axes = tuple(a + 1 for a in node.params["axes"])
    return make(node.op, tuple(inputs), {**node.params, "axes": axes})


def _samples():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 5, 7)).astype(np.float32)
    ties = np.array([[1, 2, 2], [0, 0, 0]], np.float32)
    out = [({"monoid": m, "axes": a}, [x]) for m in ("sum", "prod", "max", "min")
           for a in ((2,), (0,), (1,), (0, 2), (0, 1, 2))]
    out += [({"monoid": m, "axes": (1,)}, [ties]) for m in ("max", "min", "prod")]
    out += [({"monoid": "sum", "axes": (0,)}, [np.zeros((0, 4), np.float32)]),
            ({"monoid": "sum", "axes": (1,)}, [rng.standard_normal((2, 2500)).astype(np.float32)]),
            ({"monoid": "sum", "axes": (0,)}, [rng.standard_normal((2500, 3)).astype(np.float32)]),
            ({"monoid": "any", "axes": (0,)}, [x[0] > 1]),
            ({"monoid": "all", "axes": (1,)}, [x[0] > -9]),
            ({"monoid": "sum", "axes": (1,)}, [np.arange(40, dtype=np.int32).reshape(2, 20)])]
    return out


REDUCE = Op("reduce", doc="y = monoid (sum, prod, max, min, any, all) over axes of x.",
            arity=1, params={"monoid": one_of(*_NUMPY), "axes": is_axes},
            infer=_infer, reference=_reference, lower=_lower, vjp=_vjp, jvp=_jvp, batch=_batch,
            samples=_samples)


def reduce(monoid: str, x: Node, axes: tuple[int, ...]) -> Node:
    """The reduction over `axes` (non-negative); x itself where there are none."""
    if not axes:
        return x
    return make(REDUCE, (x,), {"monoid": monoid, "axes": tuple(sorted(axes))})


def mean(x: Node, axes: tuple[int, ...]) -> Node:
    """The arithmetic mean over axes: their sum divided by the count."""
    count = product(x.shape[a] for a in axes)
    return reduce("sum", x, axes) / extent_value(count, x)


def extent_value(count, like: Node):
    """A count as a number of like's dtype: a literal, or a `size` node where it is symbolic."""
    if isinstance(count, int):
        return float(count) if like.dtype.is_inexact else count
    return make(SIZE, (), {"size": count, "dtype": like.dtype})


def _size_lower(params: dict) -> Definition:
    return Definition((), (), cast_expr(expr.size(params["size"]), params["dtype"]))


def _is_size(v, p, types) -> bool:
    """an extent that the dtype, one of numbers, can hold"""
    return is_extent(v) and p["dtype"] is not dtypes.bool_ and fits(upper(v), p["dtype"])


SIZE = Op("size", doc="A symbolic extent as a number.", infer=lambda p: tensor(p["dtype"], ()),
          arity=0, params={"dtype": is_dtype, "size": _is_size},
          reference=lambda p: np.asarray(lower(p["size"]), p["dtype"].numpy), lower=_size_lower,
          vjp=lambda node, g: (), jvp=lambda node, t: None,
          samples=lambda: [({"size": 7, "dtype": dtypes.float32}, [])])
