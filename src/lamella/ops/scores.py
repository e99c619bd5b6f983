"""Attention with all scores stored: what its tangents and second derivatives are taken of."""

from __future__ import annotations

import math

from ..base.dtypes import bool_
from ..ir.node import Node, literal, placeholder
from ..ir.program import Program, inlined
from ..ir.types import tensor
from ..transform import vjp, vmap
from .contract import matmul
from .iota import iota
from .move import concat, reshape, transpose
from .pointwise import apply
from .random import unit
from .reduce import extent_value, keepdims, reduce
from .softmax import peak


def whole(p: dict, q: Node, k: Node, v: Node, *more: Node) -> Node:
    """y [*lead, t, h, e] of q [*lead, t, h, d], k [*lead, s, g, d] and v [*lead, s, g, e]; behind
    them a mask and a random key where the parameters say so."""
    e, inverse = _weights(p, q, k, *more)
    e = _dropped(p, e, more)
    return _swapped(_product(e, _swapped(v)) * inverse)


def whole_pullback(p: dict, *given: Node) -> Node:
    """The cotangents of q, k and v end to end from the operands, y and its cotangent."""
    q, k, v, *more, y, g = given
    e, inverse = _weights(p, q, k, *more)
    share = _swapped(g) * inverse
    inner = reduce("sum", share * _swapped(y), (e.type.rank - 1,))
    seen = _product(share, _turned(_swapped(v)))
    slopes = (_dropped(p, seen, more) - keepdims(inner, e, (e.type.rank - 1,))) * e
    scaled, groups = _swapped(q * p["scale"]), k.shape[-2]
    found = [_product(slopes, _swapped(k)) * p["scale"], _gathered(slopes, scaled, groups),
             _gathered(_dropped(p, e, more), share, groups)]
    return concat([reshape(x, (x.type.size,)) for x in map(_swapped, found)], 0)


def of_mask(p: dict, g: Node, *operands: Node) -> Node:
    """The cotangent of an added mask."""
    found, = vjp.pullback([whole(p, *operands)], [operands[3]], [g])
    return found


def _weights(p: dict, q: Node, k: Node, *more: Node) -> tuple[Node, Node]:
    """exp(score - largest) [*lead, h, t, s], and 1 / their sums over the keys."""
    mask = more[0] if p["mask"] else None
    scores = _product(_swapped(q * p["scale"]), _turned(_swapped(k)))
    if mask is not None and mask.dtype is not bool_:
        scores = scores + mask
    seen = _seen(p, scores, mask)
    if seen is not None:
        scores = apply("where", seen, scores, literal(-math.inf, scores.dtype))
    axis = scores.type.rank - 1
    e = apply("exp", scores - peak(scores, axis))
    total = keepdims(reduce("sum", e, (axis,)), e, (axis,))
    one = literal(1, e.dtype)
    return e, one / apply("where", apply("eq", total, literal(0, e.dtype)), one, total)


def _dropped(p: dict, x: Node, more) -> Node:
    if not p["dropout"]:
        return x
    kept = _units(more[-1], x) < 1.0 - p["dropout"]
    return apply("where", kept, x / (1.0 - p["dropout"]), literal(0, x.dtype))


def _units(key: Node, like: Node) -> Node:
    """A draw of that shape; a key [*lanes, 2] draws for each lane."""
    single, shape = placeholder(tensor(key.dtype, (2,))), like.shape[key.type.rank - 1:]
    drawn, keys = unit(single, shape, like.dtype), [single]
    for lane in reversed(key.shape[:-1]):
        more = placeholder(tensor(key.dtype, (lane, *keys[-1].shape)))
        (drawn, _), = vmap.propagate([drawn], [keys[-1]], [more])
        keys.append(more)
    return inlined(Program([keys[-1]], [drawn], "draw"), [key])[0]


def _seen(p: dict, scores: Node, mask: Node | None) -> Node | None:
    """Where a query sees a key; None where everywhere."""
    seen = mask if mask is not None and mask.dtype is bool_ else None
    if p["causal"]:
        t, s = scores.shape[-2:]
        rows, columns = iota((t, 1), 0), iota((1, s), 1)
        past = columns + extent_value(t, rows) <= rows + extent_value(s, rows)
        seen = past if seen is None else apply("and", seen, past)
    return seen


def _swapped(x: Node) -> Node:
    """[*lead, heads, rows, width] of [*lead, rows, heads, width], and the other way round."""
    n = x.type.rank
    return transpose(x, (*range(n - 3), n - 2, n - 3, n - 1))


def _turned(x: Node) -> Node:
    n = x.type.rank
    return transpose(x, (*range(n - 2), n - 1, n - 2))


def _product(x: Node, y: Node) -> Node:
    """x @ y, in which neighbouring heads of x share one of y."""
    *lead, h, t, _ = x.shape
    return reshape(matmul(_folded(x, y.shape[-3]), y), (*lead, h, t, y.shape[-1]))


def _gathered(x: Node, y: Node, groups: int) -> Node:
    """x' @ y, summed over the heads that share one."""
    return matmul(_turned(_folded(x, groups)), _folded(y, groups))


def _folded(x: Node, groups: int) -> Node:
    """The heads of a group as more rows: [*lead, groups, h / groups * t, width]."""
    *lead, h, t, d = x.shape
    return reshape(x, (*lead, groups, h // groups * t, d))
