"""Scalars that work on the bits or the exact remainders of numbers; importing installs them."""

from __future__ import annotations

import math

from ..base import dtypes
from ..base.dtypes import DType, float64
from . import scalar
from .expr import Expr, lit
from .forms import F32, Form, expands
from .scalar import bitcast, cast, fma, where

INF, NAN = math.inf, math.nan


def _word(dtype: DType) -> DType:
    return dtypes.by_name(f"int{dtype.bits}")


# ---- signs and neighbours -----------------------------------------------------------------------

def copysign(a: Expr, b: Expr) -> Expr:
    """a's bits but for the sign bit, which is b's."""
    word = _word(a.dtype)
    sign = -1 << (word.bits - 1)
    return bitcast((bitcast(a, word) & ~sign) | (bitcast(b, word) & sign), a.dtype)


def signbit(x: Expr) -> Expr:
    """Whether the word is negative."""
    return bitcast(x, _word(x.dtype)) < 0


def nextafter(a: Expr, b: Expr) -> Expr:
    """The word of a plus or minus one, towards b; from a zero the smallest number of b's sign."""
    word = _word(a.dtype)
    bits = bitcast(a, word)
    grows = scalar.eq(a < b, bits >= 0)
    step = where(grows, bits + 1, bits - 1)
    first = (bitcast(b, word) & (-1 << (word.bits - 1))) | 1
    moved = bitcast(where(scalar.eq(a, 0), first, step), a.dtype)
    return where(scalar.eq(a, b), b, where(a < b, moved, where(b < a, moved, NAN)))


# ---- quotients and remainders -------------------------------------------------------------------

@expands("mod")
def remainder(form: Form, a: Expr, b: Expr) -> Expr:
    """a - floor(a / b) b, exact but for one rounding while |a / b| < 2^52; 0 beyond.

    By fma a - q b has no error, q being the quotient's integer part or its neighbour.
    """
    x, y = (cast(a, float64), cast(b, float64)) if form is F32 else (a, b)
    quotient = x / y
    q = scalar.trunc(quotient)
    r = where(scalar.eq(q, 0), x, fma(-q, y, x))
    r = where(_opposite(r, y), r + y, r)
    lost = (abs(q) >= 2.0**52) & (abs(x) < INF) & scalar.ne(y, 0)
    r = where(lost | scalar.eq(r, 0), copysign(lit(0, float64), y), r)
    return cast(r, form.dtype)


def _opposite(r: Expr, y: Expr) -> Expr:
    """Whether r is not 0 and of the other sign than y (a product could underflow)."""
    return ((r < 0) & (y > 0)) | ((r > 0) & (y < 0))


@expands("floordiv")
def quotient(form: Form, a: Expr, b: Expr) -> Expr:
    """floor(a / b), one less where the division has rounded up to an integer; by infinity 0."""
    q = scalar.floor(a / b)
    r = where(scalar.eq(q, 0), a, fma(-q, b, a))
    return where(_opposite(r, b) & (abs(q) < INF) & (abs(b) < INF), q - 1, q)


@expands("hypot")
def hypot(form: Form, a: Expr, b: Expr) -> Expr:
    """sqrt(a^2 + b^2) in float64; of float64, scaled by a power of two.

    float32: 0.51 ulp; float64: 1.2.
    """
    a, b = abs(a), abs(b)
    if form is F32:
        x, y = cast(a, float64), cast(b, float64)
        length = cast(scalar.sqrt(fma(x, x, y * y)), a.dtype)
    else:
        exponent = bitcast(scalar.maximum(a, b), form.word) & (0x7FF << form.fraction)
        least, most = 2 << form.fraction, 0x7FC << form.fraction
        exponent = scalar.maximum(scalar.minimum(exponent, most), least)
        up = bitcast(exponent, float64)
        down = bitcast((0x7FE << form.fraction) - exponent, float64)
        x, y = a * down, b * down
        length = scalar.sqrt(fma(x, x, y * y)) * up
    return where(scalar.eq(a, INF) | scalar.eq(b, INF), INF, length)


@expands("logaddexp")
def logaddexp(form: Form, a: Expr, b: Expr) -> Expr:
    """m + log1p(e^-|a - b|), m the larger; m where the gap is NaN. float32: 2.0; float64: 2.0."""
    gap, top = abs(a - b), scalar.maximum(a, b)
    rest = scalar.log1p(scalar.exp(-gap))
    return where(scalar.ne(gap, gap), top, top + rest)


# ---- integer powers -----------------------------------------------------------------------------

def integer_power(a: Expr, b: Expr) -> Expr:
    """a^b modulo 2^bits by repeated squaring; of a negative b the integer part: 0, or of 1 and -1
    themselves."""
    signed = a.dtype.kind == "int"
    out, square = lit(1, a.dtype), a
    left = abs(b) if signed else b
    for _ in range(a.dtype.bits):
        out = out * where(scalar.eq(left & 1, 1), square, 1)
        left, square = left >> 1, square * square
    if not signed:
        return out
    unit = scalar.eq(a, 1) | scalar.eq(a, -1)
    return where((b < 0) & ~unit, 0, out)


for _name, _method in (("copysign", copysign), ("signbit", signbit), ("nextafter", nextafter)):
    scalar.ALL[_name].expand = _method
