"""What every plan adds is no more than the best plan of all adds, and often just that."""

import heapq
import random

from bench.moccasin import least, solved
from lamella.planner.memory.occupancy import Occupancy, Unit, Work


def best(work, limit):
    """The least seconds that any plan adds, over all states: what has run, and what is alive."""
    n, found = len(work.units), {}
    ahead = [(0.0, 0, 0)]
    while ahead:
        seconds, ran, alive = heapq.heappop(ahead)
        if ran == (1 << n) - 1:
            return seconds
        if found.setdefault((ran, alive), seconds) < seconds:
            continue
        after = [(seconds, ran, alive & ~(1 << v)) for v in range(n) if alive >> v & 1]
        for k, u in enumerate(work.units):
            held = alive | 1 << k
            if all(alive >> v & 1 for v in u.reads) and sum(
                    s for v, s in enumerate(work.sizes) if held >> v & 1) <= limit:
                after.append((seconds + u.seconds * (ran >> k & 1), ran | 1 << k, held))
        for s, r, a in after:
            if s < found.get((r, a), float("inf")):
                found[r, a] = s
                heapq.heappush(ahead, (s, r, a))
    return float("inf")


def graph(seed):
    rng = random.Random(seed)
    units = [Unit(sorted({k - 1, rng.randrange(k)}) if k else (), (k,),
                  rng.choice([0.0, 1.0, 2.0, 5.0]), since=k + 1) for k in range(7)]
    return Work(units, [rng.choice([1, 2, 4]) for _ in units])


def test_no_plan_adds_less_than_is_said_and_some_add_just_that():
    tight = 0
    for seed in range(60):
        work = graph(seed)
        for limit in range(4, Occupancy(work).peak):
            bound, wanted = least(work, limit), best(work, limit)
            assert bound <= wanted, (seed, limit)
            tight += 0 < bound == wanted < float("inf")
    assert tight > 20


def test_the_search_ends_at_the_bound():
    chain = [Unit([k - 1] if k else [], (k,), 1.0, since=k + 1) for k in range(6)]
    work = Work([*chain, Unit([5, 0], (6,), 1.0, since=7)], [4, 1, 1, 1, 4, 1, 1])
    assert least(work, 8) == 1.0 == best(work, 8)
    added, seconds = solved(work, 8, 1.0)
    assert added == 1.0 and seconds < 60
