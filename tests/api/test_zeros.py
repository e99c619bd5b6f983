"""Derivatives at exact zeros, where a rule that divides by an element would go wrong."""

import numpy as np
import pytest

import lamella as L

SIGNS = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
FUNCTIONS = {
    "prod": L.prod,
    "prod of an axis": lambda x: L.prod(L.stack([x, x + 1.0]), axis=1).sum(),
    "cumulative_prod": lambda x: (L.cumulative_prod(x) * SIGNS).sum(),
    "exclusive": lambda x: (L.cumulative_prod(x, exclusive=True) * SIGNS).sum(),
    "reverse": lambda x: (L.cumulative_prod(x, reverse=True) * SIGNS).sum(),
    "exclusive, reverse": lambda x: (L.cumulative_prod(x, exclusive=True, reverse=True)
                                     * SIGNS).sum(),
    "columns": lambda x: (L.cumulative_prod(L.stack([x, x + 1.0], axis=1), axis=0)
                          * SIGNS[:, None]).sum(),
    "linear_recurrence": lambda x: (L.linear_recurrence(x, x[::-1] + 1.0) * SIGNS).sum(),
    "square": lambda x: (x ** 2 * SIGNS).sum(),
    "cube": lambda x: (x ** 3 * SIGNS).sum(),
    "sinc": lambda x: (L.sinc(x) * SIGNS).sum(),
    "sinh / x": lambda x: (L.expm1(x) * L.log1p(x * x) * SIGNS).sum(),
    "associative_scan": lambda x: (L.associative_scan(L.multiply, x) * SIGNS).sum(),
    "scan": lambda x: (L.scan(lambda c, v: (c * v, c * v), L.ones((), dtype="float64"), x)[1]
                       * SIGNS).sum(),
}
POINTS = ([2.0, 0.0, 3.0, 0.5, 4.0], [0.0, 3.0, 0.0, 2.0, 5.0], [0.0, 0.0, 0.0, 1.0, 2.0],
          [1.0, 2.0, 3.0, 4.0, 0.0])


def slopes(f, x, step=1e-4):
    """df/dx for each element of x by differences of fourth order."""
    found = []
    for way in np.eye(len(x)) * step:
        near, far = ((f(x + k * way) - f(x - k * way)) / (2 * k * step) for k in (1, 2))
        found.append((4 * near - far) / 3)
    return np.stack(found)


def test_the_derivative_of_a_determinant_holds_where_it_is_zero():
    for rank in range(5):
        rng = np.random.default_rng(rank)
        a = rng.standard_normal((4, rank)) @ rng.standard_normal((rank, 4))
        minors = np.array([[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1))
                            for j in range(4)] for i in range(4)])
        for g in (L.grad(L.linalg.det), L.compile(L.grad(L.linalg.det))):
            assert np.allclose(g(L.asarray(a)).numpy(), minors, atol=1e-12)
    batch = L.asarray(np.zeros((3, 2, 2)))
    assert L.vmap(L.grad(L.linalg.det))(batch).tolist() == np.zeros((3, 2, 2)).tolist()
    assert np.allclose(L.hessian(L.linalg.det)(L.eye(2)).numpy()[0, 0], [[0, 0], [0, 1]])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_to_third_derivatives_hold_at_zeros(name):
    f = FUNCTIONS[name]
    orders = [f, L.grad(f), L.jacobian(L.grad(f)), L.jacobian(L.jacobian(L.grad(f)))]
    compiled = list(map(L.compile, orders))
    forward = L.jacobian(L.jacobian(f, mode="forward"), mode="forward")
    for point in POINTS:
        x = np.array(point)
        for low, high in zip(compiled, compiled[1:], strict=False):
            measured = slopes(lambda a, low=low: low(L.asarray(a)).numpy(), x)
            found = high(L.asarray(x)).numpy()
            assert np.allclose(found, measured, rtol=1e-6, atol=1e-6), (point, found, measured)
        assert np.allclose(forward(L.asarray(x)).numpy(), compiled[2](L.asarray(x)).numpy(),
                           rtol=1e-9, atol=1e-9)
