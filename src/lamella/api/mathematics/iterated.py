"""Functions that repeat a step until every element has its result: incomplete gamma, gcd."""

from __future__ import annotations

import math

from ...base.errors import DTypeError
from ..arrays.array import Array, asarray, operands, wrap
from ..arrays.kinds import floating
from ..arrays.values import error
from ..functions.creation import broadcast_arrays
from ..functions.elementwise import abs, exp, isnan, log, maximum, remainder, where
from ..functions.reductions import any as some
from ..programs.control import while_loop
from ..transforms.custom import custom_jvp
from .special import lgamma

__all__ = ["gcd", "igamma", "igammac", "lcm"]

MOST_TERMS = 4000
TINY = 1e-300


# ---- regularised incomplete gamma functions -----------------------------------------------------

def igamma(a, x) -> Array:
    """The regularised lower incomplete gamma function P(a, x), a and x from 0 on; NaN below.

    By the power series for x < a + 1, else by the continued fraction of 1 - P in float64 (Press et
    al., "Numerical Recipes", 6.2). The error is about a 10^-14
    of the result; the derivative by a is taken as zero.
    """
    return _pair("igamma", a, x, lower=True)


def igammac(a, x) -> Array:
    """The regularised upper incomplete gamma function 1 - P(a, x), without cancellation."""
    return _pair("igammac", a, x, lower=False)


def _pair(name: str, a, x, *, lower: bool) -> Array:
    a, x = (wrap(floating(n)) for n in operands(name, (a, x)))
    dtype = a.dtype
    a, x = broadcast_arrays(*(v.astype("float64") for v in (a, x)))
    return (_lower if lower else _upper)(a, x).astype(dtype)


@custom_jvp
def _lower(a: Array, x: Array) -> Array:
    return _both(a, x)[0]


@custom_jvp
def _upper(a: Array, x: Array) -> Array:
    return _both(a, x)[1]


def _density(a: Array, x: Array) -> Array:
    """x^(a - 1) e^-x / Gamma(a)."""
    positive = where(x > 0, x, 1.0)
    found = exp((a - 1) * log(positive) - positive - lgamma(a))
    return where(x > 0, found, where(a == 1, 1.0, where(a < 1, math.inf, 0.0)))


_lower.defjvp(lambda primals, ways: (_lower(*primals), _density(*primals) * ways[1]))
_upper.defjvp(lambda primals, ways: (_upper(*primals), -_density(*primals) * ways[1]))


def _both(a: Array, x: Array) -> tuple[Array, Array]:
    """(P, 1 - P), each from the expansion that has no cancellation."""
    regular = (a > 0) & (x > 0) & (a < math.inf) & (x < math.inf)
    below = x < a + 1
    first, second = where(regular & below, a, 1.0), where(regular & below, x, 0.5)
    scale = exp(first * log(second) - second - lgamma(first + 1))
    series = scale * _series(first, second)
    first, second = where(regular & ~below, a, 1.0), where(regular & ~below, x, 4.0)
    fraction = exp(first * log(second) - second - lgamma(first)) * _fraction(first, second)
    p = where(below, series, 1 - fraction)
    q = where(below, 1 - series, fraction)
    wrong = (a < 0) | (x < 0) | isnan(a) | isnan(x) | ((a == 0) & (x == 0)) | (
        (a == math.inf) & (x == math.inf))
    ended = where((x == 0) | (a == math.inf), 0.0, 1.0)
    p = where(regular, p, where(wrong, math.nan, ended))
    return p, where(regular, q, where(wrong, math.nan, 1 - ended))


def _series(a: Array, x: Array) -> Array:
    """1 + x / (a + 1) + x^2 / ((a + 1)(a + 2)) + ..."""
    def step(state):
        n, term, total = state
        term = term * (x / (a + n))
        return n + 1, term, total + term

    start = asarray(1.0, dtype="float64"), 0 * x + 1, 0 * x + 1
    going = lambda s: some(s[1] > s[2] * 1e-17) & (s[0] < MOST_TERMS)
    return while_loop(going, step, start)[2]


def _fraction(a: Array, x: Array) -> Array:
    """Lentz's continued fraction of e^x x^-a Gamma(a, x)."""
    def step(state):
        n, b, c, d, h, _ = state
        factor = n * (a - n)
        b = b + 2
        d = factor * d + b
        d = 1 / where(abs(d) < TINY, TINY, d)
        c = b + factor / c
        c = where(abs(c) < TINY, TINY, c)
        return n + 1, b, c, d, h * (d * c), abs(d * c - 1)

    b = x + 1 - a
    d = 1 / where(abs(b) < TINY, TINY, b)
    start = asarray(1.0, dtype="float64"), b, 0 * x + 1 / TINY, d, d, 0 * x + 1
    going = lambda s: some(s[5] > 1e-16) & (s[0] < MOST_TERMS)
    return while_loop(going, step, start)[4]


# ---- integers -----------------------------------------------------------------------------------

def gcd(a, b) -> Array:
    """The greatest common divisor, not negative; gcd(0, 0) is 0 (Euclid's algorithm)."""
    a, b = (wrap(n) for n in operands("gcd", (a, b)))
    if not a.dtype.is_int:
        raise error(DTypeError, f"gcd: takes integers, got {a.dtype}")
    a, b = broadcast_arrays(a, b)

    def step(state):
        a, b = state
        return where(b == 0, a, b), where(b == 0, 0, remainder(a, where(b == 0, 1, b)))

    found = while_loop(lambda s: some(s[1] != 0), step, (a, b))[0]
    return abs(found) if found.dtype.kind == "int" else found


def lcm(a, b) -> Array:
    """The least common multiple, not negative; 0 where either is 0."""
    a, b = (wrap(n) for n in operands("lcm", (a, b)))
    divisor = gcd(a, b)
    found = a // maximum(divisor, 1) * b
    return abs(found) if found.dtype.kind == "int" else found
