"""Connectionist temporal classification: the loss of all alignments of a label sequence."""

from __future__ import annotations

from ..api import namespace as F
from ..api.arrays.array import Array
from ..api.arrays.values import error
from ..api.programs import control
from ..base.errors import ShapeError

NEVER = -1e30  # a log-probability that adds nothing and has a derivative of 0


def ctc(scores, labels, lengths, label_lengths, *, blank: int = 0, reduction: str = "mean",
        zero_infinity: bool = False) -> Array:
    """-log of the summed probability of all alignments (Graves et al., ICML 2006).

    scores: log-probabilities [n, t, classes]; integer labels [n, s]; lengths [n] within 1..t and
    label_lengths [n] within 0..s. A row whose labels do not fit into its length gives infinity, or
    0 (and no gradient) with zero_infinity. reduction: "mean" (each row over its label length, at
    least 1, then over the rows), "sum" or "none".
    """
    scores, labels = F.asarray(scores), F.asarray(labels)
    lengths, label_lengths = F.asarray(lengths), F.asarray(label_lengths)
    n = scores.shape[0]
    if scores.ndim != 3 or labels.ndim != 2 or labels.shape[0] != n or not labels.dtype.is_int:
        raise error(ShapeError, f"ctc: scores [n, t, classes] need integer labels [n, s], got "
                                f"{scores.node.type} and {labels.node.type}")
    if lengths.shape != (n,) or label_lengths.shape != (n,):
        raise error(ShapeError, f"ctc: {n} rows need as many lengths, got {lengths.shape} and "
                                f"{label_lengths.shape}")
    total = _log_probability(scores, _with_blanks(labels, blank), lengths, label_lengths, blank)
    impossible = total < 0.5 * NEVER
    loss = F.where(impossible, 0.0 if zero_infinity else float("inf"), -total)
    if reduction == "mean":
        return (loss / F.maximum(label_lengths, 1).astype(loss.dtype)).mean()
    return loss.sum() if reduction == "sum" else loss


def _with_blanks(labels: Array, blank: int) -> Array:
    """[n, 2 s + 1]: a blank before, between and after the labels."""
    n, s = labels.shape
    gaps = F.full((n, s, 1), blank, dtype=labels.dtype)
    pairs = F.concat([gaps, labels.reshape(n, s, 1)], axis=2).reshape(n, 2 * s)
    return F.concat([pairs, F.full((n, 1), blank, dtype=labels.dtype)], axis=1)


def _log_probability(scores: Array, path: Array, lengths: Array, label_lengths: Array,
                     blank: int) -> Array:
    """The forward recursion over time, a row standing still from its length on."""
    steps = F.moveaxis(scores, 1, 0)
    width = path.shape[1]
    place = F.arange(width)
    back = F.pad(path, [(0, 0), (2, 0)], value=-1)[:, :width]
    may_skip = (path != blank) & (path != back)
    seen = lambda row: F.take_along_axis(row, path, axis=1)
    alpha = F.where(place < 2, seen(steps[0]), NEVER)

    def step(alpha, x):
        time, row = x
        one = F.pad(alpha, [(0, 0), (1, 0)], value=NEVER)[:, :width]
        two = F.where(may_skip, F.pad(alpha, [(0, 0), (2, 0)], value=NEVER)[:, :width], NEVER)
        top = F.stop_gradient(F.maximum(F.maximum(alpha, one), two))
        new = top + F.log(F.exp(alpha - top) + F.exp(one - top) + F.exp(two - top)) + seen(row)
        return F.where((time < lengths).reshape(-1, 1), F.maximum(new, NEVER), alpha), None

    times = F.arange(1, steps.shape[0])
    alpha, _ = control.scan(step, alpha, (times, steps[1:]))
    last = (2 * label_lengths).reshape(-1, 1)
    end = F.take_along_axis(alpha, last, axis=1)
    before = F.where(last > 0, F.take_along_axis(alpha, F.maximum(last - 1, 0), axis=1), NEVER)
    return F.logaddexp(end, before).reshape(-1)
