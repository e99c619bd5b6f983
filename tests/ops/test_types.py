"""Law: what `infer` says of a result's shape and dtype is what the reference gives."""

import numpy as np
import pytest
from ops.cases import each_case

from lamella.ir.interpret import interpret


@pytest.mark.parametrize("case", **each_case)
def test_the_inferred_type_is_the_reference_s(case):
    program = case.program()
    value, = interpret(program, case.arrays)
    assert value.shape == program.outputs[0].shape
    assert value.dtype == program.outputs[0].dtype.numpy


@pytest.mark.parametrize("case", **each_case)
def test_a_gradient_has_the_type_of_its_input(case):
    program = case.with_gradients()
    floats = [a for a in case.arrays if np.issubdtype(a.dtype, np.floating)]
    for a, g in zip(floats, program.outputs[1:], strict=False):
        assert (g.shape, g.dtype.numpy) == (a.shape, a.dtype)
