"""Occupancy: what runs would bring is known without making them."""

import random

import pytest

from lamella.planner.memory.occupancy import Occupancy, Unit, Work
from lamella.planner.memory.search import Search


def some(seed: int) -> Work:
    rng = random.Random(seed)
    count = rng.randrange(4, 30)
    units = []
    for k in range(count):
        reads = sorted(rng.sample(range(k), min(k, rng.randrange(4))))
        units.append(Unit(reads, (k,), rng.random(), rng.randrange(5),
                          [v for v in reads if rng.random() < 0.3], k + 1))
    kept = [k for k in range(count) if rng.random() < 0.1]
    return Work(units, [rng.randrange(50) for _ in range(count)], kept, 7)


@pytest.mark.parametrize("seed", range(100))
def test_excess_with_runs_is_the_excess_once_they_are_there(seed):
    work, rng = some(seed), random.Random(seed)
    o = Occupancy(work)
    for _ in range(6):
        units = [rng.randrange(len(work.units) - 1) for _ in range(rng.randrange(1, 4))]
        runs = list({(u, rng.randrange(u + 1, len(work.units))) for u in units} - o.repeats)
        limit = rng.randrange(o.peak)
        before = o.during.tolist()
        said = o.excess_with(runs, limit)
        assert o.during.tolist() == before
        for run in runs:
            o.add(*run)
        assert o.excess(limit) == said
        if rng.random() < 0.5:
            for run in runs:
                o.remove(*run)


@pytest.mark.parametrize("seed", range(40))
def test_what_rests_is_kept_up_to_date(seed):
    o = Occupancy(some(seed))
    search = Search(o)
    while search.below(int(o.peak * 0.9)):
        afresh = Search(o)
        assert sorted(map(tuple, search.rows)) == sorted(map(tuple, afresh.rows))
        assert sorted(map(tuple, search.spans)) == sorted(map(tuple, afresh.spans))
