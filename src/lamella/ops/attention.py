"""Attention: one op for every mask, grouping and dropout, by way of `attend`.

Vaswani et al., "Attention is all you need", NeurIPS 2017; grouped queries: Ainslie et al., "GQA",
arXiv 2305.13245.
"""

from __future__ import annotations

import numpy as np

from ..base.dtypes import bool_, float32
from ..base.errors import ShapeError
from ..base.extents import Extent, Shape
from ..ir.node import Node, broadcast_to, make
from ..ir.types import TensorType
from ..lang.loops import LANES
from .attend import ATTEND, PARAMS
from .composite import composite, normal
from .move import pad, slice_, transpose
from .pointwise import broadcast_shapes, cast, require_float, reshape_to


def _attention(p: dict, q: Node, k: Node, v: Node, *more: Node) -> Node:
    """`attend` over operands as it takes them: 16-bit floats in float32, widths filled up with
    zeros, one lead, rows before heads."""
    leads = [n.shape[:-2] or (1,) for n in (q, k, v)]
    lead = broadcast_shapes("attention", [x[:-1] for x in leads])
    shared, = broadcast_shapes("attention", [x[-1:] for x in leads[1:]])
    heads = leads[0][-1] if leads[0][-1] != 1 else shared
    groups = shared if isinstance(heads, int) else heads
    wide = q.dtype if q.dtype.bits > 16 else float32
    inside = [_rows_first(cast(n, wide), (*lead, count))
              for n, count in ((q, heads), (k, groups), (v, groups))]
    if p["mask"]:
        mask = more[0] if more[0].dtype is bool_ else cast(more[0], wide)
        shape = (*lead, heads, q.shape[-2], k.shape[-2])
        *before, t, h, _ = inside[0].shape
        more = (reshape_to(broadcast_to(mask, shape), (*before, h, t, shape[-1])), *more[1:])
    y = make(ATTEND, (*inside, *more), p)
    y = slice_(y, (0,) * y.type.rank, (*y.shape[:-1], v.shape[-1]))
    rank = max(n.type.rank for n in (q, k, v))
    shape = (*lead, heads, q.shape[-2], v.shape[-1])
    return cast(reshape_to(_heads_first(y, heads), shape[-max(rank, len(lead) + 2):]), q.dtype)


def _rows_first(x: Node, lead: Shape) -> Node:
    """[*lead, rows, heads, width] of x [..., heads, rows, width], the width filled up; a number of
    heads that is not known is an axis of the lead."""
    rows, width = x.shape[-2:]
    x = pad(x, (0,) * x.type.rank, (*(0,) * (x.type.rank - 1), -width % LANES))
    x = broadcast_to(x, (*lead, *x.shape[-2:]))
    if not isinstance(lead[-1], int):
        return reshape_to(x, (*lead, rows, 1, x.shape[-1]))
    n = x.type.rank
    return transpose(x, (*range(n - 3), n - 2, n - 3, n - 1))


def _heads_first(y: Node, heads: Extent) -> Node:
    n = y.type.rank
    return transpose(y, (*range(n - 3), n - 2, n - 3, n - 1)) if isinstance(heads, int) else y


def _grouped(q: TensorType, k: TensorType) -> bool:
    """Whether several heads of queries share one of keys."""
    return min(q.rank, k.rank) > 2 and q.shape[-3] != k.shape[-3] and 1 not in (
        q.shape[-3], k.shape[-3])


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
        lead = broadcast_shapes("attention",
                                [q.shape[:-2], () if _grouped(q, k) else k.shape[:-2]])
        scores = (*lead, q.shape[-2], k.shape[-2])
        if broadcast_shapes("attention", [more[0].shape, scores]) != scores:
            raise ShapeError(f"attention: a mask of {more[0].shape} does not broadcast to the "
                             f"scores' {scores}")


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
            (p(True, True, 0.5), [*wide, np.ones((4, 5, 7), np.bool_), key]),
            (p(True), [r(66, 2), r(4000, 2, seed=1), r(4000, 3, seed=2)])]


ATTENTION = composite(
    "attention", "softmax(q k' * scale, masked) v: causal, a mask (bool or added), dropout.",
    _attention, arity=3, more=True, check=_check, samples=_samples, params=PARAMS)
