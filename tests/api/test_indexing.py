"""Reading and writing by every kind of index, against NumPy; the one policy for what is outside."""

import numpy as np
import pytest

import lamella as L


def drawn(rng, rank: int, extents) -> tuple[tuple, tuple]:
    """An index for NumPy, and the same for us: slices, integers, lists, arrays, None, Ellipsis."""
    block = [(2,), (3,), (2, 3)][rng.integers(3)]
    kinds = ["int", "slice", "back", "array", "list", "scalar", "none"]
    key, ours, axis, count = [], [], 0, int(rng.integers(1, rank + 1))
    while axis < count:
        kind, e = kinds[rng.integers(len(kinds))], extents[axis]
        if kind == "none":
            item = None
        elif kind == "int":
            item = int(rng.integers(-e, e))
        elif kind == "slice":
            item = slice(int(rng.integers(0, e + 1)), None, int(rng.integers(1, 3)))
        elif kind == "back":
            item = slice(None, None, -int(rng.integers(1, 3)))
        elif kind == "list":
            item = rng.integers(-e, e, block[-1]).tolist()
        else:
            dtype = ["int8", "int32", "int64"][rng.integers(3)]
            item = rng.integers(-e, e, block if kind == "array" else ()).astype(dtype)
        key.append(item)
        ours.append(L.asarray(item) if isinstance(item, np.ndarray | np.generic) else item)
        axis += kind != "none"
    if rng.random() < 0.3:
        key.append(Ellipsis)
        ours.append(Ellipsis)
    return tuple(key), tuple(ours)


@pytest.mark.parametrize("seed", range(60))
def test_every_index_reads_and_writes_as_numpy_s(seed):
    rng = np.random.default_rng(seed)
    extents = tuple(rng.integers(1, 5, rng.integers(1, 5)).tolist())
    a = rng.normal(size=extents).astype(np.float32)
    key, ours = drawn(rng, len(extents), extents)
    x, want = L.asarray(a), a[key]
    assert np.array_equal(x[ours].numpy(), want) and x[ours].shape == want.shape
    v = rng.normal(size=want.shape).astype(np.float32)
    b = a.copy()
    b[key] = v
    y = L.asarray(x, copy=True)
    y[ours] = L.asarray(v)
    assert np.array_equal(y.numpy(), b) and np.array_equal(x.numpy(), a)


def test_masks_read():
    a = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    x = L.asarray(a)
    for mask in (a > 7, a[..., 0] > 5, np.zeros((2, 3, 4), bool), np.array([True, False])):
        assert np.array_equal(x[L.asarray(mask)].numpy(), a[mask])
        assert np.array_equal(x[mask].numpy(), a[mask])
    assert x[True].shape == (1, 2, 3, 4) and x[L.asarray(False)].shape == (0, 2, 3, 4)
    rows = np.array([[True, False, True], [False, True, False]])
    assert np.array_equal(x[L.asarray(rows), 1:].numpy(), a[rows, 1:])


def test_masks_write_also_where_they_are_not_known():
    a = np.arange(6.0, dtype=np.float32).reshape(2, 3)

    def write(x, m, v):
        x[m] = v
        return x

    masks = [a % 2 == 0, np.array([True, False]), np.zeros((2, 3), bool)]
    for f in (write, L.compile(write)):
        for mask in masks:
            for v in (np.float32(9), -np.ones_like(a[mask]), a[mask] * 10):
                b = a.copy()
                b[mask] = v
                got = f(L.asarray(a), L.asarray(mask), L.asarray(v))
                assert np.array_equal(got.numpy(), b)
    x = L.asarray(a)
    x[x > 2] += 10
    x[[0, 1], 0] *= 2
    assert x.tolist() == [[0, 1, 2], [26, 14, 15]]
    with pytest.raises(L.errors.PositionError, match="3 ones"):
        x[L.asarray(a > 2)] = L.ones(2)


def test_writing_at_computed_positions_compiles_and_has_gradients():
    def f(x, i, v):
        x[i, 1:] = v
        return (x * x).sum()

    x, i, v = L.ones((4, 3)), L.asarray([2, 0]), L.asarray([[5.0, 6.0], [7.0, 8.0]])
    gx, gv = L.grad(f, (0, 2))(x, i, v)
    assert gx.tolist() == [[2, 0, 0], [2, 2, 2], [2, 0, 0], [2, 2, 2]]
    assert np.array_equal(gv.numpy(), 2 * v.numpy())
    assert float(L.compile(f)(x, i, v)) == float(f(x, i, v))

    def put(x, i):
        x[i] = 7.0
        return x

    many = L.vmap(put)(L.zeros((2, 3)), L.asarray([0, 2]))
    assert many.tolist() == [[7, 0, 0], [0, 0, 7]]


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint32", "uint64"])
def test_known_positions_outside_raise_and_computed_ones_are_clamped(dtype):
    x = L.reshape(L.arange(12), (3, 4))
    for bad in (3, -4, [0, 3], np.array([1, -4]), (0, [4]), (slice(None), -5)):
        with pytest.raises(IndexError, match="outside"):
            x[bad]
        with pytest.raises(L.errors.PositionError, match="test_indexing.py"):
            x[bad] = 1
    far = L.asarray(np.array([100, 1], dtype))
    take = L.compile(lambda x, i, j: x[i, j])
    for f in (lambda x, i, j: x[i, j], take):
        assert f(x, far, far).tolist() == [11, 5]
        assert f(x, far, L.asarray([0, 0])).tolist() == [8, 4]
    assert x[far].tolist() == [[8, 9, 10, 11], [4, 5, 6, 7]]
    if dtype.startswith("int"):
        low = L.asarray(np.array([-100, -1], dtype))
        assert x[low, low].tolist() == [0, 11] and x[low, 0].tolist() == [0, 8]


@pytest.mark.parametrize("key,kind", [
    (("a",), "TypeError"), ((1.0,), "TypeError"), ((slice(1.5, 2),), "TypeError"),
    ((slice(None, None, 0),), "ValueError"), ((0, 0, 0), "IndexError"),
    ((..., ...), "IndexError"), ((np.array([0.5]),), "TypeError"),
    ((np.ones((2, 4), bool),), "IndexError"), ((np.ones((3, 4, 1), bool),), "IndexError")])
def test_an_index_that_makes_no_sense_is_named(key, kind):
    x = L.ones((3, 4))
    error = {"TypeError": TypeError, "ValueError": ValueError, "IndexError": IndexError}[kind]
    with pytest.raises(error, match="index: .*test_indexing.py") as found:
        x[key]
    assert isinstance(found.value, L.errors.LamellaError)


def test_a_mask_inside_compile_says_what_to_do():
    with pytest.raises(L.errors.TraceError, match="size="):
        L.compile(lambda x: x[x > 0])(L.ones(3))
    found = L.compile(lambda x: L.nonzero(x > 1, size=4)[0])(L.asarray([1.0, 2.0, 3.0]))
    assert found.tolist() == [1, 2, 0, 0]


def test_known_positions_outside_raise_in_functions_too():
    """Lists and NumPy arrays raise; our arrays, which are computed, are clamped."""
    x, known = L.asarray([1.0, 2.0, 3.0]), np.array([0, 7])
    bad = {"take": lambda at: L.take(x, at), "scatter": lambda at: L.scatter(x, at, 0.0),
           "take_along_axis": lambda at: L.take_along_axis(x, at),
           "put_along_axis": lambda at: L.put_along_axis(x, at, 0.0)}
    for name, f in bad.items():
        for at in (known, [0, 7], [-4, 0]):
            with pytest.raises(L.errors.PositionError, match=f"{name}: .* outside of axis 0"):
                f(at)
        f(L.asarray(known)).numpy()
    for f in (lambda at: L.gather_nd(x, at), lambda at: L.scatter_nd(x, at, 0.0)):
        with pytest.raises(L.errors.PositionError, match="_nd: 7 is outside of axis 0"):
            f(known[:, None])
        f(L.asarray(known[:, None])).numpy()


def test_a_mask_of_another_shape_is_refused_though_it_has_no_element():
    for shape, mask in (((0, 0), (0, 1)), ((0, 3), (3, 0)), ((2, 3), (1, 0)), ((2, 0), (1,))):
        with pytest.raises(IndexError, match="mask of shape"):
            L.zeros(shape)[L.zeros(mask, dtype="bool")]
    assert L.zeros((2, 3))[L.zeros((0, 3), dtype="bool")].shape == (0,)
