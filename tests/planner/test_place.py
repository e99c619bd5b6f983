"""Placement: no two buffers alive together overlap, near what is alive at once."""

import random

import pytest

from lamella.base.dtypes import uint8
from lamella.planner.memory.place import Interval, _by_size, lower_bound, settle
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
