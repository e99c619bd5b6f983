"""Attention: one op for every mask, grouping and dropout; a kernel of its own can take its place.

Vaswani et al., "Attention is all you need", NeurIPS 2017; grouped queries: Ainslie et al., "GQA",
arXiv 2305.13245.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base.errors import ShapeError
from ..base.extents import upper
from ..ir.node import Node, broadcast_to, items, make, placeholder
from ..ir.op import Op, is_bool, is_number
from ..ir.program import Program, inlined
from ..ir.types import TensorType, TupleType, tensors
from ..transform import jvp, vjp, vmap
from .blockwise import BLOCK, attend, has_pullback, pull
from .composite import composite, normal
from .pointwise import batch_operands, broadcast_shapes, require_float, reshape_to
from .scores import Scores, grouped

MANY = 1 << 18  # scores of one head: a gradient by blocks computes them twice again


def _attention(p: dict, *operands: Node) -> Node:
    """Block by block where the scores are many."""
    if _is_long(*(n.type for n in operands[:2])):
        return attend(p, **_named(p, operands))
    return _whole(p, *operands)


def _whole(p: dict, *operands: Node) -> Node:
    """dropout(softmax(q k' scale, masked)) v, all scores stored."""
    return Scores(p, **_named(p, operands)).attend()


def _is_long(q: TensorType, k: TensorType) -> bool:
    """Whether blocks pay. This changes no bit."""
    t, s = upper(q.shape[-2]), upper(k.shape[-2])
    return min(t, s) > BLOCK and t * s >= MANY


def _named(p: dict, operands) -> dict:
    """Operands (nodes, types or flags) by their names."""
    names = ["q", "k", "v", *(["mask"] if p["mask"] else []), *(["key"] if p["dropout"] else [])]
    return dict(zip(names, operands, strict=True))


def _check(p: dict, q: TensorType, k: TensorType, v: TensorType, *more: TensorType) -> None:
    require_float("attention", q)
    if min(q.rank, k.rank, v.rank) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"attention: q [..., t, d], k [..., s, d], v [..., s, e] are needed, got "
                         f"{q.shape}, {k.shape}, {v.shape}")
    if len(more) != bool(p["mask"]) + bool(p["dropout"]):
        raise ShapeError("attention: a mask and a key are operands where mask and dropout say so")
    heads, groups = (t.shape[-3] if t.rank > 2 else 1 for t in (q, k))
    if grouped(q, k) and (k.shape[-3] != v.shape[-3] or not isinstance(heads, int)
                          or not isinstance(groups, int) or heads % groups):
        raise ShapeError(f"attention: {heads} heads of q {q.shape} are no groups for the "
                         f"{groups} of k {k.shape} and v {v.shape}")
    if p["mask"]:
        lead = broadcast_shapes("attention",
                                [q.shape[:-2], () if grouped(q, k) else k.shape[:-2]])
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
            (p(True, True, 0.5), [*wide, np.ones((4, 5, 7), np.bool_), key]),
            (p(True), [r(66, 2), r(4000, 2, seed=1), r(4000, 3, seed=2)])]


# ---- derivatives and batching -------------------------------------------------------------------

def _vjp(node: Node, g: Node):
    p, operands = node.params, node.inputs
    types = [n.type for n in operands]
    if not _is_long(*types[:2]):
        return vjp.through([_whole(p, *operands)], operands, [g])
    given = _named(p, operands)
    parts = dict(zip(_inexact(p, types), items(make(PULLBACK, (*operands, g), p)), strict=True))
    found: dict[int, Node] = {}
    for name in sorted(parts, key=["v", "mask", "q", "k"].index):  # the order of the whole
        n = id(given[name])
        found[n] = found[n] + parts[name] if n in found else parts[name]
    return [found.pop(id(n), None) for n in operands]


def _batch(node: Node, inputs, batched):
    p = node.params
    flags = _named(p, batched)
    lacking = flags.get("mask") and not flags["q"]  # axes of the mask that the scores must have
    if flags.get("key") is not None or lacking or not _is_long(*(n.type for n in node.inputs[:2])):
        return vmap.propagate([_whole(p, *node.inputs)], node.inputs, inputs, batched)[0][0]
    return make(node.op, tuple(batch_operands(inputs, batched)), p)


def _inexact(p: dict, types) -> list[str]:
    """The operands that have a cotangent."""
    return [name for name, t in _named(p, types).items() if t.dtype.is_inexact]


def _pullback_infer(p: dict, *types: TensorType) -> TupleType:
    *operands, g = types
    result = ATTENTION.rule(p, *operands)
    if g != result:
        raise ShapeError(f"attention_pullback: the cotangent is {g}, but {result} is needed")
    given = _named(p, operands)
    return TupleType(given[name] for name in _inexact(p, operands))


def _pullback(p: dict, *given: Node) -> tuple[Node, ...]:
    *operands, g = given
    types = [n.type for n in operands]
    by_name = _named(p, operands)
    mask = by_name.get("mask")
    if not _is_long(*types[:2]) or (mask is not None and not has_pullback(mask.type)):
        return _whole_pullback(p, *given)
    found = pull(p, g, **by_name)
    return tuple(found[name] for name in _inexact(p, types))


def _whole_pullback(p: dict, *given: Node) -> tuple[Node, ...]:
    """The derivative of the whole; what is one operand twice counts as two."""
    own = [placeholder(n.type) for n in given]
    by_name = _named(p, own[:-1])
    wanted = [by_name[name] for name in _inexact(p, [n.type for n in own[:-1]])]
    found = vjp.pullback([_whole(p, *own[:-1])], wanted, own[-1:])
    return tuple(inlined(Program(own, found, "pullback"), given))


def _pullback_batch(node: Node, inputs, batched):
    """Each lane its own cotangents, also of operands that the lanes share."""
    p, types = node.params, [n.type for n in node.inputs]
    if p["dropout"] or not _is_long(*types[:2]):
        return _of_whole(vmap.propagate)(node, inputs, batched)
    extent = next(n.shape[0] for n, f in zip(inputs, batched, strict=True) if f)
    flags = [f or t.dtype.is_inexact for f, t in zip(batched, types, strict=True)]
    every = [broadcast_to(n, (extent, *n.shape)) if f and not b else n
             for n, f, b in zip(inputs, flags, batched, strict=True)]
    found = items(make(node.op, tuple(batch_operands(every, flags)), p))
    return tuple((reshape_to(n, (extent, *t.shape)), True)
                 for n, t in zip(found, tensors(node.type), strict=True))


def _of_whole(transform: Callable) -> Callable:
    """A rule of the pullback: that of its whole."""
    return lambda node, *given: tuple(transform(
        _whole_pullback(node.params, *node.inputs), node.inputs, *given))


def _pullback_samples():
    return [(p, [*arrays, normal(*_result_shape(*arrays[:3]), seed=9)]) for p, arrays in _samples()]


def _result_shape(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[int, ...]:
    return (*q.shape[:-1], v.shape[-1])


PARAMS = {"scale": is_number, "causal": is_bool, "mask": is_bool, "dropout": _is_rate}

ATTENTION = composite(
    "attention", "softmax(q k' * scale, masked) v: causal, a mask (bool or added), dropout.",
    _attention, arity=3, more=True, check=_check, samples=_samples, vjp=_vjp, batch=_batch,
    jvp=lambda node, tangents: jvp.propagate([_whole(node.params, *node.inputs)], node.inputs,
                                             tangents)[0], params=PARAMS)
PULLBACK = Op(
    "attention_pullback", doc="The cotangents of attention's inexact operands from its result's.",
    arity=4, more=True, params=PARAMS, infer=_pullback_infer, expand=_pullback,
    vjp=_of_whole(vjp.through), jvp=_of_whole(jvp.propagate), batch=_pullback_batch,
    samples=_pullback_samples, facts=frozenset({"composite"}))
