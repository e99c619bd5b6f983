"""Losses that are ops: those whose gradient is simpler than what derives."""

from __future__ import annotations

import numpy as np

from ..base.dtypes import int64
from ..base.errors import ShapeError
from ..ir.node import Node, literal, make
from ..ir.op import in_range
from ..ir.types import TensorType
from .composite import composite, normal
from .iota import iota
from .move import reshape
from .pointwise import apply, cast, require_float
from .reduce import indicator, reduce
from .softmax import LOG_SOFTMAX, SOFTMAX


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
                          samples=lambda: [({}, [normal(6, 10),
                                                 np.array([0, 9, 3, 3, 1, 5], np.int32)]),
                                           ({}, [normal(2, 3, 5), np.ones((2, 3), np.int64)])])
