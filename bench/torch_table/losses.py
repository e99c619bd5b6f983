"""Losses; classes are the second axis there and the last one here."""

from __future__ import annotations

from .common import L, channels_last

LOSSES = L.nn.losses


def _reduction(k: dict) -> str:
    return k.get("reduction", "mean")


def _cross_entropy(x, target, weight=None, size_average=None, ignore_index=-100, reduce=None,
                   reduction="mean", label_smoothing=0.0):
    x = x if x.ndim == 1 else channels_last(x)
    target = channels_last(target) if target.dtype.is_float and target.ndim > 1 else target
    return LOSSES.cross_entropy(x, target, weights=weight, ignore_index=ignore_index,
                                label_smoothing=label_smoothing, reduction=reduction)


def _nll(x, target, weight=None, ignore_index=-100, reduction="mean", **k):
    return LOSSES.nll(x if x.ndim == 1 else channels_last(x), target, weights=weight,
                      ignore_index=ignore_index, reduction=reduction)


def _pair(name):
    return lambda a, b, **k: getattr(LOSSES, name)(*L.broadcast_arrays(a, b),
                                                   reduction=_reduction(k))


def _weighted(name):
    def f(a, b, *, weight=None, reduction="mean"):
        if weight is None:
            return _pair(name)(a, b, reduction=reduction)
        return LOSSES.reduced(_pair(name)(a, b, reduction="none") * weight, reduction)
    return f


def _bce(x, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    return LOSSES.binary_cross_entropy_of(x, target, weights=weight, reduction=reduction)


def _bce_logits(x, target, weight=None, size_average=None, reduce=None, reduction="mean",
                pos_weight=None):
    return LOSSES.binary_cross_entropy(x, target, weights=weight, positive_weight=pos_weight,
                                       reduction=reduction)


def _kl(x, target, reduction="mean", log_target=False, **k):
    return LOSSES.kl_divergence(x, target, log_target=log_target, reduction=reduction)


def _poisson(x, target, log_input=True, full=False, eps=1e-8, reduction="mean", **k):
    return LOSSES.poisson_nll(x, target, log_rate=log_input, full=full, eps=eps,
                              reduction=reduction)


def _gaussian(x, target, var, full=False, eps=1e-6, reduction="mean", **k):
    return LOSSES.gaussian_nll(x, target, var, full=full, eps=eps, reduction=reduction)


def _cosine(a, b, y, margin=0.0, reduction="mean", **k):
    return LOSSES.cosine_embedding(a, b, y, margin=margin, reduction=reduction)


def _triplet(a, p, n, margin=1.0, norm=2.0, eps=1e-6, swap=False, reduction="mean", **k):
    return LOSSES.triplet_margin(a, p, n, margin=margin, p=norm, eps=eps, swap=swap,
                                 reduction=reduction)


def _triplet_by(a, p, n, *, distance_function=None, margin=1.0, swap=False, reduction="mean"):
    return LOSSES.triplet_margin(a, p, n, margin=margin, swap=swap, reduction=reduction)


def _multi_margin(x, target, p=1, margin=1.0, weight=None, reduction="mean", **k):
    if x.ndim < 2:
        x, target = x.reshape(1, -1), target.reshape(1)
        reduction = "sum"
    elif not target.ndim:
        target = target.reshape(1)
    return LOSSES.multi_margin(x, target, p=p, margin=margin, weights=weight, reduction=reduction)


def _ctc(x, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    # PyTorch states the gradient of what precedes log_softmax, which leaves log-probabilities alone
    x = L.log_softmax(L.moveaxis(x, 0, 1), axis=-1)
    lengths, target_lengths = (L.asarray(v, dtype="int32") if not isinstance(v, L.Array) else v
                               for v in (input_lengths, target_lengths))
    if targets.ndim == 1:
        sizes = target_lengths.tolist()
        rows, at = [], 0
        for size in sizes:
            rows.append(L.pad(targets[at:at + size], [(0, max(sizes) - size)]))
            at += size
        targets = L.stack(rows)
    return LOSSES.ctc(x, targets, lengths, target_lengths, blank=blank, reduction=reduction,
                      zero_infinity=zero_infinity)


def _linear_cross_entropy(x, weights, target, linear_bias=None, **k):
    for name in ("chunking_strategy", "chunk_size", "acc_dtype", "options"):
        k.pop(name, None)
    y = L.tensordot(x, weights, axes=([-1], [-1]))
    return _cross_entropy(y if linear_bias is None else y + linear_bias, target, **k)


F = "nn.functional."
TABLE = {
    F + "cross_entropy": _cross_entropy, F + "nll_loss": _nll, F + "l1_loss": _weighted("mae"),
    F + "mse_loss": _weighted("mse"),
    F + "smooth_l1_loss": lambda a, b, beta=1.0, **k: LOSSES.smooth_l1(
        *L.broadcast_arrays(a, b), beta=beta, reduction=_reduction(k)),
    F + "huber_loss": lambda a, b, delta=1.0, **k: LOSSES.huber(
        *L.broadcast_arrays(a, b), delta=delta, reduction=_reduction(k)),
    F + "binary_cross_entropy": _bce, F + "binary_cross_entropy_with_logits": _bce_logits,
    F + "kl_div": _kl, F + "poisson_nll_loss": _poisson, F + "gaussian_nll_loss": _gaussian,
    F + "cosine_embedding_loss": _cosine, F + "triplet_margin_loss": lambda a, p, n, **k: _triplet(
        a, p, n, norm=k.pop("p", 2.0), **k),
    F + "triplet_margin_with_distance_loss": _triplet_by,
    F + "margin_ranking_loss": lambda a, b, y, margin=0.0, **k: LOSSES.margin_ranking(
        a, b, y, margin=margin, reduction=_reduction(k)),
    F + "hinge_embedding_loss": lambda x, y, margin=1.0, **k: LOSSES.hinge_embedding(
        x, y, margin=margin, reduction=_reduction(k)),
    F + "soft_margin_loss": lambda x, y, **k: LOSSES.soft_margin(x, y, reduction=_reduction(k)),
    F + "multi_margin_loss": _multi_margin,
    F + "multilabel_margin_loss": lambda x, y, **k: LOSSES.multilabel_margin(
        x.reshape(1, 1) if not x.ndim else x, y.reshape(1, 1) if not y.ndim else y,
        reduction=_reduction(k) if x.ndim else "sum"),
    F + "multilabel_soft_margin_loss": lambda x, y, weight=None, **k: LOSSES.multilabel_soft_margin(
        x, y, weights=weight, reduction=_reduction(k)),
    F + "ctc_loss": _ctc, F + "linear_cross_entropy": _linear_cross_entropy,
}

