"""Functions whose extent depends on the values against NumPy, looked at and with `size`."""

import numpy as np
import pytest

import lamella as L
from lamella.base.errors import LamellaError, ShapeError, TraceError

RNG = np.random.default_rng(13)


@pytest.mark.parametrize("shape", ((0,), (1,), (7, 3), (200,), ()))
@pytest.mark.parametrize("name", ("int32", "uint8", "float32", "bool"))
def test_distinct_elements_are_numpy_s(shape, name):
    x = np.asarray(RNG.integers(0, 2 if name == "bool" else 9, shape)).astype(name)
    want, found = np.unique_all(x), L.unique_all(x)
    for w, f in zip(want, found, strict=True):
        assert np.array_equal(f.numpy(), w) and f.shape == w.shape
    assert np.array_equal(L.unique_values(x).numpy(), want.values)
    assert np.array_equal(L.unique_counts(x).counts.numpy(), want.counts)
    assert np.array_equal(L.unique_inverse(x).inverse_indices.numpy(), want.inverse_indices)


def test_every_nan_is_distinct_and_zeros_are_one():
    values, at, inverse, counts = L.unique_all(np.array([np.nan, 0.0, -0.0, np.nan, 1.0]))
    assert np.array_equal(values.numpy(), [0, 1, np.nan, np.nan], equal_nan=True)
    assert counts.tolist() == [2, 1, 1, 1] and at.tolist() == [1, 4, 0, 3]
    assert inverse.tolist() == [2, 0, 0, 3, 1]


def test_distinct_complex_numbers():
    x = (RNG.integers(0, 3, 40) + 1j * RNG.integers(0, 3, 40)).astype(np.complex64)
    for w, f in zip(np.unique_all(x), L.unique_all(x), strict=True):
        assert np.array_equal(f.numpy(), w)


def test_a_size_makes_them_compile_and_batch():
    x = np.array([[5, 2, 5, 9], [1, 1, 1, 1]])
    f = L.compile(lambda x: L.unique_all(x, size=3, fill_value=-1))
    assert f(x[0]).values.tolist() == [2, 5, 9]
    assert f(x[1]).values.tolist() == [1, -1, -1] and f(x[1]).counts.tolist() == [4, 0, 0]
    assert L.unique_values(x[0], size=2).tolist() == [2, 5]
    both = L.vmap(lambda x: L.unique_values(x, size=3, fill_value=-1))(x)
    assert both.tolist() == [[2, 5, 9], [1, -1, -1]]
    at, = L.compile(lambda x: L.nonzero(x, size=3, fill_value=7))(np.array([0, 4, 0, 2]))
    assert at.tolist() == [1, 3, 7]
    assert L.compile(lambda x: L.bincount(x, size=3))(np.array([0, 2, 2, 9])).tolist() == [1, 0, 2]
    with pytest.raises(TraceError, match="say it by size="):
        L.compile(lambda x: L.unique_values(x))(x)


def test_positions():
    for shape in ((9,), (3, 4), (2, 0), (2, 3, 4)):
        x = RNG.integers(0, 2, shape).astype(np.float32)
        for found, want in zip(L.nonzero(x), np.nonzero(x), strict=True):
            assert np.array_equal(found.numpy(), want)
        assert np.array_equal(L.argwhere(x).numpy(), np.argwhere(x))
    with pytest.raises(ShapeError, match="a scalar has no positions"):
        L.nonzero(1.0)


def test_counts():
    x = RNG.integers(0, 9, 500)
    w = RNG.integers(0, 5, 500).astype(np.float32)
    assert np.array_equal(L.bincount(x).numpy(), np.bincount(x))
    assert np.array_equal(L.bincount(x, weights=w, minlength=12).numpy(),
                          np.bincount(x, w, minlength=12))
    assert L.bincount(np.zeros(0, np.int32), minlength=2).tolist() == [0, 0]
    with pytest.raises(LamellaError, match="negative"):
        L.bincount(np.array([-1]))


def test_histograms():
    x = RNG.integers(-8, 9, (30, 10)).astype(np.float32)
    for options in ({}, {"bins": 4}, {"bins": [-8.0, 0.0, 1.0, 8.0]}, {"range": (-4.0, 4.0)},
                    {"density": True}, {"weights": x * x}):
        found, want = L.histogram(x, **options), np.histogram(x, **options)
        assert np.allclose(found.counts.numpy(), want[0]) and np.allclose(found.edges.numpy(),
                                                                         want[1])
    assert L.histogram(np.full(3, 2.0), bins=2).edges.tolist() == [1.5, 2, 2.5]
    compiled = L.compile(lambda x: L.histogram(x, bins=5).counts)(x)
    assert np.array_equal(compiled.numpy(), np.histogram(x, 5)[0])
