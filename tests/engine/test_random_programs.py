"""Random programs give the same bits however they run, and the reference's values."""

import numpy as np
import pytest
from engine.checks import check, check_contraction, over
from engine.random_programs import Maker
from ops.cases import compiled, execute, run, same_bits

from lamella.api.arrays.array import from_numpy, wrap
from lamella.api.programs.compile import compile as compile_function

SEEDS = {"exact": 120, "smooth": 45, "wild": 75}


@pytest.mark.parametrize("manner", SEEDS)
@pytest.mark.parametrize("part", range(3))
def test_a_random_program_runs_alike_in_every_way(manner, part):
    for seed in range(part, SEEDS[manner], 3):
        check(seed, manner)


@pytest.mark.parametrize("found", [
    (886, "smooth", 4), (930, "smooth", 0),     # two inputs of a loop that are one buffer
    (1196, "exact", 8)])                        # a vector by a transposed matrix of float16
def test_a_program_that_once_differed(found):
    check(*found)


@pytest.mark.parametrize("part", range(4))
def test_a_random_contraction_runs_alike_in_every_way(part):
    for number in range(part, 120, 4):
        check_contraction(number)


@pytest.mark.parametrize("seed", range(40))
def test_donated_inputs_change_no_bit_of_the_results(seed):
    made = Maker(seed, "wild")
    expected = run(made.program, made.arrays)

    def f(*arrays):
        return [wrap(n) for n in over(made.program, [a.node for a in arrays])]

    donating = compile_function(f, donate=tuple(range(len(made.arrays))))
    for _ in range(2):  # the second call meets recycled memory
        found = donating(*[from_numpy(a) for a in made.arrays])
        assert all(same_bits(np.asarray(a), b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_a_program_run_again_gives_the_same_bits(seed):
    """Whatever earlier runs left in arenas and recycled blocks must not show."""
    made = Maker(seed, "wild")
    once = compiled(made.program)
    first = [a.copy() for a in execute(once, made.arrays)]
    for other in range(3):
        run(Maker(100 + seed + other, "wild").program, Maker(100 + seed + other, "wild").arrays)
        assert all(map(same_bits, first, execute(once, made.arrays)))
