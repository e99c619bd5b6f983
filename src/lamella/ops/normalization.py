"""Normalisation: values moved to mean 0 and scaled to variance 1 over some axes."""

from __future__ import annotations

import numpy as np

from ..base.errors import ShapeError
from ..ir.node import Node, make
from ..ir.op import is_axes, is_number
from ..ir.types import TensorType
from .composite import composite, float_only, normal
from .move import broadcast
from .pointwise import apply, batch_operands, broadcast_shapes, require_float, sum_to
from .reduce import keepdims, mean


def _deviation(x: Node, axes) -> Node:
    return x - keepdims(mean(x, axes), x, axes)


def _power(x: Node, axes) -> Node:
    """The mean square, its axes kept."""
    return keepdims(mean(x * x, axes), x, axes)


def _batch(n: Node, inputs, batched) -> Node:
    axes = tuple(a + 1 for a in n.params["axes"])
    if not batched[0]:  # an unbatched x is repeated, so that the axes are those behind the batch
        extent = next(i.shape[0] for i, b in zip(inputs, batched, strict=True) if b)
        inputs = (broadcast(inputs[0], (extent, *inputs[0].shape)), *inputs[1:])
        batched = (True, *batched[1:])
    return make(n.op, tuple(batch_operands(inputs, batched)), {**n.params, "axes": axes})


# ---- layer norm, over any axes: group and instance norm are this over a reshaped x --------------

def _layer_norm(p: dict, x: Node, weight: Node, bias: Node) -> Node:
    """Ba, Kiros & Hinton, "Layer normalization", arXiv 1607.06450."""
    centred = _deviation(x, p["axes"])
    return centred * apply("rsqrt", _power(centred, p["axes"]) + p["eps"]) * weight + bias


def _check(p: dict, x: TensorType, weight: TensorType, bias: TensorType) -> None:
    require_float("layer_norm", x)
    for name, t in (("weight", weight), ("bias", bias)):
        if broadcast_shapes("layer_norm", [x.shape, t.shape]) != x.shape:
            raise ShapeError(f"layer_norm: x {x.shape} and a {name} of shape {t.shape} do not "
                             f"broadcast to x's shape")


def _layer_norm_vjp(n: Node, g: Node):
    x, weight, bias = n.inputs
    axes = n.params["axes"]
    centred = _deviation(x, axes)
    scale = apply("rsqrt", _power(centred, axes) + n.params["eps"])
    normal_x, gw = centred * scale, g * weight
    inner = _deviation(gw, axes)
    dx = (inner - normal_x * keepdims(mean(gw * normal_x, axes), x, axes)) * scale
    return dx, sum_to(g * normal_x, weight.shape), sum_to(g, bias.shape)


def _samples():
    return [({"axes": (1,), "eps": 1e-5},
             [normal(3, 20), normal(20, seed=1), normal(20, seed=2)]),
            ({"axes": (1, 3), "eps": 1e-3},
             [normal(2, 4, 3, 5), normal(3, 5, seed=1), normal(4, 1, 1, seed=2)]),
            ({"axes": (0,), "eps": 0.5},
             [normal(1, 4), np.ones((), np.float32), np.zeros((), np.float32)])]


LAYER_NORM = composite("layer_norm", "(x - mean) / sqrt(var + eps) * weight + bias over axes.",
                       _layer_norm, arity=3, params={"axes": is_axes, "eps": is_number},
                       vjp=_layer_norm_vjp, batch=_batch, check=_check, samples=_samples)


# ---- root mean square ---------------------------------------------------------------------------

def _rms(p: dict, x: Node) -> Node:
    """Zhang & Sennrich, "Root mean square layer normalization", arXiv 1910.07467."""
    return x * apply("rsqrt", _power(x, p["axes"]) + p["eps"])


def _rms_vjp(n: Node, g: Node):
    x, axes = n.inputs[0], n.params["axes"]
    scale = apply("rsqrt", _power(x, axes) + n.params["eps"])
    y = x * scale
    return ((g - y * keepdims(mean(g * y, axes), g, axes)) * scale,)


RMS_NORM = composite("rms_norm", "x / sqrt(mean(x^2) + eps) over axes.", _rms,
                     params={"axes": is_axes, "eps": is_number}, vjp=_rms_vjp, batch=_batch,
                     check=float_only("rms_norm"),
                     samples=lambda: [({"axes": (1,), "eps": 1e-5}, [normal(3, 20)]),
                                      ({"axes": (1, 3), "eps": 1e-3}, [normal(2, 4, 3, 5)]),
                                      ({"axes": (0,), "eps": 0.5}, [normal(1, 4)])])
