"""Special functions, elementwise and float; errors are stated in docs/special_functions.md."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...base.errors import LamellaError
from ...ops.pointwise import apply
from ..arrays.array import Array, asarray, operands, wrap
from ..arrays.kinds import floating
from ..arrays.values import error
from ..functions.elementwise import abs, exp, isnan, log, log1p, maximum, sin, where

__all__ = ["bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t",
           "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma",
           "entr", "erfc", "erfcx", "erfinv", "hermite_polynomial_h", "hermite_polynomial_he",
           "i0", "i0e", "i1", "i1e", "k0", "k0e", "k1", "k1e", "laguerre_polynomial_l",
           "legendre_polynomial_p", "lgamma", "log_ndtr", "logaddexp2", "logit", "multigammaln",
           "ndtr", "ndtri", "polygamma", "shifted_chebyshev_polynomial_t",
           "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
           "shifted_chebyshev_polynomial_w", "sinc", "spherical_bessel_j0", "xlog1py", "xlogy",
           "zeta"]


def _float(name: str, x) -> Array:
    return wrap(apply(name, floating(asarray(x).node)))


def _floats(name: str, *args) -> list[Array]:
    return [wrap(floating(n)) for n in operands(name, args)]


# ---- gamma --------------------------------------------------------------------------------------

def lgamma(x) -> Array:
    """log |Gamma(x)|; infinite at 0, -1, -2, ..."""
    return _float("lgamma", x)


def digamma(x) -> Array:
    """The derivative of lgamma; -inf at 0, NaN at -1, -2, ..."""
    return _float("digamma", x)


def zeta(s, q) -> Array:
    """Hurwitz's zeta: the sum of (q + k)^-s over k >= 0, for s > 1 and q > -10 (NaN below).

    Its derivative by s is taken as zero.
    """
    return wrap(apply("zeta", *(a.node for a in _floats("zeta", s, q))))


def polygamma(n: int, x) -> Array:
    """The n-th derivative of digamma, n a Python integer from 0 on; x > -10."""
    if not isinstance(n, int) or n < 0:
        raise error(LamellaError, f"polygamma: the order {n!r} is no integer from 0 on")
    if n == 0:
        return digamma(x)
    return zeta(float(n + 1), x) * ((-1.0) ** (n + 1) * math.factorial(n))


def multigammaln(x, p: int) -> Array:
    """The logarithm of the multivariate gamma function of p dimensions, x > (p - 1) / 2."""
    x = wrap(floating(asarray(x).node))
    total = lgamma(x)
    for j in range(1, p):
        total = total + lgamma(x - j / 2)
    return total + p * (p - 1) / 4 * math.log(math.pi)


# ---- error function and normal distribution -----------------------------------------------------

def erfc(x) -> Array:
    """1 - erf(x), without cancellation."""
    return _float("erfc", x)


def erfcx(x) -> Array:
    """exp(x^2) erfc(x)."""
    return _float("erfcx", x)


def erfinv(x) -> Array:
    """The inverse of erf on -1..1; NaN outside."""
    return _float("erfinv", x)


def ndtr(x) -> Array:
    """The normal distribution's mass below x."""
    return erfc(asarray(x) * -math.sqrt(0.5)) * 0.5


def ndtri(p) -> Array:
    """The normal distribution's quantile: the inverse of ndtr on 0..1; NaN outside."""
    return _float("ndtri", p)


def log_ndtr(x) -> Array:
    """log(ndtr(x)), far below 0 too."""
    x = wrap(floating(asarray(x).node))
    low = x < -1
    below, above = where(low, x, -1.0), where(low, -1.0, x)
    tail = log(erfcx(below * -math.sqrt(0.5)) * 0.5) - below * below * 0.5
    return where(low, tail, log1p(erfc(above * math.sqrt(0.5)) * -0.5))


# ---- Bessel functions ---------------------------------------------------------------------------

def i0(x) -> Array:
    """The modified Bessel function of the first kind and order 0."""
    return _float("i0", x)


def i0e(x) -> Array:
    """exp(-|x|) i0(x)."""
    return _float("i0e", x)


def i1(x) -> Array:
    """The modified Bessel function of the first kind and order 1."""
    return _float("i1", x)


def i1e(x) -> Array:
    """exp(-|x|) i1(x)."""
    return _float("i1e", x)


def k0(x) -> Array:
    """The modified Bessel function of the second kind and order 0; NaN below 0."""
    return _float("k0", x)


def k0e(x) -> Array:
    """exp(x) k0(x)."""
    return _float("k0e", x)


def k1(x) -> Array:
    """The modified Bessel function of the second kind and order 1; NaN below 0."""
    return _float("k1", x)


def k1e(x) -> Array:
    """exp(x) k1(x)."""
    return _float("k1e", x)


def bessel_j0(x) -> Array:
    """The Bessel function of the first kind and order 0."""
    return _float("bessel_j0", x)


def bessel_j1(x) -> Array:
    """The Bessel function of the first kind and order 1."""
    return _float("bessel_j1", x)


def bessel_y0(x) -> Array:
    """The Bessel function of the second kind and order 0; NaN below 0."""
    return _float("bessel_y0", x)


def bessel_y1(x) -> Array:
    """The Bessel function of the second kind and order 1; NaN below 0."""
    return _float("bessel_y1", x)


def spherical_bessel_j0(x) -> Array:
    """sin(x) / x, 1 at 0; about 0 its series, whose derivatives lose no digits."""
    x = wrap(floating(asarray(x).node))
    near = abs(x) < 0.5
    square, series = where(near, x * x, 0.0), 0.0
    for k in range(8, -1, -1):
        series = series * square + (-1) ** k / math.factorial(2 * k + 1)
    far = where(near, 1.0, x)
    return where(near, series, where(abs(x) == math.inf, 0.0, sin(far) / far))


def sinc(x) -> Array:
    """sin(pi x) / (pi x), 1 at 0."""
    return spherical_bessel_j0(asarray(x) * math.pi)


# ---- logarithms ---------------------------------------------------------------------------------

def xlogy(x, y) -> Array:
    """x log(y), 0 where x is 0 (but NaN where y is)."""
    return _times_log("xlogy", log, 1.0, x, y)


def xlog1py(x, y) -> Array:
    """x log(1 + y), 0 where x is 0 (but NaN where y is)."""
    return _times_log("xlog1py", log1p, 0.0, x, y)


def _times_log(name: str, f: Callable, safe: float, x, y) -> Array:
    x, y = _floats(name, x, y)
    nothing = (x == 0) & ~isnan(y)
    return where(nothing, 0.0, x * f(where(nothing, safe, y)))


def entr(x) -> Array:
    """-x log(x), 0 at 0, -inf below."""
    x = wrap(floating(asarray(x).node))
    positive = where(x > 0, x, 1.0)
    return where(x > 0, -positive * log(positive),
                 where(x == 0, 0.0, where(x < 0, -math.inf, x)))


def logit(x) -> Array:
    """log(x / (1 - x)), the inverse of sigmoid; NaN outside of 0..1."""
    x = wrap(floating(asarray(x).node))
    return log(x / (1 - x))


def logaddexp2(a, b) -> Array:
    """log2(2^a + 2^b), without overflow."""
    a, b = _floats("logaddexp2", a, b)
    gap, top = abs(a - b), maximum(a, b)
    return where(isnan(gap), top, top + log1p(exp(gap * -math.log(2))) * (1 / math.log(2)))


# ---- orthogonal polynomials: by their recurrences, n an array or a number -----------------------

MOST_DEGREE = 48


def _polynomial(name: str, x, n, first: Callable, step: Callable) -> Array:
    """p(0) = 1, p(1) = first(x), p(k + 1) = step(k, x, p(k), p(k - 1)); 0 for negative n."""
    if isinstance(n, int):
        if n > 10_000:
            raise error(LamellaError, f"{name}: a degree of {n} is too large; it is unrolled")
        steps, x = n, wrap(floating(asarray(x).node))
        n = asarray(n, dtype=x.dtype)
    else:
        steps = MOST_DEGREE
        x, n = _floats(name, x, n)
        n = wrap(apply("trunc", n.node))
    before, now = x * 0.0 + 1.0, first(x)
    found = where(n == 0, before, where(n == 1, now, 0.0 * x))
    for k in range(1, steps):
        before, now = now, step(float(k), x, now, before)
        found = where(n == k + 1, now, found)
    return found if steps != MOST_DEGREE else where(n > MOST_DEGREE, math.nan, found)


def _chebyshev(k, x, p, q) -> Array:
    return 2 * x * p - q


def chebyshev_polynomial_t(x, n) -> Array:
    """Chebyshev's polynomial T of degree n, a Python integer or an array (NaN above 48)."""
    return _polynomial("chebyshev_polynomial_t", x, n, lambda x: x, _chebyshev)


def chebyshev_polynomial_u(x, n) -> Array:
    """Chebyshev's polynomial U of degree n; n as in `chebyshev_polynomial_t`."""
    return _polynomial("chebyshev_polynomial_u", x, n, lambda x: 2 * x, _chebyshev)


def chebyshev_polynomial_v(x, n) -> Array:
    """Chebyshev's polynomial V of degree n; n as in `chebyshev_polynomial_t`."""
    return _polynomial("chebyshev_polynomial_v", x, n, lambda x: 2 * x - 1, _chebyshev)


def chebyshev_polynomial_w(x, n) -> Array:
    """Chebyshev's polynomial W of degree n; n as in `chebyshev_polynomial_t`."""
    return _polynomial("chebyshev_polynomial_w", x, n, lambda x: 2 * x + 1, _chebyshev)


def shifted_chebyshev_polynomial_t(x, n) -> Array:
    """T of 2 x - 1."""
    return chebyshev_polynomial_t(asarray(x) * 2 - 1, n)


def shifted_chebyshev_polynomial_u(x, n) -> Array:
    """U of 2 x - 1."""
    return chebyshev_polynomial_u(asarray(x) * 2 - 1, n)


def shifted_chebyshev_polynomial_v(x, n) -> Array:
    """V of 2 x - 1."""
    return chebyshev_polynomial_v(asarray(x) * 2 - 1, n)


def shifted_chebyshev_polynomial_w(x, n) -> Array:
    """W of 2 x - 1."""
    return chebyshev_polynomial_w(asarray(x) * 2 - 1, n)


def hermite_polynomial_h(x, n) -> Array:
    """The physicists' Hermite polynomial of degree n; n as in `chebyshev_polynomial_t`."""
    return _polynomial("hermite_polynomial_h", x, n, lambda x: 2 * x,
                       lambda k, x, p, q: 2 * x * p - (2 * k) * q)


def hermite_polynomial_he(x, n) -> Array:
    """The probabilists' Hermite polynomial of degree n; n as in `chebyshev_polynomial_t`."""
    return _polynomial("hermite_polynomial_he", x, n, lambda x: x,
                       lambda k, x, p, q: x * p - k * q)


def laguerre_polynomial_l(x, n) -> Array:
    """The Laguerre polynomial of degree n; n as in `chebyshev_polynomial_t`."""
    return _polynomial("laguerre_polynomial_l", x, n, lambda x: 1 - x,
                       lambda k, x, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1))


def legendre_polynomial_p(x, n) -> Array:
    """The Legendre polynomial of degree n; n as in `chebyshev_polynomial_t`."""
    return _polynomial("legendre_polynomial_p", x, n, lambda x: x,
                       lambda k, x, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1))
