"""Reads and writes at computed positions against NumPy, compiled and not, and their gradients."""

import numpy as np
import pytest

import lamella as L
from lamella.base.errors import DTypeError, LamellaError, ShapeError

RNG = np.random.default_rng(5)
JOIN = {"set": None, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def whole(*shape) -> np.ndarray:
    return RNG.integers(-4, 5, shape).astype(np.float32)


def joined(x, where, updates, mode):
    """NumPy's answer, one update after another."""
    y = x.copy()
    for k, at in enumerate(where):
        y[at] = updates[k] if mode == "set" else JOIN[mode](y[at], updates[k])
    return y


@pytest.mark.parametrize("mode", JOIN)
@pytest.mark.parametrize("axis", (0, 1, -1))
def test_scatter_joins_slices_in_order(mode, axis):
    x, i = whole(4, 5, 17), np.array([[3, 0, 3], [-1, 0, 2]])
    shape = np.take(x, np.where(i < 0, i + x.shape[axis], i), axis).shape
    u = whole(*shape)
    lead = np.moveaxis(u, (axis % 3, axis % 3 + 1), (0, 1)).reshape(6, *np.delete(x.shape, axis))
    want = np.moveaxis(joined(np.moveaxis(x, axis, 0), i.reshape(-1), lead, mode), 0, axis)
    def f(x, i, u):
        return L.scatter(x, i, u, axis=axis, mode=mode)

    for g in (f, L.compile(f)):
        assert np.array_equal(g(L.asarray(x), L.asarray(i), L.asarray(u)).numpy(), want)


@pytest.mark.parametrize("mode", JOIN)
@pytest.mark.parametrize("axis", (0, 1))
def test_put_along_axis(mode, axis):
    x, i = whole(6, 6), RNG.integers(-6, 6, (6, 6))
    v = whole(6, 6)
    want = x.copy()
    for p, q in np.ndindex(6, 6):
        at = (i[p, q], q) if axis == 0 else (p, i[p, q])
        want[at] = v[p, q] if mode == "set" else JOIN[mode](want[at], v[p, q])
    got = L.put_along_axis(x, i, v, axis=axis, mode=mode)
    assert np.array_equal(got.numpy(), want)


def test_gather_and_scatter_by_tuples():
    x, i = whole(4, 5, 3), np.array([[0, 4], [3, -1], [0, 4]])
    assert np.array_equal(L.gather_nd(x, i).numpy(), x[i[:, 0], i[:, 1]])
    u = whole(3, 3)
    want = joined(x, [tuple(r) for r in i], u, "add")
    assert np.array_equal(L.scatter_nd(x, i, u, mode="add").numpy(), want)
    b = RNG.integers(0, 5, (4, 2, 1))
    assert np.array_equal(L.gather_nd(x, b, batch_axes=1).numpy(),
                          np.stack([x[k, b[k, :, 0]] for k in range(4)]))
    assert L.gather_nd(x, np.zeros((0, 2), np.int32)).shape == (0, 3)
    assert np.array_equal(L.gather_nd(x, np.zeros((1, 3), np.int32)).numpy(), x[:1, 0, 0])


def test_writes_at_positions_that_are_not_known_when_traced():
    x, i, v = whole(7, 3), np.array([6, 0, 6, 2]), whole(4, 3)

    def put(x, i, v):
        y = L.asarray(x) + 0
        y[i] = v
        y[i, 1] = 9
        return y

    want = x.copy()
    want[i] = v
    want[i, 1] = 9
    assert np.array_equal(L.compile(put)(L.asarray(x), L.asarray(i), L.asarray(v)).numpy(), want)
    assert np.array_equal(L.vmap(put, in_axes=(None, 0, None))(x, i[None].repeat(2, 0), v).numpy(),
                          np.stack([want, want]))


@pytest.mark.parametrize("mode", JOIN)
def test_gradients_agree_with_differences(mode):
    x, u = (RNG.standard_normal(s).astype(np.float64) for s in ((5, 2), (7, 2)))
    i = np.array([0, 0, 3, 3, 3, 4, 0])
    weight = RNG.standard_normal((5, 2))

    def f(x, u):
        return (L.scatter(x, i, u, mode=mode) * weight).sum()

    gx, gu = L.grad(f, argnums=(0, 1))(L.asarray(x), L.asarray(u))
    tx, tu = RNG.standard_normal(x.shape), RNG.standard_normal(u.shape)
    h = 1e-6
    slope = (float(f(L.asarray(x + h * tx), L.asarray(u + h * tu)))
             - float(f(L.asarray(x - h * tx), L.asarray(u - h * tu)))) / (2 * h)
    stated = (gx.numpy() * tx).sum() + (gu.numpy() * tu).sum()
    assert stated == pytest.approx(slope, rel=1e-6)
    _, tangent = L.jvp(f, (L.asarray(x), L.asarray(u)), (L.asarray(tx), L.asarray(tu)))
    assert float(tangent) == pytest.approx(slope, rel=1e-6)


def test_a_product_with_zeros_has_the_right_gradient():
    x, u = np.array([2.0, 1.0, 1.0]), np.array([0.0, 3.0, 0.0, 0.0])
    gx, gu = L.grad(lambda x, u: L.scatter(x, np.array([0, 0, 1, 1]), u, mode="mul").sum(),
                    argnums=(0, 1))(L.asarray(x), L.asarray(u))
    assert gx.tolist() == [0.0, 0.0, 1.0]
    assert gu.tolist() == [6.0, 0.0, 0.0, 0.0]


def test_bad_positions_are_named():
    x = whole(4, 2)
    with pytest.raises(LamellaError, match="'plus' is not one of set"):
        L.scatter(x, [0], x[:1], mode="plus")
    with pytest.raises(DTypeError, match="must be integers"):
        L.put_along_axis(x, x, x)
    with pytest.raises(ShapeError, match="hold no positions"):
        L.gather_nd(x, np.zeros((2, 3), np.int32))
    with pytest.raises(DTypeError, match="adds and multiplies numbers"):
        L.scatter(x > 0, [0], x[:1] > 0, mode="add")
