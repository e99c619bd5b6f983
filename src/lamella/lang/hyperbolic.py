"""The hyperbolic functions and their inverses; see lang/math.py for the method and the errors."""

from __future__ import annotations

import math

from . import scalar
from .expr import Expr, lit
from .forms import Form, clamp, expands, expm1_reduced, power_of_two, reduced, with_sign
from .scalar import fma, where

INF, NAN = math.inf, math.nan
BIG = 2.0**60  # beyond, x^2 + 1 is x^2 and its root x


def _quarter(form: Form, a: Expr) -> tuple[Expr, Expr]:
    """h = 2^(n-2) and e^r - 1 for a = n ln2 + r >= 0, so that (e^r - 1) h + h is e^a / 4."""
    r, biased = reduced(form, clamp(a, 0, form.overflow + 0.6))
    return power_of_two(form, biased, -2), expm1_reduced(form, r)


@expands("sinh")
def sinh(form: Form, x: Expr) -> Expr:
    """y + y / (2 y + 1), y = (e^|x| - 1) / 2, with x's sign; x itself where it is tiny.

    float32: 2.25 ulp; float64: 2.4.
    """
    a = abs(x)
    h, p = _quarter(form, a)
    y = fma(p, h, h - 0.25)
    y = y + y
    tiny = a < 2.0 ** -((form.fraction + 3) // 2)
    rest = where(y < INF, y / (y + y + 1), 0)
    return where(tiny, x, with_sign(form, y + rest, x))


@expands("cosh")
def cosh(form: Form, x: Expr) -> Expr:
    """E + 1 / (4 E), E = e^|x| / 2. float32: 1.51 ulp; float64: 1.6."""
    h, p = _quarter(form, abs(x))
    half = fma(p, h, h)
    half = half + half
    return half + 0.25 / half


def _log1p_or_log2x(form: Form, x: Expr, t: Expr) -> Expr:
    """log(1 + t), or log(2 x) where x is big."""
    big = x > BIG
    return scalar.log1p(where(big, x, t)) + where(big, lit(form.ln2[0], x.dtype), 0)


@expands("asinh")
def asinh(form: Form, x: Expr) -> Expr:
    """log1p(a + a^2 / (1 + sqrt(a^2 + 1))), a = |x|, with the sign.

    float32: 2.04 ulp; float64: 2.1.
    """
    a = abs(x)
    square = a * a
    t = a + square / (scalar.sqrt(square + 1) + 1)
    return with_sign(form, _log1p_or_log2x(form, a, t), x)


@expands("acosh")
def acosh(form: Form, x: Expr) -> Expr:
    """log1p(t + sqrt(t (t + 2))), t = x - 1; NaN below 1. float32: 2.42 ulp; float64: 2.5."""
    t = x - 1
    y = _log1p_or_log2x(form, x, t + scalar.sqrt(t * (t + 2)))
    return where(x < 1, NAN, y)


@expands("atanh")
def atanh(form: Form, x: Expr) -> Expr:
    """log1p(2 a / (1 - a)) / 2, a = |x|, with x's sign. float32: 2.22 ulp; float64: 2.2."""
    a = abs(x)
    y = scalar.log1p((a + a) / (1 - a)) * 0.5
    return with_sign(form, y, x)
