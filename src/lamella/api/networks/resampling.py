"""Images at other sizes and places: interpolation, sampling at a grid, windows, pixel shuffles.

Images are x [n, ..., c] with 1 to 3 axes between; all is separable and written with `take`.
"""

from __future__ import annotations

from itertools import product

from ...base.errors import LamellaError, ShapeError
from ...base.extents import Size
from ...transform.vjp import pullback
from ..arrays.array import Array, asarray, wrap
from ..arrays.kinds import floating
from ..arrays.values import error
from ..functions.creation import arange, ones, zeros
from ..functions.elementwise import abs, floor, maximum, minimum, remainder, round, where
from ..functions.manipulation import pad, permute_dims, stack, take
from ..functions.scatters import gather_nd
from .pooling import adaptive_avg_pool
from .windows import counts, each_axis, paddings

__all__ = ["fold", "grid_sample", "interpolate", "pixel_shuffle", "pixel_unshuffle", "unfold"]

_METHODS = {"nearest": "nearest", "nearest-exact": "nearest-exact", "linear": "linear",
            "bilinear": "linear", "trilinear": "linear", "cubic": "cubic", "bicubic": "cubic",
            "area": "area"}


# ---- other sizes --------------------------------------------------------------------------------

def interpolate(x, size, *, method: str = "nearest", align_corners: bool = False,
                scale=None) -> Array:
    """x [n, ..., c] with its inner axes resampled to `size`, one number or one for each.

    method: "nearest" (the element at floor(k old / new)), "nearest-exact" (the one nearest to the
    centre), "linear" (also "bilinear", "trilinear"), "cubic" (also "bicubic"; Keys, 1981, with
    a = -3/4) or "area" (means, as `adaptive_avg_pool`). Elements are squares whose outer edges
    coincide, or with align_corners points of which the first and last coincide. scale: the factors
    new / old to place positions by, where they are not those of the sizes.
    """
    x = wrap(floating(asarray(x).node))
    rank = x.ndim - 2
    if method not in _METHODS or rank < 1:
        raise error(ShapeError, f"interpolate: x {x.shape} must be [n, ..., c], and the method one "
                                f"of {', '.join(_METHODS)}, got {method!r}")
    sizes = counts("interpolate", "size", size, rank)
    method = _METHODS[method]
    if method == "area":
        return adaptive_avg_pool(x, sizes)
    scales = (None,) * rank if scale is None else (
        (scale,) * rank if isinstance(scale, int | float) else tuple(scale))
    for d, (new, s) in enumerate(zip(sizes, scales, strict=True), 1):
        x = _resampled(x, d, new, method, align_corners, s)
    return x


def _resampled(x: Array, axis: int, new: int, method: str, align: bool, scale) -> Array:
    """One axis at another extent."""
    old = x.shape[axis]
    step = _ratio(old, new, x.dtype) if scale is None else 1.0 / scale
    if method.startswith("nearest"):
        return take(x, _nearest(old, new, method, scale), axis=axis)
    if new == old and (align or scale in (None, 1.0)):
        return x
    k = arange(new, dtype=x.dtype)
    if align:
        at = k * (_ratio(old - 1, new - 1, x.dtype) if new > 1 else 0.0)
    else:
        at = (k + 0.5) * step - 0.5
    if method == "linear":
        at = maximum(at, 0.0)
    base = floor(at)
    weights = _linear(at - base) if method == "linear" else _cubic(at - base)
    first = base.astype("int32") - (method == "cubic")
    total = None
    shape = (new, *(1,) * (x.ndim - 1 - axis))
    for t, w in enumerate(weights):
        part = take(x, _inside(first + t, old), axis=axis) * w.reshape(shape)
        total = part if total is None else total + part
    assert total is not None
    return total


def _ratio(a, b: int, dtype) -> float | Array:
    """a / b, as an array where a is a symbol: in float64 first, as Python's is."""
    if not isinstance(a, Size):
        return a / b
    return ((zeros((), dtype="float64") + a) / b).astype(dtype)


def _nearest(old, new: int, method: str, scale) -> Array:
    k = arange(new)
    if scale is None:
        at = (2 * k + 1) * old // (2 * new) if method == "nearest-exact" else k * old // new
    else:
        exact = 0.5 if method == "nearest-exact" else 0.0
        at = floor((k.astype("float32") + exact) * (1.0 / scale)).astype("int32")
    return _inside(at, old)


def _inside(at: Array, extent: int) -> Array:
    return maximum(minimum(at, extent - 1), 0)


def _linear(f: Array) -> list[Array]:
    return [1 - f, f]


def _cubic(f: Array) -> list[Array]:
    """Keys' kernel at the distances 1 + f, f, 1 - f and 2 - f."""
    a = -0.75
    near = lambda d: ((a + 2) * d - (a + 3)) * d * d + 1
    far = lambda d: ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return [far(f + 1), near(f), near(1 - f), far(2 - f)]


# ---- other places -------------------------------------------------------------------------------

def grid_sample(x, grid, *, method: str = "linear", padding: str = "zeros",
                align_corners: bool = False) -> Array:
    """x [n, h, w, c] (or [n, d, h, w, c]) at the places grid [n, ..., 2 (or 3)]: [n, ..., c].

    A place is (x, y) (or (x, y, z)), the last image axis first, each -1..1 over the image: its
    edges, or with align_corners the centres of its outer elements. method: "nearest", "linear" or
    "cubic" (two axes). padding says what lies beyond: "zeros", "border" (the nearest element) or
    "reflection".
    """
    x, grid = wrap(floating(asarray(x).node)), asarray(grid)
    rank, method = x.ndim - 2, _METHODS.get(method, method)
    if rank not in (2, 3) or grid.ndim != x.ndim or grid.shape[-1] != rank or \
            grid.shape[0] != x.shape[0]:
        raise error(ShapeError, f"grid_sample: x {x.shape} needs a grid [n, ..., {rank}], got "
                                f"{grid.shape}")
    if method not in ("nearest", "linear", "cubic") or padding not in _BEYOND or (
            method == "cubic" and rank != 2):
        raise error(LamellaError, f"grid_sample: no method {method!r} with padding {padding!r} "
                                  f"over {rank} axes")
    taps = []  # for each axis: (position, weight) pairs
    for d, extent in enumerate(x.shape[1:-1]):
        g = grid[..., rank - 1 - d]
        at = (g + 1) / 2 * (extent - 1) if align_corners else ((g + 1) * extent - 1) / 2
        bound = lambda v, e=extent: _BEYOND[padding](v, e, align_corners)
        taps.append(_taps(at, method, bound))
    return _gathered(x, taps)


def _within(v: Array, low: float, high: float) -> Array:
    """v within bounds, where its derivative is 0 beyond them."""
    return where(v <= low, low, where(v >= high, high, v))


def _reflected(v: Array, extent: int, align: bool) -> Array:
    """v mirrored at the image's edges (or outer centres) as often as it takes."""
    low, span = (0.0, extent - 1) if align else (-0.5, extent)
    if span == 0:
        return v * 0.0
    far = remainder(abs(v - low), 2.0 * span)
    return _within(minimum(far, 2.0 * span - far) + low, 0.0, extent - 1.0)


_BEYOND = {"zeros": lambda v, e, align: v, "border": lambda v, e, align: _within(v, 0.0, e - 1.0),
           "reflection": _reflected}


def _taps(at: Array, method: str, bound) -> list[tuple[Array, Array | None]]:
    """The positions (as floats) that a place reads along one axis, and their weights."""
    if method == "nearest":
        return [(round(bound(at)), None)]
    if method == "linear":
        at = bound(at)
        base = floor(at)
        return [(base + t, w) for t, w in enumerate(_linear(at - base))]
    base = floor(at)
    return [(bound(base + (t - 1)), w) for t, w in enumerate(_cubic(at - base))]


def _gathered(x: Array, taps) -> Array:
    """The weighted sum over all combinations of taps; what lies outside is 0."""
    total = None
    for combination in product(*taps):
        inside, weight, places = ones((), dtype="bool"), None, []
        for (at, w), extent in zip(combination, x.shape[1:-1], strict=True):
            inside = inside & (at >= 0) & (at <= extent - 1)
            places.append(_inside(at.astype("int32"), extent))
            if w is not None:
                weight = w if weight is None else weight * w
        at = stack(places, axis=-1)
        part = where(inside.reshape(*inside.shape, 1), gather_nd(x, at, batch_axes=1), 0.0)
        part = part if weight is None else part * weight.reshape(*weight.shape, 1)
        total = part if total is None else total + part
    assert total is not None
    return total


# ---- windows ------------------------------------------------------------------------------------

def unfold(x, window, *, stride=1, dilation=1, padding=0) -> Array:
    """Every window of x [n, ..., c] as axes of their own: [n, ...', window..., c]."""
    x = asarray(x)
    rank = x.ndim - 2
    window, stride, dilation = (counts("unfold", what, v, rank) for what, v in (
        ("window", window), ("stride", stride), ("dilation", dilation)))
    pairs = paddings("unfold", x.shape[1:-1], window, stride, padding, dilation)
    if any(e + sum(p) < (k - 1) * d + 1
           for e, p, k, d in zip(x.shape[1:-1], pairs, window, dilation, strict=True)):
        raise error(ShapeError, f"unfold: a window of {window} does not fit into {x.shape} with "
                                f"padding {padding}; enlarge the padding")
    x = pad(x, [(0, 0), *pairs, (0, 0)])
    for a in range(rank):  # axis 1 + 2 a: its windows, and their positions behind
        count = (x.shape[1 + 2 * a] - (window[a] - 1) * dilation[a] - 1) // stride[a] + 1
        at = arange(count).reshape(count, 1) * stride[a] + arange(window[a]) * dilation[a]
        x = take(x, at, axis=1 + 2 * a)
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
    return permute_dims(x, order)


def fold(y, size, *, stride=1, dilation=1, padding=0) -> Array:
    """The transpose of `unfold`: windows [n, ...', window..., c] added up in an image of the inner
    extents `size`."""
    y = asarray(y)
    rank = (y.ndim - 2) // 2
    window = tuple(y.shape[1 + rank:1 + 2 * rank])
    x = zeros((y.shape[0], *each_axis(size, rank), y.shape[-1]), dtype=y.dtype)
    seen = unfold(x, window, stride=stride, dilation=dilation, padding=padding)
    if seen.shape != y.shape:
        raise error(ShapeError, f"fold: an image of {size} has windows {seen.shape}, got {y.shape}")
    found, = pullback([seen.node], [x.node], [y.node])
    return wrap(found)


# ---- pixels -------------------------------------------------------------------------------------

def pixel_shuffle(x, factor: int) -> Array:
    """[..., h, w, c factor^2] as [..., h factor, w factor, c] (Shi et al., arXiv 1609.05158)."""
    x = asarray(x)
    if x.ndim < 3 or x.shape[-1] % factor ** 2:
        raise error(ShapeError, f"pixel_shuffle: the channels of {x.shape} are no multiple of "
                                f"{factor}^2")
    *lead, h, w, c = x.shape
    parts = x.reshape(*lead, h, w, c // factor ** 2, factor, factor)
    n = len(lead)
    y = permute_dims(parts, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return y.reshape(*lead, h * factor, w * factor, c // factor ** 2)


def pixel_unshuffle(x, factor: int) -> Array:
    """The inverse of `pixel_shuffle`."""
    x = asarray(x)
    if x.ndim < 3 or x.shape[-3] % factor or x.shape[-2] % factor:
        raise error(ShapeError, f"pixel_unshuffle: h and w of {x.shape} are no multiples of "
                                f"{factor}")
    *lead, h, w, c = x.shape
    n = len(lead)
    parts = x.reshape(*lead, h // factor, factor, w // factor, factor, c)
    y = permute_dims(parts, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return y.reshape(*lead, h // factor, w // factor, c * factor ** 2)
