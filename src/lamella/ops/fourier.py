"""Discrete Fourier transforms: numpy.fft's, over leading axes.

Axes are negative, so that batching changes nothing. `norm` says which direction divides by the
count: "backward" (the inverse), "forward", or "ortho" (both by its square root).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.dtypes import complex_of
from ..base.errors import DTypeError, ShapeError
from ..base.extents import Extent
from ..ir.node import Node, literal
from ..ir.op import is_int, one_of
from ..ir.types import TensorType
from .foreign import Foreign
from .iota import iota
from .move import pad
from .pointwise import apply, cast

NORMS = ("backward", "ortho", "forward")
OPPOSITE = dict(zip(NORMS, reversed(NORMS), strict=True))
_is_norm, _is_flag = one_of(*NORMS), one_of(True, False)


def _is_negative(v) -> bool:
    return is_int(v) and v < 0


def _are_negative(v) -> bool:
    return isinstance(v, tuple) and all(map(_is_negative, v)) and len(set(v)) == len(v)


def _extent(name: str, t: TensorType, axis: int) -> Extent:
    if -axis > t.rank:
        raise ShapeError(f"{name}: no axis {axis} in shape {t.shape}")
    found = t.shape[axis]
    if isinstance(found, int) and found < 1:
        raise ShapeError(f"{name}: axis {axis} of shape {t.shape} has no elements to transform")
    return found


def _complex_rule(t: TensorType, axes: tuple, inverse: bool, norm: str) -> TensorType:
    for a in axes:
        _extent("fft", t, a)
    if not t.dtype.is_complex:
        raise DTypeError(f"fft: takes complex numbers, got {t.dtype}; cast to complex64, or use "
                         f"rfft")
    return t


def _workspace(*types: TensorType, **options) -> Extent:
    total: Extent = 1 << 16
    for t in types:
        total = total + t.bytes * 4
    return total


def _numbers(*shape: int, kind=np.float32) -> np.ndarray:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape)).astype(kind) if np.dtype(kind).kind == "c" \
        else x.astype(kind)


def _fft(x: np.ndarray, axes: tuple, inverse: bool, norm: Any) -> np.ndarray:
    return (np.fft.ifftn if inverse else np.fft.fftn)(x, axes=axes, norm=norm)


FFT: Foreign = Foreign("fft", _fft, _complex_rule,
              doc="y[k] = sum of x[j] exp(-+2 pi i j k / n) over the axes.",
              options={"axes": _are_negative, "inverse": _is_flag, "norm": _is_norm},
              vjp=lambda node, g: (FFT(g, **dict(node.params["options"])),),  # it is symmetric
              batch="leading", workspace=_workspace,
              samples=lambda: [({"axes": a, "inverse": i, "norm": n},
                                [_numbers(3, 5, 4, kind=np.complex64)])
                               for a, i, n in (((-1,), False, "backward"),
                                               ((-3, -2), True, "ortho"),
                                               ((-2,), True, "backward"))])


# ---- real signals -------------------------------------------------------------------------------

def _fixed(name: str, t: TensorType, axis: int) -> int:
    n = _extent(name, t, axis)
    if not isinstance(n, int):
        raise ShapeError(f"{name}: needs a fixed extent along axis {axis}, got {n}")
    return n


def _with_extent(t: TensorType, axis: int, n: int) -> TensorType:
    at = axis % t.rank
    return t.with_shape((*t.shape[:at], n, *t.shape[at + 1:]))


def _real_rule(t: TensorType, axis: int, norm: str) -> TensorType:
    n = _fixed("rfft", t, axis)
    if not t.dtype.is_float or t.dtype.bits < 32:
        raise DTypeError(f"rfft: takes float32 or float64, got {t.dtype}; cast with astype")
    return _with_extent(t, axis, n // 2 + 1).with_dtype(complex_of(t.dtype))


def _real_vjp(node: Node, g: Node):
    """The half that was left out gets 0: the real part of the transform of g and zeros."""
    o, (x,) = dict(node.params["options"]), node.inputs
    at, rest = o["axis"] % x.type.rank, x.shape[o["axis"]] - g.shape[o["axis"]]
    high = tuple(rest if d == at else 0 for d in range(x.type.rank))
    whole = pad(g, (0,) * x.type.rank, high)
    return (apply("real", FFT(whole, axes=(o["axis"],), inverse=False, norm=o["norm"])),)


RFFT = Foreign("rfft", lambda x, axis, norm: np.fft.rfft(x, axis=axis, norm=norm), _real_rule,
               doc="The first n // 2 + 1 of fft's results; the others are their conjugates.",
               options={"axis": _is_negative, "norm": _is_norm}, vjp=_real_vjp, batch="leading",
               workspace=_workspace,
               samples=lambda: [({"axis": a, "norm": n}, [_numbers(3, 6, 5)])
                                for a, n in ((-1, "backward"), (-2, "ortho"), (-3, "forward"))])


def _inverse_rule(t: TensorType, axis: int, n: int, norm: str) -> TensorType:
    given = _fixed("irfft", t, axis)
    if not t.dtype.is_complex:
        raise DTypeError(f"irfft: takes complex numbers, got {t.dtype}; cast to complex64")
    if n < 1 or given != n // 2 + 1:
        raise ShapeError(f"irfft: {n} results need {n // 2 + 1} elements along axis {axis}, got "
                         f"shape {t.shape}")
    return _with_extent(t, axis, n).with_dtype(t.dtype.real)


def _inverse_vjp(node: Node, g: Node):
    """Each element but the first (and of an even n the last) stands for its conjugate too."""
    o, (x,) = dict(node.params["options"]), node.inputs
    at, n = o["axis"] % x.type.rank, o["n"]
    found = apply("conj", RFFT(g, axis=o["axis"], norm=OPPOSITE[o["norm"]]))
    k = iota(tuple(e if d == at else 1 for d, e in enumerate(x.shape)), at)
    alone = apply("eq", k, literal(0, k.dtype))
    if n % 2 == 0:
        alone = apply("or", alone, apply("eq", k, literal(n // 2, k.dtype)))
    weight = apply("where", alone, literal(1, g.dtype), literal(2, g.dtype))
    return (found * cast(weight, found.dtype),)


def _irfft(x: np.ndarray, axis: int, n: int, norm: Any) -> np.ndarray:
    return np.fft.irfft(x, n, axis=axis, norm=norm)


def _samples() -> list:
    found: list = []
    for n, norm in ((6, "backward"), (7, "ortho"), (1, "forward")):
        x = _numbers(2, n // 2 + 1, kind=np.complex64)
        found.append(({"axis": -1, "n": n, "norm": norm}, [x]))
    return found


IRFFT: Foreign = Foreign(
    "irfft", _irfft, _inverse_rule, doc="The n real numbers of which rfft gives x.",
    options={"axis": _is_negative, "n": is_int, "norm": _is_norm}, vjp=_inverse_vjp,
    batch="leading", workspace=_workspace, samples=_samples)

