"""Convolutions over 1, 2 or 3 axes, channels last: x [n, ..., c], weight [f, ..., c / groups].

Each of stride, dilation and padding is a number or one for each axis; a padding is also a pair
(before, after) for each, "same" (the extents divided by the stride, rounded up) or "valid" (none),
in small or large letters.
"""

from __future__ import annotations

from ...base.errors import ShapeError
from ...ir.node import Node, make
from ...ops import convolution, move
from ..arrays.array import Array, operands, product, wrap
from ..arrays.values import error
from .windows import counts, paddings

__all__ = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
           "conv_transpose3d"]


def conv1d(x, weight, *, stride=1, padding=0, dilation=1, groups: int = 1) -> Array:
    """Cross-correlation of x [n, t, c] with weight [f, k, c / groups]: [n, t', f].

    Raises ShapeError where the kernel does not fit.
    """
    return _conv(1, x, weight, stride, padding, dilation, groups)


def conv2d(x, weight, *, stride=1, padding=0, dilation=1, groups: int = 1) -> Array:
    """Cross-correlation of x [n, h, w, c] with weight [f, kh, kw, c / groups]: [n, h', w', f].

    Group g of the filters sees group g of the channels; as many groups as channels make it
    depthwise. Raises ShapeError where the kernel does not fit.
    """
    return _conv(2, x, weight, stride, padding, dilation, groups)


def conv3d(x, weight, *, stride=1, padding=0, dilation=1, groups: int = 1) -> Array:
    """Cross-correlation of x [n, d, h, w, c] with weight [f, kd, kh, kw, c / groups]."""
    return _conv(3, x, weight, stride, padding, dilation, groups)


def conv_transpose1d(x, weight, *, stride=1, padding=0, output_padding=0, dilation=1,
                     groups: int = 1) -> Array:
    """The transpose of conv1d with the same weight [f, k, c / groups]: from f channels to c."""
    return _conv_transpose(1, x, weight, stride, padding, output_padding, dilation, groups)


def conv_transpose2d(x, weight, *, stride=1, padding=0, output_padding=0, dilation=1,
                     groups: int = 1) -> Array:
    """The transpose (the gradient for x) of conv2d with this weight [f, kh, kw, c / groups].

    x [n, h, w, f] gives [n, (h - 1) stride - before - after + dilation (kh - 1) + 1 +
    output_padding, ..., c].
    """
    return _conv_transpose(2, x, weight, stride, padding, output_padding, dilation, groups)


def conv_transpose3d(x, weight, *, stride=1, padding=0, output_padding=0, dilation=1,
                     groups: int = 1) -> Array:
    """The transpose of conv3d with the same weight [f, kd, kh, kw, c / groups]."""
    return _conv_transpose(3, x, weight, stride, padding, output_padding, dilation, groups)


def _conv(rank: int, x, weight, stride, padding, dilation, groups: int) -> Array:
    name = f"conv{rank}d"
    x, weight = _operands(name, rank, x, weight)
    stride = counts(name, "stride", stride, rank)
    dilation = counts(name, "dilation", dilation, rank)
    pairs = paddings(name, x.shape[1:-1], weight.shape[1:-1], stride, padding, dilation)
    return _made(x, weight, stride, pairs, dilation, (0,) * rank, groups)


def _operands(name: str, rank: int, x, weight) -> tuple[Node, ...]:
    nodes = operands(name, (x, weight))
    if any(n.type.rank != rank + 2 for n in nodes):
        raise error(ShapeError, f"{name}: x [n, ..., c] and weight [f, ..., c] have {rank + 2} "
                                f"axes, got {nodes[0].shape} and {nodes[1].shape}")
    return nodes


def _made(x: Node, weight: Node, stride, pairs, dilation, inner, groups: int) -> Array:
    low, high = (tuple(p[k] for p in pairs) for k in (0, 1))
    params = {"stride": stride, "dilation": dilation, "padding": (low, high), "inner": inner,
              "groups": groups}
    return wrap(product(lambda *nodes: make(convolution.CONV, nodes, params), x, weight))


def _conv_transpose(rank: int, x, weight, stride, padding, output_padding, dilation,
                    groups: int) -> Array:
    name = f"conv_transpose{rank}d"
    x, weight = _operands(name, rank, x, weight)
    stride = counts(name, "stride", stride, rank)
    dilation = counts(name, "dilation", dilation, rank)
    given = paddings(name, None, weight.shape[1:-1], stride, padding, dilation)
    further = counts(name, "output_padding", output_padding, rank, 0)
    pairs = [(d * (k - 1) - low, d * (k - 1) - high + more) for k, d, (low, high), more in
             zip(weight.shape[1:-1], dilation, given, further, strict=True)]
    if weight.shape[0] % groups:
        raise error(ShapeError, f"{name}: {groups} groups do not divide the weight's first axis, "
                                f"{weight.shape}")
    return _made(x, _transposed(weight, groups), (1,) * rank, pairs, dilation,
                 tuple(s - 1 for s in stride), groups)


def _transposed(weight: Node, groups: int) -> Node:
    """[f, k..., c / groups] as [c, k..., f / groups], its taps in reverse order."""
    f, *taps, c = weight.shape
    rank = len(taps)
    w = move.flip(weight, tuple(range(1, rank + 1)))
    w = move.reshape(w, (groups, f // groups, *taps, c))
    w = move.transpose(w, (0, rank + 2, *range(2, rank + 2), 1))
    return move.reshape(w, (groups * c, *taps, f // groups))
