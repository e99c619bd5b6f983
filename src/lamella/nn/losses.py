"""Losses. `reduction` is "mean" (the default: over all elements or rows), "sum" or "none".

Classes are the last axis. Losses over pairs want equal shapes, which the error names.
"""

from __future__ import annotations

import math

from ..api import namespace as F
from ..api.arrays.array import Array
from ..api.arrays.values import error
from ..api.programs.control import scan
from ..base.errors import DTypeError, LamellaError, ShapeError
from .alignment import ctc

__all__ = ["accuracy", "binary_cross_entropy", "binary_cross_entropy_of", "cosine_embedding",
           "cross_entropy", "ctc", "focal", "gaussian_nll", "hinge", "hinge_embedding", "huber",
           "kl_divergence", "linear_cross_entropy", "mae", "margin_ranking", "mse",
           "multi_margin", "multilabel_margin", "multilabel_soft_margin", "nll", "poisson_nll",
           "reduced", "smooth_l1", "soft_margin", "triplet_margin"]


def reduced(values: Array, reduction: str) -> Array:
    """The values' mean, sum or themselves."""
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction != "none":
        raise error(LamellaError, f"reduction: {reduction!r} is not one of mean, sum, none")
    return values


def _difference(name: str, a, b) -> Array:
    a, b = F.asarray(a), F.asarray(b)
    if a.shape != b.shape:
        raise error(ShapeError,
            f"{name}: prediction {a.shape} and target {b.shape} differ in shape")
    return a - b


# ---- classes ------------------------------------------------------------------------------------

def cross_entropy(logits, labels, *, weights=None, ignore_index: int | None = None,
                  label_smoothing: float = 0.0, reduction: str = "mean") -> Array:
    """-log softmax(logits)[label]: logits [..., classes], integer labels [...].

    Floating labels [..., classes] are probabilities of the classes. weights: one for each class;
    the mean is then divided by the sum of the labels' weights (of the rows for probabilities).
    Rows labelled ignore_index count for nothing. label_smoothing moves that part of each label's
    probability to all classes alike.
    """
    logits, labels = F.asarray(logits), F.asarray(labels)
    if labels.dtype.is_float:
        return _soft_cross_entropy(logits, labels, weights, label_smoothing, reduction)
    if weights is None and ignore_index is None and not label_smoothing:
        return reduced(F.cross_entropy(logits, labels), reduction)
    scores = F.log_softmax(logits, axis=-1)
    if not label_smoothing:
        return nll(scores, labels, weights=weights, ignore_index=ignore_index,
                   reduction=reduction)
    hard = nll(scores, labels, weights=weights, ignore_index=ignore_index, reduction="none")
    every = -(scores if weights is None else scores * weights).mean(-1)
    kept, counts = _counted(labels, weights, ignore_index, scores)
    every = every if kept is None else F.where(kept, every, 0.0)
    total = hard * (1 - label_smoothing) + every * label_smoothing
    return total.sum() / counts.sum() if reduction == "mean" else reduced(total, reduction)


def linear_cross_entropy(x, weight, labels, *, rows: int = 1024,
                         reduction: str = "mean") -> Array:
    """`cross_entropy(x @ weight, labels)` of x [..., d], weight [d, classes], labels [...], with
    the logits of `rows` rows at a time: those of all rows are never stored, nor is their gradient.

    The losses have the bits of the whole; the weight's gradient is the sum of the blocks', from
    the last rows to the first. Lengths that are symbols take the whole.
    """
    x, weight, labels = F.asarray(x), F.asarray(weight), F.asarray(labels)
    if x.ndim == 0 or x.shape[:-1] != labels.shape:
        raise error(ShapeError, f"linear_cross_entropy: x {x.shape} needs integer labels of shape "
                                f"{x.shape[:-1]}, got {labels.shape}")
    count = math.prod(labels.shape) if all(isinstance(e, int) for e in labels.shape) else 0
    if rows < 1:
        raise error(LamellaError, f"linear_cross_entropy: rows is {rows}; 1 or more are needed")
    if count <= rows:
        return reduced(F.cross_entropy(x @ weight, labels), reduction)
    flat, known = x.reshape(count, x.shape[-1]), labels.reshape(count)
    whole = count // rows * rows

    def block(carry, given):
        return carry, F.cross_entropy(given[0] @ weight, given[1])

    _, first = scan(block, None, (flat[:whole].reshape(-1, rows, x.shape[-1]),
                                  known[:whole].reshape(-1, rows)))
    parts = [first.reshape(whole)]
    if whole < count:
        parts.append(block(None, (flat[whole:], known[whole:]))[1])
    return reduced(F.concat(parts).reshape(labels.shape), reduction)


def _soft_cross_entropy(logits: Array, target: Array, weights, smoothing: float,
                        reduction: str) -> Array:
    if target.ndim < logits.ndim:
        raise error(DTypeError, f"cross_entropy: labels of shape {target.shape} for logits "
                                f"{logits.shape} must be integers, got {target.dtype}; cast them "
                                "with astype('int32'), or give a probability for each class")
    _difference("cross_entropy", logits, target)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / logits.shape[-1]
    scores = F.log_softmax(logits, axis=-1) * target
    return reduced(-(scores if weights is None else scores * weights).sum(-1), reduction)


def nll(scores, labels, *, weights=None, ignore_index: int | None = None,
        reduction: str = "mean") -> Array:
    """-scores[label] for log-probabilities [..., classes] and integer labels [...].

    weights and ignore_index as in `cross_entropy`.
    """
    scores, labels = F.asarray(scores), F.asarray(labels)
    if labels.shape != scores.shape[:-1] or not labels.dtype.is_int:
        raise error(ShapeError, f"nll: scores {scores.node.type} need integer labels of shape "
                                f"{scores.shape[:-1]}, got {labels.node.type}")
    kept, counts = _counted(labels, weights, ignore_index, scores)
    values = -F.pick(scores, labels)
    values = values if weights is None else values * counts
    values = values if kept is None else F.where(kept, values, 0.0)
    return values.sum() / counts.sum() if reduction == "mean" else reduced(values, reduction)


def _counted(labels: Array, weights, ignore_index, scores: Array) -> tuple[Array | None, Array]:
    """(which rows count, None for all; how much each counts)."""
    kept = None if ignore_index is None else labels != ignore_index
    counts = F.ones(labels.shape, dtype=scores.dtype) if weights is None else F.take(
        F.asarray(weights), F.clip(labels, 0, scores.shape[-1] - 1), axis=0)
    return kept, counts if kept is None else F.where(kept, counts, 0.0)


def multi_margin(scores, labels, *, p: int = 1, margin: float = 1.0, weights=None,
                 reduction: str = "mean") -> Array:
    """The mean over all other classes of max(0, margin - score[label] + score)^p, for each row."""
    scores, labels = F.asarray(scores), F.asarray(labels)
    right = F.pick(scores, labels)
    gap = F.maximum(margin - F.expand_dims(right, axis=-1) + scores, 0.0)
    gap = gap if p == 1 else gap ** p
    if weights is not None:
        gap = gap * F.expand_dims(F.take(F.asarray(weights), labels, axis=0), axis=-1)
    other = F.one_hot(labels, scores.shape[-1], dtype=scores.dtype) == 0
    return reduced(F.where(other, gap, 0.0).mean(-1), reduction)


def multilabel_margin(scores, labels, *, reduction: str = "mean") -> Array:
    """The sum over labels t and classes i that are none of max(0, 1 - (score[t] - score[i])) over
    the number of classes. A row of labels [..., classes] ends at its first negative one."""
    scores, labels = F.asarray(scores), F.asarray(labels)
    classes = scores.shape[-1]
    place = F.arange(classes, dtype=labels.dtype)
    ended = F.where(labels < 0, place, classes)
    valid = place < ended.min(-1, keepdims=True)
    right = F.take_along_axis(scores, F.where(valid, labels, 0), axis=-1)
    hits = F.expand_dims(labels, axis=-1) == place
    is_label = F.any(hits & F.expand_dims(valid, axis=-1), axis=-2)
    gap = F.maximum(1.0 - F.expand_dims(right, axis=-1) + F.expand_dims(scores, axis=-2), 0.0)
    counted = F.expand_dims(valid, axis=-1) & ~F.expand_dims(is_label, axis=-2)
    return reduced(F.where(counted, gap, 0.0).sum((-2, -1)) / classes, reduction)


def multilabel_soft_margin(logits, labels, *, weights=None, reduction: str = "mean") -> Array:
    """The mean over the classes of `binary_cross_entropy`, for each row."""
    values = binary_cross_entropy(logits, labels, weights=weights, reduction="none")
    return reduced(values.mean(-1), reduction)


# ---- yes or no ----------------------------------------------------------------------------------

def binary_cross_entropy(logits, labels, *, weights=None, positive_weight=None,
                         reduction: str = "mean") -> Array:
    """-log sigmoid(logit) for labels 1, -log(1 - sigmoid(logit)) for labels 0, mixed between them.

    positive_weight multiplies the first, weights both; they broadcast.
    """
    logits = F.asarray(logits)
    y = F.asarray(labels).astype(logits.dtype)
    _difference("binary_cross_entropy", logits, y)
    miss = F.maximum(-logits, 0.0) + F.log1p(F.exp(-F.abs(logits)))  # -log sigmoid(logit)
    share = 1.0 if positive_weight is None else 1 + (F.asarray(positive_weight) - 1) * y
    values = (1 - y) * logits + share * miss
    return reduced(values if weights is None else values * weights, reduction)


def binary_cross_entropy_of(probability, labels, *, weights=None,
                            reduction: str = "mean") -> Array:
    """`binary_cross_entropy` of probabilities; logarithms below -100 count as -100."""
    p = F.asarray(probability)
    y = F.asarray(labels).astype(p.dtype)
    _difference("binary_cross_entropy_of", p, y)
    values = -(y * F.maximum(F.log(p), -100.0) + (1 - y) * F.maximum(F.log1p(-p), -100.0))
    return reduced(values if weights is None else values * weights, reduction)


def focal(logits, labels, *, alpha: float | None = 0.25, gamma: float = 2.0,
          reduction: str = "mean") -> Array:
    """Binary cross-entropy times (1 - p)^gamma, p the probability of the label, and times alpha
    for labels 1, 1 - alpha for labels 0 (Lin et al., arXiv 1708.02002)."""
    logits = F.asarray(logits)
    y = F.asarray(labels).astype(logits.dtype)
    values = binary_cross_entropy(logits, y, reduction="none")
    p = F.sigmoid(logits)
    wrong = p * (1 - y) + (1 - p) * y
    values = values * wrong ** gamma
    return reduced(values if alpha is None else values * (alpha * y + (1 - alpha) * (1 - y)),
                   reduction)


def soft_margin(scores, labels, *, reduction: str = "mean") -> Array:
    """log(1 + exp(-label score)) for labels 1 and -1."""
    scores = F.asarray(scores)
    return reduced(-F.logsigmoid(scores * F.asarray(labels).astype(scores.dtype)), reduction)


def hinge(scores, labels, *, reduction: str = "mean") -> Array:
    """max(0, 1 - label score) for labels 1 and -1."""
    scores = F.asarray(scores)
    return reduced(F.relu(1 - scores * F.asarray(labels).astype(scores.dtype)), reduction)


def hinge_embedding(distance, labels, *, margin: float = 1.0, reduction: str = "mean") -> Array:
    """The distance for labels 1, max(0, margin - distance) for labels -1."""
    d, y = F.asarray(distance), F.asarray(labels)
    near, far = F.where(y != -1, d, 0.0), F.where(y != 1, F.relu(margin - d), 0.0)
    return reduced(near + far, reduction)


# ---- numbers ------------------------------------------------------------------------------------

def mse(prediction, target, *, reduction: str = "mean") -> Array:
    """(prediction - target)^2."""
    return reduced(F.square(_difference("mse", prediction, target)), reduction)


def mae(prediction, target, *, reduction: str = "mean") -> Array:
    """|prediction - target|."""
    return reduced(F.abs(_difference("mae", prediction, target)), reduction)


def huber(prediction, target, *, delta: float = 1.0, reduction: str = "mean") -> Array:
    """d^2 / 2 up to |d| = delta, from there on delta (|d| - delta / 2)."""
    d = F.abs(_difference("huber", prediction, target))
    return reduced(F.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)), reduction)


def smooth_l1(prediction, target, *, beta: float = 1.0, reduction: str = "mean") -> Array:
    """d^2 / (2 beta) up to |d| = beta, from there on |d| - beta / 2; |d| where beta is 0."""
    if beta == 0:
        return mae(prediction, target, reduction=reduction)
    d = F.abs(_difference("smooth_l1", prediction, target))
    return reduced(F.where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction)


def poisson_nll(rate, target, *, log_rate: bool = True, full: bool = False, eps: float = 1e-8,
                reduction: str = "mean") -> Array:
    """rate - target log(rate), the rate given by its logarithm unless `log_rate` is False; `full`
    adds Stirling's approximation of log(target!) for targets above 1."""
    x = F.asarray(rate)
    t = F.asarray(target).astype(x.dtype)
    values = F.exp(x) - t * x if log_rate else x - t * F.log(x + eps)
    if full:
        safe = F.where(t > 1, t, 1.0)
        extra = safe * F.log(safe) - safe + 0.5 * F.log(2 * math.pi * safe)
        values = values + F.where(t > 1, extra, 0.0)
    return reduced(values, reduction)


def gaussian_nll(mean, target, variance, *, full: bool = False, eps: float = 1e-6,
                 reduction: str = "mean") -> Array:
    """(log variance + (mean - target)^2 / variance) / 2, the variance being eps where it is less;
    `full` adds log(2 pi) / 2."""
    mean = F.asarray(mean)
    variance = F.asarray(variance)
    if variance.ndim == mean.ndim - 1 and variance.shape == mean.shape[:-1]:
        variance = F.expand_dims(variance, axis=-1)
    variance = variance + F.stop_gradient(F.maximum(variance, eps) - variance)
    values = 0.5 * (F.log(variance) + F.square(mean - target) / variance)
    return reduced(values + 0.5 * math.log(2 * math.pi) if full else values, reduction)


def kl_divergence(log_prediction, target, *, log_target: bool = False,
                  reduction: str = "mean") -> Array:
    """target (log target - log_prediction), 0 where the target is 0; the target may be given by its
    logarithm. reduction "batchmean" is the sum over the extent of the first axis."""
    x, t = F.asarray(log_prediction), F.asarray(target)
    if log_target:
        values = F.exp(t) * (t - x)
    else:
        values = F.where(t > 0, t * F.log(F.where(t > 0, t, 1.0)), 0.0 * t) - t * x
    if reduction == "batchmean":
        return values.sum() / (values.shape[0] if values.ndim else 1)
    return reduced(values, reduction)


# ---- vectors ------------------------------------------------------------------------------------

def cosine_embedding(a, b, labels, *, margin: float = 0.0, reduction: str = "mean") -> Array:
    """1 - cos(a, b) for labels 1, max(0, cos(a, b) - margin) for labels -1."""
    a, b, y = F.asarray(a), F.asarray(b), F.asarray(labels)
    tiny = 1e-12
    size = (F.square(a).sum(-1) + tiny) * (F.square(b).sum(-1) + tiny)
    cosine = (a * b).sum(-1) / F.sqrt(size)
    return reduced(F.where(y == 1, 1 - cosine, F.relu(cosine - margin)), reduction)


def triplet_margin(anchor, positive, negative, *, margin: float = 1.0, p: float = 2.0,
                   eps: float = 1e-6, swap: bool = False, reduction: str = "mean") -> Array:
    """max(0, margin + |anchor - positive| - |anchor - negative|), p-norms over the last axis.

    swap: the negative's distance is the lesser of those to anchor and positive.
    """
    near = F.pairwise_distance(anchor, positive, p=p, eps=eps)
    far = F.pairwise_distance(anchor, negative, p=p, eps=eps)
    if swap:
        far = F.minimum(far, F.pairwise_distance(positive, negative, p=p, eps=eps))
    return reduced(F.maximum(margin + near - far, 0.0), reduction)


def margin_ranking(a, b, labels, *, margin: float = 0.0, reduction: str = "mean") -> Array:
    """max(0, margin - label (a - b)): label 1 wants a above b, -1 below."""
    a = F.asarray(a)
    y = F.asarray(labels).astype(a.dtype)
    return reduced(F.relu(margin - y * (a - b)), reduction)


def accuracy(logits: Array, labels: Array) -> Array:
    """The share of rows whose largest logit is the label's."""
    hits = F.argmax(logits, axis=-1) == F.asarray(labels)
    return hits.astype("float32").mean()
