"""The batcher's promises, for any sequence of arrivals: bounds, order, nobody lost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamella.serve.batcher import Batcher, Ticket, joined, split

BOUND, WINDOW, MOST = 8, 2.0, 20


def ticket(rows=1, key="a", arrived=0.0, deadline=100.0, value=0.0) -> Ticket:
    return Ticket([np.full((rows, 2), value, np.float32)], key, rows, arrived, deadline)


EVENTS = st.lists(st.one_of(
    st.tuples(st.just("offer"), st.integers(1, 10), st.sampled_from("ab")),
    st.tuples(st.just("wait"), st.floats(0, 3), st.none()),
    st.tuples(st.just("cancel"), st.integers(0, 5), st.none())), max_size=60)


@given(EVENTS)
def test_bounds_order_and_nobody_is_lost(events):
    b, now = Batcher(BOUND, WINDOW, MOST), 0.0
    admitted, gone, ran = [], [], []
    for kind, n, key in events:
        if kind == "offer":
            t = ticket(n, key, now, now + 5)
            room = b.waiting + n <= MOST and n <= BOUND
            assert b.offer(t) == room
            admitted += [t] * room
        elif kind == "cancel" and n < len(b.queue):
            t = b.queue[n]
            assert b.cancel(t) and not b.cancel(t)
            gone.append(t)
        elif kind == "wait":
            now += n
        late = b.expire(now)
        assert all(t.deadline <= now for t in late)
        gone += late
        while batch := b.take(now):
            rows = sum(t.rows for t in batch)
            assert rows <= BOUND and len({t.key for t in batch}) == 1
            ran += batch
        assert b.waiting == sum(t.rows for t in b.queue) <= MOST
        assert not b.queue or b.due() > now
    b.close()
    while batch := b.take(now):
        ran += batch
    assert not b.queue and b.waiting == 0 and b.due() is None
    assert sorted(map(id, admitted)) == sorted(map(id, ran + gone))
    for key in "ab":
        kept = [t for t in admitted if t.key == key and t in ran]
        assert kept == [t for t in ran if t.key == key]


def test_a_full_batch_runs_at_once_and_a_lone_request_after_the_window():
    b = Batcher(BOUND, WINDOW, MOST)
    b.offer(ticket(3, arrived=1.0))
    assert b.due() == 3.0 and b.take(2.9) == []
    b.offer(ticket(5, arrived=1.5))
    assert len(b.take(1.5)) == 2
    b.offer(ticket(3, arrived=2.0))
    b.offer(ticket(6, arrived=2.0))
    assert [t.rows for t in b.take(2.0)] == [3]  # waiting longer would not fill it
    assert b.take(2.0) == [] and [t.rows for t in b.take(4.0)] == [6]


def test_keys_do_not_mix_and_the_oldest_goes_first():
    b = Batcher(BOUND, WINDOW, MOST)
    for key in "abab":
        b.offer(ticket(1, key))
    assert [t.key for t in b.take(9)] == ["a", "a"]
    assert [t.key for t in b.take(9)] == ["b", "b"]


def test_closed_admits_nobody():
    b = Batcher(BOUND, WINDOW, MOST)
    b.offer(ticket())
    b.close()
    assert not b.offer(ticket()) and len(b.take(0.0)) == 1


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_joined_then_split_is_each_requests_own(rows):
    tickets = [ticket(n, value=float(k)) for k, n in enumerate(rows)]
    whole, = joined(tickets)
    assert whole.shape == (sum(rows), 2)
    for k, (part, n) in enumerate(zip(split([whole, whole + 1], tickets), rows, strict=True)):
        assert part[0].tolist() == [[k, k]] * n and part[1].tolist() == [[k + 1, k + 1]] * n
