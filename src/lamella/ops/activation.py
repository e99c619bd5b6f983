"""Activations: pointwise composites with their parameters as numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..base.errors import ShapeError
from ..ir.node import Node, literal
from ..ir.op import Op, is_axis, is_bool, is_number
from ..ir.types import TensorType
from .composite import batch_axis, batch_same, composite, float_only, normal
from .move import slice_
from .pointwise import apply, require_float

EDGES = np.array([0.0, -0.0, 0.5, -0.5, 3.0, -3.0, 6.0, -100.0, 100.0, 1e-40, np.inf, -np.inf,
                  np.nan], np.float32)


def _where(condition: Node, a, b) -> Node:
    """A choice whose sides may be numbers."""
    like = a if isinstance(a, Node) else b
    a, b = (v if isinstance(v, Node) else literal(v, like.dtype) for v in (a, b))
    return apply("where", condition, a, b)


def _activation(name: str, doc: str, expand: Callable, *params: dict, floats: bool = True) -> Op:
    """A pointwise composite of one operand; `params` are those of its samples, one at least."""
    names = params[0] if params else {}
    return composite(
        name, doc, expand, params={n: is_bool if isinstance(v, bool) else is_number
                                   for n, v in names.items()},
        check=float_only(name) if floats else None, batch=batch_same,
        samples=lambda: [(dict(p), [normal(3, 20)]) for p in params or ({},)]
        + [(dict(names), [EDGES]), (dict(names), [np.zeros((0, 3), np.float32)])])


# ---- pieces of lines ----------------------------------------------------------------------------

RELU = _activation("relu", "max(x, 0); NaN stays; the derivative at 0 is 0.",
                   lambda p, x: _where(x <= literal(0, x.dtype), 0, x), floats=False)
HARDTANH = _activation(
    "hardtanh", "x within low..high; NaN stays; the derivative is 0 at both bounds.",
    lambda p, x: _where(x <= p["low"], p["low"], _where(x >= p["high"], p["high"], x)),
    {"low": -1.0, "high": 1.0}, {"low": 0.0, "high": 6.0})
LEAKY_RELU = _activation("leaky_relu", "x where x > 0, else slope x.",
                         lambda p, x: _where(x > 0.0, x, x * float(p["slope"])),
                         {"slope": 0.01}, {"slope": -0.5})
THRESHOLD = _activation("threshold", "x where x > bound, else value; NaN stays.",
                        lambda p, x: _where(x <= p["bound"], p["value"], x),
                        {"bound": 0.5, "value": -2.0})
HARDSIGMOID = _activation("hardsigmoid", "(x + 3) / 6 within 0..1.",
                          lambda p, x: _ramp(x) / 6.0)
HARDSWISH = _activation("hardswish", "x times hardsigmoid(x).",
                        lambda p, x: _where(x <= -3.0, 0, _where(x >= 3.0, x, x * (x + 3.0) / 6.0)))
HARDSHRINK = _activation("hardshrink", "x where |x| > bound, else 0.",
                         lambda p, x: _where(abs(x) <= p["bound"], 0, x), {"bound": 0.5})
SOFTSHRINK = _activation(
    "softshrink", "x moved towards 0 by bound, 0 where |x| <= bound.",
    lambda p, x: _where(abs(x) <= p["bound"], 0, x - apply("sign", x) * float(p["bound"])),
    {"bound": 0.5})


def _ramp(x: Node) -> Node:
    return _where(x <= -3.0, 0, _where(x >= 3.0, 6, x + 3.0))


# ---- exponential --------------------------------------------------------------------------------

def _elu(p: dict, x: Node) -> Node:
    """Clevert, Unterthiner & Hochreiter, arXiv 1511.07289; the exponential sees x <= 0 only."""
    below = apply("expm1", _where(x > 0.0, 0, x) * float(p["rate"])) * float(p["alpha"])
    y = _where(x > 0.0, x, below)
    return y if p["scale"] == 1 else y * float(p["scale"])


def _softplus(x: Node) -> Node:
    """log(1 + e^x) without overflow; its derivative at 0 is 1/2."""
    return apply("max", x, literal(0, x.dtype)) + apply("log1p", apply("exp", -abs(x)))


def _softplus_op(p: dict, x: Node) -> Node:
    beta = float(p["beta"])
    scaled = x if beta == 1 else x * beta
    y = _softplus(scaled)
    return _where(scaled > p["threshold"], x, y if beta == 1 else y / beta)


def _gelu(p: dict, x: Node) -> Node:
    """Hendrycks & Gimpel, "Gaussian error linear units", arXiv 1606.08415."""
    if p["approximate"]:
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * 0.5 * (apply("tanh", inner) + 1.0)
    return x * 0.5 * (apply("erf", x * math.sqrt(0.5)) + 1.0)


ELU = _activation("elu", "scale x where x > 0, else scale alpha (exp(rate x) - 1).", _elu,
                  {"alpha": 1.0, "scale": 1.0, "rate": 1.0},
                  {"alpha": 1.6732632423543772, "scale": 1.0507009873554805, "rate": 1.0},
                  {"alpha": 2.0, "scale": 1.0, "rate": 0.5})
GELU = _activation("gelu", "x Phi(x), or its tanh form.", _gelu,
                   {"approximate": False}, {"approximate": True})
SILU = _activation("silu", "x sigmoid(x).", lambda p, x: x * apply("sigmoid", x))
MISH = _activation("mish", "x tanh(log(1 + e^x)) (Misra, arXiv 1908.08681).",
                   lambda p, x: x * apply("tanh", _softplus(x)))
SOFTPLUS = _activation("softplus", "log(1 + e^(beta x)) / beta; x where beta x > threshold.",
                       _softplus_op, {"beta": 1.0, "threshold": 20.0},
                       {"beta": 3.0, "threshold": 2.0})
LOGSIGMOID = _activation("logsigmoid", "log(sigmoid(x)), without overflow.",
                         lambda p, x: -_softplus(-x))
SOFTSIGN = _activation("softsign", "x / (1 + |x|).", lambda p, x: x / (abs(x) + 1.0))
TANHSHRINK = _activation("tanhshrink", "x - tanh(x).", lambda p, x: x - apply("tanh", x))


# ---- of more than one element -------------------------------------------------------------------

def _check_prelu(p: dict, x: TensorType, weight: TensorType) -> None:
    require_float("prelu", x)
    require_float("prelu", weight)


def halves(x: Node, axis: int) -> tuple[Node, Node]:
    """x's first and second half along the axis."""
    half, rank = x.shape[axis] // 2, x.type.rank
    at = lambda v: tuple(v if d == axis else 0 for d in range(rank))
    stops = tuple(half if d == axis else e for d, e in enumerate(x.shape))
    return slice_(x, at(0), stops), slice_(x, at(half), x.shape)


def _glu(p: dict, x: Node) -> Node:
    """Dauphin et al., "Language modeling with gated convolutional networks", arXiv 1612.08083."""
    a, b = halves(x, p["axis"])
    return a * apply("sigmoid", b)


def _check_glu(p: dict, x: TensorType) -> None:
    require_float("glu", x)
    extent = x.shape[p["axis"]]
    if isinstance(extent, int) and extent % 2:
        raise ShapeError(f"glu: axis {p['axis']} of {x.shape} has no two halves")


PRELU = composite("prelu", "x where x > 0, else weight x; the weight broadcasts.",
                  lambda p, x, w: apply("where", x > 0.0, x, x * w), arity=2, params={},
                  check=_check_prelu,
                  samples=lambda: [({}, [normal(3, 20), normal(20, seed=1)]),
                                   ({}, [EDGES, np.array(0.25, np.float32)])])
GLU = composite("glu", "The first half along an axis times the sigmoid of the second.", _glu,
                params={"axis": is_axis}, check=_check_glu, batch=batch_axis,
                samples=lambda: [({"axis": 1}, [normal(3, 18)]), ({"axis": 0}, [normal(2, 5)])])
