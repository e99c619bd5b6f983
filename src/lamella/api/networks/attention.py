"""Attention."""

from __future__ import annotations

from ...base import dtypes
from ...ir.node import make
from ...ops.attention import ATTENTION
from ..arrays.array import Array, asarray, operands, wrap
from ..randomness.keys import use

__all__ = ["attention"]


def attention(q, k, v, *, mask=None, causal: bool = False, scale: float | None = None,
              dropout: float = 0.0, key=None) -> Array:
    """softmax(q k' * scale) v of q [..., t, d], k [..., s, d] and v [..., s, e]: [..., t, e].

    mask: broadcasts to [..., t, s]; a bool one says what is seen, any other is added to the scores.
    causal: query t sees the keys up to t + (s - number of queries). A query that sees no key gives
    0. scale is 1 / sqrt(d) by default. Where q has more heads (axis -3) than k and v, each of
    theirs serves a group of neighbours. dropout: the rate at which weights are left out, with a
    random key; without a key nothing is.
    """
    q, k, v = operands("attention", (q, k, v))
    scale = float(int(q.shape[-1])) ** -0.5 if scale is None else scale
    more = []
    if mask is not None:
        given = asarray(mask)
        more.append(given.node if given.dtype is dtypes.bool_ else given.astype(q.dtype).node)
    rate = dropout if key is not None else 0.0
    if rate:
        more.append(use("attention", key))
    return wrap(make(ATTENTION, (q, k, v, *more), {
        "scale": scale, "causal": causal, "mask": mask is not None, "dropout": rate}))
