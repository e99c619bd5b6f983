"""Maps of operands that lie turned go square by square, with the bits of NumPy's order."""

import numpy as np
import pytest

import lamella
from lamella.base.extents import symbol
from lamella.engine.program import compile_program


def turned(x, order):
    return lamella.permute_dims(x, order) * 2.0 + 1.0


@pytest.mark.parametrize("shape,order", [
    ((100, 70), (1, 0)), ((16, 16), (1, 0)), ((3, 100, 33), (0, 2, 1)), ((17, 40, 3), (2, 1, 0)),
    ((4, 16, 5, 17), (3, 1, 2, 0)), ((50, 60, 70), (2, 0, 1)), ((1000, 16), (1, 0)),
    ((15, 40), (1, 0))])
def test_every_order_of_axes(shape, order):
    x = np.random.default_rng(0).standard_normal(shape, "float32")
    y = np.array(lamella.compile(lambda x: turned(x, order))(x))
    assert np.array_equal(y, x.transpose(order) * np.float32(2) + np.float32(1))


def test_a_square_beside_an_operand_that_is_not_turned():
    x, y = (np.random.default_rng(k).standard_normal((70, 70), "float32") for k in range(2))
    z = np.array(lamella.compile(lambda x, y: x.mT * y - x, donate=("x",))(x, y))
    assert np.array_equal(z, x.T * y - x)


def test_sizes_that_vary():
    n = symbol("N", 16, 512)
    program = lamella.trace(lambda x: turned(x, (1, 0)), lamella.spec((n, 48)))
    run = compile_program(program)
    for rows in (16, 17, 250):
        x = np.random.default_rng(rows).standard_normal((rows, 48), "float32")
        assert np.array_equal(run([x])[0], x.T * np.float32(2) + np.float32(1))


def test_a_square_is_one_loop_of_lanes():
    plan = lamella.plan(lambda x: x.mT * 2.0, lamella.spec((512, 512))).plan
    launch, = plan.launches()
    assert launch.tasks == 32 and str(launch.kernel).count("vector") == 1
