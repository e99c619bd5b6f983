"""Random numbers: moments, determinism, keys."""

import numpy as np
import pytest

import lamella as L
from lamella import random


def draw(f, *args, seed=0, **kwargs):
    return f(random.key(seed), *args, **kwargs).numpy()


def test_moments():
    u = draw(random.uniform, (40_000,))
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.01
    assert abs(u.var() - 1 / 12) < 0.002
    z = draw(random.normal, (40_000,))
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02 and abs((z ** 4).mean() - 3) < 0.15
    b = random.bernoulli(random.key(1), 0.3, (20_000,)).numpy()
    assert b.dtype == bool and abs(b.mean() - 0.3) < 0.02
    g = draw(random.gumbel, (20_000,))
    assert np.isfinite(g).all() and abs(g.mean() - 0.5772) < 0.03
    r = draw(random.randint, (20_000,), -2, 5)
    assert set(r) == set(range(-2, 5)) and np.bincount(r + 2).min() > 2500


def test_integers_at_the_edges():
    x = draw(random.randint, (100,), 0, 1 << 40, dtype="int64")
    assert x.min() >= 0 and x.max() < 1 << 40 and x.max() > 1 << 36
    x = draw(random.randint, (1000,), -(2 ** 31), 2 ** 31)
    assert x.min() < -(2 ** 30) and x.max() > 2 ** 30
    with pytest.raises(L.errors.DTypeError, match="3..3"):
        draw(random.randint, (2,), 3, 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(dtype):
    u = random.uniform(random.key(0), (5000,), dtype=dtype)
    assert u.dtype.name == dtype
    x = u.numpy().astype(np.float64)
    assert x.min() >= 0 and x.max() < 1 and abs(x.mean() - 0.5) < 0.02
    assert random.normal(random.key(0), (3,), dtype=dtype).dtype.name == dtype


def test_a_draw_is_a_function_of_its_key():
    assert (draw(random.normal, (7, 3)) == draw(random.normal, (7, 3))).all()
    assert (draw(random.uniform, (10,)) == draw(random.uniform, (100,))[:10]).all()
    assert not (draw(random.uniform, (9,)) == draw(random.uniform, (9,), seed=1)).any()
    a, b = random.split(random.key(0))
    assert not (random.uniform(a, (9,)).numpy() == random.uniform(b, (9,)).numpy()).any()
    k = random.key(3)
    folded = {tuple(random.fold_in(k, i).tolist()) for i in range(50)}
    assert len(folded) == 50
    assert random.key((7 << 32) + 5).tolist() == [7, 5]


def test_a_key_used_twice_raises_with_the_remedy():
    k = random.key(0)
    random.normal(k, (2,))
    with pytest.raises(L.errors.LamellaError, match="normal at test_random.py.*random.split"):
        random.uniform(k)
    L.vmap(lambda x: random.uniform(k) + random.uniform(k) + x)(L.ones(2))  # not followed inside
    with pytest.raises(L.errors.DTypeError, match="uint32"):
        random.normal(L.ones(2))


def test_categorical():
    logits = L.log(L.asarray([0.1, 0.2, 0.7]))
    x = random.categorical(random.key(0), L.broadcast_to(logits, (20_000, 3))).numpy()
    assert x.dtype == np.int32
    np.testing.assert_allclose(np.bincount(x) / len(x), [0.1, 0.2, 0.7], atol=0.02)


def test_draws_under_vmap_are_those_of_each_key():
    keys = random.split(random.key(9), 4)
    rows = L.vmap(lambda k: random.normal(k, (3,)))(keys).numpy()
    np.testing.assert_array_equal(rows, [random.normal(k, (3,)).numpy() for k in keys])
