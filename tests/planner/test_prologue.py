"""What follows from fixed inputs alone is laid out once, counted, and changes no bits."""

import numpy as np

import lamella
from lamella.base.extents import symbol
from lamella.engine.program import compile_program
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
