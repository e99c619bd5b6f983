"""A plan is kept as bytes, and is the same plan when it is read again."""

import numpy as np
import pytest
from planner.test_memory import PROGRAMS

import lamella
from lamella.engine import bind, kernels, plans
from lamella.engine.executable import Executable
from lamella.planner.build import build_plan
from lamella.planner.memory.place import laid, place
from lamella.planner.report import Report
from lamella.planner.saved import from_bytes, to_bytes
from lamella.runtime import cache


def planned(make):
    f, args = make()
    program = lamella.trace(f, *args)
    return program, build_plan(program, kernels.target())


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda f: f.__name__)
def test_a_plan_read_again_says_and_is_the_same(make):
    program, plan = planned(make)
    again = from_bytes(to_bytes(plan), program)
    profile = lamella.plan(lambda x: x, 1.0).profile
    for one, two in zip((plan, again), (again, plan), strict=True):
        a, b = Report(one, profile), Report(two, profile)
        assert (str(a), a.kernels(), a.memory_map()) == (str(b), b.kernels(), b.memory_map())
    keys = [[kernels.key_of(s.kernel) for s in p.launches()] for p in (plan, again)]
    assert keys[0] == keys[1]


def test_the_second_process_plans_and_emits_nothing(monkeypatch, tmp_path):
    def f(x, w):
        return lamella.softmax(lamella.tanh(x @ w) * 3.0, axis=1)

    x, w = (np.linspace(-1, 1, n, dtype=np.float32).reshape(-1, 7) for n in (35, 49))
    for _ in range(2):
        first = np.array(lamella.compile(f)(x, w))
        monkeypatch.setattr(cache, "_process", [cache.Cache(tmp_path)])
        monkeypatch.setattr(kernels, "_known", {})
    monkeypatch.setattr(plans, "build_plan", lambda *a: pytest.fail("planned again"))
    monkeypatch.setattr(kernels, "emit", lambda *a: pytest.fail("emitted again"))
    for module in (plans, bind):
        monkeypatch.setattr(module, "place", lambda *a: pytest.fail("placed again"))
    assert np.array_equal(first, np.array(lamella.compile(f)(x, w)))


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda f: f.__name__)
def test_temporaries_lie_where_they_did(make):
    _, plan = planned(make)
    if plan.symbols:
        return
    one = place(plan, {})
    two = laid(plan, [i.offset for i in one.intervals])
    assert (one.offsets, one.size) == (two.offsets, two.size)


def test_a_plan_with_a_prologue_is_kept():
    """What lays out weights that never change once is part of what is kept."""
    program = lamella.trace(lambda x, w: lamella.tanh(x @ w), lamella.spec((300, 96)),
                            lamella.spec((96, 200)))
    plan = build_plan(program, kernels.target(), frozenset(), frozenset({1}))
    assert plan.prologue
    again = from_bytes(to_bytes(plan), program)
    assert len(again.prologue) == len(plan.prologue)


def test_code_that_is_gone_is_compiled_again(monkeypatch, tmp_path):
    def f(x):
        return lamella.exp(x * 0.37) - lamella.sqrt(x + 2.0)

    x = np.linspace(0, 1, 41, dtype=np.float32)
    monkeypatch.setattr(kernels, "_known", {})
    monkeypatch.setattr(cache, "_process", [cache.Cache(tmp_path)])
    first = np.array(lamella.compile(f)(x))
    code = {c.module for c in kernels._known.values()}
    for path in tmp_path.iterdir():
        if path.name in code:
            path.unlink()
    monkeypatch.setattr(cache, "_process", [cache.Cache(tmp_path)])
    monkeypatch.setattr(kernels, "_known", {})
    assert np.array_equal(first, np.array(lamella.compile(f)(x)))


def test_other_lines_donations_and_bounds_are_other_plans():
    def f(x):
        return x + 1.0

    def g(x):
        return x + 1.0

    one, two = (lamella.trace(h, lamella.spec((4,))) for h in (f, g))
    long = lamella.trace(f, lamella.spec((5,)))
    keys = {plans._key(one, frozenset()), plans._key(one, frozenset({0})),
            plans._key(two, frozenset()), plans._key(long, frozenset())}
    assert len(keys) == 4


def test_a_loaded_plan_runs():
    def f(x):
        return lamella.cumulative_sum(x * 2.0)

    program = lamella.trace(f, lamella.spec((33,)))
    plan = build_plan(program, kernels.target())
    again = from_bytes(to_bytes(plan), program)
    from lamella.engine.value import Value
    x = Value.from_numpy(np.arange(33, dtype=np.float32))
    found, = Executable(again)([x])
    assert np.array_equal(found.numpy(), np.cumsum(np.arange(33, dtype=np.float32) * 2))
