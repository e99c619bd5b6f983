"""Attention block by block: memory linear in the number of queries and of keys.

The result and the queries' gradient are computed for a block of queries at a time, from all keys;
the gradients of keys and values for a block of keys at a time, from all queries and from what the
first pass found of each query's row. So every sum runs over all that it is a sum of, in the order
that the whole has: the bits are those of `Scores` over everything. Compare Rabe and Staats,
"Self-attention does not need O(n^2) memory", arXiv 2112.05682, whose sums are joined otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from ..base.extents import Extent
from ..ir.node import Node, placeholder
from ..ir.program import Program
from ..ir.types import TensorType, tensor
from .index import take
from .iota import iota
from .move import pad, reshape, slice_, transpose
from .scan import scan
from .scores import Scores

BLOCK = 64


def attend(p: dict, **operands: Node) -> Node:
    """The result, by blocks of queries. Operands: q, k, v and, where they are, mask and key."""
    whole = _whole(operands)
    y, = _blocks(whole[0], operands, _along_queries(operands), lambda first, **some: [
        Scores(p, **some, whole=whole, row=first).attend()])
    return _joined(y, -2, whole[0])


def pull(p: dict, g: Node, **operands: Node) -> dict[str, Node]:
    """The cotangents of q, k, v and a floating mask."""
    whole, mask = _whole(operands), operands.get("mask")
    of_rows, of_columns = ["q"], ["k", "v"]
    if mask is not None and mask.dtype.is_inexact:
        (of_rows if reaches(mask, -2) else of_columns).append("mask")

    def rows(first, g, **some):
        found, stats = Scores(p, **some, whole=whole, row=first).pull(g)
        return [*(found[name] for name in of_rows), *stats]

    def columns(first, g, top, total, inner, **some):
        found, _ = Scores(p, **some, whole=whole, column=first).pull(g, (top, total, inner))
        return [found[name] for name in of_columns]

    axes = {**_along_queries(operands), "g": -2}
    *found, top, total, inner = [
        _joined(y, -2, whole[0]) for y in _blocks(whole[0], {**operands, "g": g}, axes, rows)]
    results = dict(zip(of_rows, found, strict=True))
    axes = {"k": -2, "v": -2, **({"mask": -1} if reaches(mask, -1) else {})}
    known = {**operands, "g": g, "top": top, "total": total, "inner": inner}
    for name, y in zip(of_columns, _blocks(whole[1], known, axes, columns), strict=True):
        results[name] = _joined(y, axes[name], whole[1])
    return results


def reaches(mask: Node | TensorType | None, axis: int) -> bool:
    """Whether a mask has an axis of queries (-2) or of keys (-1), not of extent 1."""
    return mask is not None and len(mask.shape) >= -axis and mask.shape[axis] != 1


def has_pullback(mask: TensorType) -> bool:
    """Whether `pull` has the mask's cotangent: a sum over all scores is none of a block's."""
    return not mask.dtype.is_inexact or reaches(mask, -2) or reaches(mask, -1)


def _whole(operands: dict[str, Node]) -> tuple[Extent, Extent]:
    return operands["q"].shape[-2], operands["k"].shape[-2]


def _along_queries(operands: dict[str, Node]) -> dict[str, int]:
    return {"q": -2, "mask": -2} if reaches(operands.get("mask"), -2) else {"q": -2}


def _blocks(extent: Extent, operands: dict[str, Node], axes: dict[str, int],
            f: Callable) -> tuple[Node, ...]:
    """f's results for each block, stacked: f(number of its first row, **operands), those in
    `axes` cut along that axis. A mask, which is as large as the scores, is read where it lies."""
    xs = {name: _cut(operands[name], axis) for name, axis in axes.items() if name != "mask"}
    consts = {name: x for name, x in operands.items() if name not in xs}
    firsts = iota((_count(extent),), 0) * BLOCK
    first = placeholder(tensor(firsts.dtype, ()))
    inside = {name: placeholder(x.type) for name, x in consts.items()}
    slices = {name: placeholder(tensor(x.dtype, x.shape[1:])) for name, x in xs.items()}
    given = {**inside, **slices}
    if "mask" in axes:
        axis = given["mask"].type.rank + axes["mask"]
        given["mask"] = take(given["mask"], iota((BLOCK,), 0) + first, axis)  # behind it: the last
    body = Program([*inside.values(), first, *slices.values()], f(first, **given), "attention")
    return scan(body, _count(extent), [*consts.values()], [], [firsts, *xs.values()])


def _count(extent: Extent) -> Extent:
    return (extent + BLOCK - 1) // BLOCK


def _cut(x: Node, axis: int) -> Node:
    """[blocks, ..., BLOCK, ...] of x, filled up with zeros."""
    axis += x.type.rank
    extent, count = x.shape[axis], _count(x.shape[axis])
    more = tuple(count * BLOCK - extent if d == axis else 0 for d in range(x.type.rank))
    x = pad(x, (0,) * x.type.rank, more)
    x = reshape(x, (*x.shape[:axis], count, BLOCK, *x.shape[axis + 1:]))
    return transpose(x, (axis, *(d for d in range(x.type.rank) if d != axis)))


def _joined(y: Node, axis: int, extent: Extent) -> Node:
    """The blocks side by side along the axis, without what had been filled up."""
    axis += y.type.rank - 1
    y = transpose(y, (*range(1, axis + 1), 0, *range(axis + 1, y.type.rank)))
    y = reshape(y, (*y.shape[:axis], y.shape[axis] * BLOCK, *y.shape[axis + 2:]))
    stops = tuple(extent if d == axis else e for d, e in enumerate(y.shape))
    return slice_(y, (0,) * y.type.rank, stops)
