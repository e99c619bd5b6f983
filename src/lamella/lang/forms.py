"""Float formats and the parts that elementary functions share: reductions, scalings, polynomials.

A `Form` holds what a method needs to know of float32 or float64; narrower floats are computed in
float32. See lang/math.py for how the polynomials were fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..base import dtypes
from ..base.dtypes import DType, float32, float64
from . import scalar
from .expr import Expr, lit
from .scalar import bitcast, cast, fma, where


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
    asin: tuple[float, ...]  # (asin(x)/x - 1) / x^2 in x^2, |x| <= 1/2
    atan: tuple[float, ...]  # (atan(x)/x - 1) / x^2 in x^2, |x| <= tan(pi/8)
    half_pi: tuple[float, ...]  # high and low part, of the other constants too
    log2_e: tuple[float, ...]
    log10_e: tuple[float, ...]
    log10_2: tuple[float, ...]  # the high part times an exponent is exact

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


def numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, text.split()))


F32 = Form(
    float32, dtypes.int32, fraction=23,
    log2e=float.fromhex("0x1.715476p0"), ln2=numbers("0x1.62e43p-1 -0x1.05c61p-29"),
    underflow=-104.5, overflow=89.0,
    expm1=numbers("0x1p-1 0x1.5554bp-3 0x1.5554d8p-5 0x1.1227cp-7 0x1.6d6018p-10"),
    log=numbers("""0x1.55550cp-2 -0x1.fffe5ep-3 0x1.99ce36p-3 -0x1.55b7eep-3 0x1.1ef236p-3
                    -0x1.f03b8cp-4 0x1.1df0c6p-3 -0x1.0e2b98p-3"""),
    erf_small=numbers("""0x1.06eba8p-3 -0x1.812742p-2 0x1.ce2e1cp-4 -0x1.b8170ap-6 0x1.557608p-8
                          -0x1.b5d702p-11 0x1.b627ep-14 -0x1.014482p-17"""),
    erf_large=numbers("""0x1.6a13a6p-2 -0x1.f48f06p-3 0x1.5d3606p-5 0x1.26bcdap-7
                          -0x1.f3f368p-9 -0x1.35354cp-15 0x1.6928bp-13"""),
    erf_middle=2.59375, erf_one=3.9375,
    sin=numbers("-0x1.55554cp-3 0x1.110edap-7 -0x1.9f70eep-13 0x1.5dc8c4p-19"),
    asin=numbers("""0x1.55554cp-3 0x1.3338acp-4 0x1.6ca754p-5 0x1.04d2dep-5 0x1.d524fp-7
                    0x1.34c39cp-5"""),
    atan=numbers("""-0x1.555554p-2 0x1.99989p-3 -0x1.246fc6p-3 0x1.c2f3e2p-4 -0x1.5347c8p-4
                    0x1.6475bap-5"""),
    half_pi=numbers("0x1.921fb6p0 -0x1.777a5cp-25"),
    log2_e=numbers("0x1.715476p0 0x1.4ae0cp-26"), log10_e=numbers("0x1.bcb7b2p-2 -0x1.5b235ep-27"),
    log10_2=numbers("0x1.344p-2 0x1.3509f8p-18"))

F64 = Form(
    float64, dtypes.int64, fraction=52,
    log2e=float.fromhex("0x1.71547652b82fep0"),
    ln2=numbers("0x1.62e42fefa39efp-1 0x1.abc9e3b39803fp-56"),
    underflow=-746.0, overflow=710.0,
    expm1=numbers("""0x1p-1 0x1.5555555555559p-3 0x1.555555555555ap-5 0x1.111111110f699p-7
                      0x1.6c16c16c1449fp-10 0x1.a01a01afef01p-13 0x1.a01a01b0a4528p-16
                      0x1.71ddf83839928p-19 0x1.27e4c5c080a08p-22 0x1.af5ef2f2e4661p-26
                      0x1.1f953c4cde0bdp-29"""),
    log=numbers("""0x1.555555555553ap-2 -0x1.ffffffffffeap-3 0x1.999999999fb4ap-3
                    -0x1.555555556f121p-3 0x1.24924920db73ep-3 -0x1.ffffffe8f94f4p-4
                    0x1.c71c73faf6778p-4 -0x1.99999eff36181p-4 0x1.745cb82264899p-4
                    -0x1.555494910f347p-4 0x1.3b1d8aea089bbp-4 -0x1.24a34d602cf25p-4
                    0x1.106b99799e697p-4 -0x1.fe0dc266c03d9p-5 0x1.ef9f8623a78bp-5
                    -0x1.d96f5205b4aa4p-5 0x1.569b66276ed3cp-5 -0x1.2fc723ffbda5p-5
                    0x1.5baa6214e2f81p-4 -0x1.5eae664c46cf1p-4"""),
    erf_small=numbers("""0x1.06eba8214db69p-3 -0x1.812746b0379e3p-2 0x1.ce2f21a042964p-4
                          -0x1.b82ce3127e6b5p-6 0x1.565bcd0d07a86p-8 -0x1.c02db3c6fc8efp-11
                          0x1.f9a320fa5b046p-14 -0x1.f4d1eee5aff6p-17 0x1.b9e158af3947ep-20
                          -0x1.5f431ea0d2686p-23 0x1.fa540fff2f543p-27 -0x1.47015f0b9f898p-30
                          0x1.5ddea91b2d00ep-34 -0x1.cd97df84706cep-39"""),
    erf_large=numbers("""0x1.38ab04ef2e448p-3 -0x1.2570a2a1972cap-3 0x1.8f5bbf0abb97p-5
                          -0x1.ef09c73c06a49p-9 -0x1.043e7dfcf196cp-9 0x1.12db4f0b06f57p-11
                          0x1.43264f53c8b35p-18 -0x1.462279d6e412fp-16 0x1.1bde48016e146p-19
                          0x1.4c578e0fe5ecdp-22 -0x1.54d165773b8bfp-24 -0x1.2c75fa28026d3p-33
                          0x1.17067d106a6a6p-29 0x1.0873b2baf2d18p-34 0x1.6bc27da9f5c2dp-36
                          0x1.755009c69c0bcp-37 0x1.e5d58fd742b2p-41"""),
    erf_middle=3.625, erf_one=6.0,
    sin=numbers("""-0x1.5555555555555p-3 0x1.11111111110c1p-7 -0x1.a01a01a0148a1p-13
                    0x1.71de3a528708p-19 -0x1.ae6454cafd849p-26 0x1.6123cb11e7d58p-33
                    -0x1.ae43177271beep-41 0x1.8828f9beb0561p-49"""),
    asin=numbers("""0x1.5555555555577p-3 0x1.333333332e089p-4 0x1.6db6db721a113p-5
                    0x1.f1c71a9213e50p-6 0x1.6e8bdf31ec1e1p-6 0x1.1c49ea8c924dcp-6
                    0x1.ca201b2f05ff1p-7 0x1.7580ecd32a488p-7 0x1.6156e2ffb0549p-7
                    0x1.e4600ba60a6f5p-9 0x1.641a1babf578ep-6 -0x1.58b2aa91e0936p-6
                    0x1.0b8072c5ce5d6p-5"""),
    atan=numbers("""-0x1.5555555555555p-2 0x1.9999999999970p-3 -0x1.2492492490a05p-3
                    0x1.c71c71c60c8c6p-4 -0x1.745d17126719ep-4 0x1.3b13aaf7db151p-4
                    -0x1.11108cb768246p-4 0x1.e1d2a080c3302p-5 -0x1.ae890078c4fc2p-5
                    0x1.817a9dda95cacp-5 -0x1.4c2db92f294ffp-5 0x1.e5162de869a20p-6
                    -0x1.a933bd2177d87p-7"""),
    half_pi=numbers("0x1.921fb54442d18p0 0x1.1a62633145c07p-54"),
    log2_e=numbers("0x1.71547652b82fep0 0x1.777d0ffda0d24p-56"),
    log10_e=numbers("0x1.bcb7b1526e50ep-2 0x1.95355baaafad3p-57"),
    log10_2=numbers("0x1.34413509f6p-2 0x1.9fef311f12b36p-42"),
)

PI = numbers("0x1.921fb54442d18p1 0x1.1a62633145c06p-53 0x1.c1cd129024e09p-106")

def expands(name: str, integers: Callable | None = None) -> Callable:
    """Install a function of a Form and expressions as the expand of the scalar of that name; of
    integers, `integers` of the expressions is, or None: every target has an instruction."""
    def install(f: Callable) -> Callable:
        def expand(*args: Expr) -> Expr | None:
            dtype = args[0].dtype
            if not dtype.is_float:
                return None if integers is None else integers(*args)
            if dtype.bits == 16:
                return cast(f(F32, *(cast(a, float32) for a in args)), dtype)
            return f(F32 if dtype is float32 else F64, *args)
        scalar.ALL[name].expand = expand
        return f
    return install


# ---- parts --------------------------------------------------------------------------------------

def polynomial(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """Horner's rule in fused multiply-adds; coefficients from the lowest."""
    *rest, out = (lit(c, x.dtype) for c in coefficients)
    for c in reversed(rest):
        out = fma(out, x, c)
    return out


def clamp(x: Expr, low: float, high: float) -> Expr:
    """x within low..high; NaN stays. Each half is one instruction of the kind `min(high, x)`."""
    return at_least(where(x > high, high, x), low)


def at_least(x: Expr, low: float) -> Expr:
    return where(x < low, low, x)


def sign_bit(form: Form, x: Expr) -> Expr:
    return bitcast(x, form.word) & form.sign


def with_sign(form: Form, magnitude: Expr, x: Expr) -> Expr:
    """A magnitude with the sign of x; it is not negative, or negative only where x is."""
    return bitcast(bitcast(magnitude, form.word) | sign_bit(form, x), form.dtype)



# ---- exponentials -------------------------------------------------------------------------------

def reduced(form: Form, x: Expr) -> tuple[Expr, Expr]:
    """x = n ln2 + r, |r| <= ln(2) / 2; gives r and n + magic.

    Adding magic rounds to the integer; by fma, n ln2's high part is subtracted without an error.
    """
    biased = fma(x, form.log2e, form.magic)
    n = biased - form.magic
    high, low = form.ln2
    return fma(n, -low, fma(n, -high, x)), biased


def power_of_two(form: Form, n: Expr, plus: int = 0) -> Expr:
    """2^(n + plus), the low bits of n (a number with magic added, or an integer) being n."""
    exponent = bitcast(n, form.word) << form.fraction
    return bitcast(exponent + (form.one + (plus << form.fraction)), form.dtype)


def times_power_of_two(form: Form, y: Expr, biased: Expr) -> Expr:
    """y 2^n in two steps, so that n may exceed the exponent's range and a denormal rounds once.

    (Half of magic's bits is a multiple of 2^9, of 2^12 in float64: the shift moves it out too.)
    """
    n = bitcast(biased, form.word)
    half = n >> 1
    return y * power_of_two(form, half) * power_of_two(form, n - half)


def expm1_reduced(form: Form, r: Expr) -> Expr:
    """e^r - 1 for |r| <= ln(2) / 2: r + r^2 q(r)."""
    return fma(r * r, polynomial(r, form.expm1), r)



# ---- logarithms ---------------------------------------------------------------------------------

def exponent_bits(form: Form, x: Expr, least: float) -> Expr:
    """k << fraction for x = 2^k m with least <= m < 2 least; x positive and normal."""
    bits = form.one - (1 << form.fraction) + int((2 * least - 1) * 2**form.fraction)
    return (bitcast(x, form.word) - bits) & (-1 << form.fraction)


def split(form: Form, x: Expr, least: float) -> tuple[Expr, Expr]:
    """k and m of x = 2^k m, least <= m < 2 least; x positive, a denormal is scaled up first."""
    denormal, up = x < form.smallest, form.fraction + 1
    y = where(denormal, x * 2.0**up, x)
    e = exponent_bits(form, y, least)
    k = number_of(form, e) - where(denormal, lit(up, form.dtype), 0)
    return k, bitcast(bitcast(y, form.word) - e, form.dtype)


def number_of(form: Form, exponent: Expr) -> Expr:
    return cast(exponent >> form.fraction, form.dtype)


def log_near(form: Form, k: Expr, f: Expr) -> Expr:
    """k ln2 + log(1 + f) for |f| <= 1/3: f - f^2/2 + f^3 q(f), the small terms first."""
    high, low = form.ln2
    tail = (f * f) * fma(polynomial(f, form.log), f, -0.5)
    return fma(k, high, f + fma(k, low, tail))
