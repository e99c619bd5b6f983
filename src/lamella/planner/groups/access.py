"""How a view sees the buffer beneath it: an element offset and one stride per axis."""

from __future__ import annotations

from ...base.extents import Extent, Shape
from ...ir.node import Node
from ...ir.types import row_major


class Access:
    """element[i] = base[offset + sum(i * strides)], `base` the node whose value is stored."""

    __slots__ = ("base", "offset", "strides")

    def __init__(self, base: Node, offset: Extent, strides: Shape):
        self.base, self.offset, self.strides = base, offset, strides


def stored(node: Node) -> Access:
    """A stored value: packed, row-major."""
    return Access(node, 0, row_major(node.shape))


def view(node: Node, inner: Access) -> Access | None:
    """The access of a view node over its input's access; None if strides cannot express it."""
    return _VIEWS[node.op.name](node, inner)


def _transpose(node: Node, a: Access) -> Access:
    return Access(a.base, a.offset, tuple(a.strides[d] for d in node.params["perm"]))


def _broadcast(node: Node, a: Access) -> Access:
    own = node.inputs[0].shape
    extra = len(node.shape) - len(own)
    strides = tuple(0 if e == 1 and node.shape[d + extra] != 1 else s
                    for d, (e, s) in enumerate(zip(own, a.strides, strict=True)))
    return Access(a.base, a.offset, (0,) * extra + strides)


def _slice(node: Node, a: Access) -> Access:
    offset = a.offset
    for start, s in zip(node.params["starts"], a.strides, strict=True):
        offset = offset + start * s
    strides = tuple(s * step for s, step in zip(a.strides, node.params["steps"], strict=True))
    return Access(a.base, offset, strides)


def _flip(node: Node, a: Access) -> Access:
    offset, strides = a.offset, list(a.strides)
    for d in node.params["axes"]:
        offset = offset + (node.shape[d] - 1) * strides[d]
        strides[d] = strides[d] * -1
    return Access(a.base, offset, tuple(strides))


def _reshape(node: Node, a: Access) -> Access | None:
    strides = restride(node.inputs[0].shape, a.strides, node.shape)
    return None if strides is None else Access(a.base, a.offset, strides)


def restride(shape: Shape, strides: Shape, to: Shape) -> Shape | None:
    """Strides that show an array of `shape` and `strides` as shape `to`, or None.

    Runs of axes that lie densely behind each other are merged, then cut into the new axes.
    """
    if any(e == 0 for e in shape):
        return row_major(to)
    runs = _dense_runs(shape, strides)
    out: list[Extent] = []
    rest = list(to)
    for extent, stride in runs:
        covered: Extent = 1
        part: list[Extent] = []
        while covered != extent:
            if not rest:
                return None
            part.append(rest.pop(0))
            covered = covered * part[-1]
            if isinstance(covered, int) and isinstance(extent, int) and covered > extent:
                return None
        while rest and rest[0] == 1:
            part.append(rest.pop(0))
        out.extend(s * stride for s in row_major(tuple(part)))
    if any(e != 1 for e in rest):
        return None
    return tuple(out) + (0,) * len(rest)


def _dense_runs(shape: Shape, strides: Shape) -> list[tuple[Extent, Extent]]:
    runs: list[tuple[Extent, Extent]] = []
    for e, s in zip(shape, strides, strict=True):
        if e == 1:
            continue
        if runs and runs[-1][1] == e * s:
            runs[-1] = (runs[-1][0] * e, s)
        else:
            runs.append((e, s))
    return runs


_VIEWS = {"transpose": _transpose, "broadcast": _broadcast, "slice": _slice, "flip": _flip,
          "reshape": _reshape}
