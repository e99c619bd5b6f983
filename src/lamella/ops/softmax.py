"""Softmax and its logarithm along an axis."""

from __future__ import annotations

import math

from ..ir.node import Node, literal, make
from ..ir.op import is_axis
from .composite import batch_axis, composite, float_only, normal
from .pointwise import STOP, apply
from .reduce import keepdims, reduce


def peak(x: Node, axis: int) -> Node:
    """x's largest along the axis, 0 where that is infinite; a constant to derivatives."""
    top = keepdims(reduce("max", x, (axis,)), x, (axis,))
    top = apply("where", apply("eq", apply("abs", top), literal(math.inf, x.dtype)),
                literal(0, x.dtype), top)
    return make(STOP, (top,))


def _shifted(x: Node, axis: int) -> Node:
    """x minus its largest along the axis (0 where that is infinite, so that no NaN arises)."""
    return x if x.shape[axis] == 0 else x - peak(x, axis)


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
    return [({"axis": 1}, [normal(3, 20)]), ({"axis": 0}, [normal(5, 4)]),
            ({"axis": 2}, [normal(2, 3, 33, scale=30.0)]), ({"axis": 1}, [normal(2, 0)])]


SOFTMAX = composite("softmax", "exp(x - m) / sum exp(x - m), m the largest along the axis.",
                    _softmax, params={"axis": is_axis}, vjp=_softmax_vjp, batch=batch_axis,
                    check=float_only("softmax"),
                    samples=_axis_samples)
LOG_SOFTMAX = composite("log_softmax", "x - m - log sum exp(x - m) along the axis.", _log_softmax,
                        params={"axis": is_axis}, vjp=_log_softmax_vjp, batch=batch_axis,
                        check=float_only("log_softmax"),
                        samples=_axis_samples)
