"""The elementary functions in scalars that targets have as instructions; importing installs them.

Each function here is the `expand` of a scalar. It is free of branches and tables, treats float32
and float64 by one method (a `Form` holds what differs), and computes narrower floats in float32;
lang/circular.py and lang/hyperbolic.py hold the others, lang/ieee.py what works on bits.
Polynomials were fitted by Remez's exchange algorithm in 50 digits to the exact function, for the
least relative error of the result; those of float32 were rounded one by one from the lowest, with
the others fitted again after each. Range reduction follows Cody & Waite, "Software Manual for the
Elementary Functions" (1980), and Muller, "Elementary Functions" (3rd edition, 2016). Errors are in
units in the last place (ulp) of the exact result: the worst of all 2^32 inputs for float32, and of
10^6 rounded up for float64 (pow: 3 10^6 for both; erf of float64: 4 10^4). docs/functions.md has
them in one table, which tests/lang/test_math.py asserts.
"""

from __future__ import annotations

import math

from ..base.dtypes import float32, float64
from . import scalar
from .evaluate import erf_array, fma_array
from .expr import Expr, lit
from .forms import (
    F32,
    F64,
    Form,
    at_least,
    clamp,
    expands,
    expm1_reduced,
    exponent_bits,
    log_near,
    number_of,
    numbers,
    polynomial,
    power_of_two,
    reduced,
    split,
    times_power_of_two,
    with_sign,
)
from .ieee import integer_power
from .scalar import bitcast, cast, fma, where

INF, NAN = math.inf, math.nan
HUGEST = float.fromhex("0x1.fffffffffffffp1023")


# ---- exponentials -------------------------------------------------------------------------------

def _exp(form: Form, x: Expr) -> Expr:
    """e^x within the bounds."""
    r, biased = reduced(form, x)
    return times_power_of_two(form, expm1_reduced(form, r) + 1, biased)


@expands("exp")
def exp(form: Form, x: Expr) -> Expr:
    """2^n (1 + p), x = n ln2 + r, p = e^r - 1. float32: 1.05 ulp; float64: 1.0.

    What is 0 is chosen, not computed: products that underflow to it take a hundred cycles.
    """
    none = x < form.underflow
    x = where(x > form.overflow, form.overflow, where(none, 0, x))
    return where(none, 0, _exp(form, x))


@expands("exp2")
def exp2(form: Form, x: Expr) -> Expr:
    """2^n (1 + p), n = round(x), p = e^((x - n) ln2) - 1: exact at integers.

    float32: 1.06 ulp; float64: 1.1.
    """
    x = clamp(x, form.underflow / math.log(2), form.overflow / math.log(2))
    biased = x + form.magic
    p = expm1_reduced(form, (x - (biased - form.magic)) * math.log(2))
    return times_power_of_two(form, p + 1, biased)


@expands("sigmoid")
def sigmoid(form: Form, x: Expr) -> Expr:
    """m - m e / (1 + e), e = e^-|x|, m = e for negative x, else 1: one rounding in full.

    float32: 1.67 ulp; float64: 1.6..
    """
    e = _exp(form, at_least(-abs(x), form.underflow))
    m = where(x < 0, e, 1)
    return fma(-m, e / (e + 1), m)


@expands("expm1")
def expm1(form: Form, x: Expr) -> Expr:
    """2 (h p + (h - 1/2)), h = 2^(n-1), p = e^r - 1; x itself where it is tiny.

    float32: 1.57 ulp; float64: 1.8..
    """
    r, biased = reduced(form, clamp(x, -60.0, form.overflow))
    h = power_of_two(form, biased, -1)
    y = fma(expm1_reduced(form, r), h, h - 0.5)
    return where(abs(x) < 2.0 ** -(form.fraction + 2), x, y + y)


@expands("tanh")
def tanh(form: Form, x: Expr) -> Expr:
    """(1 - e) / (1 + e), e = e^(-2|x|) = s (1 + p), each side one fma of s = 2^n and p.

    float32: 1.99 ulp; float64: 2.1..
    """
    r, biased = reduced(form, at_least(abs(x) * -2, -60.0))
    p, s = expm1_reduced(form, r), power_of_two(form, biased)
    return with_sign(form, fma(-p, s, 1 - s) / fma(p, s, s + 1), x)


# ---- logarithms ---------------------------------------------------------------------------------

def _pole(form: Form, x: Expr, at: float, right: Expr) -> Expr:
    """`right` to the right of a logarithm's pole, minus infinity at it, NaN to the left."""
    return where(x > at, right, where(scalar.eq(x, at), lit(-INF, form.dtype), NAN))


@expands("log")
def log(form: Form, x: Expr) -> Expr:
    """k ln2 + log(m), x = 2^k m, 2/3 <= m < 4/3. float32: 0.92 ulp; float64: 0.9."""
    k, m = split(form, x, 2 / 3)
    return _pole(form, x, 0, where(x < INF, log_near(form, k, m - 1), x))


@expands("log1p")
def log1p(form: Form, x: Expr) -> Expr:
    """k ln2 + log(1 + f), 1 + x = 2^k (1 + f), f = 2^-k x + (2^-k - 1) rounded once.

    2^-k is kept as 4 2^-k, which is normal for every k. float32: 1.67 ulp; float64: 0.9..
    """
    e = exponent_bits(form, x + 1, 2 / 3)
    scaled = bitcast(bitcast(x, form.word) - e, form.dtype)
    scale = bitcast((form.one + (2 << form.fraction)) - e, form.dtype)
    y = log_near(form, number_of(form, e), scaled + fma(scale, 0.25, -1))
    return _pole(form, x, -1, where(scalar.ne(x, 0) & (x < INF), y, x))


def _in_base(form: Form, x: Expr, base: tuple[float, ...], exponent: tuple[float, ...]) -> Expr:
    """k exponent + log(m) base, x = 2^k m, the constants in two parts; exact where m is 1."""
    k, m = split(form, x, 2 / 3)
    part = log_near(form, lit(0, form.dtype), m - 1)
    small = fma(part, base[1], k * exponent[1] if exponent[1] else 0)
    y = fma(k, exponent[0], fma(part, base[0], small))
    return _pole(form, x, 0, where(x < INF, y, x))


@expands("log2")
def log2(form: Form, x: Expr) -> Expr:
    """k + log(m) / ln2, x = 2^k m: exact at powers of two. float32: 2.19 ulp; float64: 2.3."""
    return _in_base(form, x, form.log2_e, (1.0, 0.0))


@expands("log10")
def log10(form: Form, x: Expr) -> Expr:
    """k log10(2) + log(m) / ln10, x = 2^k m. float32: 2.08 ulp; float64: 2.1."""
    return _in_base(form, x, form.log10_e, form.log10_2)


# ---- error function -----------------------------------------------------------------------------

@expands("erf")
def erf(form: Form, x: Expr) -> Expr:
    """x + x p(x^2) for |x| < 5/4, else 1 - p(|x|)^8.

    The eighth root of 1 - erf is nearly straight (the idea of Hastings, "Approximations for
    Digital Computers", 1955, who fitted a root's inverse), and 8 times its relative error is small
    because 1 - erf is. float32: 1.60 ulp; float64: 1.7..
    """
    a = abs(x)
    small = fma(x, polynomial(x * x, form.erf_small), x)
    p = polynomial(where(a > form.erf_one, form.erf_one, a) - form.erf_middle, form.erf_large)
    p = p * p
    p = p * p
    return where(a < 1.25, small, with_sign(form, fma(-p, p, 1), x))


# ---- power --------------------------------------------------------------------------------------

# (log(1+f) - f + f^2/2) / f^3 to 2^-38, (e^r - 1 - r) / r^2 to 2^-34, and
# (log((1+s)/(1-s)) - 2s - 2s^3/3) / s^5 in s^2 to 2^-66, |s| <= 0.1716.
_LOG_SHORT = numbers("""0x1.5555553f17fe6p-2 -0x1.ffffff4ac2689p-3 0x1.9999b9c50bd99p-3
                         -0x1.5555aa60895f2p-3 0x1.248ad1d5bd3dep-3 -0x1.ffe2c4b8d2b23p-4
                         0x1.c8ac1b34c466bp-4 -0x1.9c07696b5775ap-4 0x1.5faaeb6fba332p-4
                         -0x1.3a9e15f59a247p-4 0x1.bcea8b2b4d9fbp-4 -0x1.b352fac5d733cp-4""")
_EXP_SHORT = numbers("""0x1.0000003a4533ap-1 0x1.55555442a7ee3p-3 0x1.55548d7489ccfp-5
                         0x1.11127130c6c9dp-7 0x1.6d8d52eccf61fp-10 0x1.9f086f0d3f752p-13""")
TWO_THIRDS = numbers("0x1.5555555555555p-1 0x1.5555555555555p-55")
_ATANH = numbers("""0x1.9999999999b3p-2 0x1.2492492457d3p-2 0x1.c71c722d6b1dap-3
                     0x1.745ce9e188e5cp-3 0x1.3b1eec65bb762p-3 0x1.0f7fe0e0c41d8p-3
                     0x1.0e4300d762772p-3""")


@expands("pow", integer_power)
def power(form: Form, x: Expr, y: Expr) -> Expr:
    """|x|^y with the sign and special cases of IEEE 754's pow (and of NumPy's).

    float32: 0.51 ulp; float64: 1.5..
    """
    magnitude = _power32(x, y) if form is F32 else _power64(x, y)
    half = y * 0.5
    integer = scalar.eq(scalar.trunc(y), y)
    odd = integer & scalar.ne(scalar.trunc(half), half)
    out = where(odd, with_sign(form, magnitude, x), magnitude)
    out = where((x < 0) & (x > -INF) & ~integer, NAN, out)
    return where(scalar.eq(y, 0) | scalar.eq(x, 1), 1, out)


def _log_ends(a: Expr, y: Expr) -> Expr:
    """y where 0 < a < inf, and the logarithm of a elsewhere (NaN too)."""
    return where(a < INF, where(scalar.eq(a, 0), -INF, y), a)


def _power32(x: Expr, y: Expr) -> Expr:
    """|x|^y of float32 as e^(y log|x|) in float64, both to about 2^-35."""
    a, y = abs(cast(x, float64)), clamp(cast(y, float64), -HUGEST, HUGEST)
    e = exponent_bits(F64, a, 2 / 3)
    f = bitcast(bitcast(a, F64.word) - e, float64) - 1
    log_m = fma(f * f, fma(polynomial(f, _LOG_SHORT), f, -0.5), f)
    t = y * _log_ends(a, fma(number_of(F64, e), F64.ln2[0], log_m))
    r, biased = reduced(F64, clamp(t, F32.underflow, F32.overflow))
    p = fma(r * r, polynomial(r, _EXP_SHORT), r) + 1
    return cast(p * power_of_two(F64, biased), float32)


def _power64(x: Expr, y: Expr) -> Expr:
    """|x|^y of float64 with the logarithm and its product with y in two parts."""
    a, y = abs(x), clamp(y, -HUGEST, HUGEST)
    high, low = _log_two_parts(a)
    high = _log_ends(a, high)
    t = clamp(y * high, F64.underflow, F64.overflow)
    rest = fma(y, low, fma(y, high, -t))
    r, biased = reduced(F64, t)
    r = r + where(abs(rest) < 2.0**-30, rest, 0)
    return times_power_of_two(F64, expm1_reduced(F64, r) + 1, biased)


def _product(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a b as a sum of two, exactly."""
    p = a * b
    return p, fma(a, b, -p)


def _sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b as a sum of two, exactly where |a| >= |b| or a = 0 (Dekker)."""
    s = a + b
    return s, b - (s - a)


def _log_two_parts(a: Expr) -> tuple[Expr, Expr]:
    """log(a) as a sum of two, to 2^-62 of itself.

    k ln2 + 2 atanh(s), s = (m-1)/(m+1) and its error; s and s^3 are carried in two parts, the
    others (s^5 and up) need one.
    """
    k, m = split(F64, a, math.sqrt(0.5))
    f, d = m - 1, m + 1
    s = f / d
    s_low = fma(-s, m - (d - 1), fma(-s, d, f)) / d
    square, square_low = _product(s, s)
    square_low = fma(s + s, s_low, square_low)
    cube, cube_low = _product(square, s)
    cube_low = fma(square, s_low, fma(square_low, s, cube_low))
    third, third_low = _product(cube, lit(TWO_THIRDS[0], float64))
    third_low = fma(cube, TWO_THIRDS[1], fma(cube_low, TWO_THIRDS[0], third_low))
    rest = fma(cube * square, polynomial(square, _ATANH), third_low)
    scaled, scaled_low = _product(k, lit(F64.ln2[0], float64))
    high, error = _sum(scaled, s + s)
    high, error2 = _sum(high, third)
    low = rest + (fma(k, F64.ln2[1], scaled_low) + fma(s_low, 2, error + error2))
    return _sum(high, low)


scalar.fma.reference = fma_array
scalar.erf.reference = erf_array
