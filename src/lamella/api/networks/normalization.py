"""Normalisations of x [n, ..., c], channels last; weights and biases may be left out."""

from __future__ import annotations

import math

from ...base.errors import ShapeError
from ...ir.node import make
from ...ops import normalization as ops
from ..arrays.array import Array, asarray, operands, wrap
from ..arrays.kinds import floating
from ..arrays.shapes import some_axes
from ..arrays.values import error
from ..functions.elementwise import abs, maximum, rsqrt, square, stop_gradient, where
from ..functions.manipulation import pad

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm",
           "normalize", "p_norm", "rms_norm", "standardize"]


def standardize(x, *, axis=-1, eps: float = 1e-5) -> Array:
    """(x - mean) / sqrt(var + eps) over the axes, the variance being that of the values given."""
    return layer_norm(x, axis=axis, eps=eps)


def layer_norm(x, weight=None, bias=None, *, axis=-1, eps: float = 1e-5) -> Array:
    """(x - mean) / sqrt(var + eps) * weight + bias over the axes; weight and bias broadcast to x.
    """
    weight, bias = 1.0 if weight is None else weight, 0.0 if bias is None else bias
    nodes = [floating(n) for n in operands("layer_norm", (x, weight, bias))]
    axes = some_axes("layer_norm", axis, nodes[0].type.rank)
    return wrap(make(ops.LAYER_NORM, tuple(nodes), {"axes": axes, "eps": eps}))


def _affine(y: Array, weight, bias) -> Array:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x, weight=None, *, axis=-1, eps: float = 1e-6) -> Array:
    """x / sqrt(mean(x^2) + eps) * weight over the axes."""
    node = floating(asarray(x).node)
    axes = some_axes("rms_norm", axis, node.type.rank)
    return _affine(wrap(make(ops.RMS_NORM, (node,), {"axes": axes, "eps": eps})), weight, None)


def group_norm(x, groups: int, weight=None, bias=None, *, eps: float = 1e-5) -> Array:
    """Each of `groups` equal parts of the channels standardised over its channels and all inner
    axes (Wu & He, arXiv 1803.08494); weight and bias have one number for each channel."""
    x = asarray(x)
    if x.ndim < 2 or groups < 1 or x.shape[-1] % groups:
        raise error(ShapeError, f"group_norm: {groups} groups do not divide the channels of "
                                f"x {x.shape}")
    parts = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    both = [None if v is None else asarray(v).reshape(parts.shape[-2:]) for v in (weight, bias)]
    return layer_norm(parts, *both, axis=axes, eps=eps).reshape(x.shape)


def instance_norm(x, weight=None, bias=None, *, eps: float = 1e-5) -> Array:
    """Each channel of each image standardised over the inner axes (Ulyanov et al., 1607.08022)."""
    x = asarray(x)
    if x.ndim < 3:
        raise error(ShapeError, f"instance_norm: x {x.shape} has no axes between n and c")
    return layer_norm(x, weight, bias, axis=tuple(range(1, x.ndim - 1)), eps=eps)


def batch_norm(x, mean, var, weight=None, bias=None, *, train: bool, momentum: float = 0.1,
               eps: float = 1e-5) -> tuple[Array, Array, Array]:
    """(y, new mean, new var): each channel (last axis) normalised over all other axes.

    Training takes the batch's mean and variance and moves the running ones towards them (the
    variance with count - 1) by `momentum`; otherwise the running ones are taken and stay (Ioffe &
    Szegedy, arXiv 1502.03167).
    """
    x, mean, var = wrap(floating(asarray(x).node)), asarray(mean), asarray(var)
    if x.ndim < 2 or mean.shape != x.shape[-1:] or var.shape != x.shape[-1:]:
        raise error(ShapeError, f"batch_norm: mean {mean.shape} and var {var.shape} must have one "
                                f"number for each channel (last axis) of x {x.shape}")
    if not train:
        return _scaled(x - mean, var, weight, bias, eps), mean, var
    axes = tuple(range(x.ndim - 1))
    found = x.mean(axes)
    spread = square(x - found).mean(axes)
    count = asarray(x.size // x.shape[-1]).astype(spread.dtype)
    unbiased = stop_gradient(spread) * (count / maximum(count - 1, 1))
    moved = lambda old, new: old * (1 - momentum) + new * momentum
    return (_scaled(x - found, spread, weight, bias, eps), moved(mean, stop_gradient(found)),
            moved(var, unbiased))


def _scaled(centred: Array, var: Array, weight, bias, eps: float) -> Array:
    scale = rsqrt(var + eps)
    y = centred * (scale if weight is None else scale * weight)
    return y if bias is None else y + bias


def local_response_norm(x, size: int, *, alpha: float = 1e-4, beta: float = 0.75,
                        k: float = 1.0) -> Array:
    """x / (k + alpha mean(x^2))^beta, the mean over `size` neighbouring channels (last axis), zeros
    beyond the ends (Krizhevsky et al., NeurIPS 2012)."""
    x = wrap(floating(asarray(x).node))
    squares = pad(square(x), [(0, 0)] * (x.ndim - 1) + [(size // 2, (size - 1) // 2)])
    c, total = x.shape[-1], None
    for d in range(size):
        part = squares[..., d:d + c]
        total = part if total is None else total + part
    if total is None:
        raise error(ShapeError, f"local_response_norm: a size of {size} holds no channel")
    return x / (total * (alpha / size) + k) ** beta


def p_norm(x: Array, p: float, axis, *, keepdims: bool = False) -> Array:
    """(sum |x|^p)^(1/p) over the axes; its derivative at 0 is 0. p may be infinite or 0 (a count).
    """
    size = abs(x)
    if math.isinf(p):
        return size.max(axis, keepdims=keepdims) if p > 0 else size.min(axis, keepdims=keepdims)
    if p == 0:
        return (x != 0).astype(x.dtype).sum(axis, keepdims=keepdims)
    if p == 1:
        return size.sum(axis, keepdims=keepdims)
    total = (square(x) if p == 2 else power_at_zero(size, p)).sum(axis, keepdims=keepdims)
    return power_at_zero(total, 1.0 / p)


def power_at_zero(x: Array, p: float) -> Array:
    """x^p for x >= 0, whose derivative at 0 is 0."""
    zero = x == 0
    return where(zero, 0.0 if p > 0 else math.inf, where(zero, 1.0, x) ** p)


def normalize(x, *, p: float = 2.0, axis=-1, eps: float = 1e-12) -> Array:
    """x divided by its p-norm over the axes, which counts as eps where it is less."""
    x = wrap(floating(asarray(x).node))
    return x / maximum(p_norm(x, p, axis, keepdims=True), eps)
