"""Functions that repeat a step: incomplete gamma functions and divisors."""

import math

import numpy as np
import pytest

import lamella as L

mp = pytest.importorskip("mpmath")


@pytest.mark.parametrize("low", [0.01, 1.0, 30.0, 200.0])
def test_incomplete_gamma(low):
    rng = np.random.default_rng(0)
    a, x = rng.uniform(low / 2, low * 2, (2, 60))
    with mp.workdps(30):
        p = [float(mp.gammainc(u, 0, v, regularized=True)) for u, v in zip(a, x, strict=True)]
        q = [float(mp.gammainc(u, v, regularized=True)) for u, v in zip(a, x, strict=True)]
    rtol = 1e-14 * max(low, 30)
    assert np.allclose(L.igamma(L.asarray(a), L.asarray(x)).numpy(), p, rtol=rtol, atol=0)
    assert np.allclose(L.igammac(L.asarray(a), L.asarray(x)).numpy(), q, rtol=rtol, atol=0)


def test_incomplete_gamma_at_its_ends():
    inf, nan = math.inf, math.nan
    a = L.asarray([1.0, 1.0, 0.0, 0.0, inf, inf, -1.0, 1.0, nan])
    x = L.asarray([0.0, inf, 1.0, 0.0, 1.0, inf, 1.0, -1.0, 1.0])
    expected = np.array([0, 1, 1, nan, 0, nan, nan, nan, nan])
    assert np.array_equal(L.igamma(a, x).numpy(), expected, equal_nan=True)
    assert np.array_equal(L.igammac(a, x).numpy(), 1 - expected, equal_nan=True)


def test_incomplete_gamma_s_derivative_is_the_density():
    x = L.asarray(np.linspace(0.2, 9, 7))
    f = lambda x: L.igamma(2.5, x).sum()
    density = lambda x: np.exp(1.5 * np.log(x) - x - math.lgamma(2.5))
    assert np.allclose(L.grad(f)(x).numpy(), density(x.numpy()))
    assert np.allclose(L.compile(L.grad(f))(x).numpy(), density(x.numpy()))
    slope = L.grad(lambda x: L.grad(f)(x).sum())(x).numpy()
    assert np.allclose(slope, density(x.numpy()) * (1.5 / x.numpy() - 1))


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_divisors(dtype):
    rng = np.random.default_rng(1)
    a, b = rng.integers(0 if dtype == "uint8" else -50, 13 if dtype == "uint8" else 50, (2, 80))
    a[:3], b[:3] = [0, 0, 6], [0, 5, 0]
    a, b = a.astype(dtype), b.astype(dtype)
    assert np.array_equal(L.gcd(L.asarray(a), L.asarray(b)).numpy(), np.gcd(a, b))
    assert np.array_equal(L.lcm(L.asarray(a), L.asarray(b)).numpy(), np.lcm(a, b))
    with pytest.raises(L.errors.DTypeError, match="gcd"):
        L.gcd(1.5, 2)
