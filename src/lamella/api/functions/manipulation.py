"""The same elements in other places: shapes, axes, joins, and elements by position."""

from __future__ import annotations

import operator

from ...base.dtypes import int32, promote
from ...base.errors import DTypeError, LamellaError, ShapeError
from ...base.extents import Extent, Size, lower
from ...ir.node import literal
from ...ops import move, window
from ...ops.iota import iota
from ...ops.loss import pick as pick_last
from ...ops.pointwise import apply, cast, normal_axis
from ...ops.pointwise import broadcast_to as repeat_to
from ..arrays import indexing, keys
from ..arrays.array import Array, asarray, wrap
from ..arrays.shapes import as_shape, some_axes
from ..arrays.values import error, unknown

__all__ = ["broadcast_to", "concat", "diff", "dynamic_slice", "embedding", "expand_dims", "flip",
           "matrix_transpose", "moveaxis", "one_hot", "pad", "permute_dims", "pick", "reshape",
           "roll", "split", "squeeze", "stack", "take", "take_along_axis", "unstack",
           "update_slice"]


def reshape(x, /, shape, *, copy: bool | None = None) -> Array:
    """The elements in row-major order in another shape; one extent may be -1."""
    shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    return asarray(asarray(x).reshape(shape), copy=copy or None)


def broadcast_to(x, /, shape) -> Array:
    """x repeated to the shape, aligned at the last axis; extents must be equal or 1."""
    return wrap(repeat_to(asarray(x).node, as_shape(shape, "broadcast_to")))


def permute_dims(x, /, axes) -> Array:
    """The axes in another order: axis d of the result is axis axes[d] of x."""
    return asarray(x).transpose(tuple(axes))


def moveaxis(x, source, destination, /) -> Array:
    """The axes `source` stand at `destination`; the others keep their order."""
    x = asarray(x)
    from_ = _axes_in_order("moveaxis", source, x.ndim)
    to = _axes_in_order("moveaxis", destination, x.ndim)
    if len(from_) != len(to):
        raise error(ShapeError, f"moveaxis: {source} and {destination} differ in number")
    order = [d for d in range(x.ndim) if d not in from_]
    for d, s in sorted(zip(to, from_, strict=True)):
        order.insert(d, s)
    return x.transpose(tuple(order))


def _axes_in_order(name: str, axes, rank: int) -> list[int]:
    given = axes if isinstance(axes, tuple | list) else (axes,)
    return [normal_axis(name, operator.index(a), rank) for a in given]


def matrix_transpose(x, /) -> Array:
    """The last two axes exchanged."""
    return asarray(x).mT


def expand_dims(x, /, axis) -> Array:
    """New axes of extent 1 at the positions `axis` of the result."""
    x = asarray(x)
    given = axis if isinstance(axis, tuple | list) else (axis,)
    rank = x.ndim + len(given)
    new = some_axes("expand_dims", axis, rank)
    rest = iter(x.shape)
    return x.reshape(tuple(1 if d in new else next(rest) for d in range(rank)))


def squeeze(x, /, axis) -> Array:
    """x without the axes `axis`; raises ShapeError where an extent is not 1."""
    x = asarray(x)
    axes = some_axes("squeeze", axis, x.ndim)
    if any(x.shape[a] != 1 for a in axes):
        raise error(ShapeError, f"squeeze: axes {axes} of shape {x.shape} are not all of extent 1")
    return x.reshape(tuple(e for d, e in enumerate(x.shape) if d not in axes))


def flip(x, /, *, axis=None) -> Array:
    """The order of elements reversed along the axes (all where None)."""
    x = asarray(x)
    return wrap(move.flip(x.node, some_axes("flip", axis, x.ndim)))


def roll(x, /, shift, *, axis=None) -> Array:
    """Elements moved on by `shift`, the last ones to the front; over all elements for None."""
    x = asarray(x)
    if axis is None:
        return roll(x.reshape(-1), shift, axis=0).reshape(x.shape)
    shifts = shift if isinstance(shift, tuple | list) else (shift,)
    axes = _axes_in_order("roll", axis, x.ndim)
    shifts = list(shifts) * len(axes) if len(shifts) == 1 else shifts
    for s, a in zip(shifts, axes, strict=True):
        extent, by = x.shape[a], operator.index(s)
        if isinstance(extent, int):
            by = by % extent if extent else 0
        elif abs(by) > lower(extent):
            raise error(ShapeError, f"roll: {by} positions need an extent of {abs(by)} or more, "
                                    f"and {extent} may be {lower(extent)}; raise the symbol's "
                                    f"lower bound")
        if by != 0:
            lead = (slice(None),) * a
            x = concat([x[(*lead, slice(extent - by, None))], x[(*lead, slice(0, extent - by))]],
                       axis=a)
    return x


def _same_dtype(name: str, arrays) -> list:
    found = [asarray(a) for a in arrays]
    if not found:
        raise error(ShapeError, f"{name}: takes at least one array")
    dtype = found[0].dtype
    for a in found[1:]:
        dtype = promote(dtype, a.dtype)
    return [cast(a.node, dtype) for a in found]


def concat(arrays, /, *, axis: int | None = 0) -> Array:
    """The arrays one after another along an axis (flattened first for None)."""
    nodes = _same_dtype("concat", arrays)
    if axis is None:
        nodes, axis = [move.reshape(n, (n.type.size,)) for n in nodes], 0
    return wrap(move.concat(nodes, normal_axis("concat", axis, nodes[0].type.rank)))


def stack(arrays, /, *, axis: int = 0) -> Array:
    """The arrays, of one shape, along a new axis."""
    nodes = _same_dtype("stack", arrays)
    shape = nodes[0].shape
    if any(n.shape != shape for n in nodes):
        raise error(ShapeError, f"stack: shapes {', '.join(str(n.shape) for n in nodes)} differ")
    at = normal_axis("stack", axis, len(shape) + 1)
    parts = [move.reshape(n, (*shape[:at], 1, *shape[at:])) for n in nodes]
    return wrap(move.concat(parts, at))


def unstack(x, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The slices along an axis, as a tuple of arrays without it."""
    x = asarray(x)
    lead = (slice(None),) * normal_axis("unstack", axis, x.ndim)
    return tuple(x[(*lead, k)] for k in range(x.shape[len(lead)]))


def split(x, sections, *, axis: int = 0) -> list[Array]:
    """x cut along an axis into `sections` equal parts, or at the given positions."""
    x = asarray(x)
    a = normal_axis("split", axis, x.ndim)
    extent = x.shape[a]
    if isinstance(sections, int):
        if extent % sections != 0:
            raise error(ShapeError,
                f"split: axis {a} of shape {x.shape} has no {sections} equal parts")
        sections = [extent // sections * k for k in range(1, sections)]
    ends = [0, *sections, extent]
    lead = (slice(None),) * a
    return [x[(*lead, slice(low, high))] for low, high in zip(ends, ends[1:], strict=False)]


def pad(x, width, *, mode: str = "constant", value=0) -> Array:
    """x with elements before and after: `width` is one number or (before, after) for each axis.

    mode: "constant" (the value), "edge" (the outer element), "reflect" (mirrored at the outer
    element), "symmetric" (mirrored at the edge) or "wrap" (from the other end).
    """
    x = asarray(x)
    pairs = [(width, width)] * x.ndim if isinstance(width, int) else list(width)
    if len(pairs) != x.ndim:
        raise error(ShapeError, f"pad: needs a pair for each of the {x.ndim} axes, got {width}")
    if mode != "constant":
        return _padded_from_within(x, pairs, mode)
    low, high = (tuple(p[k] for p in pairs) for k in (0, 1))
    return wrap(move.pad(x.node, low, high, None, value))


def _mirrored(at: Array, n: Extent, ends: int) -> Array:
    """Positions running to and fro over 0..n - 1; the ends are met once (1) or twice (0)."""
    period = 2 * (n - ends)
    at = at % (max(period, 1) if isinstance(period, int) else _at_least(period, 1))
    return wrap(apply("min", at.node, (period - 1 + ends - at).node))


def _at_least(size: Extent, least: int) -> Array:
    return wrap(apply("max", (wrap(literal(0, int32)) + size).node, literal(least, int32)))


def _outermost(at: Array, n: Extent) -> Array:
    last = literal(n - 1, int32) if isinstance(n, int) else _at_least(n - 1, 0).node
    return wrap(apply("max", apply("min", at.node, last), literal(0, int32)))


_PLACES = {"edge": _outermost,
           "reflect": lambda at, n: _mirrored(at, n, 1),
           "symmetric": lambda at, n: _mirrored(at, n, 0), "wrap": lambda at, n: at % n}


def _padded_from_within(x: Array, pairs: list, mode: str) -> Array:
    if mode not in _PLACES:
        raise error(LamellaError, f"pad: mode {mode!r} is not one of constant, "
                                  f"{', '.join(_PLACES)}")
    for a, (low, high) in enumerate(pairs):
        if low == high == 0:
            continue
        n = x.shape[a]
        if lower(n) < 1 or lower(n + low + high) < 0:
            raise error(ShapeError, f"pad: axis {a} of {x.shape} cannot grow by {low} and {high} "
                                    f"from within")
        at = wrap(iota((n + low + high,), 0)) - low
        x = take(x, _PLACES[mode](at, n), axis=a)
    return x


def diff(x, /, *, axis: int = -1, n: int = 1, prepend=None, append=None) -> Array:
    """Each element less the one before it along the axis, n times over; `prepend` and `append` are
    joined to x first."""
    x = asarray(x)
    a = normal_axis("diff", axis, x.ndim)
    if n < 0:
        raise error(ShapeError, f"diff: n counts how often, it is not negative, got {n}")
    ends = [asarray(e) for e in (prepend, append) if e is not None]
    if ends and n:
        x = concat([*ends[:prepend is not None], x, *ends[prepend is not None:]], axis=a)
    lead = (slice(None),) * a
    for _ in range(n):
        x = x[(*lead, slice(1, None))] - x[(*lead, slice(0, -1))]
    return x


# ---- by position --------------------------------------------------------------------------------

def positions(name: str, indices, shape, axis: int) -> Array:
    """Positions along an axis; what is known when it is written, and lies outside, raises."""
    if isinstance(indices, Array):
        return indices
    found = asarray(indices)
    if found.dtype.is_int and not unknown([found.node]):
        keys.checked(found.numpy(), shape, axis, name)
    return found


def take(x, indices, /, *, axis: int | None = None) -> Array:
    """x's slices at the positions along an axis; negative ones count from the end."""
    x = asarray(x)
    if axis is None:
        if x.ndim != 1:
            raise error(ShapeError, f"take: shape {x.shape} needs an axis")
        axis = 0
    a = normal_axis("take", axis, x.ndim)
    indices = positions("take", indices, x.shape, a)
    return wrap(indexing.get(x.node, (*(slice(None),) * a, indices.node)))


def take_along_axis(x, indices, /, *, axis: int = -1) -> Array:
    """y[..., j, ...] = x[..., indices[..., j, ...], ...]; other extents are equal or 1."""
    x = asarray(x)
    a = normal_axis("take_along_axis", axis, x.ndim)
    indices = positions("take_along_axis", indices, x.shape, a)
    if x.ndim != indices.ndim:
        raise error(ShapeError, f"take_along_axis: {x.shape} and {indices.shape} differ in axes")
    if not indices.dtype.is_int:
        raise error(DTypeError, f"take_along_axis: positions must be integers, got {indices.dtype}")
    key = []
    for d, e in enumerate(x.shape):
        if d == a:
            key.append(indices.node)
        else:
            shape = tuple(e if k == d else 1 for k in range(x.ndim))
            key.append(iota(shape, d) if e == indices.shape[d] or indices.shape[d] == 1
                       else literal(0, int32, (1,) * x.ndim))
    return wrap(indexing.get(x.node, tuple(key)))


def pick(x, labels) -> Array:
    """x[..., labels[...]] along the last axis, which labels lack; labels are clamped."""
    return wrap(pick_last(asarray(x).node, asarray(labels).node))


def embedding(weight, indices, *, padding_index: int | None = None) -> Array:
    """The rows of weight [rows, ...] at the indices; those at padding_index take no gradient."""
    indices = asarray(indices)
    rows = take(weight, indices, axis=0)
    if padding_index is None:
        return rows
    hit = (indices == padding_index).reshape(*indices.shape, *(1,) * (rows.ndim - indices.ndim))
    return wrap(apply("where", hit.node, apply("stop_gradient", rows.node), rows.node))


def one_hot(labels, classes: int, *, dtype="float32") -> Array:
    """1 where the class is the label, else 0: [*labels.shape, classes]."""
    labels, (classes,) = asarray(labels), as_shape((classes,))
    at = iota((1,) * labels.ndim + (classes,), labels.ndim, labels.dtype)
    same = apply("eq", move.reshape(labels.node, (*labels.shape, 1)), at)
    return wrap(cast(same, asarray(0, dtype=dtype).dtype))


def dynamic_slice(x, starts, sizes) -> Array:
    """`sizes` elements of x from a computed position, clamped so that they stay inside."""
    x = asarray(x)
    return wrap(window.dynamic_slice(x.node, _starts(starts), as_shape(sizes)))


def update_slice(x, update, starts) -> Array:
    """x with `update` written at a computed position (clamped inside); in place if x may go."""
    x = asarray(x)
    return wrap(window.update_slice(x.node, asarray(update).astype(x.dtype).node, _starts(starts)))


def _starts(starts) -> list:
    return [asarray(s).node if isinstance(s, Array | Size) else literal(operator.index(s), int32)
            for s in starts]
