"""Occupancy: what runs would bring is known without making them; annealing counts the same."""

import random
from collections import Counter

import pytest

from lamella.planner.memory.anneal import Annealing
from lamella.planner.memory.occupancy import Occupancy, Unit, Work
from lamella.planner.memory.search import Search


def some(seed: int) -> Work:
    rng = random.Random(seed)
    count = rng.randrange(4, 30)
    kept = [k for k in range(count) if rng.random() < 0.1]
    units = []
    for k in range(count):
        reads = sorted(rng.sample(range(k), min(k, rng.randrange(4))))
        units.append(Unit(reads, (k,), rng.random(), rng.randrange(5),
                          [v for v in reads if v not in kept and rng.random() < 0.3], k + 1))
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


def replayed(work: Work, sequence: list[int]) -> list[int]:
    """The bytes alive in each run, counted from the definition."""
    at: dict[int, int] = {}     # value: which of `lives` holds it now
    lives = [[v, -1, -1] for v, m in enumerate(work.makers) if m < 0]
    for place, k in enumerate(sequence):
        for v in work.units[k].reads:
            lives[at[v]][2] = place
        for v in work.units[k].writes:
            at[v] = len(lives)
            lives.append([v, place, place])
    for v in work.kept:
        first = next(life for life in lives if life[0] == v)
        first[2] = len(sequence)
    during = [work.base + work.units[k].inner for k in sequence]
    for v, a, z in lives:
        for place in range(max(a, 0), min(z + 1, len(sequence))):
            over = place == z > a and v in work.units[sequence[place]].over
            during[place] += 0 if over else work.sizes[v]
    return during


@pytest.mark.parametrize("seed", range(40))
def test_annealing_counts_what_its_sequence_needs(seed):
    """After any number of moves, taken back or not; the runs keep to what they need."""
    work, rng = some(seed), random.Random(seed)
    needs = [[b for b in range(k) if rng.random() < 0.05] for k in range(len(work.units))]
    annealing = Annealing(work, needs, seed=seed)
    for _ in range(8):
        annealing.below(int(annealing.peak * rng.uniform(0.5, 1)), 60)
        sequence = annealing.sequence
        assert annealing.during.tolist() == replayed(work, sequence)
        first = {k: sequence.index(k) for k in range(len(work.units))}
        assert all(first[b] < first[k] for k, before in enumerate(needs) for b in before)
        again = Counter(sequence) - Counter(range(len(work.units)))
        assert annealing.seconds == pytest.approx(
            sum(n * work.units[k].seconds for k, n in again.items()))


@pytest.mark.parametrize("seed", range(20))
def test_annealing_goes_on_from_a_sequence(seed):
    work = some(seed)
    o = Occupancy(work)
    Search(o).below(int(o.peak * 0.8))
    if not any(v in work.kept for k, _ in o.repeats for v in work.units[k].writes):
        begun = Annealing(work, sequence=o.sequence)
        assert begun.during.tolist() == o.during.tolist()
        assert begun.seconds == pytest.approx(o.seconds)
