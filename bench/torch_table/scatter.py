"""Writes at computed positions."""

from __future__ import annotations

import math

from .common import Different, L

_MODES = {"sum": "add", "add": "add", "prod": "mul", "multiply": "mul", "amax": "max",
          "amin": "min", "mean": "mean"}


def _with_axis(x):
    return x if x.ndim else x.reshape(1)


def _scatter(x, dim, index, src, *, reduce=None):
    return _along(x, dim, index, src, _MODES[reduce] if reduce else "set")


def _along(x, dim, index, src, mode, include=True):
    flat, index = _with_axis(x), _with_axis(index)
    box = tuple(slice(0, e) for e in index.shape)
    src = _with_axis(src)[box] if isinstance(src, L.Array) else L.full(index.shape, src,
                                                                       dtype=x.dtype)
    dim = dim % flat.ndim
    part = tuple(slice(None) if d == dim else b for d, b in enumerate(box))
    put = lambda to, values, how: L.put_along_axis(to, index, values, axis=dim, mode=how)
    new = _joined(flat[part], put, src, mode, include)
    if part != (slice(None),) * flat.ndim and new.shape != flat.shape:
        new = _box(flat, new, part)
    return new.reshape(x.shape)


_IDENTITY = {"mul": 1.0, "max": -math.inf, "min": math.inf}


def _joined(x, put, values, mode, include):
    """x with values joined by a mode; means, and results that leave x out where something came."""
    if mode == "set" or (include and mode != "mean"):
        return put(x, values, mode)
    counts = put(L.zeros_like(x), L.ones_like(values), "add")
    hit = counts > 0
    start = x if include else L.where(hit, _IDENTITY.get(mode, 0.0), x)
    if mode != "mean":
        return put(start, values, mode)
    total = put(start, values, "add")
    counts = L.stop_gradient(counts + 1 if include else counts)
    return total / L.where(hit, counts, 1.0)


def _scatter_reduce(x, dim, index, src, reduce, *, include_self=True):
    return _along(x, dim, index, src, _MODES[reduce], include_self)


def _index(mode):
    def f(x, dim, index, source, *, alpha=1):
        return _by_slices(x, dim, index, source if alpha == 1 else source * alpha, mode)
    return f


def _by_slices(x, dim, index, source, mode, include=True):
    flat, index = _with_axis(x), index.reshape(-1)
    d = dim % flat.ndim
    source = source.reshape(*flat.shape[:d], index.size, *flat.shape[d + 1:])
    put = lambda to, values, how: L.scatter(to, index, values, axis=d, mode=how)
    return _joined(flat, put, source, mode, include).reshape(x.shape)


def _index_reduce(x, dim, index, source, reduce, *, include_self=True):
    return _by_slices(x, dim, index, source, _MODES[reduce], include_self)


def _index_fill(x, dim, index, value):
    flat, index = _with_axis(x), index.reshape(-1)
    value = L.asarray(value, dtype=x.dtype)
    return L.scatter(flat, index, value, axis=dim % flat.ndim, mode="set").reshape(x.shape)


def _flat_positions(x, keys):
    keys = L.broadcast_arrays(*[k if k.dtype != L.bool else L.nonzero(k)[0] for k in keys])
    at = None
    for k, e in zip(keys, x.shape, strict=False):
        k = L.where(k < 0, k + e, k)
        at = k if at is None else at * e + k
    return at


def _index_put(x, keys, values, accumulate=False):
    keys = list(keys)
    if len(keys) == 1 and keys[0].dtype == L.bool:
        keys = list(L.nonzero(keys[0]))
    at = _flat_positions(x, keys)
    rest = x.shape[len(keys):]
    lead = 1
    for e in x.shape[:len(keys)]:
        lead *= e
    values = L.broadcast_to(values, (*at.shape, *rest)).reshape(at.size, *rest)
    y = L.scatter(x.reshape(lead, *rest), at.reshape(-1), values, axis=0,
                  mode="add" if accumulate else "set")
    return y.reshape(x.shape)


def _put(x, index, source, accumulate=False):
    return L.scatter(x.reshape(-1), L.where(index < 0, index + x.size, index).reshape(-1),
                     source.reshape(-1), axis=0,
                     mode="add" if accumulate else "set").reshape(x.shape)


def _box(x, src, box):
    """x with src written into a box of slices."""
    marks = L.arange(x.size).reshape(x.shape)[box]
    return L.scatter(x.reshape(-1), marks.reshape(-1), L.broadcast_to(src, marks.shape).reshape(-1),
                     axis=0, mode="set").reshape(x.shape)


def _slice_scatter(x, src, dim=0, start=None, end=None, step=1):
    return _box(x, src, (*(slice(None),) * (dim % x.ndim), slice(start, end, step)))


def _select_scatter(x, src, dim, index):
    return _box(x, src, (*(slice(None),) * (dim % x.ndim), index))


def _diagonal_scatter(x, src, offset=0, dim1=0, dim2=1):
    marks = L.moveaxis(L.arange(x.size).reshape(x.shape), (dim1, dim2), (-2, -1))
    marks = L.linalg.diagonal(marks, offset=offset)
    return L.scatter(x.reshape(-1), marks.reshape(-1), src.reshape(-1), axis=0,
                     mode="set").reshape(x.shape)


def _masked_fill(x, mask, value):
    return L.where(mask, L.asarray(value, dtype=x.dtype), x)


def _masked_scatter(x, mask, source):
    x, full = L.broadcast_arrays(x, mask)
    at = L.cumulative_sum(L.astype(full.reshape(-1), "int32")) - 1
    taken = L.take(source.reshape(-1), L.clip(at, 0, source.size - 1), axis=0)
    return L.where(full, taken.reshape(x.shape), x)


def _bincount(x, *, weights=None, minlength=0):
    if weights is not None and not weights.dtype.is_float:
        raise Different("integer weights add up as integers")
    return L.bincount(x, weights=weights, minlength=minlength)


TABLE = {
    "scatter": _scatter, "scatter_add": lambda x, dim, i, s: _along(x, dim, i, s, "add"),
    **{f"scatter_reduce/{m}": _scatter_reduce for m in ("amax", "amin", "mean", "prod", "sum")},
    "index_add": _index("add"), "index_copy": _index("set"), "index_fill": _index_fill,
    **{f"index_reduce/{m}": _index_reduce for m in ("amax", "amin", "mean", "prod")},
    "index_put": _index_put, "put": _put, "slice_scatter": _slice_scatter,
    "select_scatter": _select_scatter, "diagonal_scatter": _diagonal_scatter,
    "masked_fill": _masked_fill, "masked_scatter": _masked_scatter,
    "bincount": _bincount,
}
