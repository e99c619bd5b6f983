"""Composite ops: stated in other ops by `expand`; every other rule follows from it.

A composite has a name in printed programs, one kernel when uncompiled, and the derivative of its
expansion unless it states a better one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..base.dtypes import bool_, int64
from ..base.errors import DTypeError, ShapeError
from ..ir.node import Node, literal, make, placeholder, topological
from ..ir.op import (
    Op,
    at_least,
    check_extents,
    each,
    in_range,
    is_axis,
    is_bool,
    is_dtype,
    is_number,
    one_of,
)
from ..ir.types import TensorType
from .contract import contract, matmul
from .index import iota
from .move import pad, reshape, slice_, transpose
from .pointwise import STOP, apply, cast, require_float
from .reduce import indicator, keepdims, mean, reduce

F = np.float32


def composite(name: str, doc: str, expand: Callable, *, arity: int = 1,
              params: dict[str, Callable], vjp: Callable | None = None,
              check: Callable | None = None, batch: Callable | None = None,
              samples: Callable | None = None) -> Op:
    """An op by its expansion. `expand(params, *nodes)` builds it from other ops; `check(params,
    *types)` raises the user's errors before that."""
    known: dict[tuple, TensorType] = {}

    def infer(params: dict, *types: TensorType) -> TensorType:
        key = (types, *params.items())
        found = known.get(key)
        if found is None:
            if check is not None:
                check(params, *types)
            node = expand(params, *map(placeholder, types))
            for inner in topological([node]):
                check_extents(name, inner.shape)
            found = node.type
            if len(known) > 4096:
                known.clear()
            known[key] = found
        return found

    return Op(name, doc=doc, arity=arity, params=params, infer=infer, expand=expand, vjp=vjp,
              batch=batch, samples=samples,
              facts=frozenset({"composite"}))


def _batch_pointwise(n: Node, inputs, batched):
    return make(n.op, tuple(inputs), n.params)


def _batch_axis(n: Node, inputs, batched):
    return make(n.op, tuple(inputs), {**n.params, "axis": n.params["axis"] + 1})


def expanded(n: Node) -> Node:
    """The node's expansion over its inputs."""
    assert n.op.expand is not None
    return n.op.expand(n.params, *n.inputs)


def _rand(*shape, seed=0, scale=2.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(F)


def _float_only(name: str) -> Callable:
    return lambda p, *types: require_float(name, types[0])


# ---- activations --------------------------------------------------------------------------------

def _relu(p: dict, x: Node) -> Node:
    zero = literal(0, x.dtype)
    return apply("where", x <= zero, zero, x)


def _gelu(p: dict, x: Node) -> Node:
    """Hendrycks & Gimpel, "Gaussian error linear units", arXiv 1606.08415."""
    if p["approximate"]:
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * 0.5 * (apply("tanh", inner) + 1.0)
    return x * 0.5 * (apply("erf", x * math.sqrt(0.5)) + 1.0)


RELU = composite("relu", "max(x, 0); NaN stays; the derivative at 0 is 0.", _relu,
                 params={}, batch=_batch_pointwise,
                 samples=lambda: [({}, [_rand(3, 20)]), ({}, [np.array([0, -0.0, 1], F)])])
GELU = composite("gelu", "x Phi(x), or its tanh form.", _gelu, check=_float_only("gelu"),
                 params={"approximate": is_bool}, batch=_batch_pointwise,
                 samples=lambda: [({"approximate": a}, [_rand(3, 20)]) for a in (False, True)])
SILU = composite("silu", "x sigmoid(x).", lambda p, x: x * apply("sigmoid", x),
                 params={}, check=_float_only("silu"), batch=_batch_pointwise,
                 samples=lambda: [({}, [_rand(3, 20)])])


# ---- softmax and friends ------------------------------------------------------------------------

def _shifted(x: Node, axis: int) -> Node:
    """x minus its largest along the axis (0 where that is infinite, so that no NaN arises)."""
    top = keepdims(reduce("max", x, (axis,)), x, (axis,))
    top = apply("where", apply("eq", apply("abs", top), literal(math.inf, x.dtype)),
                literal(0, x.dtype), top)
    return x - make(STOP, (top,))


def _softmax(p: dict, x: Node) -> Node:
    e = apply("exp", _shifted(x, p["axis"]))
    return e / keepdims(reduce("sum", e, (p["axis"],)), x, (p["axis"],))


def _softmax_vjp(n: Node, g: Node):
    axis = n.params["axis"]
    inner = keepdims(reduce("sum", g * n, (axis,)), n, (axis,))
    return ((g - inner) * n,)


def _log_softmax(p: dict, x: Node) -> Node:
    s = _shifted(x, p["axis"])
    total = reduce("sum", apply("exp", s), (p["axis"],))
    return s - keepdims(apply("log", total), x, (p["axis"],))


def _log_softmax_vjp(n: Node, g: Node):
    axis = n.params["axis"]
    total = keepdims(reduce("sum", g, (axis,)), n, (axis,))
    return (g - apply("exp", n) * total,)


def _axis_samples():
    return [({"axis": 1}, [_rand(3, 20)]), ({"axis": 0}, [_rand(5, 4)]),
            ({"axis": 2}, [_rand(2, 3, 33, scale=30.0)])]


SOFTMAX = composite("softmax", "exp(x - m) / sum exp(x - m), m the largest along the axis.",
                    _softmax, params={"axis": is_axis}, vjp=_softmax_vjp, batch=_batch_axis,
                    check=_float_only("softmax"),
                    samples=_axis_samples)
LOG_SOFTMAX = composite("log_softmax", "x - m - log sum exp(x - m) along the axis.", _log_softmax,
                        params={"axis": is_axis}, vjp=_log_softmax_vjp, batch=_batch_axis,
                        check=_float_only("log_softmax"),
                        samples=_axis_samples)


def _argextreme(p: dict, x: Node) -> Node:
    """The first position of the extreme; a NaN counts as one."""
    a = p["axis"]
    best = keepdims(reduce(p["monoid"], x, (a,)), x, (a,))
    hit = apply("or", apply("eq", x, best), apply("ne", x, x))
    at = iota(x.shape, a, p["dtype"])
    last = literal(2 ** (p["dtype"].bits - 1) - 1, p["dtype"])
    return reduce("min", apply("where", hit, at, last), (a,))


def _arg_samples():
    from ..base.dtypes import int32
    x = np.array([[1, 3, 3], [2, np.nan, 5]], F)
    return [({"monoid": m, "axis": 1, "dtype": int32}, [x]) for m in ("max", "min")]


def _check_arg(p: dict, x: TensorType) -> None:
    if x.dtype is bool_ or not p["dtype"].is_int:
        raise DTypeError(f"argreduce: takes numbers and gives integers, got {x} and {p['dtype']}; "
                         f"cast with astype")


ARG = composite("argreduce", "The first position of the maximum or minimum along an axis.",
                _argextreme, params={"monoid": one_of("max", "min"), "axis": is_axis,
                                     "dtype": is_dtype},
                check=_check_arg, batch=_batch_axis, samples=_arg_samples)


# ---- normalisation ------------------------------------------------------------------------------

def _layer_norm(p: dict, x: Node, weight: Node, bias: Node) -> Node:
    """Ba, Kiros & Hinton, "Layer normalization", arXiv 1607.06450; over the last axis."""
    last = (x.type.rank - 1,)
    centred = x - keepdims(mean(x, last), x, last)
    variance = keepdims(mean(centred * centred, last), x, last)
    return centred * apply("rsqrt", variance + p["eps"]) * weight + bias


def _check_norm(p: dict, x: TensorType, weight: TensorType, bias: TensorType) -> None:
    require_float("layer_norm", x)
    if x.rank == 0 or weight.shape != x.shape[-1:] or bias.shape != x.shape[-1:]:
        raise ShapeError(f"layer_norm: x {x.shape} needs weight and bias of shape {x.shape[-1:]}, "
                         f"got {weight.shape} and {bias.shape}")


def _layer_norm_vjp(n: Node, g: Node):
    x, weight, _ = n.inputs
    last = (x.type.rank - 1,)
    lead = tuple(range(x.type.rank - 1))
    centred = x - keepdims(mean(x, last), x, last)
    scale = apply("rsqrt", keepdims(mean(centred * centred, last), x, last) + n.params["eps"])
    normal = centred * scale
    gw = g * weight
    inner = gw - keepdims(mean(gw, last), x, last)
    dx = (inner - normal * keepdims(mean(gw * normal, last), x, last)) * scale
    return dx, reduce("sum", g * normal, lead), reduce("sum", g, lead)


LAYER_NORM = composite("layer_norm", "(x - mean) / sqrt(var + eps) * weight + bias, last axis.",
                       _layer_norm, arity=3, params={"eps": is_number}, vjp=_layer_norm_vjp,
                       check=_check_norm,
                       samples=lambda: [({"eps": 1e-5}, [_rand(3, 20), _rand(20, seed=1),
                                                         _rand(20, seed=2)])])


# ---- losses and attention -----------------------------------------------------------------------

def _cross_entropy(p: dict, logits: Node, labels: Node) -> Node:
    """-log softmax(logits)[label] for each row; labels outside of the classes are clamped."""
    logp = make(LOG_SOFTMAX, (logits,), {"axis": logits.type.rank - 1})
    return -pick(logp, labels)


def _is_label(x: Node, labels: Node) -> Node:
    """Where the position along x's last axis is the label, clamped to the classes."""
    last = int(x.shape[-1]) - 1
    if not in_range(last, labels.dtype):
        labels = cast(labels, int64)
    classes = iota(x.shape, x.type.rank - 1, labels.dtype)
    limit = literal(last, labels.dtype)
    bounded = apply("max", apply("min", labels, limit), literal(0, labels.dtype))
    return apply("eq", classes, reshape(bounded, (*labels.shape, 1)))


def pick(x: Node, labels: Node) -> Node:
    """x[..., labels[...]] along the last axis, by comparison with the class number."""
    hit = _is_label(x, labels)
    return reduce("sum", apply("where", hit, x, literal(0, x.dtype)), (x.type.rank - 1,))


def _check_loss(p: dict, logits: TensorType, labels: TensorType) -> None:
    require_float("cross_entropy", logits)
    if logits.rank == 0 or labels.shape != logits.shape[:-1] or not labels.dtype.is_int:
        raise ShapeError(f"cross_entropy: logits {logits} need integer labels of shape "
                         f"{logits.shape[:-1]}, got {labels}")
    if not isinstance(logits.shape[-1], int) or logits.shape[-1] == 0:
        raise ShapeError(f"cross_entropy: the number of classes must be fixed and not 0, got "
                         f"logits {logits}")


def _cross_entropy_vjp(n: Node, g: Node):
    logits, labels = n.inputs
    axis = logits.type.rank - 1
    hit = indicator(_is_label(logits, labels), logits.dtype)
    p = make(SOFTMAX, (logits,), {"axis": axis})
    return (p - hit) * reshape(g, (*g.shape, 1)), None


CROSS_ENTROPY = composite("cross_entropy", "-log softmax(logits)[label] for each row.",
                          _cross_entropy, arity=2, params={}, vjp=_cross_entropy_vjp,
                          check=_check_loss,
                          samples=lambda: [({}, [_rand(6, 10),
                                                 np.array([0, 9, 3, 3, 1, 5], np.int32)]),
                                           ({}, [_rand(2, 3, 5), np.ones((2, 3), np.int64)])])


def _attention(p: dict, q: Node, k: Node, v: Node) -> Node:
    """softmax(q k' scale + mask) v; q is [..., t, d], k and v are [..., s, d] (Vaswani et al.,
    "Attention is all you need", NeurIPS 2017). Causal: query t sees keys up to t + (s - t_count).
    """
    perm = (*range(k.type.rank - 2), k.type.rank - 1, k.type.rank - 2)
    scores = matmul(q, transpose(k, perm)) * p["scale"]
    if p["causal"]:
        t, s = q.shape[-2], k.shape[-2]
        rows, cols = iota((t, 1), 0), iota((1, s), 1)
        seen = cols <= rows + (s - t)
        scores = apply("where", seen, scores, literal(-math.inf, scores.dtype))
    return matmul(make(SOFTMAX, (scores,), {"axis": scores.type.rank - 1}), v)


def _check_attention(p: dict, q: TensorType, k: TensorType, v: TensorType) -> None:
    require_float("attention", q)
    if min(q.rank, k.rank, v.rank) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"attention: q [..., t, d], k [..., s, d], v [..., s, e] are needed, got "
                         f"{q.shape}, {k.shape}, {v.shape}")


ATTENTION = composite(
    "attention", "softmax(q k' * scale) v, with an optional causal mask.", _attention,
    arity=3, params={"scale": is_number, "causal": is_bool}, check=_check_attention,
    samples=lambda: [({"scale": 0.5, "causal": c},
                      [_rand(2, 3, 5, 4), _rand(2, 3, 5, 4, seed=1), _rand(2, 3, 5, 4, seed=2)])
                     for c in (True, False)])


# ---- pooling ------------------------------------------------------------------------------------

def _windows(x: Node, window, stride):
    """The strided slices of NHWC x, one for each position inside the window."""
    n, h, w, c = x.shape
    out = [(e - k) // s + 1 for e, k, s in zip((h, w), window, stride, strict=True)]
    for r in range(window[0]):
        for s in range(window[1]):
            stops = (n, r + (out[0] - 1) * stride[0] + 1, s + (out[1] - 1) * stride[1] + 1, c)
            yield slice_(x, (0, r, s, 0), stops, (1, *stride, 1))


def _max_pool(p: dict, x: Node) -> Node:
    """The largest of each window; the gradient goes to the first that attains it."""
    best: Node | None = None
    for part in _windows(x, p["window"], p["stride"]):
        best = part if best is None else apply("where", apply("or", part <= best,
                                               apply("ne", best, best)), best, part)
    assert best is not None
    return best


def _avg_pool(p: dict, x: Node) -> Node:
    total: Node | None = None
    for part in _windows(x, p["window"], p["stride"]):
        total = part if total is None else total + part
    assert total is not None
    return total / float(p["window"][0] * p["window"][1])


MOST_WINDOW = 4096  # positions: each is a node of the expansion
_POOL = {"window": each(at_least(1), 2), "stride": each(at_least(1), 2)}


def _check_pool(name: str) -> Callable:
    def check(p: dict, x: TensorType) -> None:
        require_float(name, x)
        if p["window"][0] * p["window"][1] > MOST_WINDOW:
            raise ShapeError(f"{name}: a window of {p['window']} on {x.shape} has more than "
                             f"{MOST_WINDOW} positions; reduce over axes (1, 2), or pool twice")
        if x.rank != 4 or any(isinstance(e, int) and e < k
                              for e, k in zip(x.shape[1:3], p["window"], strict=True)):
            raise ShapeError(f"{name}: x must be [n, h, w, c] with a window {p['window']} that "
                             f"fits, got {x.shape}")
    return check


def _pool_samples():
    return [({"window": (2, 2), "stride": (2, 2)}, [_rand(2, 6, 6, 3)]),
            ({"window": (3, 2), "stride": (1, 2)}, [_rand(1, 5, 7, 2)])]


MAX_POOL = composite("max_pool", "The largest of each window of [n, h, w, c].", _max_pool,
                     params=_POOL, check=_check_pool("max_pool"), samples=_pool_samples)
AVG_POOL = composite("avg_pool", "The mean of each window of [n, h, w, c].", _avg_pool,
                     params=_POOL, check=_check_pool("avg_pool"), samples=_pool_samples)


def _conv(p: dict, x: Node, w: Node) -> Node:
    """o[n, y, z, f] = sum(c, r, s) x[n, y*S + r*D - P, z*S + s*D - P, c] w[f, r, s, c]."""
    (low, high), stride, dilation = p["padding"], p["stride"], p["dilation"]
    x = pad(x, (0, *low, 0), (0, *high, 0))
    out = {n: (e - (k - 1) * d - 1) // s + 1 for n, e, k, d, s in
           zip("yz", x.shape[1:3], w.shape[1:3], dilation, stride, strict=True)}
    index = [f"{s}*{o} + {d}*{r}" for o, r, s, d in zip("yz", "rs", stride, dilation, strict=True)]
    return contract(x, w, ["n", *index, "c"], ["f", "r", "s", "c"], list("nyzf"), list("crs"), out)


def _check_conv(p: dict, x: TensorType, w: TensorType) -> None:
    require_float("conv2d", x)
    if x.rank != 4 or w.rank != 4 or x.shape[3] != w.shape[3]:
        raise ShapeError(f"conv2d: x [n, h, w, c] and weight [f, kh, kw, c] must share c, got "
                         f"{x.shape} and {w.shape}")
    for e, k, lo, hi, d in zip(x.shape[1:3], w.shape[1:3], *p["padding"], p["dilation"],
                               strict=True):
        if isinstance(e, int) and isinstance(k, int) and e + lo + hi < (k - 1) * d + 1:
            raise ShapeError(f"conv2d: a kernel of {w.shape[1:3]} does not fit into {x.shape} with "
                             f"padding {p['padding']}; enlarge the padding")


def _conv_samples():
    plain = {"stride": (1, 1), "dilation": (1, 1), "padding": ((1, 1), (1, 1))}
    strided = {"stride": (2, 3), "dilation": (1, 2), "padding": ((0, 2), (1, 0))}
    return [(plain, [_rand(2, 6, 5, 3), _rand(4, 3, 3, 3, seed=1)]),
            (strided, [_rand(1, 9, 8, 2), _rand(5, 2, 3, 2, seed=1)])]


CONV2D = composite("conv2d", "Cross-correlation of [n, h, w, c] with [f, kh, kw, c].", _conv,
                   arity=2, params={"stride": each(at_least(1), 2),
                                    "dilation": each(at_least(1), 2),
                                    "padding": each(each(at_least(0), 2), 2)},
                   check=_check_conv, samples=_conv_samples)

