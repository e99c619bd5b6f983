"""Distributions: moments and Kolmogorov's distance with fixed keys; batches are members alone."""

import math

import numpy as np
import pytest

import lamella as L
from lamella import random

mp = pytest.importorskip("mpmath")
COUNT = 20_000


def key(n=0):
    return random.key(n)


def _cdf(f):
    grid = np.linspace(-12, 60, 3000)
    return lambda x: np.interp(x, grid, [float(f(mp.mpf(float(g)))) for g in grid])


# name: (draw, distribution function, mean, variance)
CONTINUOUS = {
    "uniform": (lambda k: random.uniform(k, (COUNT,)), lambda x: np.clip(x, 0, 1), 0.5, 1 / 12),
    "normal": (lambda k: random.normal(k, (COUNT,)), _cdf(mp.ncdf), 0, 1),
    "exponential": (lambda k: random.exponential(k, 2.0, (COUNT,)),
                    lambda x: 1 - np.exp(-2 * x), 0.5, 0.25),
    "laplace": (lambda k: random.laplace(k, (COUNT,)),
                lambda x: np.where(x < 0, np.exp(x) / 2, 1 - np.exp(-x) / 2), 0, 2),
    "logistic": (lambda k: random.logistic(k, (COUNT,)), lambda x: 1 / (1 + np.exp(-x)), 0,
                 math.pi ** 2 / 3),
    "gumbel": (lambda k: random.gumbel(k, (COUNT,)), lambda x: np.exp(-np.exp(-x)), 0.57722,
               math.pi ** 2 / 6),
    "cauchy": (lambda k: random.cauchy(k, (COUNT,)), lambda x: 0.5 + np.arctan(x) / np.pi, None,
               None),
    "gamma": (lambda k: random.gamma(k, 2.5, (COUNT,)),
              _cdf(lambda x: mp.gammainc(2.5, 0, max(x, 0), regularized=True)), 2.5, 2.5),
    "small gamma": (lambda k: random.gamma(k, 0.3, (COUNT,)),
                    lambda x: np.interp(x, G, S), 0.3, 0.3),
    "beta": (lambda k: random.beta(k, 2.0, 3.0, (COUNT,)),
             lambda x: x * x * (6 - 8 * x + 3 * x * x), 0.4, 0.04),
    "truncated normal": (lambda k: random.truncated_normal(k, 1.0, 2.5, (COUNT,)),
                         lambda x: (P(x) - P(1.0)) / (P(2.5) - P(1.0)), None, None),
}
G = np.concatenate([[0], np.geomspace(1e-12, 30, 3000)])
S = np.array([float(mp.gammainc(0.3, 0, g, regularized=True)) for g in G])
P = np.vectorize(lambda x: float(mp.ncdf(float(x))))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_distribution_is_its_own(name):
    draw, cdf, mean, variance = CONTINUOUS[name]
    x = np.sort(draw(key(3)).numpy().astype(np.float64))
    steps = np.arange(COUNT + 1) / COUNT
    distance = max(np.abs(cdf(x) - steps[1:]).max(), np.abs(cdf(x) - steps[:-1]).max())
    assert distance * math.sqrt(COUNT) < 1.63  # 1 in 100 by Kolmogorov; the key is fixed
    if mean is not None:
        assert abs(x.mean() - mean) < 5 * math.sqrt(variance / COUNT)
        assert abs(x.var() - variance) < 0.1 * variance


@pytest.mark.parametrize("rate", [0.0, 0.5, 4.0, 9.99, 10.0, 37.0, 5000.0])
def test_poisson(rate):
    x = random.poisson(key(5), rate, (COUNT,)).numpy()
    assert x.dtype == np.int32 and x.min() >= 0
    assert abs(x.mean() - rate) <= 5 * math.sqrt(rate / COUNT)
    assert abs(x.var() - rate) <= 0.06 * rate
    if 0 < rate < 50:
        masses = np.exp([n * math.log(rate) - rate - math.lgamma(n + 1) for n in range(120)])
        found = np.bincount(x, minlength=120)[:120] / COUNT
        assert np.abs(np.cumsum(found) - np.cumsum(masses)).max() * math.sqrt(COUNT) < 1.63


@pytest.mark.parametrize("rate", [1e6, 1e7, 2.0 ** 24])
def test_poisson_of_large_rates(rate):
    x = random.poisson(key(5), rate, (200_000,)).numpy().astype(np.float64) - rate
    assert abs(x.mean()) < 4 * math.sqrt(rate / x.size) and abs(x.var() / rate - 1) < 0.02


def test_small_parameters_of_beta_and_dirichlet_do_not_underflow():
    x = random.beta(key(1), 0.01, 0.01, (COUNT,)).numpy()
    assert abs(x.mean() - 0.5) < 5 * math.sqrt(0.245 / COUNT) and abs(x.var() / 0.245 - 1) < 0.02
    d = random.dirichlet(key(2), L.asarray([0.01, 0.01, 0.02]), (5000,)).numpy()
    assert np.allclose(d.sum(-1), 1) and np.abs(d.mean(0) - [0.25, 0.25, 0.5]).max() < 0.03
    with pytest.raises(L.errors.ShapeError, match="dirichlet: alpha has an axis"):
        random.dirichlet(key(2), 1.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("draw", [
    random.exponential, random.laplace, random.logistic, random.cauchy,
    lambda k, **m: random.truncated_normal(k, -1.0, 2.0, **m),
    lambda k, **m: random.gamma(k, 2.0, **m), lambda k, **m: random.beta(k, 2.0, 3.0, **m)])
def test_16_bit_draws_are_rounded_ones_of_float32(draw, dtype):
    wide = draw(key(4), shape=(COUNT,))
    found = draw(key(4), shape=(COUNT,), dtype=dtype)
    assert found.dtype == getattr(L, dtype) and L.all(found == wide.astype(dtype))


def test_parameters_without_a_distribution_come_to_an_end():
    a = L.asarray([-1.0, 0.0, math.nan, math.inf])
    assert np.isnan(random.gamma(key(), a).numpy()[:3]).all()
    assert random.gamma(key(), a).numpy()[3] == math.inf
    assert np.isnan(random.beta(key(), a, 1.0).numpy()[:3]).all()
    rates = L.asarray([-1.0, math.nan, math.inf, 2.0 ** 25, 0.0])
    assert random.poisson(key(), rates).tolist() == [-1, -1, -1, -1, 0]


def test_geometric_dirichlet_multinomial():
    g = random.geometric(key(1), 0.25, (COUNT,)).numpy()
    assert g.min() == 1 and abs(g.mean() - 4) < 0.15
    d = random.dirichlet(key(2), L.asarray([1.0, 2.0, 5.0]), (5000,)).numpy()
    assert np.allclose(d.sum(-1), 1, atol=1e-5)
    assert np.abs(d.mean(0) - [0.125, 0.25, 0.625]).max() < 0.02
    m = random.multinomial(key(3), 6000, L.asarray([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])).numpy()
    assert (m.sum(-1) == 6000).all() and m[1, 0] == 6000
    assert np.abs(m[0] / 6000 - [0.2, 0.3, 0.5]).max() < 0.03


def test_permutations_and_choices():
    p = random.permutation(key(0), 1000).numpy()
    assert (np.sort(p) == np.arange(1000)).all() and (p != np.arange(1000)).mean() > 0.98
    assert random.permutation(key(0), 0).shape == (0,)
    first = [int(random.permutation(key(s), 5).numpy()[0]) for s in range(300)]
    assert np.bincount(first, minlength=5).min() > 35
    x = L.asarray(np.arange(12.0).reshape(4, 3))
    y = random.shuffle(key(1), x, axis=1).numpy()
    assert (np.sort(y, axis=1) == x.numpy()).all()
    c = random.choice(key(2), 7, (5000,)).numpy()
    assert np.bincount(c, minlength=7).min() > 600
    assert np.unique(random.choice(key(3), 50, (50,), replace=False).numpy()).size == 50
    w = random.choice(key(4), L.asarray([10, 20, 30]), (3000,), p=[0.0, 0.25, 0.75]).numpy()
    assert set(w) == {20, 30} and abs((w == 30).mean() - 0.75) < 0.03
    few = random.choice(key(5), 4, (2,), replace=False, p=[0.5, 0.5, 0.0, 0.0]).numpy()
    assert set(few) == {0, 1}
    with pytest.raises(L.errors.ShapeError, match="not enough"):
        random.choice(key(6), 3, (4,), replace=False)


@pytest.mark.parametrize("draw", [
    lambda k: random.gamma(k, 0.7, (40,)), lambda k: random.poisson(k, 3.0, (40,)),
    lambda k: random.poisson(k, 300.0, (7,)), lambda k: random.exponential(k, 1.0, (9,)),
    lambda k: random.truncated_normal(k, -1.0, 3.0, (9,)), lambda k: random.permutation(k, 33)],
    ids=["gamma", "poisson", "large poisson", "exponential", "truncated", "permutation"])
def test_a_batch_of_keys_draws_what_each_key_draws(draw):
    keys = random.split(key(11), 4)
    together = L.vmap(draw)(keys).numpy()
    again = random.split(key(11), 4)
    for k in range(4):
        assert (together[k] == draw(again[k]).numpy()).all()


def test_parameters_broadcast_and_errors_name_them():
    assert random.gamma(key(), L.asarray([[1.0], [2.0]]), (2, 3)).shape == (2, 3)
    with pytest.raises(L.errors.ShapeError, match="do not broadcast"):
        random.gamma(key(), L.asarray([1.0, 2.0]), (3,))
    with pytest.raises(L.errors.LamellaError, match="used before"):
        k = key()
        random.gamma(k, 1.0)
        random.poisson(k, 1.0)
