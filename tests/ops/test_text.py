"""Law: a program of the op and its gradients can be printed and read back as the same program."""

import pytest
from ops.cases import each_case, results, run, same_bits

from lamella.ir.parser import parse
from lamella.ir.printer import to_text


@pytest.mark.parametrize("case", **each_case)
def test_a_printed_program_reads_back_with_the_same_bits(case):
    text = to_text(case.with_gradients())
    again = parse(text)
    assert to_text(again) == text
    assert all(map(same_bits, results(case), run(again, case.arrays)))
