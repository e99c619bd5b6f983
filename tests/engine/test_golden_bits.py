"""Results keep their bits from one release to the next and on every instruction set."""

import json

import pytest
from engine.golden_bits import FILE, cases, digest
from engine.test_targets import HERE

from lamella.engine import eager, kernels
from lamella.lang.order import VERSION

KEPT = json.loads(FILE.read_text())
CASES = cases()


def test_the_file_is_of_this_numerics_version():
    assert KEPT["numerics"] == VERSION
    assert KEPT["bits"].keys() == CASES.keys()


@pytest.mark.parametrize("target", HERE, ids=lambda t: t.name)
@pytest.mark.parametrize("name", CASES)
def test_bits_are_those_of_the_file(name, target, monkeypatch):
    monkeypatch.setattr(kernels, "_target", target)
    monkeypatch.setattr(eager, "_executables", type(eager._executables)())
    assert digest(CASES[name]) == KEPT["bits"][name]
