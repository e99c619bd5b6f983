"""Shapes, joins, elements by position, order."""

from __future__ import annotations

import math
from itertools import combinations, combinations_with_replacement

from .common import UNCOMPARED, Different, L, number


def _shape(args):
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], list | tuple) else tuple(args)


def _expand(x, *shape):
    shape = _shape(shape)
    own = (1,) * (len(shape) - x.ndim) + x.shape
    return L.broadcast_to(x, tuple(o if e == -1 else e for e, o in zip(shape, own, strict=True)))


def _squeeze(x, dim=None):
    if dim is None:
        dim = tuple(range(x.ndim))
    dims = dim if isinstance(dim, list | tuple) else (dim,)
    dims = tuple(d % x.ndim for d in dims) if x.ndim else ()
    kept = tuple(d for d in dims if x.shape[d] == 1)
    return L.squeeze(x, kept) if kept else x


def _flatten(x, start_dim=0, end_dim=-1):
    if not x.ndim:
        return x.reshape(1)
    a, b = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:a], math.prod(x.shape[a:b + 1]), *x.shape[b + 1:])


def _unflatten(x, dim, sizes):
    dim = dim % x.ndim
    part = L.reshape(L.zeros(x.shape[dim]), tuple(sizes)).shape
    return x.reshape(*x.shape[:dim], *part, *x.shape[dim + 1:])


def _swap(x, a=0, b=1):
    if not x.ndim:
        return x
    order = list(range(x.ndim))
    order[a], order[b] = order[b], order[a]
    return L.permute_dims(x, order)


def _narrow(x, dim, start, length):
    start = int(number(start))
    dim, start = dim % x.ndim, start % x.shape[dim] if start < 0 else start
    return x[(*(slice(None),) * dim, slice(start, start + length))]


def _slice(x, dim=0, start=None, end=None, step=1):
    return x[(*(slice(None),) * (dim % x.ndim), slice(start, end, step))]


def _select(x, dim, index):
    return x[(*(slice(None),) * (dim % x.ndim), index)]


def _pieces(x, sizes, dim):
    ends = [sum(sizes[:k]) for k in range(1, len(sizes))]
    return L.split(x, ends, axis=dim)


def _split(x, size, dim=0):
    if not isinstance(size, int):
        return _pieces(x, list(size), dim)
    e = x.shape[dim]
    if e == 0:
        return [x]
    return _pieces(x, [min(size, e - k) for k in range(0, e, size)], dim)


def _chunk(x, chunks, dim=0):
    e = x.shape[dim]
    return _split(x, max(-(-e // chunks), 1), dim)


def _tensor_split(x, sections, dim=0):
    if isinstance(sections, L.Array):
        sections = sections.tolist()
    if isinstance(sections, int):
        e, n = x.shape[dim], sections
        return _pieces(x, [e // n + (k < e % n) for k in range(n)], dim)
    e = x.shape[dim]
    ends = [min(s + e if s < 0 else s, e) for s in sections]
    ends = [0, *ends, e]
    lead = (slice(None),) * (dim % x.ndim)
    return [x[(*lead, slice(a, max(a, b)))] for a, b in zip(ends, ends[1:], strict=False)]


def _along(dim):
    return lambda x, sections: _tensor_split(x, sections, dim if x.ndim > dim else 0)


def _stack(f):
    return lambda *xs: f(xs[0] if len(xs) == 1 and isinstance(xs[0], list | tuple) else xs)


def _atleast(rank):
    def one(x):
        if x.ndim >= rank:
            return x
        if rank == 3 and x.ndim == 2:
            return x.reshape(*x.shape, 1)
        if rank == 3 and x.ndim == 1:
            return x.reshape(1, -1, 1)
        return x.reshape((1,) * (rank - x.ndim) + x.shape)

    def f(*xs):
        if len(xs) == 1 and isinstance(xs[0], list | tuple):
            xs = xs[0]
        return [one(x) for x in xs]
    return f


def _joined(axis, rank):
    return _stack(lambda xs: L.concat(_atleast(rank)(*xs), axis=axis))


def _column_stack(xs):
    return L.concat([x.reshape(x.size, 1) if x.ndim < 2 else x for x in xs], axis=1)


def _hstack(xs):
    return L.concat(_atleast(1)(*xs), axis=0 if max(x.ndim for x in xs) <= 1 else 1)


def _rot90(x, k=1, dims=(0, 1)):
    a, b = (d % x.ndim for d in dims)
    k %= 4
    if k == 2:
        return L.flip(x, axis=(a, b))
    y = _swap(L.flip(x, axis=b) if k == 1 else x, a, b) if k else x
    return L.flip(y, axis=b) if k == 3 else y


def _repeat(x, *times):
    return L.tile(x, _shape(times))


def _repeat_interleave(x, repeats=None, dim=None, *, output_size=None):
    if isinstance(repeats, L.Array):
        counts = repeats.tolist()
        counts = [counts] if isinstance(counts, int) else counts
        if dim is None:
            x, dim = x.reshape(-1), 0
        if len(counts) == 1:
            return L.repeat(x, counts[0], axis=dim)
        if not x.ndim:
            return L.repeat(x.reshape(1), counts[0], axis=0)
        places = [k for k, n in enumerate(counts) for _ in range(n)]
        return L.take(x, L.asarray(places) if places else L.zeros((0,), dtype="int32"), axis=dim)
    if not x.ndim:
        x = x.reshape(1)
    return L.repeat(x, repeats, axis=dim)


def _roll(x, shifts, dims=None):
    dims = tuple(dims) if isinstance(dims, list | tuple) else dims
    if dims == () or not x.ndim:
        dims = None
    return L.roll(x, tuple(shifts) if isinstance(shifts, list | tuple) and dims is not None else
                  (shifts[0] if isinstance(shifts, list | tuple) else shifts), axis=dims) \
        if x.size else x


def _diagonal(x, offset=0, dim1=0, dim2=1):
    return L.linalg.diagonal(L.moveaxis(x, (dim1, dim2), (-2, -1)), offset=offset)


def _diag(x, diagonal=0):
    return _diag_embed(x, diagonal) if x.ndim == 1 else L.linalg.diagonal(x, offset=diagonal)


def _diag_embed(x, offset=0, dim1=-2, dim2=-1):
    n = x.shape[-1] + abs(offset)
    rows = L.arange(n).reshape(n, 1)
    at = rows - (abs(offset) if offset < 0 else 0)
    hit = (L.arange(n).reshape(1, n) - rows) == offset
    taken = L.take(x, L.clip(at.reshape(n), 0, max(x.shape[-1] - 1, 0)), axis=-1)
    y = L.where(hit, L.expand_dims(taken, axis=-1), L.zeros((), dtype=x.dtype))
    return L.moveaxis(y, (-2, -1), (dim1, dim2))


def _block_diag(*xs):
    xs = _atleast(2)(*xs)
    rows, width = [], sum(x.shape[1] for x in xs)
    at = 0
    for x in xs:
        rows.append(L.pad(x, [(0, 0), (at, width - at - x.shape[1])]))
        at += x.shape[1]
    return L.concat(rows, axis=0)


def _take(x, index):
    return L.take(x.reshape(-1), index, axis=0)


def _index_select(x, dim, index):
    if not x.ndim:
        return x
    return L.take(x, index, axis=dim)


def _gather(x, dim, index, *, sparse_grad=False):
    if not x.ndim or not index.ndim:
        return L.take(x.reshape(-1), index.reshape(-1), axis=0).reshape(index.shape)
    if index.ndim != x.ndim:
        raise Different("positions have the axes of the array, empty ones too")
    box = tuple(slice(None) if d == dim % x.ndim else slice(0, e)
                for d, e in enumerate(index.shape))
    return L.take_along_axis(x[box], index, axis=dim)


def _take_along(x, index, dim=None):
    if dim is None:
        return _take(x, index.reshape(-1))
    shape = [1 if d == dim % x.ndim else max(a, b)
             for d, (a, b) in enumerate(zip(x.shape, index.shape, strict=True))]
    to = lambda v: L.broadcast_to(v, tuple(v.shape[d] if d == dim % x.ndim else e
                                           for d, e in enumerate(shape)))
    return L.take_along_axis(to(x), to(index), axis=dim)


def _get(x, key):
    return x[key]


def _meshgrid(*xs, indexing="ij"):
    if len(xs) == 1 and isinstance(xs[0], list | tuple):
        xs = tuple(xs[0])
    return L.meshgrid(*[x.reshape(-1) for x in xs], indexing=indexing)


def _cartesian(*xs):
    if len(xs) == 1:
        return xs[0]
    return L.stack([g.reshape(-1) for g in _meshgrid(*xs)], axis=1)


def _combinations(x, r=2, with_replacement=False):
    pick = combinations_with_replacement if with_replacement else combinations
    places = [list(c) for c in pick(range(x.shape[0]), r)]
    if not places:
        return L.zeros((0, r), dtype=x.dtype)
    return L.take(x, L.asarray(places), axis=0)


def _unfold(x, dimension, size, step):
    if not x.ndim:
        return x.reshape(1)[:size]
    d = dimension % x.ndim
    count = (x.shape[d] - size) // step + 1
    at = L.arange(count).reshape(-1, 1) * step + L.arange(size)
    y = L.take(x, at, axis=d)
    return L.moveaxis(y, d + 1, -1)


def _constant_pad(x, pad, value=0):
    pairs = [(0, 0)] * x.ndim
    for k in range(len(pad) // 2):
        pairs[x.ndim - 1 - k] = (pad[2 * k], pad[2 * k + 1])
    return _padded(x, pairs, value)


def _padded(x, pairs, value):
    cut = tuple(slice(max(-a, 0), e - max(-b, 0)) for (a, b), e in zip(pairs, x.shape,
                                                                       strict=True))
    return L.pad(x[cut], [(max(a, 0), max(b, 0)) for a, b in pairs], value=value)


def _diff(x, n=1, dim=-1, prepend=None, append=None):
    parts = [v for v in (prepend, x, append) if v is not None and (n or v is x)]
    x = L.concat(parts, axis=dim) if len(parts) > 1 else x
    for _ in range(n):
        if x.shape[dim] == 0:
            break
        x = L.diff(x, axis=dim)
    return x


def _cross(a, b, dim=None):
    dim = dim if dim is not None else -1
    if dim is None:
        dim = next(d for d, e in enumerate(a.shape) if e == 3)
    a, b = L.broadcast_arrays(a, b)
    a, b = L.moveaxis(a, dim, -1), L.moveaxis(b, dim, -1)
    u, v = [[t[..., k] for k in range(3)] for t in (a, b)]
    y = [u[(k + 1) % 3] * v[(k + 2) % 3] - u[(k + 2) % 3] * v[(k + 1) % 3] for k in range(3)]
    return L.moveaxis(L.stack(y, axis=-1), -1, dim)


def _sorted(x, dim=-1, descending=False, stable=False):
    if not x.ndim:
        return x, L.zeros((), dtype="int32")
    at = L.argsort(x, axis=dim, descending=descending)
    return L.take_along_axis(x, at, axis=dim), at


def _scan(name):
    def f(x, dim, *, dtype=None):
        x = x if dtype is None else L.astype(x, dtype)
        return getattr(L, name)(x, axis=dim) if x.ndim else x
    return f


def _running(name, keeps):
    def f(x, dim):
        if not x.ndim:
            return x, L.zeros((), dtype="int32")
        y = getattr(L, name)(x, axis=dim)
        place = L.arange(x.shape[dim]).reshape(-1, *(1,) * (x.ndim - 1 - dim % x.ndim))
        return y, L.cummax(L.where(keeps(x, y), place, 0), axis=dim)
    return f


def _mode(x, dim=-1, keepdim=False):
    if not x.ndim:
        return [x, UNCOMPARED]
    return [L.mode(x, axis=dim, keepdims=keepdim)[0], UNCOMPARED]


def _nan_median(x, dim=None, keepdim=False):
    """The lower median of what is a number: NaNs sort last."""
    if not x.ndim:
        return x if dim is None else [x, UNCOMPARED]
    flat, d = (x.reshape(-1), 0) if dim is None else (x, dim)
    rows = L.sort(flat, axis=d)
    count = L.sum(L.astype(~L.isnan(flat), "int32"), axis=d, keepdims=True)
    y = L.take_along_axis(rows, L.maximum((count - 1) // 2, 0), axis=d)
    y = y if keepdim and dim is not None else L.squeeze(y, d)
    return y if dim is None else [y, UNCOMPARED]


def _unique(x, sorted=True, return_inverse=False, return_counts=False, dim=None):
    if dim is not None:
        raise Different("unique slices along an axis are not offered")
    found = L.unique_all(x)
    return [found.values, *([found.inverse_indices] if return_inverse else []),
            *([found.counts] if return_counts else [])]


def _histc(x, bins=100, min=0, max=0):
    if min == max and x.size:
        min, max = float(L.min(x)), float(L.max(x))
    if min == max:
        min, max = min - 1, max + 1
    inside = (x >= min) & (x <= max)
    at = L.clip(L.astype(L.floor((x - min) * bins / (max - min)), "int32"), 0, bins - 1)
    return L.scatter(L.zeros((bins,), dtype=x.dtype), at.reshape(-1),
                     L.astype(inside, x.dtype).reshape(-1), axis=0, mode="add")


def _masked_scan(name, fill):
    def f(x, dim, *, dtype=None, mask=None):
        x = x if mask is None else L.where(L.broadcast_to(mask, x.shape), x, fill)
        return _scan(name)(x, dim, dtype=dtype)
    return f


def _topk(x, k, dim=-1, largest=True, sorted=True):
    return list(L.top_k(x, k, axis=dim, largest=largest)) if x.ndim else (
        x, L.zeros((), dtype="int32"))


def _kth(x, k, dim=-1, keepdim=False):
    if not x.ndim:
        return x, L.zeros((), dtype="int32")
    value, at = (t[(*(slice(None),) * (dim % x.ndim), slice(k - 1, k))] for t in _sorted(x, dim))
    return (value, at) if keepdim else (L.squeeze(value, dim), L.squeeze(at, dim))


def _median(x, dim=None, keepdim=False):
    if dim is None:
        x = x.reshape(-1)
        return _kth(x, (x.shape[0] + 1) // 2, 0)[0]
    return _kth(x, (x.shape[dim] + 1) // 2, dim, keepdim) if x.ndim else _kth(x, 1)


def _quantile(x, q, dim=None, keepdim=False, *, interpolation="linear"):
    if not x.ndim:
        x, dim, keepdim = x.reshape(1), 0, False
    return L.quantile(x, q, axis=dim, keepdims=keepdim, method=interpolation)


def _pixel_shuffle(x, upscale_factor):
    return L.moveaxis(L.pixel_shuffle(L.moveaxis(x, -3, -1), upscale_factor), -1, -3)


def _pixel_unshuffle(x, downscale_factor):
    return L.moveaxis(L.pixel_unshuffle(L.moveaxis(x, -3, -1), downscale_factor), -1, -3)


def _unravel(x, shape):
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    found = []
    for e in reversed(shape):
        found.insert(0, x % e)
        x = x // e
    return found


def _histogram(x, bins, *, range=None, weight=None, density=False):
    bins = bins[0] if isinstance(bins, list | tuple) else bins
    if isinstance(bins, L.Array) or weight is not None or not x.size:
        raise Different("bins at given edges, weights and empty arrays are counted otherwise")
    counts, edges = L.histogram(x, bins, range=range, density=density)
    return [L.astype(counts, x.dtype), edges]


def _masked_median(x, dim=None, keepdim=False, *, dtype=None, mask=None):
    x = x if dtype is None else L.astype(x, dtype)
    x = x if mask is None else L.where(L.broadcast_to(mask, x.shape), x, math.nan)
    if not x.ndim:
        return x
    return _nan_median(x, dim, keepdim)[0] if dim is not None else _nan_median(x)


def _places(x):
    if not x.ndim:
        return L.zeros((int(bool(x)), 0), dtype="int32")
    return L.stack(L.nonzero(x), axis=-1)


def _gradient(x, *, spacing=None, dim=None, edge_order=1):
    return L.gradient(x, spacing=spacing, axis=dim, edge_order=edge_order)


TABLE = {
    "reshape": lambda x, shape: L.reshape(x, tuple(shape)),
    "view": lambda x, shape: L.reshape(x, tuple(shape)),
    "reshape_as": lambda x, o: x.reshape(o.shape), "view_as": lambda x, o: x.reshape(o.shape),
    "ravel": lambda x: x.reshape(-1), "flatten": _flatten, "unflatten": _unflatten,
    "expand": _expand, "expand_as": lambda x, o: L.broadcast_to(x, o.shape),
    "broadcast_to": lambda x, shape: _expand(x, shape),
    "broadcast_tensors": lambda *xs: L.broadcast_arrays(*xs),
    "squeeze": _squeeze, "squeeze/multiple": _squeeze,
    "unsqueeze": lambda x, dim: L.expand_dims(x, axis=dim),
    "permute": lambda x, dims: L.permute_dims(x, dims), "T": lambda x: x.transpose(),
    "H": lambda x: x.transpose(), "mT": lambda x: x.mT, "mH": lambda x: x.mT,
    "t": lambda x: x.transpose(), "transpose": _swap, "swapaxes": _swap,
    "movedim": L.moveaxis, "flip": lambda x, dims: L.flip(x, axis=tuple(dims)) if x.ndim else x,
    "fliplr": lambda x: L.flip(x, axis=1), "flipud": lambda x: L.flip(x, axis=0),
    "roll": _roll, "rot90": _rot90, "repeat": _repeat, "tile": _repeat,
    "repeat_interleave": _repeat_interleave, "narrow": _narrow, "slice": _slice,
    "select": _select, "split": _split, "split/list_args": _split, "split_with_sizes": _split,
    "chunk": _chunk, "tensor_split": _tensor_split, "hsplit": _along(1), "vsplit": _along(0),
    "dsplit": _along(2), "unbind": lambda x, dim=0: L.unstack(x, axis=dim),
    "cat": lambda xs, dim=0: L.concat([x for x in xs if x.shape != (0,)] or xs, axis=dim),
    "stack": lambda xs, dim=0: L.stack(xs, axis=dim), "hstack": _stack(_hstack),
    "vstack": _joined(0, 2), "dstack": _joined(2, 3), "column_stack": _stack(_column_stack),
    "atleast_1d": _atleast(1), "atleast_2d": _atleast(2), "atleast_3d": _atleast(3),
    "diagonal": _diagonal, "linalg.diagonal": lambda x, *, offset=0, dim1=-2, dim2=-1: _diagonal(
        x, offset, dim1, dim2),
    "diag": _diag, "diagflat": lambda x, offset=0: _diag_embed(x.reshape(-1), offset),
    "diag_embed": _diag_embed, "block_diag": _block_diag,
    "tril": lambda x, diagonal=0: L.tril(x, k=diagonal),
    "triu": lambda x, diagonal=0: L.triu(x, k=diagonal), "take": _take,
    "index_select": _index_select, "gather": _gather, "take_along_dim": _take_along,
    "__getitem__": _get, "meshgrid/variadic_tensors": _meshgrid,
    "meshgrid/list_of_tensors": _meshgrid, "cartesian_prod": _cartesian,
    "combinations": _combinations, "unfold": _unfold,
    "constant_pad_nd": _constant_pad, "diff": _diff, "cross": _cross, "linalg.cross": _cross,
    "masked_select": lambda x, m: (lambda a, b: a.reshape(-1)[b.reshape(-1)])(
        *L.broadcast_arrays(x, m)),
    "nonzero": lambda x, *, as_tuple=False: L.nonzero(
        x if x.ndim else x.reshape(1)) if as_tuple else _places(x),
    "argwhere": lambda x: _places(x),
    "item": lambda x: x.item(),
    "sort": _sorted, "msort": lambda x: _sorted(x, 0)[0],
    "argsort": lambda x, dim=-1, descending=False, stable=False: _sorted(x, dim, descending)[1],
    "topk": _topk, "kthvalue": _kth, "median": _median, "quantile": _quantile,
    "nanquantile": lambda x, q, dim=None, keepdim=False, *, interpolation="linear":
    L.nanquantile(x, q, axis=dim, keepdims=keepdim, method=interpolation),
    "cumsum": _scan("cumulative_sum"), "cumprod": _scan("cumulative_prod"),
    "logcumsumexp": _scan("logcumsumexp"), "cummax": _running("cummax", L.greater_equal),
    "cummin": _running("cummin", L.less_equal), "mode": _mode, "nanmedian": _nan_median,
    "unique": _unique, "histc": _histc, "masked.cumsum": _masked_scan("cumulative_sum", 0.0),
    "masked.cumprod": _masked_scan("cumulative_prod", 1.0),
    "searchsorted": lambda a, v, **k: L.searchsorted(a, v, side=k.get("side") or (
        "right" if k.get("right") else "left"), sorter=k.get("sorter")),
    "bucketize": lambda v, a, *, right=False, out_int32=False: L.searchsorted(
        a, v, side="right" if right else "left"),
    "nn.functional.pixel_shuffle": _pixel_shuffle,
    "nn.functional.pixel_unshuffle": _pixel_unshuffle,
    "nn.functional.channel_shuffle": lambda x, groups: L.moveaxis(
        x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]), 1, 2).reshape(x.shape),
    "gradient": _gradient, "unravel_index": _unravel,
    "nonzero_static": lambda x, *, size, fill_value=-1: L.stack(
        L.nonzero(x, size=size, fill_value=fill_value), axis=-1) if x.ndim else L.full(
        (size, 0), 0, dtype="int32"),
    "histogram": _histogram, "masked.median": _masked_median,
}
