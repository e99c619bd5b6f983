"""Activations, softmax and their kin; integers are taken as float32."""

from __future__ import annotations

from ...ir.node import make
from ...ops import activation
from ...ops import softmax as soft
from ...ops.pointwise import normal_axis
from ..arrays.array import Array, asarray, operands, wrap
from ..arrays.kinds import floating

__all__ = ["celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
           "leaky_relu", "log_softmax", "logsigmoid", "mish", "prelu", "relu", "relu6", "selu",
           "silu", "softmax", "softmin", "softplus", "softshrink", "softsign", "tanhshrink",
           "threshold"]


def _pointwise(op, x, **params) -> Array:
    return wrap(make(op, (floating(asarray(x).node),), params))


def relu(x) -> Array:
    """max(x, 0); the derivative at 0 is 0."""
    return wrap(make(activation.RELU, (asarray(x).node,)))


def relu6(x) -> Array:
    """x within 0..6."""
    return hardtanh(x, low=0.0, high=6.0)


def hardtanh(x, *, low: float = -1.0, high: float = 1.0) -> Array:
    """x within low..high; the derivative is 0 at both bounds."""
    return _pointwise(activation.HARDTANH, x, low=low, high=high)


def leaky_relu(x, *, slope: float = 0.01) -> Array:
    """x where x > 0, else slope x."""
    return _pointwise(activation.LEAKY_RELU, x, slope=slope)


def prelu(x, weight) -> Array:
    """x where x > 0, else weight x; the weight broadcasts, so one for each channel comes last."""
    return wrap(make(activation.PRELU, operands("prelu", (x, weight))))


def threshold(x, *, bound: float, value: float) -> Array:
    """x where x > bound, else value."""
    return _pointwise(activation.THRESHOLD, x, bound=bound, value=value)


def elu(x, *, alpha: float = 1.0) -> Array:
    """x where x > 0, else alpha (e^x - 1)."""
    return _pointwise(activation.ELU, x, alpha=alpha, scale=1.0, rate=1.0)


def selu(x) -> Array:
    """The self-normalising ELU (Klambauer et al., arXiv 1706.02515)."""
    return _pointwise(activation.ELU, x, alpha=1.6732632423543772, scale=1.0507009873554805,
                      rate=1.0)


def celu(x, *, alpha: float = 1.0) -> Array:
    """x where x > 0, else alpha (e^(x / alpha) - 1)."""
    return _pointwise(activation.ELU, x, alpha=alpha, scale=1.0, rate=1 / alpha)


def gelu(x, *, approximate: bool = False) -> Array:
    """x times the normal distribution's mass below x; `approximate` takes the tanh form. Float."""
    return _pointwise(activation.GELU, x, approximate=approximate)


def silu(x) -> Array:
    """x sigmoid(x), float."""
    return _pointwise(activation.SILU, x)


def mish(x) -> Array:
    """x tanh(softplus(x))."""
    return _pointwise(activation.MISH, x)


def softplus(x, *, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold."""
    return _pointwise(activation.SOFTPLUS, x, beta=beta, threshold=threshold)


def logsigmoid(x) -> Array:
    """log(sigmoid(x)), without overflow."""
    return _pointwise(activation.LOGSIGMOID, x)


def softsign(x) -> Array:
    """x / (1 + |x|)."""
    return _pointwise(activation.SOFTSIGN, x)


def tanhshrink(x) -> Array:
    """x - tanh(x)."""
    return _pointwise(activation.TANHSHRINK, x)


def hardsigmoid(x) -> Array:
    """(x + 3) / 6 within 0..1."""
    return _pointwise(activation.HARDSIGMOID, x)


def hardswish(x) -> Array:
    """x hardsigmoid(x) (Howard et al., arXiv 1905.02244)."""
    return _pointwise(activation.HARDSWISH, x)


def hardshrink(x, *, bound: float = 0.5) -> Array:
    """x where |x| > bound, else 0."""
    return _pointwise(activation.HARDSHRINK, x, bound=bound)


def softshrink(x, *, bound: float = 0.5) -> Array:
    """x moved towards 0 by bound; 0 where |x| <= bound."""
    return _pointwise(activation.SOFTSHRINK, x, bound=bound)


# ---- along an axis ------------------------------------------------------------------------------

def _along(op, name: str, x, axis: int) -> Array:
    node = floating(asarray(x).node)
    return wrap(make(op, (node,), {"axis": normal_axis(name, axis, node.type.rank)}))


def softmax(x, *, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x)) along the axis, floating, without overflow."""
    return _along(soft.SOFTMAX, "softmax", x, axis)


def log_softmax(x, *, axis: int = -1) -> Array:
    """The logarithm of `softmax`."""
    return _along(soft.LOG_SOFTMAX, "log_softmax", x, axis)


def softmin(x, *, axis: int = -1) -> Array:
    """softmax(-x)."""
    return softmax(-asarray(x), axis=axis)


def glu(x, *, axis: int = -1) -> Array:
    """The first half along the axis times the sigmoid of the second; the extent is even."""
    return _along(activation.GLU, "glu", x, axis)
