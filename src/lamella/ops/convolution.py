"""Convolution over 1, 2 or 3 axes, channels last, as one contraction with window indices."""

from __future__ import annotations

from ..base.errors import ShapeError
from ..ir.node import Node
from ..ir.op import at_least, is_int
from ..ir.types import TensorType
from .composite import composite, normal
from .contract import contract, index_text
from .move import pad, reshape
from .pointwise import require_float

MOST_AXES = 3


def _conv(p: dict, x: Node, w: Node) -> Node:
    """o[n, y..., f] = sum(r..., c) x[n, y*S + r*D - P..., c] w[f, r..., c], for each group alone,
    over the places inside of x.

    Elements of x stand `inner` zeros apart (a transposed convolution's stride).
    """
    rank, groups, (low, high) = x.type.rank - 2, p["groups"], p["padding"]
    x = pad(x, (0,) * x.type.rank, (0,) * x.type.rank, (0, *p["inner"], 0))
    outs, taps = _names(rank)
    extents = {o: (e + lo + hi - (k - 1) * d - 1) // s + 1 for o, e, k, d, s, lo, hi in
               zip(outs, x.shape[1:-1], w.shape[1:-1], p["dilation"], p["stride"], low, high,
                   strict=True)}
    index = [index_text(-lo, [(o, s), (r, d)]) for o, r, s, d, lo in
             zip(outs, taps, p["stride"], p["dilation"], low, strict=True)]
    if groups == 1:
        return contract(x, w, ["n", *index, "c"], ["f", *taps, "c"], ["n", *outs, "f"],
                        [*taps, "c"], extents)
    filters, depth = w.shape[0] // groups, w.shape[-1]
    x = reshape(x, (*x.shape[:-1], groups, depth))
    w = reshape(w, (groups, filters, *w.shape[1:]))
    y = contract(x, w, ["n", *index, "g", "c"], ["g", "f", *taps, "c"], ["n", *outs, "g", "f"],
                 [*taps, "c"], extents)
    return reshape(y, (*y.shape[:-2], groups * filters))


def _names(rank: int) -> tuple[list[str], list[str]]:
    return list("yzu"[:rank]), list("rst"[:rank])


def _check(p: dict, x: TensorType, w: TensorType) -> None:
    name, rank = f"conv{x.rank - 2}d", x.rank - 2
    require_float(name, x)
    if w.rank != x.rank or not 1 <= rank <= MOST_AXES:
        raise ShapeError(f"conv: x [n, ..., c] and weight [f, ..., c] must have 1 to {MOST_AXES} "
                         f"axes between, got {x.shape} and {w.shape}")
    groups = p["groups"]
    if x.shape[-1] != w.shape[-1] * groups or w.shape[0] % groups:
        by = f" of each of {groups} groups, which divide f" if groups > 1 else ""
        raise ShapeError(f"{name}: x [n, ..., c] and weight [f, ..., c] must share c{by}, got "
                         f"{x.shape} and {w.shape}: {x.shape[-1]} channels against "
                         f"{w.shape[-1]}; channels come last")
    if any(len(v) != rank for v in (p["stride"], p["dilation"], p["inner"], *p["padding"])):
        raise ShapeError(f"{name}: x {x.shape} needs {rank} strides, dilations and paddings, got "
                         f"{p['stride']}, {p['dilation']} and {p['padding']}")
    for e, k, lo, hi, d, i in zip(x.shape[1:-1], w.shape[1:-1], *p["padding"], p["dilation"],
                                  p["inner"], strict=True):
        if isinstance(e, int) and isinstance(k, int) and (
                e + (e - 1) * i + lo + hi < (k - 1) * d + 1):
            raise ShapeError(f"{name}: a kernel of {w.shape[1:-1]} does not fit into {x.shape} "
                             f"with padding {p['padding']}; enlarge the padding")


def window_axes(one, count: int | None = None):
    """A predicate: a tuple of values, one for each axis that the window moves along."""
    def predicate(v, params, types) -> bool:
        n = types[0].rank - 2 if count is None else count
        return isinstance(v, tuple) and len(v) == n and all(one(e, params, types) for e in v)
    predicate.__doc__ = f"a tuple of {count or 'one for each window axis'}, each {one.__doc__}"
    return predicate


def _is_padding(v, *_) -> bool:
    """an integer of 31 bits"""
    return is_int(v) and -(1 << 31) < v < 1 << 31


def _samples():
    p = lambda stride, padding, dilation, inner=None, groups=1: {
        "stride": stride, "dilation": dilation, "padding": padding, "groups": groups,
        "inner": inner or (0,) * len(stride)}
    plain = p((1, 1), ((1, 1), (1, 1)), (1, 1))
    strided = p((2, 3), ((0, 2), (1, 0)), (1, 2))
    grouped = p((1, 2), ((1, 1), (1, 1)), (1, 1), groups=2)
    depthwise = p((1, 1), ((1, 1), (1, 1)), (1, 1), groups=3)
    wide = p((1, 2), ((1, 0), (1, 2)), (1, 1), groups=20)
    spread = p((1, 1), ((2, -1), (2, 0)), (1, 1), (1, 2))
    line = p((2,), ((1,), (0,)), (2,))
    cube = p((1, 2, 1), ((0, 1, 1), (1, 0, 1)), (1, 1, 2))
    return [(plain, [normal(2, 6, 5, 3), normal(4, 3, 3, 3, seed=1)]),
            (strided, [normal(1, 9, 8, 2), normal(5, 2, 3, 2, seed=1)]),
            (grouped, [normal(2, 5, 6, 4), normal(6, 3, 3, 2, seed=1)]),
            (depthwise, [normal(2, 4, 5, 3), normal(6, 3, 3, 1, seed=1)]),
            (wide, [normal(2, 6, 5, 20), normal(20, 3, 3, 1, seed=1)]),
            (spread, [normal(2, 4, 3, 3), normal(2, 3, 3, 3, seed=1)]),
            (line, [normal(2, 17, 3), normal(4, 3, 3, seed=1)]),
            (cube, [normal(1, 4, 5, 4, 2), normal(3, 2, 3, 2, 2, seed=1)]),
            (line, [normal(0, 17, 3), normal(4, 3, 3, seed=1)]),
            (plain, [normal(1, 4, 5, 32), normal(32, 3, 3, 32, seed=1)])]


CONV = composite("conv", "Cross-correlation of [n, ..., c] with [f, ..., c], 1 to 3 axes between.",
                 _conv, arity=2, check=_check, samples=_samples, params={
                     "stride": window_axes(at_least(1)), "dilation": window_axes(at_least(1)),
                     "padding": window_axes(window_axes(_is_padding), 2),
                     "inner": window_axes(at_least(0)), "groups": at_least(1)})
