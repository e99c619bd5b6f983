"""Neural networks' functions: activations, softmax, convolution, pooling, attention, loss."""

from __future__ import annotations

from ..ir.node import Node, make
from ..ops import composite, move
from ..ops.pointwise import normal_axis
from .array import Array, asarray, operands, wrap
from .kinds import floating

__all__ = ["attention", "avg_pool", "conv2d", "cross_entropy", "gelu", "layer_norm",
           "log_softmax", "max_pool", "relu", "silu", "softmax"]


def relu(x) -> Array:
    """max(x, 0)."""
    return wrap(make(composite.RELU, (asarray(x).node,)))


def gelu(x, *, approximate: bool = False) -> Array:
    """x times the normal distribution's mass below x; `approximate` takes the tanh form. Float."""
    return wrap(make(composite.GELU, (floating(asarray(x).node),), {"approximate": approximate}))


def silu(x) -> Array:
    """x sigmoid(x), float."""
    return wrap(make(composite.SILU, (floating(asarray(x).node),)))


def softmax(x, *, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x)) along the axis, floating, without overflow."""
    return _along(composite.SOFTMAX, "softmax", x, axis)


def log_softmax(x, *, axis: int = -1) -> Array:
    """The logarithm of `softmax`."""
    return _along(composite.LOG_SOFTMAX, "log_softmax", x, axis)


def _along(op, name: str, x, axis: int) -> Array:
    node = floating(asarray(x).node)
    return wrap(make(op, (node,), {"axis": normal_axis(name, axis, node.type.rank)}))


def conv2d(x, weight, *, stride=1, padding=0, dilation=1) -> Array:
    """Cross-correlation of x [n, h, w, c] with weight [f, kh, kw, c]: [n, h', w', f].

    padding: a number, one for each of the two axes, (before, after) pairs for them, or "same" (the
    extents divided by the stride, rounded up). Raises ShapeError where the kernel does not fit.
    """
    x, weight = operands("conv2d", (x, weight))
    stride, dilation = _pair(stride), _pair(dilation)
    low, high = _padding(x, weight, stride, padding, dilation)
    return wrap(make(composite.CONV2D, (x, weight), {
        "stride": stride, "dilation": dilation, "padding": (low, high)}))


def _pair(v) -> tuple[int, int]:
    return (v, v) if isinstance(v, int) else tuple(v)


def _padding(x: Node, weight: Node, stride, padding, dilation) -> tuple:
    if padding == "same":
        pairs = []
        for e, k, s, d in zip(x.shape[1:3], weight.shape[1:3], stride, dilation, strict=True):
            total = max((-(-e // s) - 1) * s + (k - 1) * d + 1 - e, 0)
            pairs.append((total // 2, total - total // 2))
    else:
        pairs = [_pair(p) for p in _pair(padding)]
    return tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)


def _pool(op, x, window, stride, padding, value: float) -> Array:
    x = asarray(x)
    window = _pair(window)
    stride = window if stride is None else _pair(stride)
    (h, w) = (_pair(p) for p in _pair(padding))
    node = move.pad(x.node, (0, h[0], w[0], 0), (0, h[1], w[1], 0), None, value) \
        if x.ndim == 4 else x.node
    return wrap(make(op, (node,), {"window": window, "stride": stride}))


def max_pool(x, window, *, stride=None, padding=0) -> Array:
    """The largest of each window of x [n, h, w, c]; the stride is the window by default."""
    return _pool(composite.MAX_POOL, x, window, stride, padding, float("-inf"))


def avg_pool(x, window, *, stride=None, padding=0) -> Array:
    """The mean of each window of x [n, h, w, c], padding (zeros) included."""
    return _pool(composite.AVG_POOL, x, window, stride, padding, 0.0)


def attention(q, k, v, *, causal: bool = False, scale: float | None = None) -> Array:
    """softmax(q k' * scale) v of q [..., t, d], k and v [..., s, d]; scale is 1/sqrt(d) by default.

    Causal: query t sees the keys up to t + (s - number of queries).
    """
    q, k, v = operands("attention", (q, k, v))
    scale = float(int(q.shape[-1])) ** -0.5 if scale is None else scale
    return wrap(make(composite.ATTENTION, (q, k, v), {"scale": scale, "causal": causal}))


def layer_norm(x, weight, bias, *, eps: float = 1e-5) -> Array:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis."""
    return wrap(make(composite.LAYER_NORM, operands("layer_norm", (x, weight, bias)), {"eps": eps}))


def cross_entropy(logits, labels) -> Array:
    """-log softmax(logits)[label] for each row: logits [..., classes], integer labels [...]."""
    return wrap(make(composite.CROSS_ENTROPY, (asarray(logits).node, asarray(labels).node)))
