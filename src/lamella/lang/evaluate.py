"""Scalar expressions evaluated with NumPy: what they mean, or the bits of compiled code.

`evaluate` computes each scalar by its `reference`; with `use_expand` a scalar that has an `expand`
is computed through it instead (where it states one for the dtype), operation by operation, and has
the bits of generated code. `fma_array` and `erf_array` are the references that NumPy lacks.
"""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np

from ..base.errors import NotationError
from .expr import Expr, show, value_of
from .scalar import cast_array

_SPLIT = 2.0**27 + 1  # cuts a float64 in halves of 26 bits


def evaluate(e: Expr, env: dict[Expr, np.ndarray], use_expand: bool = False) -> np.ndarray:
    """The value of a scalar expression; `env` gives its axes, variables or any other part."""
    memo: dict[Expr, np.ndarray] = {}

    def value(x: Expr) -> np.ndarray:
        found = memo.get(x)
        if found is None:
            memo[x] = found = env[x] if x in env else compute(x)
        return found

    def compute(x: Expr) -> np.ndarray:
        if x.kind == "lit":
            return np.asarray(value_of(x), x.dtype.numpy)
        if x.kind != "apply":
            raise NotationError(f"no value is given for {show(x)}")
        expanded = x.op.expand(*x.args) if use_expand and x.op.expand is not None else None
        if expanded is not None:
            return value(expanded)
        return _apply(x, [value(a) for a in x.args])

    with np.errstate(all="ignore"):
        return value(e)


def _apply(e: Expr, args: list[np.ndarray]) -> np.ndarray:
    if e.op.name == "cast":
        return np.asarray(cast_array(args[0], e.dtype))
    if e.op.name == "bitcast":
        return np.ascontiguousarray(args[0]).view(e.dtype.numpy).reshape(np.shape(args[0]))
    return np.asarray(e.op.reference(*args), e.dtype.numpy)


# ---- fused multiply-add -------------------------------------------------------------------------

def fma_array(a, b, c) -> np.ndarray:
    """a * b + c rounded once to the arguments' dtype.

    Narrow types: the product is exact in float64, the sum is rounded to odd there, and rounding
    that to the narrow type is the only one that shows (Boldo & Melquiond, "Emulation of FMA and
    correctly rounded sums: proved algorithms using rounding to odd", 2008).
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    with np.errstate(all="ignore"):
        if a.dtype == np.float64:
            whole = [np.atleast_1d(x) for x in (a, b, c)]
            return _fma_float64(*whole).reshape(a.shape)
        total = _add_odd(a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64))
        if a.dtype == ml_dtypes.bfloat16:
            return _odd_float32(total).astype(a.dtype)
        return total.astype(a.dtype)


def _two_sum(a, b):
    """s + e = a + b exactly, s rounded (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a, b):
    """p + e = a * b exactly, p rounded (Dekker)."""
    p = a * b
    ah = a * _SPLIT - (a * _SPLIT - a)
    bh = b * _SPLIT - (b * _SPLIT - b)
    al, bl = a - ah, b - bh
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _add_odd(a, b) -> np.ndarray:
    """a + b in float64 rounded to odd: where inexact, the neighbour with an odd last bit."""
    s, e = _two_sum(a, b)
    bits = np.asarray(s).view(np.int64)
    move = np.isfinite(s) & (e != 0) & (bits & 1 == 0)
    step = np.where((e > 0) == (s > 0), 1, -1)
    return np.where(move, bits + step, bits).view(np.float64)


def _odd_float32(x) -> np.ndarray:
    """float64 to float32, rounded to odd."""
    y = x.astype(np.float32)
    bits = y.view(np.int32)
    move = np.isfinite(y) & (y != x) & (bits & 1 == 0)
    step = np.where(np.abs(x) > np.abs(y), np.int32(1), np.int32(-1))
    return np.where(move, bits + step, bits).view(np.float32)


def _fma_float64(a, b, c) -> np.ndarray:
    """Boldo & Melquiond's algorithm where nothing under- or overflows, else rational numbers."""
    high, low = _two_product(a, b)
    t, t_low = _two_sum(c, low)
    v, v_low = _two_sum(high, t)
    out = np.asarray(v + _add_odd(t_low, v_low))
    absorbed = np.abs(high) < np.abs(c) * 2.0**-110
    plain = absorbed | (a == 0) | (b == 0) | ~(np.isfinite(a) & np.isfinite(b) & np.isfinite(c))
    out = np.where(plain, high + c, np.where(c == 0, high, out))
    for at in zip(*np.nonzero(~plain & (c != 0) & ~_error_free(a, b, c))):
        out[at] = _fma_exact(float(a[at]), float(b[at]), float(c[at]))
    return out


def _error_free(a, b, c) -> np.ndarray:
    """Whether the product's error is a float64 and no intermediate result overflows."""
    p = np.abs(a * b)
    return ((p >= 2.0**-900) & (np.maximum(p, np.abs(c)) <= 2.0**1000)
            & (np.maximum(np.abs(a), np.abs(b)) <= 2.0**990))


def _fma_exact(a: float, b: float, c: float) -> float:
    total = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        return float(total) if total else a * b + c
    except OverflowError:
        return math.inf if total > 0 else -math.inf


# ---- error function -----------------------------------------------------------------------------

_erf = np.frompyfunc(math.erf, 1, 1)


def erf_array(x) -> np.ndarray:
    """The error function, by the C library in float64, rounded to x's dtype."""
    x = np.asarray(x)
    return np.asarray(_erf(x.astype(np.float64)), np.float64).astype(x.dtype)
