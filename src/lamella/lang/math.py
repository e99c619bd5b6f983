"""The elementary functions in scalars that targets have as instructions; importing installs them.

Each function here is the `expand` of a scalar. It is free of branches and tables, treats float32
and float64 by one method (a `Form` holds what differs), and computes narrower floats in float32.
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
from collections.abc import Callable
from dataclasses import dataclass

from ..base import dtypes
from ..base.dtypes import DType, float32, float64
from . import scalar
from .evaluate import erf_array, fma_array
from .expr import Expr, lit
from .scalar import bitcast, cast, fma, where

INF, NAN = math.inf, math.nan
HUGEST = float.fromhex("0x1.fffffffffffffp1023")


@dataclass(frozen=True)
class Form:
    """What the methods need to know of a float format: its integers, bounds and polynomials."""

    dtype: DType
    word: DType  # the integer of the same width
    fraction: int  # bits of the fraction
    log2e: float
    ln2: tuple[float, ...]  # high and low part
    underflow: float  # e^x is 0 below,
    overflow: float  # and infinite above
    expm1: tuple[float, ...]  # (e^r - 1 - r) / r^2, |r| <= ln(2) / 2
    log: tuple[float, ...]  # (log(1 + f) - f + f^2/2) / f^3, |f| <= 1/3
    erf_small: tuple[float, ...]  # erf(x)/x - 1 in x^2, |x| <= 5/4
    erf_large: tuple[float, ...]  # (1 - erf(x))^(1/8) in x - erf_middle, 5/4 <= x <= erf_one
    erf_middle: float
    erf_one: float  # erf rounds to 1 from there
    sin: tuple[float, ...]  # (sin(r)/r - 1) / r^2 in r^2, |r| <= pi/2

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return ((1 << (self.dtype.bits - self.fraction - 2)) - 1) << self.fraction

    @property
    def sign(self) -> int:
        """The sign bit."""
        return -1 << (self.dtype.bits - 1)

    @property
    def magic(self) -> float:
        """Added to a small number: its integer, rounded to nearest, in the low bits of the sum."""
        return 1.5 * 2.0**self.fraction

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - (self.one >> self.fraction))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, text.split()))


F32 = Form(
    float32, dtypes.int32, fraction=23,
    log2e=float.fromhex("0x1.715476p0"), ln2=_numbers("0x1.62e43p-1 -0x1.05c61p-29"),
    underflow=-104.5, overflow=89.0,
    expm1=_numbers("0x1p-1 0x1.5554bp-3 0x1.5554d8p-5 0x1.1227cp-7 0x1.6d6018p-10"),
    log=_numbers("""0x1.55550cp-2 -0x1.fffe5ep-3 0x1.99ce36p-3 -0x1.55b7eep-3 0x1.1ef236p-3
                    -0x1.f03b8cp-4 0x1.1df0c6p-3 -0x1.0e2b98p-3"""),
    erf_small=_numbers("""0x1.06eba8p-3 -0x1.812742p-2 0x1.ce2e1cp-4 -0x1.b8170ap-6 0x1.557608p-8
                          -0x1.b5d702p-11 0x1.b627ep-14 -0x1.014482p-17"""),
    erf_large=_numbers("""0x1.6a13a6p-2 -0x1.f48f06p-3 0x1.5d3606p-5 0x1.26bcdap-7
                          -0x1.f3f368p-9 -0x1.35354cp-15 0x1.6928bp-13"""),
    erf_middle=2.59375, erf_one=3.9375,
    sin=_numbers("-0x1.55554cp-3 0x1.110edap-7 -0x1.9f70eep-13 0x1.5dc8c4p-19"))

F64 = Form(
    float64, dtypes.int64, fraction=52,
    log2e=float.fromhex("0x1.71547652b82fep0"),
    ln2=_numbers("0x1.62e42fefa39efp-1 0x1.abc9e3b39803fp-56"),
    underflow=-746.0, overflow=710.0,
    expm1=_numbers("""0x1p-1 0x1.5555555555559p-3 0x1.555555555555ap-5 0x1.111111110f699p-7
                      0x1.6c16c16c1449fp-10 0x1.a01a01afef01p-13 0x1.a01a01b0a4528p-16
                      0x1.71ddf83839928p-19 0x1.27e4c5c080a08p-22 0x1.af5ef2f2e4661p-26
                      0x1.1f953c4cde0bdp-29"""),
    log=_numbers("""0x1.555555555553ap-2 -0x1.ffffffffffeap-3 0x1.999999999fb4ap-3
                    -0x1.555555556f121p-3 0x1.24924920db73ep-3 -0x1.ffffffe8f94f4p-4
                    0x1.c71c73faf6778p-4 -0x1.99999eff36181p-4 0x1.745cb82264899p-4
                    -0x1.555494910f347p-4 0x1.3b1d8aea089bbp-4 -0x1.24a34d602cf25p-4
                    0x1.106b99799e697p-4 -0x1.fe0dc266c03d9p-5 0x1.ef9f8623a78bp-5
                    -0x1.d96f5205b4aa4p-5 0x1.569b66276ed3cp-5 -0x1.2fc723ffbda5p-5
                    0x1.5baa6214e2f81p-4 -0x1.5eae664c46cf1p-4"""),
    erf_small=_numbers("""0x1.06eba8214db69p-3 -0x1.812746b0379e3p-2 0x1.ce2f21a042964p-4
                          -0x1.b82ce3127e6b5p-6 0x1.565bcd0d07a86p-8 -0x1.c02db3c6fc8efp-11
                          0x1.f9a320fa5b046p-14 -0x1.f4d1eee5aff6p-17 0x1.b9e158af3947ep-20
                          -0x1.5f431ea0d2686p-23 0x1.fa540fff2f543p-27 -0x1.47015f0b9f898p-30
                          0x1.5ddea91b2d00ep-34 -0x1.cd97df84706cep-39"""),
    erf_large=_numbers("""0x1.38ab04ef2e448p-3 -0x1.2570a2a1972cap-3 0x1.8f5bbf0abb97p-5
                          -0x1.ef09c73c06a49p-9 -0x1.043e7dfcf196cp-9 0x1.12db4f0b06f57p-11
                          0x1.43264f53c8b35p-18 -0x1.462279d6e412fp-16 0x1.1bde48016e146p-19
                          0x1.4c578e0fe5ecdp-22 -0x1.54d165773b8bfp-24 -0x1.2c75fa28026d3p-33
                          0x1.17067d106a6a6p-29 0x1.0873b2baf2d18p-34 0x1.6bc27da9f5c2dp-36
                          0x1.755009c69c0bcp-37 0x1.e5d58fd742b2p-41"""),
    erf_middle=3.625, erf_one=6.0,
    sin=_numbers("""-0x1.5555555555555p-3 0x1.11111111110c1p-7 -0x1.a01a01a0148a1p-13
                    0x1.71de3a528708p-19 -0x1.ae6454cafd849p-26 0x1.6123cb11e7d58p-33
                    -0x1.ae43177271beep-41 0x1.8828f9beb0561p-49"""),
)

PI = _numbers("0x1.921fb54442d18p1 0x1.1a62633145c06p-53 0x1.c1cd129024e09p-106")
TWO_THIRDS = _numbers("0x1.5555555555555p-1 0x1.5555555555555p-55")


def _expands(name: str) -> Callable:
    """Install a function of a Form and expressions as the expand of the scalar of that name."""
    def install(f: Callable) -> Callable:
        def expand(*args: Expr) -> Expr:
            dtype = args[0].dtype
            if dtype.bits == 16:
                return cast(f(F32, *(cast(a, float32) for a in args)), dtype)
            return f(F32 if dtype is float32 else F64, *args)
        scalar.ALL[name].expand = expand
        return f
    return install


# ---- parts --------------------------------------------------------------------------------------

def _polynomial(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """Horner's rule in fused multiply-adds; coefficients from the lowest."""
    *rest, out = (lit(c, x.dtype) for c in coefficients)
    for c in reversed(rest):
        out = fma(out, x, c)
    return out


def _clamp(x: Expr, low: float, high: float) -> Expr:
    """x within low..high; NaN stays. Each half is one instruction of the kind `min(high, x)`."""
    return _at_least(where(x > high, high, x), low)


def _at_least(x: Expr, low: float) -> Expr:
    return where(x < low, low, x)


def _sign_bit(form: Form, x: Expr) -> Expr:
    return bitcast(x, form.word) & form.sign


def _copysign(form: Form, magnitude: Expr, x: Expr) -> Expr:
    """A magnitude with the sign of x; it is not negative, or negative only where x is."""
    return bitcast(bitcast(magnitude, form.word) | _sign_bit(form, x), form.dtype)


# ---- exponentials -------------------------------------------------------------------------------

def _reduce(form: Form, x: Expr) -> tuple[Expr, Expr]:
    """x = n ln2 + r, |r| <= ln(2) / 2; gives r and n + magic.

    Adding magic rounds to the integer; by fma, n ln2's high part is subtracted without an error.
    """
    biased = fma(x, form.log2e, form.magic)
    n = biased - form.magic
    high, low = form.ln2
    return fma(n, -low, fma(n, -high, x)), biased


def _power_of_two(form: Form, n: Expr, plus: int = 0) -> Expr:
    """2^(n + plus), the low bits of n (a number with magic added, or an integer) being n."""
    exponent = bitcast(n, form.word) << form.fraction
    return bitcast(exponent + (form.one + (plus << form.fraction)), form.dtype)


def _times_power_of_two(form: Form, y: Expr, biased: Expr) -> Expr:
    """y 2^n in two steps, so that n may exceed the exponent's range and a denormal rounds once.

    (Half of magic's bits is a multiple of 2^9, of 2^12 in float64: the shift moves it out too.)
    """
    n = bitcast(biased, form.word)
    half = n >> 1
    return y * _power_of_two(form, half) * _power_of_two(form, n - half)


def _expm1_reduced(form: Form, r: Expr) -> Expr:
    """e^r - 1 for |r| <= ln(2) / 2: r + r^2 q(r)."""
    return fma(r * r, _polynomial(r, form.expm1), r)


def _exp(form: Form, x: Expr) -> Expr:
    """e^x within the bounds."""
    r, biased = _reduce(form, x)
    return _times_power_of_two(form, _expm1_reduced(form, r) + 1, biased)


@_expands("exp")
def exp(form: Form, x: Expr) -> Expr:
    """2^n (1 + p), x = n ln2 + r, p = e^r - 1. float32: 1.05 ulp; float64: 1.0."""
    return _exp(form, _clamp(x, form.underflow, form.overflow))


@_expands("sigmoid")
def sigmoid(form: Form, x: Expr) -> Expr:
    """m - m e / (1 + e), e = e^-|x|, m = e for negative x, else 1: one rounding in full.

    float32: 1.67 ulp; float64: 1.6.
    """
    e = _exp(form, _at_least(-abs(x), form.underflow))
    m = where(x < 0, e, 1)
    return fma(-m, e / (e + 1), m)


@_expands("expm1")
def expm1(form: Form, x: Expr) -> Expr:
    """2 (h p + (h - 1/2)), h = 2^(n-1), p = e^r - 1; x itself where it is tiny.

    float32: 1.57 ulp; float64: 1.8.
    """
    r, biased = _reduce(form, _clamp(x, -60.0, form.overflow))
    h = _power_of_two(form, biased, -1)
    y = fma(_expm1_reduced(form, r), h, h - 0.5)
    return where(abs(x) < 2.0 ** -(form.fraction + 2), x, y + y)


@_expands("tanh")
def tanh(form: Form, x: Expr) -> Expr:
    """(1 - e) / (1 + e), e = e^(-2|x|) = s (1 + p), each side one fma of s = 2^n and p.

    float32: 1.99 ulp; float64: 2.1.
    """
    r, biased = _reduce(form, _at_least(abs(x) * -2, -60.0))
    p, s = _expm1_reduced(form, r), _power_of_two(form, biased)
    return _copysign(form, fma(-p, s, 1 - s) / fma(p, s, s + 1), x)


# ---- logarithms ---------------------------------------------------------------------------------

def _exponent(form: Form, x: Expr, least: float) -> Expr:
    """k << fraction for x = 2^k m with least <= m < 2 least; x positive and normal."""
    bits = form.one - (1 << form.fraction) + int((2 * least - 1) * 2**form.fraction)
    return (bitcast(x, form.word) - bits) & (-1 << form.fraction)


def _split(form: Form, x: Expr, least: float) -> tuple[Expr, Expr]:
    """k and m of x = 2^k m, least <= m < 2 least; x positive, a denormal is scaled up first."""
    denormal, up = x < form.smallest, form.fraction + 1
    y = where(denormal, x * 2.0**up, x)
    e = _exponent(form, y, least)
    k = _number(form, e) - where(denormal, lit(up, form.dtype), 0)
    return k, bitcast(bitcast(y, form.word) - e, form.dtype)


def _number(form: Form, exponent: Expr) -> Expr:
    return cast(exponent >> form.fraction, form.dtype)


def _log(form: Form, k: Expr, f: Expr) -> Expr:
    """k ln2 + log(1 + f) for |f| <= 1/3: f - f^2/2 + f^3 q(f), the small terms first."""
    high, low = form.ln2
    tail = (f * f) * fma(_polynomial(f, form.log), f, -0.5)
    return fma(k, high, f + fma(k, low, tail))


def _pole(form: Form, x: Expr, at: float, right: Expr) -> Expr:
    """`right` to the right of a logarithm's pole, minus infinity at it, NaN to the left."""
    return where(x > at, right, where(scalar.eq(x, at), lit(-INF, form.dtype), NAN))


@_expands("log")
def log(form: Form, x: Expr) -> Expr:
    """k ln2 + log(m), x = 2^k m, 2/3 <= m < 4/3. float32: 0.92 ulp; float64: 0.9."""
    k, m = _split(form, x, 2 / 3)
    return _pole(form, x, 0, where(x < INF, _log(form, k, m - 1), x))


@_expands("log1p")
def log1p(form: Form, x: Expr) -> Expr:
    """k ln2 + log(1 + f), 1 + x = 2^k (1 + f), f = 2^-k x + (2^-k - 1) rounded once.

    2^-k is kept as 4 2^-k, which is normal for every k. float32: 1.67 ulp; float64: 0.9.
    """
    e = _exponent(form, x + 1, 2 / 3)
    scaled = bitcast(bitcast(x, form.word) - e, form.dtype)
    scale = bitcast((form.one + (2 << form.fraction)) - e, form.dtype)
    y = _log(form, _number(form, e), scaled + fma(scale, 0.25, -1))
    return _pole(form, x, -1, where(scalar.ne(x, 0) & (x < INF), y, x))


# ---- error function -----------------------------------------------------------------------------

@_expands("erf")
def erf(form: Form, x: Expr) -> Expr:
    """x + x p(x^2) for |x| < 5/4, else 1 - p(|x|)^8.

    The eighth root of 1 - erf is nearly straight (the idea of Hastings, "Approximations for
    Digital Computers", 1955, who fitted a root's inverse), and 8 times its relative error is small
    because 1 - erf is. float32: 1.60 ulp; float64: 1.7.
    """
    a = abs(x)
    small = fma(x, _polynomial(x * x, form.erf_small), x)
    p = _polynomial(where(a > form.erf_one, form.erf_one, a) - form.erf_middle, form.erf_large)
    p = p * p
    p = p * p
    return where(a < 1.25, small, _copysign(form, fma(-p, p, 1), x))


# ---- trigonometric functions --------------------------------------------------------------------

def _half_turns(form: Form, x: Expr, shift: float) -> Expr:
    """(-1)^n r in float64, x = (n - shift) pi + r, |r| <= pi / 2, |x| < 2^51.

    As in `_reduce`, n pi's high part is subtracted without an error; n's parity becomes a sign.
    pi's parts are positive, so that -0 stays -0.
    """
    biased = fma(x, 1 / math.pi, F64.magic) if not shift else fma(x, 1 / math.pi, shift) + F64.magic
    n = biased - F64.magic if not shift else biased - F64.magic - shift
    for part in PI[:2] if form is F32 else PI:
        x = fma(n, -part, x)
    return bitcast(bitcast(x, F64.word) ^ (bitcast(biased, F64.word) << 63), float64)


def _sine(form: Form, x: Expr, shift: float) -> Expr:
    """sin(x + shift pi): reduced in float64, r + r^3 q(r^2) in the function's own format.

    The bounds keep the promise |sin| <= 1, also for arguments too large to be reduced.
    """
    r = cast(_half_turns(form, cast(x, float64), shift), form.dtype)
    y = fma(r * r * r, _polynomial(r * r, form.sin), r)
    return _clamp(_copysign(form, y, r), -1.0, 1.0)


@_expands("sin")
def sin(form: Form, x: Expr) -> Expr:
    """(-1)^n sin(r), x = n pi + r.

    float32: 1.74 ulp for |x| < 2^44; float64: 1.6 for |x| < 2^30. Beyond, the error grows
    (docs/functions.md), to no meaning from 2^52, but the result stays within -1..1.
    """
    return _sine(form, x, 0)


@_expands("cos")
def cos(form: Form, x: Expr) -> Expr:
    """(-1)^n sin(r), x + pi/2 = n pi + r, without that sum. Errors as sin's: 1.74; 1.7 ulp."""
    return _sine(form, x, 0.5)


# ---- power --------------------------------------------------------------------------------------

# (log(1+f) - f + f^2/2) / f^3 to 2^-38, (e^r - 1 - r) / r^2 to 2^-34, and
# (log((1+s)/(1-s)) - 2s - 2s^3/3) / s^5 in s^2 to 2^-66, |s| <= 0.1716.
_LOG_SHORT = _numbers("""0x1.5555553f17fe6p-2 -0x1.ffffff4ac2689p-3 0x1.9999b9c50bd99p-3
                         -0x1.5555aa60895f2p-3 0x1.248ad1d5bd3dep-3 -0x1.ffe2c4b8d2b23p-4
                         0x1.c8ac1b34c466bp-4 -0x1.9c07696b5775ap-4 0x1.5faaeb6fba332p-4
                         -0x1.3a9e15f59a247p-4 0x1.bcea8b2b4d9fbp-4 -0x1.b352fac5d733cp-4""")
_EXP_SHORT = _numbers("""0x1.0000003a4533ap-1 0x1.55555442a7ee3p-3 0x1.55548d7489ccfp-5
                         0x1.11127130c6c9dp-7 0x1.6d8d52eccf61fp-10 0x1.9f086f0d3f752p-13""")
_ATANH = _numbers("""0x1.9999999999b3p-2 0x1.2492492457d3p-2 0x1.c71c722d6b1dap-3
                     0x1.745ce9e188e5cp-3 0x1.3b1eec65bb762p-3 0x1.0f7fe0e0c41d8p-3
                     0x1.0e4300d762772p-3""")


@_expands("pow")
def power(form: Form, x: Expr, y: Expr) -> Expr:
    """|x|^y with the sign and special cases of IEEE 754's pow (and of NumPy's).

    float32: 0.51 ulp; float64: 1.5.
    """
    magnitude = _power32(x, y) if form is F32 else _power64(x, y)
    half = y * 0.5
    integer = scalar.eq(scalar.trunc(y), y)
    odd = integer & scalar.ne(scalar.trunc(half), half)
    out = where(odd, _copysign(form, magnitude, x), magnitude)
    out = where((x < 0) & (x > -INF) & ~integer, NAN, out)
    return where(scalar.eq(y, 0) | scalar.eq(x, 1), 1, out)


def _log_ends(a: Expr, y: Expr) -> Expr:
    """y where 0 < a < inf, and the logarithm of a elsewhere (NaN too)."""
    return where(a < INF, where(scalar.eq(a, 0), -INF, y), a)


def _power32(x: Expr, y: Expr) -> Expr:
    """|x|^y of float32 as e^(y log|x|) in float64, both to about 2^-35."""
    a, y = abs(cast(x, float64)), _clamp(cast(y, float64), -HUGEST, HUGEST)
    e = _exponent(F64, a, 2 / 3)
    f = bitcast(bitcast(a, F64.word) - e, float64) - 1
    log_m = fma(f * f, fma(_polynomial(f, _LOG_SHORT), f, -0.5), f)
    t = y * _log_ends(a, fma(_number(F64, e), F64.ln2[0], log_m))
    r, biased = _reduce(F64, _clamp(t, F32.underflow, F32.overflow))
    p = fma(r * r, _polynomial(r, _EXP_SHORT), r) + 1
    return cast(p * _power_of_two(F64, biased), float32)


def _power64(x: Expr, y: Expr) -> Expr:
    """|x|^y of float64 with the logarithm and its product with y in two parts."""
    a, y = abs(x), _clamp(y, -HUGEST, HUGEST)
    high, low = _log_two_parts(a)
    high = _log_ends(a, high)
    t = _clamp(y * high, F64.underflow, F64.overflow)
    rest = fma(y, low, fma(y, high, -t))
    r, biased = _reduce(F64, t)
    r = r + where(abs(rest) < 2.0**-30, rest, 0)
    return _times_power_of_two(F64, _expm1_reduced(F64, r) + 1, biased)


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
    k, m = _split(F64, a, math.sqrt(0.5))
    f, d = m - 1, m + 1
    s = f / d
    s_low = fma(-s, m - (d - 1), fma(-s, d, f)) / d
    square, square_low = _product(s, s)
    square_low = fma(s + s, s_low, square_low)
    cube, cube_low = _product(square, s)
    cube_low = fma(square, s_low, fma(square_low, s, cube_low))
    third, third_low = _product(cube, lit(TWO_THIRDS[0], float64))
    third_low = fma(cube, TWO_THIRDS[1], fma(cube_low, TWO_THIRDS[0], third_low))
    rest = fma(cube * square, _polynomial(square, _ATANH), third_low)
    scaled, scaled_low = _product(k, lit(F64.ln2[0], float64))
    high, error = _sum(scaled, s + s)
    high, error2 = _sum(high, third)
    low = rest + (fma(k, F64.ln2[1], scaled_low) + fma(s_low, 2, error + error2))
    return _sum(high, low)


scalar.fma.reference = fma_array
scalar.erf.reference = erf_array
