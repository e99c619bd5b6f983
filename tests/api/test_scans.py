"""Running totals against NumPy: dtypes, axes, ways, derivatives, symbols, threads."""

from functools import partial

import numpy as np
import pytest

import lamella as L
from lamella.base.errors import DTypeError, ShapeError

RNG = np.random.default_rng(7)
X = RNG.integers(-3, 4, (3, 5, 33)).astype(np.float32)


@pytest.mark.parametrize("axis", (0, 1, -1))
def test_running_totals_are_numpy_s(axis):
    for f, g in ((L.cumulative_sum, np.cumulative_sum), (L.cumulative_prod, np.cumulative_prod)):
        for initial in (False, True):
            want = g(X, axis=axis, include_initial=initial)
            assert np.array_equal(f(X, axis=axis, include_initial=initial).numpy(), want)
            got = L.compile(partial(f, axis=axis, include_initial=initial))(X)
            assert np.array_equal(got.numpy(), want)
    assert np.array_equal(L.cummax(X, axis=axis).numpy(), np.maximum.accumulate(X, axis))
    assert np.array_equal(L.cummin(X, axis=axis).numpy(), np.minimum.accumulate(X, axis))
    want = np.logaddexp.accumulate(X.astype(np.float64), axis)
    assert np.allclose(L.logcumsumexp(X, axis=axis).numpy(), want, rtol=1e-6, atol=1e-6)


def test_ways_of_running():
    x = np.array([1.0, 2.0, 4.0], np.float32)
    assert L.cumulative_sum(x, reverse=True).tolist() == [7, 6, 4]
    assert L.cumulative_sum(x, exclusive=True).tolist() == [0, 1, 3]
    assert L.cumulative_sum(x, exclusive=True, reverse=True).tolist() == [6, 4, 0]
    assert L.cumulative_sum(x, reverse=True, include_initial=True).tolist() == [7, 6, 4, 0]
    assert L.cummax(x, reverse=True).tolist() == [4, 4, 4]


@pytest.mark.parametrize("name", ("bool", "int8", "uint8", "int16", "int32", "int64", "uint64",
                                  "float16", "bfloat16", "float64"))
def test_every_dtype(name):
    x = L.asarray(RNG.integers(0, 2, 40)).astype(name)
    y = L.cumulative_sum(x)
    small = name in ("bool", "int8", "int16")
    assert str(y.dtype) == ("int32" if small else "uint32" if name == "uint8" else name)
    assert np.array_equal(y.numpy().astype(np.float64), np.cumsum(x.numpy().astype(np.float64)))
    assert str(L.cummax(x).dtype) == name
    assert L.cumulative_sum(x, dtype="float32").numpy()[-1] == x.numpy().astype(float).sum()


def test_lengths_that_are_awkward():
    for n in (0, 1, 15, 16, 17, 1023, 1024, 1025, 2049):
        for shape in ((n,), (1, n), (n, 1), (2, n, 19)):
            x = RNG.integers(-3, 4, shape).astype(np.float32)
            axis = shape.index(n)
            assert np.array_equal(L.cumulative_sum(x, axis=axis).numpy(), np.cumsum(x, axis))
    assert L.cumulative_sum(np.zeros((0, 4), np.float32), axis=1).shape == (0, 4)
    assert L.cumulative_prod(np.zeros(0, np.float32), include_initial=True).tolist() == [1.0]


def test_symbolic_extents():
    n = L.symbol("n", 0, 4000)
    f = L.compile(lambda x: L.cumulative_sum(x, axis=0) + L.cumulative_sum(x, axis=1))
    L.plan(f, L.spec((n, 3)))
    for k in (0, 1, 7, 1500):
        x = RNG.integers(-3, 4, (k, 3)).astype(np.float32)
        assert np.array_equal(f(x).numpy(), np.cumsum(x, 0) + np.cumsum(x, 1))


def test_gradients_at_zeros_ties_and_nans():
    g = L.grad(lambda x: (L.cumulative_prod(x) * np.array([1, 2, 4, 8], np.float32)).sum())
    assert g(L.asarray([2.0, 0.0, 3.0, 0.0])).tolist() == [1.0, 2 * 2 + 4 * 2 * 3, 0.0, 0.0]
    assert g(L.asarray([0.0, 3.0, 2.0, 1.0])).tolist() == [1 + 6 + 24 + 48, 0, 0, 0]
    h = L.grad(lambda x: L.cummax(x).sum())
    assert h(L.asarray([1.0, 1.0, 0.0, 2.0])).tolist() == [3, 0, 0, 1]
    assert h(L.asarray([1.0, np.nan, 3.0, np.nan])).tolist() == [1, 3, 0, 0]
    k = L.grad(lambda x: L.cummin(x, reverse=True).sum())
    assert k(L.asarray([-np.inf, 3.0, 3.0, 5.0])).tolist() == [1, 0, 2, 1]
    lse = L.grad(lambda x: L.logcumsumexp(x)[-1])
    x = np.array([1000.0, 0.0, 1000.0], np.float32)
    assert np.allclose(lse(L.asarray(x)).numpy(), [0.5, 0, 0.5], rtol=1e-4)
    assert np.isfinite(lse(L.asarray([-np.inf, 0.0])).numpy()).all()


def test_bits_do_not_depend_on_other_axes():
    x = RNG.standard_normal((2, 3000, 37)).astype(np.float32)
    whole = L.cumulative_sum(x, axis=1).numpy()
    alone = L.cumulative_sum(np.ascontiguousarray(x[1, :, 5])).numpy()
    assert np.array_equal(whole[1, :, 5], alone)
    assert np.array_equal(L.vmap(L.cumulative_sum)(x[:, :, 5]).numpy(), whole[:, :, 5])


def test_bad_calls_are_named():
    with pytest.raises(ShapeError, match=r"cumulative_sum: shape \(3, 5, 33\) needs an axis"):
        L.cumulative_sum(X)
    with pytest.raises(DTypeError, match="no bool dtype"):
        L.cumulative_sum(X, axis=0, dtype="bool")


@pytest.mark.parametrize("reverse", (False, True))
def test_a_recurrence_is_its_loop(reverse):
    a, b = (RNG.standard_normal((3, 70, 5)).astype(np.float32) for _ in range(2))
    for axis in range(3):
        rows_a, rows_b = (np.moveaxis(v, axis, 0).astype(np.float64) for v in (a, b))
        want, last = np.empty_like(rows_b), 0.0
        for k in range(len(want))[::-1] if reverse else range(len(want)):
            want[k] = last = rows_a[k] * last + rows_b[k]
        f = partial(L.linear_recurrence, axis=axis, reverse=reverse)
        found = f(a, b).numpy()
        assert np.allclose(found, np.moveaxis(want, 0, axis), rtol=1e-4, atol=1e-4)
        assert np.array_equal(L.compile(f)(a, b).numpy(), found)
    n = L.symbol("n", 0, 100)
    f = L.compile(lambda a, b: L.linear_recurrence(a, b, axis=0, reverse=reverse))
    L.plan(f, L.spec((n, 3)), L.spec((n, 3)))
    for k in (0, 1, 99):
        x = np.full((k, 3), 0.5, np.float32)
        assert np.array_equal(f(x, x).numpy(), L.linear_recurrence(
            x, x, axis=0, reverse=reverse).numpy())
    assert L.linear_recurrence(0.5, np.ones(3, np.float32)).tolist() == [1, 1.5, 1.75]
    assert L.linear_recurrence(np.inf, np.array([-0.0, 1], np.float32)).tolist()[0] == 0
