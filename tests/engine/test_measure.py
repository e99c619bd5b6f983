"""What a measured run says of its steps."""

from __future__ import annotations

import lamella
from lamella.planner.plan import Order


def test_every_step_that_ran_has_a_time():
    def f(w, x):
        return lamella.scan(lambda c, row: (lamella.tanh(c @ w + row), c.sum()), x[0], x)

    m = lamella.measure(f, lamella.ones((8, 8)), lamella.ones((5, 3, 8)))
    launches = m.report.plan.launches()
    assert launches and set(map(id, launches)) <= set(m.report.measured)
    assert all(m.report.measured[id(s)] > 0 for s in launches)
    leaves = [s for s in Order(m.report.plan.steps).leaves if id(s) in m.report.measured]
    assert m.report.spent(m.report.plan.steps) >= sum(m.report.measured[id(s)] for s in leaves)


def test_a_run_is_shown_beside_its_plan():
    x = lamella.ones((64, 64))
    m = lamella.measure(lambda x: lamella.softmax(x @ x), x)
    assert f"planned {m.peak / 1024:.2f} KiB" in str(m)
    assert "predicted" in str(m)
    assert "measured of peak" in m.report.kernels()
    assert "of peak" not in lamella.plan(lambda x: x @ x, x).kernels()
    assert "measured of peak" in lamella.explain(lambda x: x @ x, x, run=True)


def test_a_run_with_symbols_is_held_against_the_plan_at_its_sizes():
    size = lamella.symbol("n", 1, 64)
    f = lamella.compile(lambda x: (x * 2).sum(), sizes={"x": (size,)})
    assert f.measure(lamella.ones((7,))).report.env == {"n": 7}


def test_steps_are_not_timed_when_nobody_asks():
    f = lamella.compile(lambda x: x @ x)
    x = lamella.ones((16, 16))
    f.measure(x)
    bound, = (e.executable.only for e in f.entries.values())
    assert not bound.table.timed


def test_a_step_of_a_loop_is_shown_for_one_trip():
    def f(x, w):
        return lamella.scan(lambda c, _: (lamella.tanh(c @ w), None), x, length=50)[0]

    x, w = lamella.ones((64, 256)), lamella.ones((256, 256))
    m = lamella.measure(lamella.compile(f), x, w)
    loop, = (s for s in m.report.plan.steps if type(s).__name__ == "Loop")
    inner = [trips for _, s, trips in m.report.rows() if s is not loop and trips != 1]
    assert inner and set(inner) == {50}


def test_machine_code_is_stated_before_it_is_there():
    @lamella.compile
    def f(w, x):
        h = lamella.softmax(lamella.tanh(x @ w) @ w.T, axis=-1)
        return h, lamella.sort(h.sum(0)), lamella.exp(h) + lamella.erf(x @ w).mean()

    given = lamella.ones((48, 48)), lamella.ones((33, 48))
    claimed = lamella.plan(f, *given).code
    found = lamella.measure(f, *given)
    assert found.report.code == claimed > 0
    assert 0.6 < claimed / found.code < 1.7
    assert f"code {found.code / 1024:.2f} KiB" in str(found)
