"""Random programs whose steps are put in the second order, and values computed again, or spilled to
a file and fetched from there, at random: the bits stay, whatever is donated."""

import random

import numpy as np
import pytest
from engine.random_programs import Maker
from ops.cases import execute, same_bits

from lamella.engine.executable import Executable
from lamella.engine.kernels import target
from lamella.planner import build
from lamella.planner.memory import units
from lamella.planner.memory.budget import Budget
from lamella.planner.memory.liveness import Draft, temporaries
from lamella.planner.memory.occupancy import Occupancy
from lamella.planner.memory.recompute import with_repeats
from lamella.planner.memory.reorder import reordered
from lamella.planner.memory.units import work_of

SEEDS = range(24)


def anyhow(makers, budget, divider):
    """In place of a search: the second order and runs at random, whatever they cost."""
    plan, rng = makers[budget.bytes % 2](), random.Random(budget.bytes)
    draft = Draft(plan, plan.steps, {s.name: s.high for s in plan.symbols})
    if rng.random() < 0.7:
        draft = reordered(draft)
    occupancy = Occupancy(work_of(draft, budget.spills))
    work = occupancy.work
    runs = [(k, slot) for k, u in enumerate(work.units)
            for slot in range(u.since, min(u.until, work.count - 1) + 1)]
    fetches = [r for r in runs if r[0] >= work.count]
    runs = rng.sample(fetches, min(len(fetches), 3)) or runs if fetches and rng.random() < 0.5 \
        else runs
    for unit, slot in rng.sample(runs, min(len(runs), rng.randrange(1, 12))):
        occupancy.add(unit, slot)
    draft = with_repeats(draft, work, occupancy.sequence)
    plan.steps, plan.temporaries = draft.steps, temporaries(draft.steps)
    return plan


@pytest.mark.parametrize("spills", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_steps_that_run_again_give_the_same_bits(seed, spills, monkeypatch):
    monkeypatch.setattr(units, "_LEAST", 1)
    made = Maker(seed, ("exact", "wild")[seed % 2])
    monkeypatch.setattr(build, "fits", lambda plan, budget: False)
    monkeypatch.setattr(build, "keep", anyhow)
    expected = execute(Executable(build.build_plan(made.program, target())), made.arrays)
    for donated in (frozenset(), frozenset(range(len(made.program.inputs)))):
        plan = build.build_plan(made.program, target(), donated, budget=Budget(seed, 1, spills),
                                threads=2)
        found = execute(Executable(plan), [np.array(a) for a in made.arrays])
        assert all(same_bits(a, b) for a, b in zip(found, expected, strict=True))
