"""`lamella.fft`: the array API standard's extension (2024.12).

Transforms are numpy.fft's, called as host steps (ops/fourier.py). float32 and complex64 give
complex64, float64 and complex128 give complex128. `norm` is "backward", "ortho" or "forward";
`n` and `s` cut the input or fill it with zeros at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...base import dtypes
from ...base.dtypes import as_dtype, complex_of
from ...base.errors import DTypeError, ShapeError
from ...ir.node import Node
from ...ops import fourier as ops
from ...ops.move import pad, slice_
from ...ops.pointwise import cast, normal_axis
from ..arrays.array import Array, asarray, wrap
from ..arrays.kinds import floating
from ..arrays.values import error, located
from ..functions.creation import arange
from ..functions.elementwise import conj
from ..functions.manipulation import roll

__all__ = ["fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft",
           "irfft", "irfftn", "rfft", "rfftfreq", "rfftn"]


def _operand(name: str, x, to_complex: bool) -> Node:
    """x as complex numbers, or as the real ones that it has to be."""
    node = floating(asarray(x).node)
    if node.dtype.is_float and node.dtype.bits < 32:
        node = cast(node, dtypes.float32)
    if to_complex:
        return cast(node, complex_of(node.dtype))
    if node.dtype.is_complex:
        raise error(DTypeError, f"{name}: takes real numbers, got {node.dtype}; use fft")
    return node


def _norm(name: str, norm: str) -> str:
    if norm not in ops.NORMS:
        raise error(DTypeError, f"{name}: norm is 'backward', 'ortho' or 'forward', got {norm!r}")
    return norm


def _resized(name: str, x: Node, axis: int, n: int | None) -> Node:
    """x with n elements along the axis: cut, or zeros behind."""
    rank = x.type.rank
    at = normal_axis(name, axis, rank)
    if n is None or x.shape[at] == n:
        return x
    if n < 1:
        raise error(ShapeError, f"{name}: n must be at least 1, got {n}")
    have = x.shape[at]
    if not isinstance(have, int):
        raise error(ShapeError, f"{name}: n={n} needs a fixed extent, got {have}")
    if n < have:
        stops = tuple(n if d == at else e for d, e in enumerate(x.shape))
        return slice_(x, (0,) * rank, stops)
    return pad(x, (0,) * rank, tuple(n - have if d == at else 0 for d in range(rank)))


def _negative(name: str, axis: int, x: Node) -> int:
    return normal_axis(name, axis, x.type.rank) - x.type.rank


def _complex(name: str, x: Node, s, axes: Sequence[int], inverse: bool, norm: str) -> Node:
    """The transform over axes, each resized to its s."""
    for a, n in zip(axes, s, strict=True):
        x = _resized(name, x, a, n)
    if not axes:
        return x
    return ops.FFT(x, axes=tuple(_negative(name, a, x) for a in axes), inverse=inverse,
                   norm=_norm(name, norm))


def _over(name: str, x: Node, s, axes) -> tuple[Sequence, Sequence[int]]:
    """(s, axes) of a transform over several: the last len(s) axes, or all, where none are given."""
    if axes is None:
        axes = range(x.type.rank) if s is None else range(-len(s), 0)
    s = [None] * len(axes) if s is None else list(s)
    if len(s) != len(axes):
        raise error(ShapeError, f"{name}: {len(s)} sizes for {len(axes)} axes")
    s = [None if n == -1 else n for n in s]
    return s, [_negative(name, a, x) for a in axes]


# ---- complex signals ----------------------------------------------------------------------------

@located
def fft(x, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """y[k] = sum_j x[j] exp(-2 pi i j k / n)."""
    return wrap(_complex("fft", _operand("fft", x, True), [n], [axis], False, norm))


@located
def ifft(x, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The inverse of fft."""
    return wrap(_complex("ifft", _operand("ifft", x, True), [n], [axis], True, norm))


@located
def fftn(x, /, *, s=None, axes=None, norm: str = "backward") -> Array:
    """fft over several axes (the last len(s), or all, by default)."""
    node = _operand("fftn", x, True)
    return wrap(_complex("fftn", node, *_over("fftn", node, s, axes), False, norm))


@located
def ifftn(x, /, *, s=None, axes=None, norm: str = "backward") -> Array:
    """The inverse of fftn."""
    node = _operand("ifftn", x, True)
    return wrap(_complex("ifftn", node, *_over("ifftn", node, s, axes), True, norm))


# ---- real signals -------------------------------------------------------------------------------

@located
def rfft(x, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The first n // 2 + 1 results of fft of real x."""
    return wrap(_real("rfft", _operand("rfft", x, False), n, axis, norm))


def _real(name: str, x: Node, n: int | None, axis: int, norm: str) -> Node:
    x = _resized(name, x, axis, n)
    return ops.RFFT(x, axis=_negative(name, axis, x), norm=_norm(name, norm))


@located
def irfft(x, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The n real numbers of which rfft gives x; n is 2 (m - 1) for m elements by default."""
    return wrap(_inverse("irfft", _operand("irfft", x, True), n, axis, norm))


def _inverse(name: str, x: Node, n: int | None, axis: int, norm: str) -> Node:
    at = _negative(name, axis, x)
    have = x.shape[at]
    if n is None and not isinstance(have, int):
        raise error(ShapeError, f"{name}: needs a fixed extent or n, got {have}")
    count = 2 * (int(have) - 1) if n is None else int(n)  # type: ignore[arg-type]
    if count < 1:
        raise error(ShapeError, f"{name}: n must be at least 1, got {count}")
    x = _resized(name, x, at, count // 2 + 1)
    return ops.IRFFT(x, axis=at, n=count, norm=_norm(name, norm))


@located
def rfftn(x, /, *, s=None, axes=None, norm: str = "backward") -> Array:
    """rfft over the last of the axes, then fft over the others."""
    node = _operand("rfftn", x, False)
    s, axes = _over("rfftn", node, s, axes)
    if not axes:
        raise error(ShapeError, "rfftn: needs at least one axis")
    node = _real("rfftn", node, s[-1], axes[-1], norm)
    return wrap(_complex("rfftn", node, s[:-1], axes[:-1], False, norm))


@located
def irfftn(x, /, *, s=None, axes=None, norm: str = "backward") -> Array:
    """The inverse of rfftn: ifft over all axes but the last, then irfft over that."""
    node = _operand("irfftn", x, True)
    s, axes = _over("irfftn", node, s, axes)
    if not axes:
        raise error(ShapeError, "irfftn: needs at least one axis")
    node = _complex("irfftn", node, s[:-1], axes[:-1], True, norm)
    return wrap(_inverse("irfftn", node, s[-1], axes[-1], norm))


@located
def hfft(x, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """fft of a signal whose other half is the conjugate of x, n real numbers."""
    node = conj(wrap(_operand("hfft", x, True))).node
    return wrap(_inverse("hfft", node, n, axis, ops.OPPOSITE[_norm("hfft", norm)]))


@located
def ihfft(x, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Array:
    """The inverse of hfft: the first half of ifft of real x."""
    norm = ops.OPPOSITE[_norm("ihfft", norm)]
    return conj(wrap(_real("ihfft", _operand("ihfft", x, False), n, axis, norm)))


# ---- frequencies and order ----------------------------------------------------------------------

def _frequencies(name: str, at: Array, n: int, d: float, dtype) -> Array:
    dtype = dtypes.float32 if dtype is None else as_dtype(dtype)
    if not dtype.is_float:
        raise error(DTypeError, f"{name}: takes a floating dtype, got {dtype}")
    return at.astype(dtype) / (n * d)


def fftfreq(n: int, /, *, d: float = 1.0, dtype=None, device=None) -> Array:
    """The frequencies of fft's results: 0, 1, ..., -2, -1 over n d."""
    at = arange(n, device=device)
    return _frequencies("fftfreq", roll(at - n // 2, -(n // 2)), n, d, dtype)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype=None, device=None) -> Array:
    """The frequencies of rfft's results: 0, 1, ..., n // 2 over n d."""
    return _frequencies("rfftfreq", arange(n // 2 + 1, device=device), n, d, dtype)


def _shifted(name: str, x, axes, sign: int) -> Array:
    x = asarray(x)
    axes = range(x.ndim) if axes is None else [axes] if isinstance(axes, int) else axes
    axes = tuple(normal_axis(name, a, x.ndim) for a in axes)
    counts = tuple(x.shape[a] // 2 if sign > 0 else -(x.shape[a] // 2) for a in axes)
    return roll(x, counts, axis=axes) if axes else x


@located
def fftshift(x, /, *, axes=None) -> Array:
    """The zero frequency moved to the middle of the axes (all by default)."""
    return _shifted("fftshift", x, axes, 1)


@located
def ifftshift(x, /, *, axes=None) -> Array:
    """The inverse of fftshift."""
    return _shifted("ifftshift", x, axes, -1)
