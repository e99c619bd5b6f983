"""Instruction sets give the same bits: what differs between them is speed."""

import pytest
from engine.random_programs import Maker
from ops.cases import compiled, execute, same_bits

from lamella.codegen.target import ALL
from lamella.engine import kernels
from lamella.runtime import llvm

HERE = [t for t in ALL if llvm.host().features.issuperset(t.features)]


@pytest.mark.skipif(len(HERE) < 2, reason="this processor has one of the instruction sets only")
@pytest.mark.parametrize("seed", range(40))
def test_a_random_program_has_the_same_bits_on_every_target(seed, monkeypatch):
    made = Maker(seed, "wild")
    found = []
    for t in HERE:
        monkeypatch.setattr(kernels, "_target", t)
        monkeypatch.setattr("ops.cases.target", lambda t=t: t)
        found.append(execute(compiled(made.program), made.arrays))
    assert all(all(map(same_bits, found[0], other)) for other in found[1:])
