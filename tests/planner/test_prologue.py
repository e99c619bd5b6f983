"""What follows from fixed inputs alone is laid out once, counted, and changes no bits."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ops.cases import same_bits

import lamella
from lamella.base.errors import BudgetError
from lamella.base.extents import symbol
from lamella.engine.constants import Constants
from lamella.engine.program import compile_program
from lamella.engine.value import Value
from lamella.lang.loops import show_kernel
from lamella.runtime import table


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_captured_weights_are_packed_once(monkeypatch):
    w = lamella.asarray(numbers(48, 96, seed=1))
    x = numbers(64, 48, seed=2)
    given = lamella.compile(lambda x, w: lamella.tanh(x @ w))
    captured = lamella.compile(lambda x: lamella.tanh(x @ w))
    expected = np.array(given(x, w))
    runs = []
    before = table.Table.run
    monkeypatch.setattr(table.Table, "run", lambda self, *given: (
        runs.append(len(self.steps)), before(self, *given))[1])
    for _ in range(3):
        assert np.array_equal(np.array(captured(x)), expected)
    assert runs == [1, 1, 1, 1]   # the prologue, then the product alone
    report = lamella.plan(captured, lamella.spec((64, 48)))
    assert report.memory.constants == 48 * 96 * 4
    assert report.peak == captured.measure(x).peak


def test_batches_of_all_sizes_share_the_packed_weights():
    b = symbol("B", 1, 128)
    program = lamella.trace(lambda x, w: lamella.relu(x @ w), lamella.spec((b, 40)),
                            lamella.spec((40, 70)))
    w = numbers(40, 70)
    run = compile_program(program, {1: w})
    plain = compile_program(program)
    for n in (33, 64, 100, 33):
        x = numbers(n, 40, seed=n)
        assert np.array_equal(run([x, w])[0], plain([x, w])[0])
    assert len(run.executable.constants.made) == 1


def test_what_depends_on_an_argument_stays():
    plan = lamella.plan(lambda x, w: x @ w, lamella.spec((4096, 1024)),
                        lamella.spec((1024, 1024))).plan
    assert not plan.prologue and any(s.lays_out for s in plan.launches())


def test_lazy_arrays_of_the_outside_are_evaluated_once():
    w = lamella.random.normal(lamella.random.key(0), (96, 96))     # nothing is computed yet
    report = lamella.plan(lambda x: x @ w, lamella.spec((1, 96)))
    assert report.flops == 2 * 96 * 96 and len(report.plan.launches()) == 1
    assert lamella.plan(lambda x: x @ w, lamella.spec((1, 96))).flops == report.flops


V = np.abs(numbers(64)) + 0.1


def normalized(x, v, g):
    return x * (lamella.rsqrt(v + 1e-5) * g)


def test_a_dear_factor_of_the_columns_is_computed_once():
    """Not for every row; of the rows' own factor a kernel's inner loop needs one."""
    x, v, g = numbers(512, 40), np.abs(numbers(40)), numbers(40, seed=1)
    plan = lamella.plan(normalized, x, v, g).plan
    assert ["rsqrt" in show_kernel(s.kernel) for s in plan.launches()] == [True, False]
    assert len(lamella.plan(lambda x, v: x * lamella.rsqrt(v + 1e-5), x,
                            np.abs(numbers(512, 1))).plan.launches()) == 1
    assert len(lamella.plan(normalized, x[:4], v, g).plan.launches()) == 1      # or hardly more
    assert same_bits(lamella.compile(normalized)(x, v, g).numpy(),
                     normalized(*map(lamella.asarray, (x, v, g))).numpy())


def test_small_values_of_what_never_changes_are_computed_before():
    x, v, g = numbers(512, 40), lamella.asarray(np.abs(numbers(40))), lamella.asarray(numbers(40))
    run = lamella.compile(lambda x: (normalized(x, v, g), lamella.rsqrt(v)))
    plan = lamella.plan(run, x).plan
    assert len(plan.prologue) == 1 and [b.bytes for b in plan.constants] == [160]
    assert not any("rsqrt" in show_kernel(s.kernel) for s in plan.launches() if s.tasks != 1)
    assert run.measure(x).peak == lamella.plan(run, x).peak
    for _ in range(2):
        found, given = run(x), normalized(lamella.asarray(x), v, g)
        assert same_bits(found[0].numpy(), given.numpy())
        assert same_bits(found[1].numpy(), lamella.rsqrt(v).numpy())     # a result is none


def test_large_values_of_what_never_changes_stay_where_they_are():
    w = lamella.asarray(numbers(512, 40))
    plan = lamella.plan(lambda x: x @ lamella.exp(w), numbers(64, 512)).plan
    assert not any("exp" in s.names for s in plan.prologue)


def test_a_refused_budget_names_constants():
    v = lamella.asarray(V)
    with pytest.raises(BudgetError, match="constants 256 B"):
        lamella.compile(lambda x: normalized(x, v, v), memory="1 KiB")(numbers(512, 64))


def test_dear_values_that_take_much_room_are_not_kept():
    """They are read by what is summed at once: to compute them again costs time, not memory."""
    def f(a, s):
        return lamella.tanh(lamella.exp(a) * s[:, None, None]).sum((1, 2))

    assert lamella.plan(f, numbers(512, 512), numbers(8)).memory.temporaries < 1 << 20


def carried(x):
    v = lamella.rsqrt(lamella.asarray(V)) * 2
    return lamella.scan(lambda c, t: (lamella.tanh(c + t), c.sum()), v, x)


def repeated(x):
    return lamella.while_loop(lambda c: c.sum() < 1e4, lambda c: c * 1.5 + x.sum(),
                              lamella.exp(lamella.asarray(V)))


def chosen(x):
    v = lamella.rsqrt(lamella.asarray(V))
    return lamella.cond(x.sum() > 0, lambda: v * 2, lambda: v + 1)


def turned(x):
    """Complex numbers are two on the machine, before all calls as well."""
    return lamella.exp(lamella.asarray(V.astype(np.complex64))) * x


@pytest.mark.parametrize("f", [carried, repeated, chosen, turned])
def test_nothing_writes_over_what_was_computed_before(f):
    x = lamella.asarray(np.abs(numbers(16, 64)))
    run = lamella.compile(f)
    assert lamella.plan(run, x).plan.prologue
    for _ in range(3):
        for a, b in zip(lamella.tree.leaves(run(x)), lamella.tree.leaves(f(x)), strict=True):
            assert same_bits(a.numpy(), b.numpy())
    assert run.measure(x).peak == lamella.plan(run, x).peak


def test_threads_that_call_at_once_share_what_was_computed_before(monkeypatch):
    """Both computed it, and the first had the addresses of memory that was given back."""
    v, made, before = lamella.asarray(V), [], Constants._run
    plan = lamella.plan(lambda x: normalized(x, v, v), numbers(512, 64)).plan
    constants = Constants(plan, {k: Value.from_numpy(V) for k in plan.fixed})

    def slowly(step, env, known):
        made.append(step)
        time.sleep(0.05)
        return before(step, env, known)

    monkeypatch.setattr(Constants, "_run", staticmethod(slowly))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(constants.addresses, [{}] * 4))
    assert len(made) == len(plan.prologue) == 1 and found == [found[0]] * 4
