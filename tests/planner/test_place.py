"""Placement: no two buffers alive together overlap, near what is alive at once."""

import random
from itertools import combinations, permutations

import pytest

from lamella.base.dtypes import uint8
from lamella.planner.memory.pack import _abreast, pack
from lamella.planner.memory.place import Interval, _by_size, lower_bound, settle
from lamella.planner.memory.ranks import Ranks
from lamella.planner.plan import Buffer


def some(seed: int) -> list[Interval]:
    rng = random.Random(seed)
    found = []
    for _ in range(rng.randrange(0, 60)):
        first, size = rng.randrange(40), 64 * rng.randrange(1, 40)
        found.append(Interval(Buffer(uint8, size, "temporary"), size, first,
                              first + rng.randrange(0, 12)))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_no_two_live_buffers_overlap(seed):
    found = some(seed)
    reached = settle(found)
    assert reached == max((i.offset + i.size for i in found), default=0)
    assert lower_bound(found) <= reached
    for n, a in enumerate(found):
        assert a.offset >= 0
        for b in found[:n]:
            apart = a.last < b.first or b.last < a.first
            assert apart or a.offset + a.size <= b.offset or b.offset + b.size <= a.offset


def test_an_order_by_size_alone_would_need_more():
    by_size = []
    for seed in range(40):
        found = some(seed)
        _by_size(found)
        by_size.append(max((i.offset + i.size for i in found), default=0))
    reached = [settle(some(seed)) for seed in range(40)]
    assert all(a <= b for a, b in zip(reached, by_size, strict=True))
    assert sum(reached) < sum(by_size)


def tight(seed: int, capacity: int = 100) -> list[tuple[int, int, int]]:
    """(size, first, last) cut from a full block: of every moment the sizes sum to the capacity."""
    rng = random.Random(seed)
    found, work = [], [(0, capacity, 0, 12)]
    while work:
        a, z, first, end = work.pop()
        if z - a > 20 and rng.random() < 0.8:
            cut = rng.randrange(a + 5, z - 5)
            work += [(a, cut, first, end), (cut, z, first, end)]
        elif end - first > 2 and rng.random() < 0.7:
            cut = rng.randrange(first + 1, end)
            work += [(a, z, first, cut), (a, z, cut, end)]
        else:
            found.append((z - a, first, end - 1))
    rng.shuffle(found)
    return found


@pytest.mark.parametrize("seed", range(12, 30))
def test_packing_finds_room_without_a_gap(seed):
    sizes, firsts, lasts = zip(*tight(seed), strict=True)
    found = pack(sizes, firsts, lasts, 100, 40000)
    assert found is not None
    for n, (size, first, last) in enumerate(zip(sizes, firsts, lasts, strict=True)):
        assert 0 <= found[n] <= 100 - size
        for m in range(n):
            assert lasts[m] < first or last < firsts[m] or found[n] + size <= found[m] or \
                found[m] + sizes[m] <= found[n]
    assert pack(sizes, firsts, lasts, 99, 20000) is None


def test_packing_says_that_there_is_no_room():
    # two of 2 on either side of one of 3 that overlaps both, and the bound is 5: 5 is reached
    assert pack([2, 2, 3], [0, 2, 0], [1, 3, 3], 5, 100) is not None
    assert pack([2, 2, 3], [0, 2, 0], [1, 3, 3], 4, 100) is None
    assert pack([], [], [], 0, 1) == []


def tiles(pieces: int, seed: int) -> list[tuple[int, int, int]]:
    """(size, first, last): a full block of 1024 bytes in so many pieces, the largest cut first."""
    rng = random.Random(seed)
    work = [(0, 1024, 0, 96)]
    while len(work) < pieces:
        a, z, first, end = work.pop(max(range(len(work)), key=lambda k: (
            work[k][1] - work[k][0]) * (work[k][3] - work[k][2]) * (0.3 + rng.random())))
        if rng.random() < 0.5:
            cut = rng.randrange(first + 1, end)
            work += [(a, z, first, cut), (a, z, cut, end)]
        else:
            cut = rng.randrange(a + 1, z)
            work += [(a, cut, first, end), (cut, z, first, end)]
    rng.shuffle(work)
    return [(z - a, first, end - 1) for a, z, first, end in work]


@pytest.mark.parametrize("seed", (2, 4, 7))
def test_many_pieces_are_packed_without_a_gap_by_few_nodes(seed):
    sizes, firsts, lasts = zip(*tiles(100, seed), strict=True)
    assert pack(sizes, firsts, lasts, 1024, 3000) is not None


@pytest.mark.parametrize("seed", (1, 3, 5))
def test_packings_abreast_leave_no_gap_and_are_the_same_each_time(seed):
    pieces = [*tiles(80, seed), (1024, 96, 97), (7, 99, 99)]     # nothing is alive at 98
    sizes, firsts, lasts = zip(*pieces, strict=True)
    found = [_abreast(Ranks(sizes, firsts, lasts, 1024), 2000) for _ in range(2)]
    assert found[0] is not None and found[0] == found[1]
    for n, m in combinations(range(len(pieces)), 2):
        assert lasts[m] < firsts[n] or lasts[n] < firsts[m] or \
            found[0][n] + sizes[n] <= found[0][m] or found[0][m] + sizes[m] <= found[0][n]
    assert max(at + size for at, size in zip(found[0], sizes, strict=True)) <= 1024


@pytest.mark.parametrize("seed", range(40))
def test_packing_misses_no_placement(seed):
    rng = random.Random(seed)
    few = [(rng.randrange(1, 9), f := rng.randrange(6), f + rng.randrange(4)) for _ in range(6)]
    least = min(reached(order) for order in permutations(few))
    sizes, firsts, lasts = zip(*few, strict=True)
    assert pack(sizes, firsts, lasts, least, 10000) is not None
    assert pack(sizes, firsts, lasts, least - 1, 10000) is None


def reached(order) -> int:
    """Up to where the intervals reach, each on those before it."""
    tops: list[tuple[int, int, int]] = []
    for size, first, last in order:
        below = max((t for t, f, z in tops if f <= last and first <= z), default=0)
        tops.append((below + size, first, last))
    return max(t for t, _, _ in tops)
