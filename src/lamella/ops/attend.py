"""Attention by blocks of queries as an op, and its pullback: kernels of their own.

    attend:  y[l, i, h, c] = sum(j <= i + s - t : e[l, h, i, j] * v[l, j, h // (H / G), c]) * 1 / z
             e[l, h, i, j] = exp((q[l, i, h] * scale) . k[l, j, h // (H / G)] + mask - largest)
             z[l, h, i]    = sum(j : e[l, h, i, j])

q is [*lead, t, H, d], k and v are [*lead, s, G, d] and [*lead, s, G, e], a mask [*lead, H, t, s];
the bound on j is that of a causal mask. A random key [*lanes, 2] is one for each of the first axes
of the lead. `ops/attention.py` brings any attention into this form.
"""

from __future__ import annotations

import numpy as np

from ..base import dtypes
from ..base.errors import DTypeError, ShapeError
from ..base.extents import Extent
from ..ir.node import Node, broadcast_to, make
from ..ir.op import Op, is_bool, is_number
from ..ir.types import TensorType, tensor
from ..lang.loops import LANES
from ..transform import jvp, vjp
from .blockwise import backward, forward
from .composite import normal
from .move import concat, reshape, slice_
from .random import unit_array
from .scores import of_mask, whole, whole_pullback


def is_rate(v, *_) -> bool:
    """a number from 0 up to 1, 1 left out"""
    return is_number(v) and 0 <= v < 1


PARAMS = {"scale": is_number, "causal": is_bool, "mask": is_bool, "dropout": is_rate}


def _infer(p: dict, q: TensorType, k: TensorType, v: TensorType, *more: TensorType) -> TensorType:
    if q.dtype not in (dtypes.float32, dtypes.float64) or not q.dtype == k.dtype == v.dtype:
        raise DTypeError(f"attend: q, k and v are float32 or float64, got {q}, {k}, {v}")
    if not q.rank == k.rank == v.rank > 2:
        raise ShapeError(f"attend: q, k and v have one rank, 3 or more, got {q}, {k}, {v}")
    *lead, t, h, d = q.shape
    *_, s, g, e = v.shape
    if (*lead, s, g, d) != k.shape or (*lead, s, g, e) != v.shape or not isinstance(h, int) or \
            not isinstance(g, int) or g == 0 or h % g:
        raise ShapeError(f"attend: q [*l, t, H, d], k [*l, s, G, d] and v [*l, s, G, e] are "
                         f"needed, G dividing H, got {q.shape}, {k.shape}, {v.shape}")
    if not all(isinstance(x, int) and x % LANES == 0 for x in (d, e)):
        raise ShapeError(f"attend: d {d} and e {e} must be multiples of {LANES}")
    _check_more(p, (*lead, h, t, s), more)
    return tensor(q.dtype, (*lead, t, h, e))


def _check_more(p: dict, scores: tuple, more: tuple[TensorType, ...]) -> None:
    if len(more) != bool(p["mask"]) + bool(p["dropout"]):
        raise ShapeError("attend: a mask and a key are operands where mask and dropout say so")
    if p["mask"] and more[0].shape != scores:
        raise ShapeError(f"attend: the mask is {more[0].shape}, the scores are {scores}")
    if p["dropout"]:
        lead = more[-1].rank - 1
        if more[-1].dtype is not dtypes.uint32 or lead > len(scores) - 3 or \
                more[-1].shape != (*scores[:lead], 2):
            raise DTypeError(f"random: a key is uint32[2], got {more[-1]}; make one with "
                             f"random.key(seed)")


def _reference(p: dict, q: np.ndarray, k: np.ndarray, v: np.ndarray, *more) -> np.ndarray:
    return _forward(p, q, k, v, *more)[0]


def _forward(p: dict, q, k, v, *more):
    """(y, the weights before dropout, what dropout multiplies them with), scores as [.., h, t, s].
    """
    groups = q.shape[-2] // k.shape[-2]
    k, v = np.repeat(k, groups, -2), np.repeat(v, groups, -2)
    with np.errstate(all="ignore"):
        x = np.einsum("...thd,...shd->...hts", q * p["scale"], k)
        if p["mask"]:
            x = np.where(more[0], x, -np.inf) if more[0].dtype == bool else x + more[0]
        if p["causal"]:
            t, s = x.shape[-2:]
            x = np.where(np.tri(t, s, s - t, bool), x, -np.inf)
        top = x.max(-1, keepdims=True, initial=-np.inf)
        e = np.exp(x - np.where(np.isinf(top), 0, top))
        total = e.sum(-1, keepdims=True)
        weights = e / np.where(total == 0, 1, total)
        kept = _kept(p, weights, more)
        return np.einsum("...hts,...she->...the", weights * kept, v).astype(q.dtype), weights, kept


def _kept(p: dict, weights: np.ndarray, more) -> np.ndarray:
    if not p["dropout"]:
        return np.ones((), weights.dtype)
    def drawn(key: np.ndarray, shape) -> np.ndarray:
        if key.ndim == 1:
            return unit_array(key, shape, dtypes.as_dtype(weights.dtype))
        return np.stack([drawn(k, shape[1:]) for k in key])

    return (drawn(more[-1], weights.shape) < 1 - p["dropout"]) / (1 - p["dropout"])


def _vjp(node: Node, g: Node):
    p, operands = node.params, node.inputs
    flat = make(PULLBACK, (*operands, node, g), p)
    found: dict[int, Node] = {}
    at: Extent = 0
    for n in operands[:3]:
        part = reshape(slice_(flat, (at,), (at + n.type.size,)), n.shape)
        found[id(n)] = found[id(n)] + part if id(n) in found else part
        at = at + n.type.size
    if p["mask"] and operands[3].dtype.is_inexact:
        found[id(operands[3])] = of_mask(p, g, *operands)
    return [found.pop(id(n), None) for n in operands]


def _jvp(node: Node, tangents):
    return jvp.propagate([whole(node.params, *node.inputs)], node.inputs, tangents)[0]


def _batch(node: Node, inputs, batched):
    """One more leading axis, of a random key too: each lane draws as it would alone."""
    extent = next(n.shape[0] for n, b in zip(inputs, batched, strict=True) if b)
    lanes = [n if b else broadcast_to(n, (extent, *n.shape))
             for n, b in zip(inputs, batched, strict=True)]
    return make(node.op, tuple(lanes), node.params)


# ---- the pullback -------------------------------------------------------------------------------

def _pullback_infer(p: dict, *types: TensorType) -> TensorType:
    *operands, y, g = types
    result = _infer(p, *operands)
    if y != result or g != result:
        raise ShapeError(f"attend_pullback: the result is {y} and its cotangent {g}, but {result} "
                         f"is needed")
    return tensor(result.dtype, (sum((t.size for t in operands[1:3]), operands[0].size),))


def _pullback_reference(p: dict, *arrays: np.ndarray) -> np.ndarray:
    q, k, v, *more = arrays[:-2]
    _, weights, kept = _forward(p, q, k, v, *more)
    (y, g), heads = arrays[-2:], k.shape[-2]
    groups = q.shape[-2] // heads
    shared = lambda x: x.reshape(*x.shape[:-2], heads, groups, x.shape[-1]).sum(-2)
    k, wide = np.repeat(k, groups, -2), np.repeat(v, groups, -2)
    with np.errstate(all="ignore"):
        of_v = shared(np.einsum("...hts,...the->...she", weights * kept, g))
        given = np.einsum("...the,...she->...hts", g, wide) * kept
        slopes = weights * (given - np.einsum("...the,...the->...ht", g, y)[..., None])
        of_q = np.einsum("...hts,...shd->...thd", slopes, k) * p["scale"]
        of_k = shared(np.einsum("...hts,...thd->...shd", slopes, q * p["scale"]))
    return np.concatenate([a.ravel() for a in (of_q, of_k, of_v)]).astype(q.dtype)


def _pullback_vjp(node: Node, g: Node):
    found = vjp.through([whole_pullback(node.params, *node.inputs)], node.inputs, [g])
    return [c if n.dtype.is_inexact else None for n, c in zip(node.inputs, found, strict=True)]


def _pullback_jvp(node: Node, tangents):
    return jvp.propagate([whole_pullback(node.params, *node.inputs)], node.inputs, tangents)[0]


def _pullback_batch(node: Node, inputs, batched):
    """The lanes' results end to end are theirs of a larger lead: taken apart and joined again."""
    flat = _batch(node, inputs, batched)
    extent = next(n.shape[0] for n, b in zip(inputs, batched, strict=True) if b)
    parts, at = [], 0
    for t in (n.type for n in node.inputs[:3]):
        parts.append(reshape(slice_(flat, (at,), (at + extent * t.size,)), (extent, t.size)))
        at = at + extent * t.size
    return concat(parts, 1)


# ---- samples ------------------------------------------------------------------------------------

def _samples():
    r = lambda *s, seed=0: normal(*s, seed=seed, scale=1.0)
    p = lambda causal=False, mask=False, dropout=0.0: {"scale": 0.25, "causal": causal,
                                                       "mask": mask, "dropout": dropout}
    qkv = [r(2, 5, 4, 16), r(2, 5, 2, 16, seed=1), r(2, 5, 2, 32, seed=2)]
    long = [r(70, 2, 16), r(77, 2, 16, seed=1), r(77, 2, 16, seed=2)]
    holes = np.broadcast_to(np.tri(70, 77, 1, dtype=np.bool_), (2, 70, 77)).copy()
    holes[:, 2] = False  # a query that sees nothing
    key = np.array([3, 4], np.uint32)
    short = [r(77, 2, 16), r(70, 2, 16, seed=1), r(70, 2, 16, seed=2)]
    return [(p(), qkv), (p(True), qkv), (p(), long), (p(True), long), (p(True), short),
            (p(mask=True), [*long, holes]), (p(True, True), [*long, r(2, 70, 77, seed=3)]),
            (p(True, False, 0.5), [*long, key]), (p(False, True, 0.25), [*long, holes, key])]


def _pullback_samples():
    return [(p, [*arrays, *(normal(*arrays[0].shape[:-1], arrays[2].shape[-1], seed=s)
                            for s in (8, 9))]) for p, arrays in _samples()]


ATTEND = Op(
    "attend", doc=__doc__ or "", arity=3, more=True, params=PARAMS, infer=_infer,
    reference=_reference, loops=forward, vjp=_vjp, jvp=_jvp,
    batch=_batch, samples=_samples, facts=frozenset({"rereads", "lead"}))
PULLBACK = Op(
    "attend_pullback", doc="The cotangents of attend's q, k and v, end to end, from its operands, "
    "its result and that's cotangent.", arity=5, more=True, params=PARAMS, infer=_pullback_infer,
    reference=_pullback_reference, loops=backward, vjp=_pullback_vjp,
    jvp=_pullback_jvp, batch=_pullback_batch, samples=_pullback_samples,
    facts=frozenset({"rereads", "lead of three"}))
