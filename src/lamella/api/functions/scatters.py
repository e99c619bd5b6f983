"""Reads and writes at positions. Those that are computed and lie outside of an axis are clamped to
its nearest end, known ones raise; negative ones count from the end. Updates of one place are made
one after another, in the row-major order of their positions, so that results do not depend on
threads."""

from __future__ import annotations

from ...base.errors import DTypeError, LamellaError, ShapeError
from ...ir.node import Node
from ...ops import index as ix
from ...ops import move
from ...ops.pointwise import broadcast_to, normal_axis
from ..arrays import keys
from ..arrays.array import Array, asarray, wrap
from ..arrays.values import error, located, unknown
from .manipulation import positions

__all__ = ["gather_nd", "put_along_axis", "scatter", "scatter_nd"]

MODES = {"set": "set", "add": "sum", "mul": "prod", "max": "max", "min": "min"}


def _monoid(name: str, mode: str) -> str:
    if mode not in MODES:
        raise error(LamellaError, f"{name}: mode {mode!r} is not one of {', '.join(MODES)}")
    return MODES[mode]


def _positions(name: str, indices, extent, axis: int, shape) -> Node:
    node = positions(name, indices, shape, axis).node
    if not node.dtype.is_int:
        raise error(DTypeError, f"{name}: positions must be integers, got {node.type}; cast with "
                                "astype")
    return keys.wrapped(node, extent, axis, shape)


def scatter(x, indices, updates, *, axis: int = 0, mode: str = "set") -> Array:
    """x with slices along the axis joined by `updates` at the positions `indices`.

    y[o, indices[j...], p] = mode(y[...], updates[o, j..., p]) with mode set, add, mul, max or min;
    updates broadcast to x's axes with those of the indices in place of `axis`, and take x's dtype.
    """
    x = asarray(x)
    a, monoid = normal_axis("scatter", axis, x.ndim), _monoid("scatter", mode)
    at = _positions("scatter", indices, x.shape[a], a, x.shape)
    shape = (*x.shape[:a], *at.shape, *x.shape[a + 1:])
    u = broadcast_to(asarray(updates).astype(x.dtype).node, shape)
    return wrap(located(ix.scatter)(x.node, at, u, a, monoid))


def put_along_axis(x, indices, values, *, axis: int = -1, mode: str = "set") -> Array:
    """x with y[..., indices[..., j, ...], ...] = mode(y[...], values[..., j, ...]).

    The indices have x's axes (an extent of 1 is repeated but along `axis`); values broadcast to the
    indices and take x's dtype.
    """
    x = asarray(x)
    a, monoid = normal_axis("put_along_axis", axis, x.ndim), _monoid("put_along_axis", mode)
    indices = positions("put_along_axis", indices, x.shape, a)
    if indices.ndim != x.ndim:
        raise error(ShapeError, f"put_along_axis: {x.shape} and {indices.shape} differ in axes")
    at = _positions("put_along_axis", indices, x.shape[a], a, x.shape)
    at = broadcast_to(at, (*x.shape[:a], indices.shape[a], *x.shape[a + 1:]))
    u = broadcast_to(asarray(values).astype(x.dtype).node, at.shape)
    return wrap(located(ix.scatter_along)(x.node, at, u, a, monoid))


def gather_nd(x, indices, *, batch_axes: int = 0) -> Array:
    """y[b, j..., p] = x[b, indices[b, j..., 0], indices[b, j..., 1], ..., p].

    The last axis of the indices holds positions along the axes after the first `batch_axes`.
    """
    x = asarray(x)
    at = _tuples("gather_nd", x, indices, batch_axes)
    return wrap(located(ix.gather_nd)(x.node, at, batch_axes))


def scatter_nd(x, indices, updates, *, mode: str = "set", batch_axes: int = 0) -> Array:
    """x with y[b, indices[b, j..., :], p] = mode(y[...], updates[b, j..., p]); see `gather_nd`."""
    x, monoid = asarray(x), _monoid("scatter_nd", mode)
    at = _tuples("scatter_nd", x, indices, batch_axes)
    shape = (*at.shape[:-1], *x.shape[batch_axes + at.shape[-1]:])
    u = broadcast_to(asarray(updates).astype(x.dtype).node, shape)
    return wrap(located(ix.scatter_nd)(x.node, at, u, monoid, batch_axes))


def _tuples(name: str, x: Array, indices, batch: int) -> Node:
    """The positions in the last axis of the indices, negative ones counted from the end."""
    i = asarray(indices)
    width = i.shape[-1] if i.ndim else None
    if width is None or not isinstance(width, int) or not 0 <= batch <= i.ndim - 1 or \
            batch + width > x.ndim or i.shape[:batch] != x.shape[:batch]:
        raise error(ShapeError, f"{name}: indices of shape {i.shape} hold no positions in an array "
                                f"of shape {x.shape} with {batch} batch axes")
    if not isinstance(indices, Array) and i.dtype.is_int and not unknown([i.node]):
        for d in range(width):
            keys.checked(i.numpy()[..., d], x.shape, batch + d, name)
    parts = [_positions(name, i[..., d], x.shape[batch + d], batch + d, x.shape)
             for d in range(width)]
    if not parts:
        return i.node
    return move.concat([move.reshape(ix.cast(p, ix.dtypes.int64), (*p.shape, 1)) for p in parts],
                       i.ndim - 1)
