"""Law: a composite's kernel gives the bits of its expansion."""

import pytest
from ops.cases import end_to_end, inputs_of, only, results, run, same_bits

from lamella.ir.program import Program


@pytest.mark.parametrize("case", **only(lambda c: c.op.expand is not None))
def test_the_kernel_gives_the_expansion_s_bits(case):
    inputs = inputs_of(case.arrays)
    body = case.op.expand(case.params, *inputs)
    expansion = Program(inputs, [end_to_end(body) if isinstance(body, tuple) else body])
    for fused in (True, False):
        value, = run(expansion, case.arrays, fused=fused)
        assert same_bits(results(case)[0], value)
