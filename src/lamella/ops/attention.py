"""Attention: one op for every mask, grouping and dropout; a kernel of its own can take its place.

Vaswani et al., "Attention is all you need", NeurIPS 2017; grouped queries: Ainslie et al., "GQA",
arXiv 2305.13245.
"""

from __future__ import annotations

import math

import numpy as np

from ..base.dtypes import bool_
from ..base.errors import ShapeError
from ..ir.node import Node, literal, make
from ..ir.op import is_bool, is_number
from ..ir.types import TensorType
from .composite import composite, normal
from .contract import matmul
from .index import iota
from .move import reshape, transpose
from .pointwise import apply, broadcast_shapes, require_float
from .random import unit
from .softmax import SOFTMAX


def _attention(p: dict, q: Node, k: Node, v: Node, *more: Node) -> Node:
    """dropout(softmax(q k' scale, masked)) v, for queries of one head or of a group of heads."""
    mask, key = operands_of(p, more)
    folded = _grouped(q.type, k.type)
    scores = _unfold(matmul(_fold(q, k, folded), _mT(k)), q, folded) * p["scale"]
    lowest = literal(-math.inf, scores.dtype)
    seen = _seen(p, scores, mask)
    if mask is not None and mask.dtype is not bool_:
        scores = scores + mask
    if seen is not None:
        scores = apply("where", seen, scores, lowest)
    weights = make(SOFTMAX, (scores,), {"axis": scores.type.rank - 1})
    if seen is not None and _may_be_blind(p, q.type, k.type):
        weights = apply("where", seen, weights, literal(0, weights.dtype))
    if key is not None:
        kept = unit(key, weights.shape, weights.dtype) < 1.0 - p["dropout"]
        weights = apply("where", kept, weights / (1.0 - p["dropout"]), literal(0, weights.dtype))
    return _unfold(matmul(_fold(weights, v, folded), v), weights, folded)


def operands_of(p: dict, more) -> tuple[Node | None, Node | None]:
    """(mask, key) among the operands behind q, k and v."""
    rest = list(more)
    mask = rest.pop(0) if p["mask"] else None
    return mask, rest.pop(0) if p["dropout"] else None


def _mT(k: Node) -> Node:
    n = k.type.rank
    return transpose(k, (*range(n - 2), n - 1, n - 2))


def _grouped(q: TensorType, k: TensorType) -> bool:
    """Whether several heads of queries share one of keys."""
    return min(q.rank, k.rank) > 2 and q.shape[-3] != k.shape[-3] and 1 not in (
        q.shape[-3], k.shape[-3])


def _fold(q: Node, k: Node, folded: bool) -> Node:
    """q with the heads of a group as more rows: [..., k's heads, group * t, d]."""
    if not folded:
        return q
    *lead, heads, t, d = q.shape
    return reshape(q, (*lead, k.shape[-3], heads // k.shape[-3] * t, d))


def _unfold(y: Node, q: Node, folded: bool) -> Node:
    """y with q's heads and rows again."""
    return reshape(y, (*y.shape[:-3], *q.shape[-3:-1], y.shape[-1])) if folded else y


def _seen(p: dict, scores: Node, mask: Node | None) -> Node | None:
    """Where a query sees a key; None where everywhere."""
    seen = mask if mask is not None and mask.dtype is bool_ else None
    if p["causal"]:
        t, s = scores.shape[-2:]
        rows, cols = iota((t, 1), 0), iota((1, s), 1)
        past = cols <= rows + (s - t)
        seen = past if seen is None else apply("and", seen, past)
    return seen


def _may_be_blind(p: dict, q: TensorType, k: TensorType) -> bool:
    """Whether a query may see no key at all: its result is 0."""
    t, s = q.shape[-2], k.shape[-2]
    return p["mask"] or not (t == s or (isinstance(t, int) and isinstance(s, int) and t < s))


def _check(p: dict, q: TensorType, k: TensorType, v: TensorType, *more: TensorType) -> None:
    require_float("attention", q)
    if min(q.rank, k.rank, v.rank) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"attention: q [..., t, d], k [..., s, d], v [..., s, e] are needed, got "
                         f"{q.shape}, {k.shape}, {v.shape}")
    if len(more) != bool(p["mask"]) + bool(p["dropout"]):
        raise ShapeError("attention: a mask and a key are operands where mask and dropout say so")
    heads, groups = (t.shape[-3] if t.rank > 2 else 1 for t in (q, k))
    if _grouped(q, k) and (k.shape[-3] != v.shape[-3] or not isinstance(heads, int)
                           or not isinstance(groups, int) or heads % groups):
        raise ShapeError(f"attention: {heads} heads of q {q.shape} are no groups for the "
                         f"{groups} of k {k.shape} and v {v.shape}")
    if p["mask"]:
        lead = broadcast_shapes("attention", [q.shape[:-2], () if _grouped(q, k) else k.shape[:-2]])
        scores = (*lead, q.shape[-2], k.shape[-2])
        if broadcast_shapes("attention", [more[0].shape, scores]) != scores:
            raise ShapeError(f"attention: a mask of {more[0].shape} does not broadcast to the "
                             f"scores' {scores}")


def _is_rate(v, *_) -> bool:
    """a number from 0 up to 1, 1 left out"""
    return is_number(v) and 0 <= v < 1


def _samples():
    r = lambda *s, seed=0: normal(*s, seed=seed)
    p = lambda causal=False, mask=False, dropout=0.0: {"scale": 0.5, "causal": causal,
                                                       "mask": mask, "dropout": dropout}
    qkv = [r(2, 3, 5, 4, seed=s) for s in range(3)]
    holes = np.tri(5, 7, 1, dtype=np.bool_)
    holes[2] = False  # a query that sees nothing
    wide = [r(2, 4, 5, 8), r(2, 2, 7, 8, seed=1), r(2, 2, 7, 3, seed=2)]
    key = np.array([3, 4], np.uint32)
    return [(p(True), qkv), (p(), qkv), (p(mask=True), [*wide, holes]),
            (p(True), wide), (p(mask=True), [*qkv, r(3, 5, 5, seed=3)]),
            (p(dropout=0.25), [*qkv, key]),
            (p(True, True, 0.5), [*wide, np.ones((4, 5, 7), np.bool_), key])]


ATTENTION = composite(
    "attention", "softmax(q k' * scale, masked) v: causal, a mask (bool or added), dropout.",
    _attention, arity=3, more=True, check=_check, samples=_samples,
    params={"scale": is_number, "causal": is_bool, "mask": is_bool, "dropout": _is_rate})
