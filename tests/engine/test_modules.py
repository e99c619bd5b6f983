"""How new code is divided into modules, and assembled while more of it is planned."""

import numpy as np
import pytest

import lamella as L
from lamella.base.errors import LamellaError
from lamella.engine import kernels, plans
from lamella.planner.build import build_plan
from lamella.runtime import assembler, cache


@pytest.fixture
def empty(monkeypatch, tmp_path):
    """No code is known."""
    monkeypatch.setattr(kernels, "_known", {})
    monkeypatch.setattr(cache, "_process", [cache.Cache(tmp_path / "objects")])
    kernels.counters.update(kernels=0, modules=0)


def _work(x, y):
    for k in range(8):
        x = L.tanh(x @ y) * y.mean(k % 2) + L.sin(x) * (k + 0.5)
    return x.sum(0), L.softmax(x)


ARGUMENTS = [L.spec((48, 48)), L.spec((48, 48))]


@pytest.mark.parametrize("length, least", [(1, 4), (10 ** 9, 1)])
def test_modules_are_of_some_length_and_the_code_is_the_same(length, least, empty, monkeypatch):
    monkeypatch.setattr(kernels, "LENGTH", length)
    x = np.random.default_rng(0).standard_normal((48, 48)).astype("float32")
    got = L.compile(_work)(x, x)
    assert kernels.counters["modules"] >= least
    assert kernels.counters["kernels"] >= kernels.counters["modules"]
    for a, b in zip(got, _work(L.asarray(x), L.asarray(x)), strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))


def test_what_is_shown_ahead_are_the_kernels_of_the_plan():
    program = L.trace(L.value_and_grad(lambda x, y: _work(x, y)[0].sum()), *ARGUMENTS)
    seen: list = []
    plan = build_plan(program, kernels.target(), ahead=seen.append)
    assert {kernels.key_of(k) for k in seen} == {
        kernels.key_of(s.kernel) for s in (*plan.prologue, *plan.launches())}


@pytest.fixture
def started(monkeypatch) -> list:
    """The children that assemble, which little code is enough for on two cores."""
    monkeypatch.setattr(kernels, "LENGTH", 1)
    monkeypatch.setattr(assembler, "WORTH", 1)
    monkeypatch.setattr(assembler, "cores", lambda: 2)
    children: list = []
    popen = assembler.subprocess.Popen
    monkeypatch.setattr(assembler.subprocess, "Popen",
                        lambda *a, **k: children.append(popen(*a, **k)) or children[-1])
    return children


def test_all_cores_begin_before_the_plan_is_made(empty, monkeypatch, started):
    planned: list = []

    def build(*arguments, **named):
        plan = build_plan(*arguments, **named)
        planned.append(len(started))
        return plan

    monkeypatch.setattr(plans, "build_plan", build)
    plans.executable(L.trace(_work, *ARGUMENTS), frozenset(), {})
    assert planned == [1] and started[0].poll() is not None


def test_a_plan_that_fails_leaves_no_child(empty, monkeypatch, started):

    def build(*arguments, **named):
        build_plan(*arguments, **named)
        raise LamellaError("no")

    monkeypatch.setattr(plans, "build_plan", build)
    with pytest.raises(LamellaError):
        plans.executable(L.trace(_work, *ARGUMENTS), frozenset(), {})
    assert started and all(p.poll() is not None for p in started)
