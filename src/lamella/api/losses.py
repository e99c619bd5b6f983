"""Losses that are ops, row by row; nn.losses reduces them."""

from __future__ import annotations

from ..ir.node import make
from ..ops.loss import CROSS_ENTROPY
from .array import Array, asarray, wrap

__all__ = ["cross_entropy"]


def cross_entropy(logits, labels) -> Array:
    """-log softmax(logits)[label] for each row: logits [..., classes], integer labels [...]."""
    return wrap(make(CROSS_ENTROPY, (asarray(logits).node, asarray(labels).node)))
