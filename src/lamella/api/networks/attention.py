"""Attention."""

from __future__ import annotations

from ...base import dtypes
from ...ir.node import Node, make
from ...ops.attention import ATTENTION
from ..arrays.array import Array, asarray, operands, product, wrap
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
    given = None if mask is None else asarray(mask)
    rate = dropout if key is not None else 0.0
    drawn = [use("attention", key)] if rate else []
    params = {"scale": scale, "causal": causal, "mask": mask is not None, "dropout": rate}

    def attended(q: Node, k: Node, v: Node) -> Node:
        masks = [] if given is None else [
            given.node if given.dtype is dtypes.bool_ else given.astype(q.dtype).node]
        return make(ATTENTION, (q, k, v, *masks, *drawn), params)

    return wrap(product(attended, q, k, v))
