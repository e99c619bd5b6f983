"""Losses: the mean over all rows, a 0-d array."""

from __future__ import annotations

from ..api import functions as F
from ..api.array import Array
from ..api.values import error
from ..base.errors import ShapeError


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Mean of -log softmax(logits)[label]: logits [..., classes], integer labels [...]."""
    return F.cross_entropy(logits, labels).mean()


def mse(prediction: Array, target: Array) -> Array:
    """Mean of (prediction - target)^2; the shapes must agree."""
    return F.square(_difference("mse", prediction, target)).mean()


def mae(prediction: Array, target: Array) -> Array:
    """Mean of |prediction - target|; the shapes must agree."""
    return F.abs(_difference("mae", prediction, target)).mean()


def huber(prediction: Array, target: Array, *, delta: float = 1.0) -> Array:
    """Mean of d^2 / 2 up to |d| = delta, from there on delta (|d| - delta / 2)."""
    d = F.abs(_difference("huber", prediction, target))
    return F.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)).mean()


def binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """Mean of -log sigmoid(logit) for labels 1 and -log(1 - sigmoid(logit)) for labels 0."""
    logits = F.asarray(logits)
    y = F.asarray(labels).astype(logits.dtype)
    return (F.maximum(logits, 0.0) - logits * y + F.log1p(F.exp(-F.abs(logits)))).mean()


def accuracy(logits: Array, labels: Array) -> Array:
    """The share of rows whose largest logit is the label's."""
    hits = F.argmax(logits, axis=-1) == F.asarray(labels)
    return hits.astype("float32").mean()


def _difference(name: str, a: Array, b: Array) -> Array:
    a, b = F.asarray(a), F.asarray(b)
    if a.shape != b.shape:
        raise error(ShapeError,
            f"{name}: prediction {a.shape} and target {b.shape} differ in shape")
    return a - b
