"""Launches in parallel: nothing that one of them writes is touched by another, bits stay, budgets
are kept, and what has nothing to gain stays alone."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from engine.random_programs import Maker
from ops.cases import execute, same_bits

import lamella
from lamella.engine.executable import Executable
from lamella.engine.kernels import target
from lamella.planner import build, parallel
from lamella.planner.build import build_plan
from lamella.planner.memory.budget import Budget
from lamella.planner.memory.place import place
from lamella.planner.plan import Host, Launch, Parallel, inner_steps
from lamella.planner.saved import from_bytes, to_bytes
from lamella.runtime import walker


def some(seed: int, *shape: int):
    return lamella.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


@pytest.fixture
def whatever_it_costs(monkeypatch):
    """All that may run in parallel does; within a budget else nothing."""
    monkeypatch.setattr(parallel, "GAINS", (-1.0, 1.0))
    monkeypatch.setattr(parallel, "LITTLE", -1.0)


@pytest.fixture(autouse=True)
def two_threads():
    before = walker.threads()
    walker.set_threads(2)
    yield
    walker.set_threads(before)


def parallel_steps(steps) -> list[Parallel]:
    found = [s for s in steps if isinstance(s, Parallel)]
    return found + [p for s in steps for inner in inner_steps(s) for p in parallel_steps(inner)]


def apart(plan) -> bool:
    """Whether no member of a parallel step touches what another writes, as the bytes lie."""
    offsets = {id(i.buffer): (i.offset, i.offset + i.size) for i in place(plan, {}).intervals}

    def meet(a, b) -> bool:
        if a.root is b.root:
            return not a.root.parted
        (a0, a1), (b0, b1) = (offsets.get(id(x.root), (0, 0)) for x in (a, b))
        return a0 < b1 and b0 < a1

    def written(s) -> list:
        return [o.buffer for o in s.operands if o.writes] if isinstance(s, Launch) else \
            [b for b, _ in s.results if b is not None]

    return not any(meet(w, b) for p in parallel_steps(plan.steps)
                   for s in p.members for other in p.members if other is not s
                   for w in written(s) for b in other.buffers())


@pytest.mark.parametrize("seed", range(40))
def test_whatever_may_run_in_parallel_gives_the_same_bits(seed, whatever_it_costs):
    made = Maker(seed, ("exact", "wild")[seed % 2])
    expected = execute(Executable(build_plan(made.program, target())), made.arrays)     # one thread
    for donated in (frozenset(), frozenset(range(len(made.program.inputs)))):
        plan = build_plan(made.program, target(), donated, threads=2)
        assert apart(plan)
        for _ in range(3):
            found = execute(Executable(plan), [np.array(a) for a in made.arrays])
            assert all(same_bits(a, b) for a, b in zip(found, expected, strict=True))


def test_random_programs_have_steps_to_run_in_parallel(whatever_it_costs):
    """The test above would else say nothing."""
    found = [len(parallel_steps(build_plan(Maker(seed, "wild").program, target(), threads=2).steps))
             for seed in range(1, 40, 2)]
    assert sum(n > 0 for n in found) > 10


def branches(x, *weights):
    """Narrow products beside each other: each has one task."""
    return lamella.concat([lamella.tanh(x @ w) for w in weights], axis=-1)


X = some(0, 4, 512)
WEIGHTS = [some(n, 512, n) for n in (16, 24, 28, 32)]


def test_branches_run_in_parallel_into_parts_of_their_join():
    compiled = lamella.compile(branches)
    plan = lamella.plan(compiled, X, *WEIGHTS)
    [step] = parallel_steps(plan.plan.steps)
    assert len(step.members) == 4 and apart(plan.plan)
    assert same_bits(compiled(X, *WEIGHTS).numpy(), branches(X, *WEIGHTS).numpy())
    found = lamella.measure(compiled, X, *WEIGHTS)
    assert found.peak == plan.peak
    assert plan.timetable.of(step) < 0.75 * sum(
        lamella.plan(lamella.compile(lambda x, w: lamella.tanh(x @ w)), X, w).seconds
        for w in WEIGHTS)


def test_the_report_shows_members_with_their_times():
    found = lamella.measure(lamella.compile(branches), X, *WEIGHTS).report
    [step] = parallel_steps(found.plan.steps)
    assert "parallel" in found.kernels()
    assert all(found.spent([s]) > 0 for s in step.members)
    assert found.spent([step]) == pytest.approx(sum(found.spent([s]) for s in step.members))


def test_nothing_runs_in_parallel_for_one_thread_or_without_gain():
    walker.set_threads(1)
    assert not parallel_steps(lamella.plan(branches, X, *WEIGHTS).plan.steps)
    walker.set_threads(2)
    even = [lamella.spec((1024, 1024)) for _ in range(3)]
    assert not parallel_steps(lamella.plan(lambda x, a, b: (x @ a, x @ b), *even).plan.steps)


def chains(x, w):
    """Two branches whose values could share bytes if they ran one after another."""
    def branch(x):
        for _ in range(2):
            x = lamella.tanh(x @ w) @ w
        return x.sum()
    return branch(x) + branch(-x)


def test_a_budget_puts_branches_behind_each_other_again(whatever_it_costs):
    x, w = some(1, 8, 256), some(2, 256, 256)
    free = lamella.plan(chains, x, w)
    assert parallel_steps(free.plan.steps)
    last = free.peak
    within = lamella.compile(chains, memory=free.peak - 1)
    found = lamella.plan(within, x, w)
    assert found.peak < last and not parallel_steps(found.plan.steps)
    assert same_bits(within(x, w).numpy(), chains(x, w).numpy())
    for budget in range(free.peak, found.peak - 1, -1024):
        peak = lamella.plan(lamella.compile(chains, memory=budget), x, w).peak
        assert peak <= min(budget, last)
        last = peak


def test_the_curve_begins_with_the_plan_without_a_budget(whatever_it_costs):
    x, w = lamella.spec((8, 256)), lamella.spec((256, 256))
    assert lamella.memory_curve(chains, x, w)[0].peak == lamella.plan(chains, x, w).peak


def test_updates_stay_in_place(whatever_it_costs):
    """A step that takes a donated argument's bytes is not brought before the argument's readers."""

    def step(w, v, x):
        loss = lamella.square(x @ w @ v).mean()
        return w - 0.1 * loss, v - 0.1 * (w.sum() + loss), loss

    given = [lamella.spec((64, 64)), lamella.spec((64, 64)), lamella.spec((32, 64))]
    found = lamella.plan(lamella.compile(step, donate=("w", "v")), *given)
    assert found.memory.results <= 64


def test_a_saved_plan_keeps_its_parallel_steps():
    program = lamella.trace(branches, X, *WEIGHTS)
    plan = build_plan(program, target(), threads=2)
    again = from_bytes(to_bytes(plan), program)
    assert len(parallel_steps(again.steps)[0].members) == 4
    arrays = [X.numpy(), *(w.numpy() for w in WEIGHTS)]
    a, b = (execute(Executable(p), arrays) for p in (again, plan))
    assert all(map(same_bits, a, b))


@lamella.foreign(result=lambda x: x, name="tests.parallel.slowly")
def slowly(x):
    return np.sort(x, axis=-1)


def beside_a_call(x, w):
    return slowly(x), lamella.tanh(x @ w) @ w


def test_a_host_function_is_called_beside_launches(tmp_path):
    x, w = some(3, 256, 256), some(4, 256, 256)
    compiled = lamella.compile(beside_a_call)
    [step] = parallel_steps(lamella.plan(compiled, x, w).plan.steps)
    assert isinstance(step.members[0], Host) and isinstance(step.members[1], Launch)
    a, b = compiled(x, w)
    assert same_bits(a.numpy(), np.sort(x.numpy(), -1))
    assert same_bits(b.numpy(), (lamella.tanh(x @ w) @ w).numpy())
    from lamella.base.events import recording
    with recording(tmp_path / "trace.json"):
        compiled(x, w)[0].numpy()
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    [whole] = [e for e in events if e["name"] == step.names]
    [call] = [e for e in events if e["name"] == "call tests.parallel.slowly"]
    assert whole["args"]["reads"] and whole["tid"] != call["tid"]


@pytest.mark.parametrize("seed", [300091, *range(1, 20, 2)])
def test_a_plan_keeps_a_budget_of_what_it_needs_without_one(seed, whatever_it_costs):
    """In parallel, in another order, it may need less than one launch after another."""
    program = Maker(seed, "wild").program
    chosen = random.Random(seed)
    donated = frozenset(k for k in range(len(program.inputs)) if chosen.random() < 0.5)
    free = build.peak(build_plan(program, target(), donated, threads=2), 2)
    within = build_plan(program, target(), donated, budget=Budget(free, 2), threads=2)
    assert build.peak(within, 2) <= free
