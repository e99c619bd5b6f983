"""Distributions made of uniform and normal draws; parameters are numbers or arrays that broadcast.

`shape` is that of the parameters by default. A draw of a shape is the same for every machine, and
under `vmap` each member of a batch of keys has the draw that its key gives alone. Gamma, Poisson
and what follows from them reject and draw again, round by round, each round from a key of its own.
16-bit floats are draws of float32, rounded once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from ...base.dtypes import as_dtype
from ...base.errors import DTypeError, ShapeError
from ...ops.pointwise import broadcast_shapes
from ..arrays.array import Array, asarray, wrap
from ..arrays.shapes import as_shape
from ..arrays.values import error, located
from ..functions.creation import full, zeros
from ..functions.elementwise import (
    abs,
    clip,
    exp,
    floor,
    log,
    log1p,
    sigmoid,
    sign,
    sqrt,
    tan,
    where,
)
from ..functions.manipulation import broadcast_to
from ..functions.reductions import all as every
from ..mathematics.special import lgamma, ndtr, ndtri
from ..programs.control import while_loop
from .draws import fold_in, normal, split, uniform
from .keys import use

__all__ = ["beta", "cauchy", "dirichlet", "exponential", "gamma", "geometric", "laplace",
           "logistic", "poisson", "truncated_normal"]


def _given(name: str, dtype, shape, *parameters) -> tuple[list[Array], tuple]:
    """The parameters as arrays of the dtype, and the draw's shape."""
    dtype = as_dtype(dtype)
    if not dtype.is_float:
        raise error(DTypeError, f"{name}: takes a floating dtype, got {dtype}")
    arrays = [asarray(p).astype(dtype) if isinstance(p, Array) else asarray(p, dtype=dtype)
              for p in parameters]
    own = located(broadcast_shapes)(name, [a.shape for a in arrays])
    shape = own if shape is None else as_shape(shape)
    if located(broadcast_shapes)(name, [own, shape]) != shape:
        raise error(ShapeError, f"{name}: parameters of shape {own} do not broadcast to {shape}")
    return arrays, shape


def _rounded(draw: Callable) -> Callable:
    """The draw, of which one in 16 bits is that in float32 rounded once."""
    @functools.wraps(draw)
    def run(*args, dtype="float32", **more):
        given = as_dtype(dtype)
        if given.is_float and given.bits < 32:
            return draw(*args, dtype="float32", **more).astype(given)
        return draw(*args, dtype=given, **more)

    return run


@_rounded
def exponential(k, rate=1.0, shape=None, *, dtype="float32") -> Array:
    """Exponential of mean 1 / rate: -log(1 - u) / rate."""
    (rate,), shape = _given("exponential", dtype, shape, rate)
    return -log1p(-uniform(k, shape, dtype=dtype)) / rate


@_rounded
def laplace(k, shape=(), *, dtype="float32") -> Array:
    """Laplace of mean 0 and scale 1: the mass is exp(-|x|) / 2."""
    _, shape = _given("laplace", dtype, shape)
    u = uniform(k, shape, low=-1.0, high=1.0, dtype=dtype)
    return -sign(u) * log1p(-abs(u) * (1 - 2.0 ** -24))


@_rounded
def logistic(k, shape=(), *, dtype="float32") -> Array:
    """Logistic of mean 0 and scale 1: log(u / (1 - u))."""
    _, shape = _given("logistic", dtype, shape)
    u = uniform(k, shape, dtype=dtype) * (1 - 2.0 ** -23) + 2.0 ** -24
    return log(u) - log1p(-u)


@_rounded
def cauchy(k, shape=(), *, dtype="float32") -> Array:
    """Cauchy of median 0 and scale 1: tan(pi (u - 1/2))."""
    _, shape = _given("cauchy", dtype, shape)
    return tan((uniform(k, shape, dtype=dtype) - 0.5) * math.pi)


@_rounded
def truncated_normal(k, low, high, shape=None, *, dtype="float32") -> Array:
    """Standard normal kept between low and high, by the inverse of its distribution function."""
    (low, high), shape = _given("truncated_normal", dtype, shape, low, high)
    upper = low > 0  # far above 0 the other side's masses are finer
    a, b = where(upper, -high, low), where(upper, -low, high)
    first, last = ndtr(a), ndtr(b)
    x = clip(ndtri(first + uniform(k, shape, dtype=dtype) * (last - first)), a, b)
    return where(upper, -x, x)


def geometric(k, p, shape=None, *, dtype="int32") -> Array:
    """The number of trials of probability p up to the first success, 1 or more."""
    (p,), shape = _given("geometric", "float32", shape, p)
    return (floor(log1p(-uniform(k, shape)) / log1p(-p)) + 1).astype(dtype)


# ---- by rejection -------------------------------------------------------------------------------

def _accepted(key: Array, start: Array, proposal: Callable) -> Array:
    """Each element's first accepted proposal; `proposal(key)` gives (values, whether accepted)."""
    def step(state):
        turn, found, value = state
        new, taken = proposal(fold_in(key, turn))
        return turn + 1, found | taken, where(found, value, new)

    state = asarray(0), zeros(start.shape, dtype="bool"), start
    return while_loop(lambda s: ~every(s[1]), step, state)[2]


@_rounded
def gamma(k, a, shape=None, *, dtype="float32") -> Array:
    """Gamma of shape parameter a > 0 and scale 1 (Marsaglia & Tsang, "A simple method for
    generating gamma variables", 2000); NaN where a is not above 0. The derivative by a is not
    followed."""
    (a,), shape = _given("gamma", dtype, shape, a)
    drawn, power = _gamma(k, a, shape)
    return drawn * exp(power)


def _gamma(k, a: Array, shape: tuple) -> tuple[Array, Array]:
    """(x, p) of gamma draws x e^p, which underflow where a is small and their logarithms do not."""
    k = wrap(use("gamma", k))
    a = broadcast_to(a, shape)
    known = (a > 0) & (a < math.inf)
    safe = where(known, a, 1.0)
    small = safe < 1
    d = where(small, safe + 1, safe) - 1 / 3
    c = 1 / sqrt(9 * d)

    def proposal(key):
        first, second = split(key)
        x, u = normal(first, shape, dtype=a.dtype), uniform(second, shape, dtype=a.dtype)
        v = (1 + c * x) ** 3
        safe = where(v > 0, v, 1.0)
        bound = 0.5 * x * x + d * (1 - safe + log(safe))
        return d * v, (v > 0) & (log1p(-u) < bound)

    drawn = _accepted(fold_in(k, 1), d, proposal)
    u = 1 - uniform(fold_in(k, 2), shape, dtype=a.dtype)
    drawn = where(known, drawn, where(a == math.inf, a, math.nan))
    return drawn, where(small, log(u) / safe, 0.0)


@_rounded
def beta(k, a, b, shape=None, *, dtype="float32") -> Array:
    """Beta of parameters a, b > 0: x / (x + y) of two gamma draws, by their logarithms."""
    (a, b), shape = _given("beta", dtype, shape, a, b)
    first, second = split(k)
    (x, p), (y, q) = _gamma(first, a, shape), _gamma(second, b, shape)
    return sigmoid(log(x) - log(y) + (p - q))


@_rounded
def dirichlet(k, alpha, shape=None, *, dtype="float32") -> Array:
    """Dirichlet of parameters alpha [..., n] > 0: gamma draws over their sum, by their logarithms:
    [*shape, n]."""
    (alpha,), _ = _given("dirichlet", dtype, None, alpha)
    if not alpha.ndim:
        raise error(ShapeError, "dirichlet: alpha has an axis of parameters, got a number")
    lead = alpha.shape[:-1] if shape is None else as_shape(shape)
    x, p = _gamma(k, alpha, (*lead, alpha.shape[-1]))
    weights = log(x) + p
    y = exp(weights - weights.max(-1, keepdims=True))
    return y / y.sum(-1, keepdims=True)


def poisson(k, rate, shape=None, *, dtype="int32") -> Array:
    """Poisson of mean `rate`, from 0 to 2**24 (-1 where it is outside of that): the count of unit
    exponentials up to the rate where it is below 10, else Hoermann's transformed rejection ("The
    transformed rejection method for generating Poisson random variables", 1993)."""
    (rate,), shape = _given("poisson", "float32", shape, rate)
    k = wrap(use("poisson", k))
    rate = broadcast_to(rate, shape)
    known = (rate >= 0) & (rate <= 2.0 ** 24)
    rate = where(known, rate, 0.0)
    low = rate < 10
    few = _count_up(fold_in(k, 1), where(low, rate, 0.0))
    many = _transformed(fold_in(k, 2), where(low, 10.0, rate))
    return where(known, where(low, few.astype("float64"), many), -1.0).astype(dtype)


def _count_up(key: Array, rate: Array) -> Array:
    """How many products of uniform draws stay above exp(-rate)."""
    bound = -rate

    def step(state):
        turn, total, count = state
        total = total + log1p(-uniform(fold_in(key, turn), rate.shape))
        return turn + 1, total, count + (total >= bound).astype("float32")

    start = asarray(0), zeros(rate.shape), full(rate.shape, 0.0)
    return while_loop(lambda s: ~every(s[1] < bound), step, start)[2]


def _transformed(key: Array, rate: Array) -> Array:
    """float64: the terms of a mass's logarithm are as large as the rate and cancel to about 1."""
    rate = rate.astype("float64")
    b = 0.931 + 2.53 * sqrt(rate)
    a = -0.059 + 0.02483 * b
    scale = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2)

    def proposal(k):
        first, second = split(k)
        u, v = uniform(first, rate.shape) - 0.5, 1 - uniform(second, rate.shape)
        side = 0.5 - abs(u)
        inside = where(side > 0, side, 1.0)
        n = floor((2 * a / inside + b) * u + rate + 0.43)
        quick = (side >= 0.07) & (v <= squeeze)
        ruled = (n < 0) | ((side < 0.013) & (v > side)) | (side <= 0)
        mass = n * log(rate) - rate - lgamma(where(n < 0, 0.0, n) + 1)
        exact = log(v * scale / (a / (inside * inside) + b)) <= mass
        return n, quick | (~ruled & exact)

    return _accepted(key, rate, proposal)
