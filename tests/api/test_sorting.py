"""Sorting and what follows from it against NumPy: awkward values, axes, gradients, symbols."""

import numpy as np
import pytest

import lamella as L
from lamella.base.errors import DTypeError, LamellaError, ShapeError

RNG = np.random.default_rng(12)
HARD = np.array([3, -0.0, 0.0, np.nan, 2, np.inf, -np.inf, 1e-40, -1e-40, 3, np.nan, 0.0])


@pytest.mark.parametrize("axis", (0, 1, -1))
@pytest.mark.parametrize("descending", (False, True))
def test_sorting_is_stable_along_any_axis(axis, descending):
    x = RNG.integers(-3, 4, (6, 7, 33)).astype(np.float32)
    at = np.argsort(-x if descending else x, axis, kind="stable")
    assert np.array_equal(L.argsort(x, axis=axis, descending=descending).numpy(), at)
    want = np.take_along_axis(x, at, axis)
    assert np.array_equal(L.sort(x, axis=axis, descending=descending).numpy(), want)


@pytest.mark.parametrize("repeat", (1, 30, 5000))
def test_nan_is_last_and_zeros_are_equal(repeat):
    x = np.tile(HARD.astype(np.float32), repeat)
    y, at = L.sort(x).numpy(), L.argsort(x).numpy()
    assert np.array_equal(at, np.argsort(x, kind="stable"))
    assert np.array_equal(np.signbit(y), np.signbit(x[at])) and np.isnan(y[-2 * repeat:]).all()
    down = L.argsort(x, descending=True).numpy()
    numbers = np.flatnonzero(~np.isnan(x))
    want = numbers[np.argsort(-x[numbers], kind="stable")]
    assert np.array_equal(down, np.append(want, np.flatnonzero(np.isnan(x))))


@pytest.mark.parametrize("name", ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32",
                                  "int64", "uint64", "float16", "bfloat16", "float32", "float64"))
@pytest.mark.parametrize("n", (0, 1, 40, 97, 1000, 60_000))
def test_every_dtype(name, n):
    bits = RNG.integers(0, 256, n * 8, dtype=np.uint8).tobytes()
    x = np.frombuffer(bits, L.asarray(0).astype(name).numpy().dtype if name != "bool" else np.uint8)
    x = x[:n] % 2 == 1 if name == "bool" else x[:n].copy()
    if name[0] in "bf" and name != "bool":
        x = np.where(x.astype(np.float64) != x.astype(np.float64), np.zeros((), x.dtype), x)
    at = L.argsort(x).numpy()
    wide = x.astype(np.float64) if "float" in name else x
    assert np.array_equal(at, np.argsort(wide, kind="stable"))
    assert np.array_equal(L.sort(x).numpy().astype(wide.dtype), wide[at])
    down = L.argsort(x, descending=True).numpy()
    assert np.array_equal(down, (n - 1 - np.argsort(wide[::-1], kind="stable"))[::-1])


@pytest.mark.parametrize("n", (50_001, 530_000))
def test_few_long_rows_are_cut_into_buckets(n):
    for x in (RNG.standard_normal((2, n)).astype(np.float32), np.full((1, n), 3.0, np.float32),
              RNG.integers(0, 3, (n, 1)), np.arange(n)[None, ::-1].copy(),
              np.where(RNG.random((1, n)) < 0.5, np.nan, RNG.integers(0, 9, (1, n)))):
        axis = x.shape.index(n)
        at = np.argsort(x, axis, kind="stable")
        assert np.array_equal(L.argsort(x, axis=axis).numpy(), at)
        want = np.take_along_axis(x, at, axis)
        assert np.array_equal(L.sort(x, axis=axis).numpy(), want, equal_nan=x.dtype.kind == "f")
    few = L.top_k(x, 100, axis=axis, largest=False).indices.numpy()
    assert np.array_equal(few, at[:, :100])


def test_the_first_few():
    for n, k in ((5, 5), (100, 3), (1000, 64), (1000, 65), (20, 0), (3000, 1)):
        x = RNG.integers(-50, 50, (3, n)).astype(np.float32)
        for largest in (True, False):
            values, at = L.top_k(x, k, largest=largest)
            want = np.argsort(-x if largest else x, 1, kind="stable")[:, :k]
            assert np.array_equal(at.numpy(), want)
            assert np.array_equal(values.numpy(), np.take_along_axis(x, want, 1))
    values, at = L.top_k(np.full(100, np.nan, np.float32), 2)
    assert at.tolist() == [0, 1] and np.isnan(values.numpy()).all()
    value, at = L.kthvalue(np.array([[5, 3, 9], [1, 1, 0]]), 2, axis=1)
    assert value.tolist() == [5, 1] and at.tolist() == [0, 0]


def test_symbolic_extents():
    n = L.symbol("n", 0, 3000)
    f = L.compile(lambda x: (L.sort(x, axis=0), L.argsort(x, axis=1, descending=True)))
    L.plan(f, L.spec((n, 3)))
    for k in (0, 1, 50, 2000):
        x = RNG.standard_normal((k, 3)).astype(np.float32)
        a, b = f(x)
        assert np.array_equal(a.numpy(), np.sort(x, 0))
        assert np.array_equal(b.numpy(), np.argsort(-x, 1, kind="stable"))


def test_quantiles_are_numpy_s():
    x = RNG.standard_normal((4, 9, 5)).astype(np.float32)
    for axis in (None, 0, 1, 2):
        for keepdims in (False, True):
            assert np.array_equal(L.median(x, axis=axis, keepdims=keepdims).numpy(),
                                  np.median(x, axis=axis, keepdims=keepdims))
            for method in ("linear", "lower", "higher", "midpoint"):
                q = np.array([0, 0.1, 0.5, 1], np.float32)
                want = np.quantile(x, q, axis=axis, keepdims=keepdims, method=method)
                found = L.quantile(x, q, axis=axis, keepdims=keepdims, method=method).numpy()
                assert found.shape == want.shape and np.allclose(found, want, atol=1e-6)
    assert np.isnan(float(L.median(np.array([1.0, np.nan, 2.0]))))
    assert float(L.quantile(np.array([1, 2, 10]), 0.75)) == 6.0
    with pytest.raises(LamellaError, match="'cubic' is not one of"):
        L.quantile(x, 0.5, method="cubic")


def test_mode_takes_the_smallest_of_the_most_frequent():
    x = np.array([[3, 1, 3, 1, 2], [5, 5, 5, 0, 0]])
    values, counts = L.mode(x, axis=1)
    assert values.tolist() == [1, 5] and counts.tolist() == [2, 3]
    assert L.mode(x, axis=0).values.tolist() == [3, 1, 3, 0, 0]
    assert L.mode(x, axis=1, keepdims=True).counts.shape == (2, 1)


def test_gradients_go_to_the_chosen():
    x = L.asarray(np.array([3.0, 1.0, 2.0, 5.0], np.float32))
    w = np.array([1, 2, 4, 8], np.float32)
    assert L.grad(lambda x: (L.sort(x) * w).sum())(x).tolist() == [4, 1, 2, 8]
    assert L.grad(lambda x: (L.sort(x, descending=True) * w).sum())(x).tolist() == [2, 8, 4, 1]
    assert L.grad(lambda x: L.top_k(x, 2).values.sum())(x).tolist() == [1, 0, 0, 1]
    assert L.grad(lambda x: L.median(x))(x).tolist() == [0.5, 0, 0.5, 0]
    assert L.grad(lambda x: L.quantile(x, 0.25))(x).tolist() == [0, 0.25, 0.75, 0]
    _, t = L.jvp(L.sort, (x,), (L.asarray(w),))
    assert t.tolist() == [2, 4, 1, 8]
    twice = L.vmap(L.grad(lambda x: L.top_k(x, 1).values.sum()))(L.stack([x, -x]))
    assert twice.tolist() == [[0, 0, 0, 1], [0, 1, 0, 0]]


@pytest.mark.parametrize("side", ("left", "right"))
def test_searchsorted(side):
    rows = np.sort(RNG.integers(-9, 10, (3, 50)), 1).astype(np.float32)
    v = RNG.integers(-12, 13, (3, 4, 7)).astype(np.float32)
    found = L.searchsorted(rows, v, side=side).numpy()
    for k in range(3):
        assert np.array_equal(found[k], np.searchsorted(rows[k], v[k], side))
    x = RNG.permutation(rows[0])
    sorter = np.argsort(x)
    assert np.array_equal(L.searchsorted(x, v[0], side=side, sorter=sorter).numpy(),
                          np.searchsorted(x, v[0], side, sorter=sorter))
    assert L.searchsorted(np.zeros(0, np.float32), v[0], side=side).numpy().max() == 0
    assert int(L.searchsorted(np.array([1, 5, 9], np.uint64), 6, side=side)) == 2
    ends = np.array([np.nan, np.inf, -np.inf], np.float32)
    odd = np.array([0, 1, np.nan], np.float32)
    assert np.array_equal(L.searchsorted(odd, ends, side=side).numpy(),
                          np.searchsorted(odd, ends, side))


def test_isin():
    x, y = RNG.integers(0, 9, (3, 4)), np.array([1, 5, 5, 7])
    assert np.array_equal(L.isin(x, y).numpy(), np.isin(x, y))
    assert np.array_equal(L.isin(x, y, invert=True).numpy(), np.isin(x, y, invert=True))
    assert not L.isin(x, np.zeros(0)).numpy().any() and L.isin(x, [], invert=True).numpy().all()
    assert L.isin(np.array([np.nan, 1.0]), np.array([np.nan])).tolist() == [False, False]


def test_bits_do_not_depend_on_threads_or_batch():
    x = RNG.standard_normal((5, 3000)).astype(np.float32)
    whole = L.compile(lambda x: L.sort(x))(x).numpy()
    assert np.array_equal(whole[3], L.sort(x[3]).numpy())
    assert np.array_equal(L.vmap(L.sort)(x).numpy(), whole)


def test_bad_calls_are_named():
    with pytest.raises(ShapeError, match="sort: a scalar has no axis"):
        L.sort(1.0)
    with pytest.raises(ShapeError, match="an axis of 3 has no 4 elements"):
        L.top_k(np.zeros(3, np.float32), 4)
    with pytest.raises(DTypeError, match="complex64 has no order"):
        L.sort(np.zeros(3, np.complex64))
    with pytest.raises(LamellaError, match="neither left nor right"):
        L.searchsorted(np.zeros(3), np.zeros(3), side="middle")
