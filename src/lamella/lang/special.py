"""Special functions: gamma, error and Bessel functions; importing this file defines them.

Each is a scalar like those of lang/scalar.py, stated here as a whole: meaning, derivative and
expansion. All are computed in float64 and rounded once, from Chebyshev series of a smooth rest
(lang/special_tables.py, fitted by tools/fit_special.py) and the elementary functions. The reference
is the same statement in NumPy; tests/lang/test_special.py holds it against 40 digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..base.dtypes import float64
from . import expr, scalar
from . import math as _elementary  # noqa: F401  (installs what the references need)
from . import special_tables as table
from .evaluate import evaluate
from .expr import Expr, lit
from .scalar import (
    Scalar,
    abs_,
    cast,
    cos,
    eq,
    erf,
    exp,
    fma,
    log,
    maximum,
    minimum,
    ne,
    round_,
    sign,
    sin,
    sqrt,
    trunc,
    where,
)

INF, NAN = math.inf, math.nan
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def _define(name: str, doc: str, rule: Callable | None, samples: tuple[float, float] = (-4.0, 4.0),
            arity: int = 1, facts: str = "") -> Callable[[Callable], Scalar]:
    """The scalar that a function of float64 expressions states."""
    def install(f: Callable) -> Scalar:
        def expand(*args: Expr) -> Expr:
            return cast(f(*(cast(a, float64) for a in args)), args[0].dtype)

        variables = [expr.var(f"x{k}", float64) for k in range(arity)]

        def reference(*arrays):
            given = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in arrays))
            return evaluate(f(*variables), dict(zip(variables, given, strict=True)))

        return Scalar(name, arity, doc, reference, rule, expand=expand, samples=samples,
                      facts=facts)
    return install


def _at(name: str, *args):
    """The scalar of that name applied, in a derivative: it may be stated further down."""
    return scalar.ALL[name](*args)


def _series(u: Expr, coefficients: tuple[float, ...]) -> Expr:
    """Clenshaw's sum of a Chebyshev series at u, -1 <= u <= 1."""
    first, *rest, last = coefficients
    twice = u + u
    b1, b2 = lit(last, float64), lit(0, float64)
    for c in reversed(rest):
        b1, b2 = fma(twice, b1, c - b2), b1
    return fma(u, b1, first - b2)


def _over(x: Expr, low: float, high: float, coefficients: tuple[float, ...]) -> Expr:
    """The series of a function on low..high, at x kept inside."""
    x = minimum(maximum(x, low), high)
    return _series((x - (low + high) / 2) * (2 / (high - low)), coefficients)


# ---- gamma --------------------------------------------------------------------------------------

def _sine_of_half_turns(x: Expr) -> tuple[Expr, Expr]:
    """|sin|-free parts of the reflection: sin(pi r) and cos(pi r), r = x - round(x)."""
    r = (x - round_(x)) * math.pi
    return sin(r), cos(r)


@_define("lgamma", "log |Gamma(x)|", lambda g, y, x: (g * _at("digamma", x),), (2.3, 20.0))
def lgamma(x: Expr) -> Expr:
    """(z - 1)(z - 2) p(z) on 1..3 after z (z + 1) ..., Stirling's series from 8 on, reflection
    below 0."""
    y = where(x < 0, 1 - x, x)
    small = y < 1
    z = where(small, y + 1, y)
    middle = z < 8
    w, product = where(middle, z, 2.0), lit(1, float64)
    for _ in range(5):
        above = w >= 3
        w = where(above, w - 1, w)
        product = where(above, product * w, product)
    near = (w - 1) * (w - 2) * _over(w, 1, 3, table.LGAMMA) + log(product)
    s = where(middle, 8.0, z)
    far = fma(s - 0.5, log(s) - 1, HALF_LOG_TAU - 0.5) + _over(
        1 / (s * s), 0, 1 / 64, table.STIRLING) / s
    out = where(middle, near, far)
    out = where(small, out - log(y), out)
    reflected = log(math.pi / abs_(_sine_of_half_turns(x)[0])) - out
    return where(eq(x, -INF), INF, where(x < 0, reflected, out))


@_define("digamma", "the derivative of lgamma",
         lambda g, y, x: (g * _at("zeta", lit_like(2, x), x),),
         (2.0, 20.0))
def digamma(x: Expr) -> Expr:
    """log z - 1 / (2 z) - p(1 / z^2) / z^2 from 8 on, the sum of 1 / z before, reflection below 0.
    """
    z, total = where(x < 0, 1 - x, x), lit(0, float64)
    for _ in range(8):
        below = z < 8
        total = where(below, total - 1 / z, total)
        z = where(below, z + 1, z)
    square = 1 / (z * z)
    out = total + (log(z) - 0.5 / z - _over(square, 0, 1 / 64, table.DIGAMMA) * square)
    s, c = _sine_of_half_turns(x)
    return where(x < 0, where(eq(s, 0), NAN, out - math.pi * (c / s)), out)


def lit_like(value: float, x):
    """A number of x's kind: an expression's, or one that x's operators take."""
    return lit(value, x.dtype) if isinstance(x, Expr) else x * 0.0 + value


BERNOULLI = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1.0 / 47900160, -691 / 1307674368000,
             1 / 74724249600, -3617 / 10670622842880000)  # B(2k) / (2k)!


@_define("zeta", "the sum of (q + k)^-s over k >= 0, q > -10; its derivative by s is taken as zero",
         lambda g, y, s, q: (None, -(g * (s * _at("zeta", s + 1.0, q)))), (2.1, 9.0), 2, "stops")
def zeta(s: Expr, q: Expr) -> Expr:
    """Euler and Maclaurin's sum from 10 on, term by term before; s > 1, whole where q < 0."""
    whole = eq(trunc(s), s)
    odd = whole & ne(trunc(s * 0.5), s * 0.5)

    def power(z: Expr) -> Expr:
        size = exp(-(s * log(abs_(z))))
        return where((z < 0) & odd, -size, size)

    z, total = q, lit(0, float64)
    for _ in range(20):
        below = z < 10
        total = where(below, total + power(where(below, z, 10.0)), total)
        z = where(below, z + 1, z)
    last = power(z)
    total = total + last * (z / (s - 1) + 0.5)
    inverse, factor = 1 / (z * z), s / z * last
    for k, b in enumerate(BERNOULLI):
        total = total + factor * b
        factor = factor * ((s + (2 * k + 1)) * (s + (2 * k + 2))) * inverse
    out = where((z < 10) | (s < 1) | ((q < 0) & ~whole), NAN, total)
    return where(eq(s, 1), INF, out)


# ---- error function -----------------------------------------------------------------------------

TWO_BY_ROOT_PI = 2 / math.sqrt(math.pi)


def _exp_square(a: Expr, sign_: int) -> Expr:
    """exp(sign a^2) for 0 <= a <= 40, the square's rounding error put in again."""
    high = trunc(a * 16) * (1 / 16)
    return exp(high * high * sign_) * exp((a - high) * (a + high) * sign_)


def _erfcx(a: Expr) -> Expr:
    """erfcx for a >= 0."""
    near = minimum(a, 1e8)
    y = _series((near - 3.75) / (near + 3.75), table.ERFCX) / (1 + near + near)
    return where(a > 1e8, (0.5 * TWO_BY_ROOT_PI) / a, y)


@_define("erfc", "1 - erf(x), without cancellation",
         lambda g, y, x: (-(g * (exp(-(x * x)) * TWO_BY_ROOT_PI)),))
def erfc(x: Expr) -> Expr:
    """1 - erf(x) for |x| < 1/2, else exp(-x^2) erfcx(|x|), from 2 for negative x."""
    a = minimum(abs_(x), 40.0)
    tail = _exp_square(a, -1) * _erfcx(a)
    return where(abs_(x) < 0.5, 1 - erf(x), where(x < 0, 2 - tail, tail))


@_define("erfcx", "exp(x^2) erfc(x)", lambda g, y, x: (g * (x * y * 2.0 - TWO_BY_ROOT_PI),))
def erfcx(x: Expr) -> Expr:
    """A series in (x - 15/4) / (x + 15/4) (Shepherd & Laframboise, 1981); 2 exp(x^2) less it."""
    y = _erfcx(abs_(x))
    return where(x < 0, 2 * _exp_square(minimum(abs_(x), 40.0), 1) - y, y)


def _normal_tail(q: Expr) -> Expr:
    """z > 0 with mass q <= 1/8 of the normal distribution above it: t p(t), t^2 = -2 log q."""
    t = minimum(sqrt(log(q) * -2), 40.0)
    y = _over(t, 12, 40, table.NORMAL_TAIL_3)
    for high, low, part in ((12, 6, table.NORMAL_TAIL_2), (6, 3, table.NORMAL_TAIL_1),
                            (3, 1.5, table.NORMAL_TAIL_0)):
        y = where(t < high, _over(t, low, high, part), y)
    return where(eq(q, 0), INF, t * y)


@_define("erfinv", "the inverse of erf",
         lambda g, y, x: (g * (exp(y * y) * (1 / TWO_BY_ROOT_PI)),), (-0.99, 0.99))
def erfinv(x: Expr) -> Expr:
    """x p(x^2) for |x| <= 3/4, else by the normal distribution's tail."""
    a = abs_(x)
    near = x * _over(x * x, 0, 0.5625, table.ERFINV)
    far = sign(x) * _normal_tail((1 - a) * 0.5) * math.sqrt(0.5)
    return where(a <= 0.75, near, where(a <= 1, far, NAN))


@_define("ndtri", "the quantile of the normal distribution",
         lambda g, y, p: (g * (exp(y * y * 0.5) * math.sqrt(2 * math.pi)),), (0.01, 0.99))
def ndtri(p: Expr) -> Expr:
    """sqrt(2) erfinv(2 p - 1), by the tail where less than 1/8 of the mass lies beyond."""
    u = p - 0.5 + (p - 0.5)
    near = u * _over(u * u, 0, 0.5625, table.ERFINV) * math.sqrt(2)
    tail = _normal_tail(minimum(p, 1 - p))
    far = where(p < 0.5, -tail, tail)
    return where(abs_(u) <= 0.75, near, where((p >= 0) & (p <= 1), far, NAN))


# ---- modified Bessel functions ------------------------------------------------------------------

def _i0e(a: Expr) -> Expr:
    far = maximum(a, 8.0)
    return where(a <= 8, _over(a, 0, 8, table.I0), _series(16 / far - 1, table.I0_FAR) / sqrt(far))


def _i1e(a: Expr) -> Expr:
    far = maximum(a, 8.0)
    return where(a <= 8, a * _over(a, 0, 8, table.I1),
                 _series(16 / far - 1, table.I1_FAR) / sqrt(far))


def _grown(a: Expr, y: Expr) -> Expr:
    """e^a y, a's exponential taken in two halves so that only the product may overflow."""
    half = exp(a * 0.5)
    return half * (half * y)


def _over_x(i1, x):
    """i1(x) / x, which is 1/2 at 0."""
    zero = eq(x, 0.0)
    return where(zero, 0.5, i1 / where(zero, 1.0, x))


@_define("i0", "the modified Bessel function I0", lambda g, y, x: (g * _at("i1", x),))
def i0(x: Expr) -> Expr:
    """e^|x| i0e(x)."""
    a = abs_(x)
    return where(eq(a, INF), INF, _grown(a, _i0e(a)))


@_define("i0e", "e^-|x| I0(x)", lambda g, y, x: (g * (_at("i1e", x) - sign(x) * y),))
def i0e(x: Expr) -> Expr:
    """p(x) up to 8, then p(1 / x) / sqrt(x)."""
    return _i0e(abs_(x))


@_define("i1", "the modified Bessel function I1",
         lambda g, y, x: (g * (_at("i0", x) - _over_x(y, x)),))
def i1(x: Expr) -> Expr:
    """e^|x| i1e(x)."""
    a = abs_(x)
    return where(eq(a, INF), x, sign(x) * _grown(a, _i1e(a)))


@_define("i1e", "e^-|x| I1(x)",
         lambda g, y, x: (g * (_at("i0e", x) - sign(x) * y - _over_x(y, x)),))
def i1e(x: Expr) -> Expr:
    """x p(x) up to 8, then p(1 / x) / sqrt(x)."""
    return sign(x) * _i1e(abs_(x))


def _k(x: Expr, near_table, far_table, order: int) -> tuple[Expr, Expr]:
    """(K(x) for x <= 2, e^x K(x) from there on)."""
    near = minimum(x, 2.0)
    bessel = _grown(near, (_i1e if order else _i0e)(near))
    rest = _over(near * near, 0, 4, near_table)
    rest = rest / near if order else rest
    logarithm = log(near * 0.5) * bessel
    far = maximum(x, 2.0)
    return (rest + logarithm if order else rest - logarithm,
            _series(4 / far - 1, far_table) / sqrt(far))


def _positive(x: Expr, y: Expr) -> Expr:
    """y for x > 0, infinite at 0, NaN below."""
    return where(x > 0, y, where(eq(x, 0), lit(INF, float64), NAN))


@_define("k0", "the modified Bessel function K0",
         lambda g, y, x: (-(g * _at("k1", x)),), (0.1, 8.0))
def k0(x: Expr) -> Expr:
    """p(x^2) - log(x / 2) I0(x) up to 2, then e^-x p(1 / x) / sqrt(x)."""
    near, far = _k(x, table.K0, table.K0_FAR, 0)
    return _positive(x, where(x <= 2, near, exp(-x) * far))


@_define("k0e", "e^x K0(x)", lambda g, y, x: (g * (y - _at("k1e", x)),), (0.1, 8.0))
def k0e(x: Expr) -> Expr:
    """As k0."""
    near, far = _k(x, table.K0, table.K0_FAR, 0)
    return _positive(x, where(x <= 2, exp(minimum(x, 2.0)) * near, far))


@_define("k1", "the modified Bessel function K1", lambda g, y, x: (-(g * (_at("k0", x) + y / x)),),
         (0.1, 8.0))
def k1(x: Expr) -> Expr:
    """p(x^2) / x + log(x / 2) I1(x) up to 2, then e^-x p(1 / x) / sqrt(x)."""
    near, far = _k(x, table.K1, table.K1_FAR, 1)
    return _positive(x, where(x <= 2, near, exp(-x) * far))


@_define("k1e", "e^x K1(x)", lambda g, y, x: (g * (y - _at("k0e", x) - y / x),), (0.1, 8.0))
def k1e(x: Expr) -> Expr:
    """As k1."""
    near, far = _k(x, table.K1, table.K1_FAR, 1)
    return _positive(x, where(x <= 2, exp(minimum(x, 2.0)) * near, far))


# ---- Bessel functions ---------------------------------------------------------------------------

def _wave(a: Expr, p: tuple, q: tuple, order: int, second: bool) -> Expr:
    """J or Y from 8 on: sqrt(2 / (pi a)) times P and (8 / a) Q on the cosine and sine of
    a - order pi / 2 - pi / 4."""
    a = maximum(a, 8.0)
    s, c = sin(a), cos(a)
    cosine, sine = ((s - c, -(s + c)) if order else (c + s, s - c))
    v = 8 / a
    big, small = _over(v * v, 0, 1, p), v * _over(v * v, 0, 1, q)
    wave = big * sine + small * cosine if second else big * cosine - small * sine
    return where(eq(a, INF), 0.0, wave / sqrt(a * math.pi))


@_define("bessel_j0", "the Bessel function J0",
         lambda g, y, x: (-(g * _at("bessel_j1", x)),), (-2, 2))
def bessel_j0(x: Expr) -> Expr:
    """p(x^2) up to 8, then amplitude and phase."""
    a = abs_(x)
    return where(a <= 8, _over(a * a, 0, 64, table.J0), _wave(a, table.P0, table.Q0, 0, False))


@_define("bessel_j1", "the Bessel function J1",
         lambda g, y, x: (g * (_at("bessel_j0", x) - _over_x(y, x)),), (-3, 3))
def bessel_j1(x: Expr) -> Expr:
    """x p(x^2) up to 8, then amplitude and phase."""
    a = abs_(x)
    far = sign(x) * _wave(a, table.P1, table.Q1, 1, False)
    return where(a <= 8, x * _over(a * a, 0, 64, table.J1), far)


def _second_kind(x: Expr, near: Expr, far: Expr) -> Expr:
    """Y(x) for x > 0, -inf at 0, NaN below."""
    return where(x > 0, where(x <= 8, near, far), where(eq(x, 0), lit(-INF, float64), NAN))


@_define("bessel_y0", "the Bessel function Y0", lambda g, y, x: (-(g * _at("bessel_y1", x)),),
         (1.2, 3.0))
def bessel_y0(x: Expr) -> Expr:
    """p(x^2) + (2 / pi) log(x) J0(x) up to 8, then amplitude and phase."""
    square = minimum(x * x, 64.0)
    near = _over(square, 0, 64, table.Y0) + log(x) * _over(square, 0, 64, table.J0) * (2 / math.pi)
    return _second_kind(x, near, _wave(x, table.P0, table.Q0, 0, True))


@_define("bessel_y1", "the Bessel function Y1",
         lambda g, y, x: (g * (_at("bessel_y0", x) - y / x),),
         (0.2, 1.8))
def bessel_y1(x: Expr) -> Expr:
    """x p(x^2) + (2 / pi) (log(x) J1(x) - 1 / x) up to 8, then amplitude and phase."""
    square = minimum(x * x, 64.0)
    first = x * _over(square, 0, 64, table.J1)
    near = x * _over(square, 0, 64, table.Y1) + (log(x) * first - 1 / x) * (2 / math.pi)
    return _second_kind(x, near, _wave(x, table.P1, table.Q1, 1, True))
