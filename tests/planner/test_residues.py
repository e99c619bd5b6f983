"""Maps that ask for residues of their places are written residue by residue, with the same bits."""

import numpy as np
import pytest

import lamella as L
from lamella.lang import expr, scalar
from lamella.lang.loops import Loop, Store, When


def _pulled(window, stride):
    def f(x, g):
        _, pull = L.vjp(lambda y: L.max_pool(y, window, stride=stride), L.relu(x))
        return L.where(x > 0, pull(g)[0], 0)
    return f


def _asks(body) -> bool:
    """Whether any value that is stored asks for a residue."""
    for s in body:
        if isinstance(s, Loop | When):
            if _asks(s.body):
                return True
        elif isinstance(s, Store) and any(e.op is scalar.mod for e in expr.walk(s.value)):
            return True
    return False


@pytest.mark.parametrize("shape, window, stride, split", [
    ((2, 8, 6, 5), 2, 2, True), ((1, 8, 12, 32), 3, 2, True), ((2, 7, 9, 16), 2, 2, False),
    ((2, 6, 7, 3), 2, 2, True), ((1, 9, 6, 16), 3, 3, True), ((1, 16, 16, 4), 5, 4, False),
    ((2, 5, 5, 4), 2, 1, False), ((1, 2, 2, 1), 2, 2, True), ((0, 4, 4, 3), 2, 2, True)])
def test_gradients_of_pooling(shape, window, stride, split):
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, shape).astype("float32")    # with ties
    f = _pulled(window, stride)
    pooled = L.max_pool(L.asarray(x), window, stride=stride).shape
    g = rng.standard_normal(pooled).astype("float32")
    g[..., 0] = -0.0
    x, g = L.asarray(x), L.asarray(g)
    run = L.compile(f)
    found = run(x, g).numpy()
    assert found.tobytes() == f(x, g).numpy().tobytes()
    asked = [_asks(s.kernel.body) for s in L.plan(run, x, g).plan.launches()]
    assert not split or shape[2] % stride or not any(asked)
    wanted = np.zeros(shape, "float64")     # the first of each window that is its largest
    y = np.maximum(x.numpy(), 0)
    for n, i, j, c in np.ndindex(*pooled):
        part = y[n, i * stride:i * stride + window, j * stride:j * stride + window, c]
        a, b = divmod(int(part.argmax()), window)
        wanted[n, i * stride + a, j * stride + b, c] += g.numpy()[n, i, j, c]
    np.testing.assert_allclose(found, np.where(x.numpy() > 0, wanted, 0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("starts, steps, shape", [
    ((1, 0, 0), (2, 3, 1), (8, 9, 20)), ((0, 2, 1), (4, 1, 2), (12, 5, 6)),
    ((3, 0, 0), (5, 2, 1), (10, 4, 17))])
def test_gradients_of_slices_with_steps(starts, steps, shape):
    """Alone, added to another, and over the bytes of what it is added to."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, "float32")
    places = tuple(slice(a, None, s) for a, s in zip(starts, steps, strict=True))
    g = rng.standard_normal(x[places].shape, "float32")

    def f(x, g):
        y = x * 2
        return y + L.vjp(lambda x: x[places], x)[1](g)[0] * x

    wanted = x * 2
    wanted[places] += g * x[places]
    found = L.compile(f, donate=("x",))(L.asarray(x), L.asarray(g)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found.tobytes() == f(L.asarray(x), L.asarray(g)).numpy().tobytes()


def test_what_a_pooling_pulls_back_may_lie_over_its_operand():
    """Masked by the image itself, of which no second copy is kept."""
    x, g = L.ones((4, 64, 64, 16)), L.ones((4, 32, 32, 16))
    run = L.compile(lambda x, g: _pulled(2, 2)(L.sin(x), g))
    report = L.plan(run, x, g)
    assert report.peak < 3.6 * x.nbytes
