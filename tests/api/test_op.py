"""Operators that a user states in index notation."""

import numpy as np
import pytest

import lamella as L


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
