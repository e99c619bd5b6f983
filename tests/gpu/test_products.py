"""Products that tiles do not serve are cut as on the processor, in what a device can run."""

import pytest
from gpu.cases import plan_of

import lamella
from lamella.engine.device import codes_of


@pytest.mark.parametrize("dtype", ["int32", "float64", "bfloat16"])
@pytest.mark.parametrize("left,right,turned", [
    ((1, 600), (600, 700), False), ((70, 90), (90, 40), False), ((50, 40), (60, 40), True)],
    ids=str)
def test_products_have_code(dtype, left, right, turned):
    program = lamella.trace(lambda a, b: a @ (b.mT if turned else b), lamella.spec(left, dtype),
                            lamella.spec(right, dtype))
    assert codes_of(plan_of(program), {})
