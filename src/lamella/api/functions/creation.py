"""Arrays from nothing: the array API's creation functions."""

from __future__ import annotations

import math

from ...base import dtypes
from ...base.devices import cpu
from ...base.dtypes import as_dtype
from ...base.errors import DTypeError, ShapeError
from ...base.extents import Size, upper
from ...ir.node import literal
from ...ops.iota import iota
from ...ops.pointwise import apply, broadcast_shapes, broadcast_to, cast
from ..arrays.array import Array, asarray, from_numpy, wrap
from ..arrays.exchange import on_gpu, received
from ..arrays.imports import DEFAULTS, is_number, number_node, number_rank
from ..arrays.placing import device_named, placed
from ..arrays.shapes import as_shape
from ..arrays.values import error

__all__ = ["arange", "broadcast_arrays", "empty", "empty_like", "eye", "from_dlpack", "full",
           "full_like", "linspace", "meshgrid", "ones", "ones_like", "tril", "triu", "zeros",
           "zeros_like"]


def from_dlpack(x, /, *, device=None, copy: bool | None = None) -> Array:
    """An array of a DLPack exporter's values, on their device; `copy=False` shares its memory."""
    if on_gpu(x) and not isinstance(x, Array):
        from ..arrays.borrowing import borrowed  # devices are loaded where arrays are there
        x = wrap(borrowed("from_dlpack", x, copy))
    elif not isinstance(x, Array):
        x = from_numpy(received("from_dlpack", x), copy=copy is not False)
    return asarray(x, device=device, copy=copy)


def full(shape, fill_value, *, dtype=None, device=None) -> Array:
    """`fill_value` (a number or a 0-d array) in every element; dtype as of the value by default."""
    return _filled("full", shape, fill_value, dtype, device)


def _filled(name: str, shape, fill_value, dtype, device) -> Array:
    device = device_named(name, device)
    shape = as_shape(shape, name)
    if isinstance(fill_value, Array):
        x = fill_value.node if dtype is None else cast(fill_value.node, as_dtype(dtype))
        return wrap(placed(broadcast_to(x, shape), device))
    if not is_number(fill_value):
        raise error(DTypeError, f"{name}: takes a number or a 0-d array, got {fill_value!r}")
    dtype = DEFAULTS[number_rank(fill_value)] if dtype is None else as_dtype(dtype)
    x = literal(number_node(fill_value, dtype).params["value"], dtype, shape)
    return wrap(placed(x, device))


def zeros(shape, *, dtype=None, device=None) -> Array:
    """0 in every element; float32 by default."""
    return _filled("zeros", shape, 0, dtype or dtypes.float32, device)


def ones(shape, *, dtype=None, device=None) -> Array:
    """1 in every element; float32 by default."""
    return _filled("ones", shape, 1, dtype or dtypes.float32, device)


def empty(shape, *, dtype=None, device=None) -> Array:
    """The same as `zeros`: no array ever shows what memory held before."""
    return zeros(shape, dtype=dtype, device=device)


def full_like(x: Array, /, fill_value, *, dtype=None, device=None) -> Array:
    """`fill_value` in x's shape, of x's dtype and on its device by default."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=_beside(x, device))


def _beside(x: Array, device):
    """The device that is named, or x's where that is another than numbers are made on anyway."""
    return x.device if device is None and x.device is not cpu else device


def zeros_like(x: Array, /, *, dtype=None, device=None) -> Array:
    """0 in x's shape, of x's dtype by default."""
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: Array, /, *, dtype=None, device=None) -> Array:
    """1 in x's shape, of x's dtype by default."""
    return full_like(x, 1, dtype=dtype, device=device)


def empty_like(x: Array, /, *, dtype=None, device=None) -> Array:
    """The same as `zeros_like`."""
    return zeros_like(x, dtype=dtype, device=device)


def arange(start, /, stop=None, step=1, *, dtype=None, device=None) -> Array:
    """start, start + step, ... up to stop (left out): [ceil((stop - start) / step)].

    int32 where all numbers are integers, else float32. Raises ShapeError for a step of 0 and for
    limits that are not finite.
    """
    device = device_named("arange", device)
    start, stop = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise error(ShapeError, "arange: a step of 0 never ends")
    numbers = [v for v in (start, stop, step) if not isinstance(v, Size)]
    plain = DEFAULTS[max(1, *map(number_rank, numbers))]
    dtype = plain if dtype is None else as_dtype(dtype)
    if isinstance(start, Size) or isinstance(stop, Size):
        extent = (stop - start + step - 1) // step
    else:
        extent = _steps(start, stop, step)
    at = iota((extent,), 0, dtype)
    at = at if step == 1 else at * step
    at = at if not isinstance(start, Size) and start == 0 else at + start
    return wrap(placed(at, device))


def _steps(start, stop, step) -> int:
    """How many values arange has."""
    if all(isinstance(v, int) for v in (start, stop, step)):
        return max(-((start - stop) // step), 0)
    count = (stop - start) / step
    if not math.isfinite(count):
        raise error(ShapeError, f"arange: from {start} to {stop} by {step} never ends")
    return max(math.ceil(count), 0)


def linspace(start, stop, /, num: int, *, dtype=None, device=None,
             endpoint: bool = True) -> Array:
    """`num` evenly spaced values from start to stop: [num], float32 by default."""
    device = device_named("linspace", device)
    num, = as_shape(num, "linspace")
    dtype = dtypes.float32 if dtype is None else as_dtype(dtype)
    if not dtype.is_float:
        raise error(DTypeError, f"linspace: takes a floating dtype, got {dtype}")
    parts = num - 1 if endpoint else num
    at = iota((num,), 0, dtype)
    x = at * ((stop - start) / parts if parts > 0 else 0.0) + start
    if endpoint and num > 1:  # the last value is `stop` itself
        x = apply("where", apply("eq", at, literal(num - 1, dtype)), literal(stop, dtype), x)
    return wrap(placed(x, device))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype=None,
        device=None) -> Array:
    """1 on the k-th diagonal, else 0: [n_rows, n_cols], float32 by default."""
    dtype = dtypes.float32 if dtype is None else as_dtype(dtype)
    device = device_named("eye", device)
    shape = as_shape((n_rows, n_rows if n_cols is None else n_cols), "eye")
    rows, cols = _grid(shape)
    k = _diagonal(k, shape)
    x = apply("where", apply("eq", cols - k, rows), literal(1, dtype), literal(0, dtype))
    return wrap(placed(x, device))


def _grid(shape):
    n, m = shape[-2:]
    return iota((n, 1), 0), iota((1, m), 1)


def _diagonal(k: int, shape) -> int:
    """k, or the nearest diagonal outside of the matrix where it lies far off."""
    return max(-upper(shape[-2]), min(k, upper(shape[-1])))


def _triangle(name: str, x: Array, k: int, lower: bool) -> Array:
    if x.ndim < 2:
        raise error(ShapeError, f"{name}: takes at least two axes, got shape {x.shape}")
    rows, cols = _grid(x.shape)
    k = _diagonal(k, x.shape)
    zero = literal(False if x.dtype is dtypes.bool_ else 0, x.dtype)
    inside = cols - k <= rows if lower else rows <= cols - k
    return wrap(apply("where", inside, x.node, zero))


def tril(x: Array, /, *, k: int = 0) -> Array:
    """x on and below the k-th diagonal of its last two axes, else 0."""
    return _triangle("tril", asarray(x), k, True)


def triu(x: Array, /, *, k: int = 0) -> Array:
    """x on and above the k-th diagonal of its last two axes, else 0."""
    return _triangle("triu", asarray(x), k, False)


def meshgrid(*arrays: Array, indexing: str = "xy") -> list[Array]:
    """Each 1-d array repeated over the grid of all; "xy" has the first two axes exchanged."""
    n = len(arrays)
    order = list(range(n))
    if indexing == "xy" and n > 1:
        order[:2] = [1, 0]
    parts = [a.reshape(tuple(-1 if d == at else 1 for d in range(n)))
             for a, at in zip(arrays, order, strict=True)]
    return broadcast_arrays(*parts)


def broadcast_arrays(*arrays: Array) -> list[Array]:
    """The arrays repeated to their common shape."""
    shape = broadcast_shapes("broadcast_arrays", [a.shape for a in arrays])
    return [wrap(broadcast_to(a.node, shape)) for a in arrays]
