"""Law: an op's bits, forward and gradients, do not depend on how it runs."""

import pytest
from ops.cases import compiled, each_case, execute, results, run, same_bits

from lamella.runtime import walker


@pytest.mark.parametrize("case", **each_case)
def test_uncompiled_bits_are_the_compiled_ones(case):
    alone = run(case.with_gradients(), case.arrays, fused=False)
    assert all(map(same_bits, results(case), alone))


@pytest.fixture
def restored_threads():
    before = walker.threads()
    yield
    walker.set_threads(before)


@pytest.mark.parametrize("case", **each_case)
def test_one_thread_and_two_give_the_same_bits(case, restored_threads):
    cut = compiled(case.with_gradients(), cut=True)
    for count in (1, 2):
        walker.set_threads(count)
        assert all(map(same_bits, results(case), execute(cut, case.arrays)))
