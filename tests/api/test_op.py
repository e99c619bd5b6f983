"""Operators that a user states in index notation."""

import numpy as np
import pytest

import lamella as L
from lamella.lang.notation import sum as total


@L.op
def outer(x, y):
    return lambda i, j: x[i] * y[j]


@L.op
def scaled(x, *, by):
    return lambda i: x[i] * by


def test_a_users_op_has_shape_gradient_and_batch():
    x, y = L.asarray([1.0, 2.0, 3.0]), L.asarray([4.0, 5.0])
    np.testing.assert_allclose(outer(x, y).numpy(), np.outer([1, 2, 3], [4, 5]))
    g = L.grad(lambda x, y: (outer(x, y) ** 2).sum(), (0, 1))(x, y)
    np.testing.assert_allclose(g[0].numpy(), 2 * np.array([1, 2, 3]) * 41, rtol=1e-6)
    rows = L.vmap(outer, in_axes=(0, None))(L.stack([x, 2 * x]), y)
    assert rows.shape == (2, 3, 2) and rows.numpy()[1, 2, 1] == 30


def test_constants():
    assert scaled(L.asarray([1.0, 2.0]), by=3.0).tolist() == [3, 6]
    with pytest.raises(L.errors.DTypeError, match="constants"):
        scaled(L.asarray([1.0]), by=[1])


SQUARES = {
    "strided rows": (lambda x: lambda n, i, c: total(
        lambda k=3: x[n, i * 2 + k, c] * x[n, i * 2 + k, c]), (4, 40, 32)),
    "rows and channels": (lambda x: lambda n, i: total(
        lambda k=3, c=x.shape[2]: x[n, i + k, c] * x[n, i + k, c]), (4, 40, 3)),
    "windows of each channel": (lambda x: lambda n, i, j, c: total(
        lambda k=3, m=3: x[n, i + k, j + m, c] * x[n, i + k, j + m, c]), (2, 12, 12, 32)),
    "by tap": (lambda x: lambda k=3, c=x.shape[2]: total(
        lambda n=x.shape[0], i=10: x[n, i + k, c] * x[n, i + k, c]), (4, 40, 32)),
}


@pytest.mark.parametrize("name", SQUARES)
def test_windows_may_be_multiplied_by_themselves(name):
    """A product whose operands are one: no template of convolutions has weights to find."""
    statement, shape = SQUARES[name]
    op = L.op(lambda x: statement(x))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    both = L.value_and_grad(lambda x: op(x).sum())
    for a, b in zip(both(L.asarray(x)), L.compile(both)(x), strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()
    want = x.astype(np.float64) ** 2
    if name == "windows of each channel":
        want = np.lib.stride_tricks.sliding_window_view(want, (3, 3), (1, 2)).sum((-1, -2))
        np.testing.assert_allclose(L.compile(op)(x), want, rtol=1e-5)
