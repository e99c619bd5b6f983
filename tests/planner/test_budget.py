"""A memory budget is kept by another order and by values computed again, or refused."""

from functools import cache

import numpy as np
import pytest
from ops.cases import same_bits
from planner.test_memory import (
    GUARD,
    Arena,
    cache_of_keys,
    leaves,
    loop_in_loop,
    mlp_step,
    numbers,
    open_loop,
    paint,
    recurrent_step,
    running,
    touched,
)
from planner.training_steps import conv_net, copied, deep_mlp, small_gpt

import lamella
from lamella.api import namespace as F
from lamella.base.errors import BudgetError
from lamella.engine.kernels import target
from lamella.planner import build
from lamella.planner.memory.budget import Budget, least_bytes
from lamella.planner.memory.liveness import Draft
from lamella.planner.memory.place import lower_bound
from lamella.planner.memory.trail import Divider, trail
from lamella.planner.plan import Launch, Loop
from lamella.planner.schedule import Scheduler
from lamella.runtime.walker import threads

MODELS = [mlp_step, deep_mlp, small_gpt, conv_net]
LOOPS = [recurrent_step, cache_of_keys, loop_in_loop, open_loop]


@cache
def drafts(make) -> list[Draft]:
    """The whole trail of a search."""
    f, args = make()
    plan = lamella.plan(compiled(f), *args).plan
    seen: list[Draft] = []

    def keep(makers, budget, divider):
        for make in makers:
            plan = make()
            seen.extend(d for d, _ in trail(Draft(plan, plan.steps, {}), divider))
        raise BudgetError("seen")   # the drafts' values must go on to stand apart

    with pytest.MonkeyPatch.context() as m:
        m.setattr(build, "keep", keep)
        with pytest.raises(BudgetError, match="seen"):
            build.build_plan(plan.program, target(), plan.donated, plan.fixed, budget=Budget(1))
    return seen


def peaks(make) -> list[int]:
    return [d.memory(threads()).peak for d in drafts(make)]


@cache
def floor_of(make) -> int:
    """The smallest budget that is not refused."""
    f, args = make()
    return lamella.memory_curve(compiled(f), *args)[-1].peak


def compiled(f, memory=None):
    donate = ("model", "state") if "state" in f.__code__.co_varnames[:2] else ()
    return lamella.compile(f, donate=donate, memory=memory)


def bound_of(draft: Draft) -> int:
    return least_bytes(draft, threads(), Divider(Scheduler(target())))


def in_parts(draft: Draft) -> list[Loop]:
    return [s for s in draft.steps if isinstance(s, Loop) and s.parts]


def budgets(make) -> list[int]:
    """Between the full peak and the floor."""
    full, floor = peaks(make)[0], floor_of(make)
    return [(full + floor) // 2, floor]


@pytest.mark.parametrize("make", MODELS)
def test_a_budget_is_kept_with_the_same_bits_and_the_bytes_of_the_plan(make, monkeypatch):
    f, args = make()
    expected = [np.array(a) for a in leaves(compiled(f)(*copied(args)))]
    for budget in budgets(make):
        g = compiled(f, budget)
        g(*copied(args))
        entry, = g.entries.values()
        bound = entry.executable.only
        report = lamella.plan(g, *args)
        assert report.peak <= budget
        assert bound.arena_bytes == report.memory.temporaries
        arena = Arena(bound.arena_bytes + GUARD)
        with monkeypatch.context() as m:
            m.setattr(running, "lease", lambda n, arena=arena: arena)
            m.setattr(running, "release", lambda arena: None)
            paint(arena.address, arena.size)
            found = leaves(g(*copied(args)))
        assert touched(arena.address, arena.size)[0] == bound.arena_bytes
        assert all(same_bits(np.array(a), b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("make", [deep_mlp, conv_net])
def test_the_peak_is_monotone_in_the_budget(make):
    f, args = make()
    full, floor = peaks(make)[0], floor_of(make)
    found = [lamella.plan(compiled(f), *args, memory=b).peak
             for b in range(floor, full + 1, max(1, (full - floor) // 4))]
    assert found == sorted(found) and found[0] == floor


@pytest.mark.parametrize("make", [deep_mlp, small_gpt])
def test_the_floor_is_well_below_the_full_peak(make):
    whole = drafts(make)[0].memory(1)
    assert floor_of(make) <= peaks(make)[0] - whole.temporaries // 3


@pytest.mark.parametrize("make", [mlp_step, deep_mlp, conv_net, *LOOPS])
def test_below_the_floor_is_refused_before_anything_is_compiled(make):
    f, args = make()
    floor = floor_of(make)
    assert lamella.plan(compiled(f), *args, memory=floor).peak == floor
    g = compiled(f, floor - 1)
    with pytest.raises(BudgetError, match=r"arguments .* results .* temporaries .* "
                                          rf"\({floor} bytes\).*\.py:\d+.* no plan .* batch"):
        g(*args)
    assert not g.entries


def test_below_the_bound_is_refused_at_once(monkeypatch):
    """Without a search: where no plan of these kernels keeps the budget, none is looked for."""
    f, args = deep_mlp()
    bound = min(bound_of(d) for d in drafts(deep_mlp) if not in_parts(d) and not any(
        getattr(s, "again", False) for s in d.steps))
    monkeypatch.setattr("lamella.planner.memory.budget.front", None)
    with pytest.raises(BudgetError, match=rf"No plan .* less than .*\({bound} bytes\), where .*"
                                          r"\.py:\d+.* batch"):
        lamella.plan(compiled(f), *args, memory=bound - 1)


@pytest.mark.parametrize("make", [deep_mlp, conv_net])
def test_the_curve_is_of_the_plans_that_budgets_choose(make):
    f, args = make()
    curve = lamella.memory_curve(compiled(f), *args)
    assert curve[0].peak == lamella.plan(compiled(f), *args).peak and not curve[0].again
    assert curve[-1].peak == floor_of(make)
    assert [p.peak for p in curve] == sorted((p.peak for p in curve), reverse=True)
    for p in curve[::4]:
        kept = lamella.plan(compiled(f), *args, memory=p.peak)
        assert kept.peak == p.peak and len(kept.recomputed) == p.again


@pytest.mark.parametrize("make", LOOPS)
def test_programs_with_loops_keep_their_bits_at_the_floor(make):
    f, args = make()
    found = leaves(compiled(f, floor_of(make))(*args))
    assert all(same_bits(np.array(a), np.array(b))
               for a, b in zip(found, leaves(compiled(f)(*args)), strict=True))


@pytest.mark.parametrize("make", [*MODELS, *LOOPS])
def test_no_plan_needs_less_than_the_stated_bound(make):
    bounds = {bound_of(d) for d in drafts(make)[::4] if not in_parts(d)}
    assert max(bounds) <= floor_of(make)


@pytest.mark.parametrize("make", [*MODELS, *LOOPS])
def test_what_a_draft_says_of_liveness_is_what_placement_sees(make):
    for draft in drafts(make)[::8]:
        memory = draft.memory(1)
        assert memory.results + memory.temporaries >= draft.peak
        assert draft.live.max() == draft.peak and (draft.between <= draft.peak).all()


@pytest.mark.parametrize("make", [mlp_step, deep_mlp, small_gpt, conv_net])
def test_donated_arguments_are_updated_in_place_within_a_budget_too(make):
    """Only the loss gets bytes of its own."""
    assert all(d.memory(1).results == 64 for d in drafts(make)[::4])


def test_a_report_says_what_is_computed_again(monkeypatch):
    monkeypatch.setattr(build, "_divider", lambda scheduler: None)
    f, args = deep_mlp()
    full = lamella.plan(compiled(f), *args)
    floor = lamella.memory_curve(compiled(f), *args)[-1].peak
    least = lamella.plan(compiled(f), *args, memory=floor)
    assert not full.recomputed and "recomputed" not in str(full) and not least.in_parts
    again = least.recomputed
    assert again and all(isinstance(s, Launch) for s in again)
    assert least.flops == full.flops + sum(s.flops for s in again)
    assert f"recomputed   {len(again):>12}   steps" in str(least)
    assert lower_bound(least.layout.intervals) <= least.memory.temporaries


def test_a_budget_that_fits_changes_nothing():
    f, args = deep_mlp()
    full = lamella.plan(compiled(f), *args)
    kept = lamella.plan(compiled(f), *args, memory=full.peak)
    assert [s.kernel.name for s in full.plan.launches()] == [
        s.kernel.name for s in kept.plan.launches()]


def test_a_plan_of_the_cache_is_that_of_its_budget():
    """Two budgets of one function, twice: the second time from the cache of plans."""
    f, args = deep_mlp()
    full, floor = peaks(deep_mlp)[0], floor_of(deep_mlp)
    for _ in range(2):
        for budget in (full, floor):
            g = compiled(f, budget)
            g(*copied(args))
            entry, = g.entries.values()
            parts = [s for s in entry.executable.plan.steps if isinstance(s, Loop) and s.parts]
            assert bool(parts) == (budget == floor)


@lamella.foreign(result=lambda x: x, name="test.noted")
def noted(x):
    noted.calls += 1
    return x * 2


def test_host_functions_run_once_and_in_their_order(capfd):
    def f(x):
        y = noted(x)
        ys = [y]
        for k in range(5):
            ys.append(F.tanh(ys[-1] @ x))
            lamella.debug.print("forward {}", k)
        out = ys[-1]
        for y in reversed(ys):
            out = F.exp(-(y * y)) @ out
        lamella.debug.print("done")
        return out

    x = numbers(32, 32)
    noted.calls = 0
    expected = np.array(lamella.compile(f)(x))
    told = capfd.readouterr().out
    floor = lamella.memory_curve(f, x)[-1].peak
    assert lamella.plan(f, x, memory=floor).recomputed
    assert same_bits(np.array(lamella.compile(f, memory=floor)(x)), expected)
    assert noted.calls == 2 and capfd.readouterr().out == told != ""


def test_a_budget_holds_at_the_bounds_of_symbols():
    b = lamella.symbol("B", 1, 64)

    def f(x, w):
        ys = [x]
        for _ in range(6):
            ys.append(F.tanh(ys[-1] @ w))
        out = ys[-1]
        for y in reversed(ys):
            out = (out * y) @ w
        return out

    args = numbers(5, 48), numbers(48, 48, seed=1)
    whole = lamella.compile(f, sizes={"x": (b, None)})
    entry = whole(*args)
    floor = lamella.memory_curve(whole, lamella.spec((64, 48)), args[1])[-1].peak
    assert floor < lamella.plan(whole, lamella.spec((64, 48)), args[1]).peak
    g = lamella.compile(f, sizes={"x": (b, None)}, memory=floor)
    assert same_bits(np.array(g(*args)), np.array(entry))
    assert lamella.plan(g, lamella.spec((64, 48)), args[1]).peak <= floor
