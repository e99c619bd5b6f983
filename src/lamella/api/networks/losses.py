"""Losses that are ops, row by row; nn.losses reduces them. Likeness of vectors."""

from __future__ import annotations

from ...ir.node import make
from ...ops.loss import CROSS_ENTROPY
from ..arrays.array import Array, asarray, wrap
from ..arrays.kinds import floating
from ..functions.creation import broadcast_arrays
from ..functions.elementwise import maximum
from .normalization import p_norm

__all__ = ["cosine_similarity", "cross_entropy", "pairwise_distance"]


def cross_entropy(logits, labels) -> Array:
    """-log softmax(logits)[label] for each row: logits [..., classes], integer labels [...]."""
    return wrap(make(CROSS_ENTROPY, (asarray(logits).node, asarray(labels).node)))


def cosine_similarity(a, b, *, axis: int = -1, eps: float = 1e-8) -> Array:
    """The cosine of the angle between a and b, which broadcast, along the axis; norms count as eps
    where less."""
    a, b = (wrap(floating(v.node)) for v in broadcast_arrays(asarray(a), asarray(b)))
    a, b = (v / maximum(p_norm(v, 2.0, axis, keepdims=True), eps) for v in (a, b))
    return (a * b).sum(axis)


def pairwise_distance(a, b, *, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False) -> Array:
    """The p-norm of a - b + eps over the last axis."""
    gap = wrap(floating((asarray(a) - b).node)) + eps
    return p_norm(gap, p, -1, keepdims=keepdims)
