"""repeat, tile and diff against NumPy."""

import numpy as np
import pytest

import lamella as L

A = np.arange(12.0, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("axis,repeats", [
    (0, [2, 0, 3]), (1, [1, 1, 0, 2]), (None, 2), (0, 0), (1, 3), (0, [0, 0, 0]), (1, [5]),
    (None, list(range(12)))])
def test_repeat_is_numpy_s(axis, repeats):
    want = np.repeat(A, repeats, axis=axis)
    for given in (repeats, L.asarray(repeats) if isinstance(repeats, list) else repeats):
        got = L.repeat(L.asarray(A), given, axis=axis)
        assert got.shape == want.shape and np.array_equal(got.numpy(), want)


def test_repeat_compiles_with_a_size_and_has_gradients():
    f = L.compile(lambda x, r: L.repeat(x, r, size=6))
    x, r = L.asarray([1.0, 2.0, 3.0]), L.asarray([1, 3, 1])
    assert f(x, r).tolist() == [1, 2, 2, 2, 3, 3]
    assert L.grad(lambda x: L.repeat(x, r).sum())(x).tolist() == [1, 3, 1]
    with pytest.raises(L.errors.TraceError, match="size="):
        L.compile(lambda x, r: L.repeat(x, r))(x, r)


@pytest.mark.parametrize("times", [2, (2, 1), (1, 0, 2), ()])
def test_tile_is_numpy_s(times):
    assert np.array_equal(L.tile(L.asarray(A), times).numpy(), np.tile(A, times))


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_diff_is_numpy_s(n, axis):
    shape = [1, 4] if axis == 0 else [3, 1]
    ends = {"prepend": np.zeros(shape, np.float32), "append": np.ones(shape, np.float32)}
    x = L.asarray(A * A)
    assert np.array_equal(L.diff(x, axis=axis, n=n).numpy(), np.diff(A * A, n=n, axis=axis))
    for some in ({"prepend"}, {"append"}, {"prepend", "append"}):
        given = {k: v for k, v in ends.items() if k in some}
        got = L.diff(x, axis=axis, n=n, **{k: L.asarray(v) for k, v in given.items()})
        assert np.array_equal(got.numpy(), np.diff(A * A, n=n, axis=axis, **given))
