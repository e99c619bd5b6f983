"""Scans that save less for the scans of their gradients, and slices written over slices."""

import numpy as np
import pytest
from engine.random_programs import Maker
from ops.cases import execute, same_bits
from planner.test_memory import key, leaves, numbers
from planner.test_parts import checked, traced

import lamella
from lamella import nn
from lamella.engine.executable import Executable
from lamella.engine.kernels import target
from lamella.engine.measure import measure
from lamella.engine.value import Value
from lamella.ir.interpret import interpret
from lamella.planner import build
from lamella.planner.build import build_plan
from lamella.planner.groups.partition import LITTLE, MUCH
from lamella.planner.groups.prune import prune
from lamella.planner.groups.trips import keep_less
from lamella.planner.plan import Copy, Order
from lamella.planner.report import Report


def trained(layer, rows=6, length=12, width=24):
    """A recurrent layer's loss and gradients, time in front within."""
    def step(layer, x, y):
        return lamella.value_and_grad(lambda m: lamella.square(m(x)[0] * y).mean())(layer)

    return step, (layer, numbers(rows, length, width), numbers(rows, length, 1, seed=1))


def lstm(**options):
    return trained(nn.LSTM(24, 16, key=key(0), **options))


def gru():
    return trained(nn.GRU(24, 16, key=key(1)))


def rnn():
    return trained(nn.RNN(24, 16, key=key(2)))


def written_out():
    """A loop of one's own that saves everything, read from both ends, with integers beside."""
    def step(w, x):
        def trip(c, given):
            row, k = given
            h = lamella.tanh(c @ w + row) * lamella.exp(-row * row)
            return h * lamella.sigmoid(h), (h + k.astype("float32"), lamella.sigmoid(row))

        def loss(w):
            c, (a, b) = lamella.scan(trip, x[0], (x, lamella.arange(9)), save="all")
            return (c * c).sum() + (a * lamella.flip(b, axis=0)).sum()
        return lamella.value_and_grad(loss)(w)

    return step, (numbers(16, 16, seed=3) * 0.3, numbers(9, 8, 16))


def saved(program) -> int:
    """Bytes of all stacked results of scans."""
    return sum(t.bytes for n in program.nodes() if n.op.name == "scan"
               for t in n.type.items[n.params["carries"]:])


MAKES = [lstm, lambda: lstm(layers=2, bidirectional=True), gru, rnn, written_out]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("worth", [LITTLE, MUCH, 100.0])
def test_what_is_computed_again_has_the_same_bits(make, worth):
    program, arrays = traced(*(lambda f, args: (f, *args))(*make()))
    before = prune(program)
    after = keep_less(before, worth)
    assert saved(after) <= saved(before)
    for a, b in zip(interpret(after, arrays), interpret(before, arrays), strict=True):
        assert same_bits(a, b)


def test_a_gradients_scan_reads_fewer_and_larger_values(monkeypatch):
    """Of an LSTM's trip the mapped input is kept, before the gates are cut out of it."""
    program, _ = traced(*(lambda f, args: (f, *args))(*lstm()))
    assert saved(keep_less(prune(program), LITTLE)) < saved(prune(program))
    f, args = lstm()
    whole = lamella.plan(f, *args)
    floor = lamella.memory_curve(f, *args)[-1].peak
    with monkeypatch.context() as m:
        m.setattr(build, "keep_less", lambda p, worth: p)
        assert lamella.memory_curve(f, *args)[-1].peak > floor
        assert lamella.plan(f, *args).peak >= whole.peak


@pytest.mark.parametrize("make", MAKES)
def test_budgets_keep_bits_and_bytes(make):
    f, args = make()
    expected = [np.array(a) for a in leaves(lamella.compile(f)(*args))]
    points = lamella.memory_curve(f, *args)
    for p in {p.peak: p for p in (points[len(points) // 2], points[-1])}.values():
        g = lamella.compile(f, memory=p.peak)
        assert lamella.plan(g, *args).peak == p.peak
        assert lamella.measure(g, *args).peak == p.peak
        assert all(same_bits(np.array(a), b)
                   for a, b in zip(leaves(g(*args)), expected, strict=True))


def test_a_loop_writes_its_slices_over_those_it_has_read():
    def f(x, w):
        a = lamella.exp(x @ w)      # read by the loop alone
        return lamella.scan(lambda c, row: (c + row, lamella.tanh(row) * 2.0), a[0] * 0, a)[1] @ w

    program, arrays = traced(f, numbers(32, 64, 64), numbers(64, 64, seed=1))
    plan = build_plan(program, target())
    executable = Executable(plan)
    found = measure(executable, [Value.from_numpy(a) for a in arrays], runs=1)
    assert found.temporaries == Report(plan, found.report.profile, found.report.threads,
                                       {}).memory.temporaries
    assert found.temporaries < 1.5 * 32 * 64 * 64 * 4
    for a, b in zip(execute(executable, arrays), execute(Executable(
            build_plan(program, target(), fused=False)), arrays), strict=True):
        assert same_bits(a, b)


@pytest.mark.parametrize("body", [
    lambda c, row: (c * 0.5 + row, (lamella.tanh(c), row)),      # the slice is read behind
    lambda c, row: (c + row[::-1], (row[::-1] * 2.0, c)),        # and at other places
    lambda c, row: (row, (c, lamella.sigmoid(row))),             # and carried on
    lambda c, row: (c + row, (row, row * 3.0)),                  # two results of its size
])
@pytest.mark.parametrize("reverse", [False, True])
def test_slices_that_are_needed_are_not_written_over(body, reverse):
    def f(x, w):
        a = lamella.tanh(x @ w)
        c, (b, d) = lamella.scan(body, a[0], a, reverse=reverse)
        return c, b, d @ w, lamella.scan(body, c, b, reverse=not reverse)[1][0]

    program, arrays = traced(f, numbers(7, 8, 16), numbers(16, 16, seed=1))
    whole = execute(Executable(build_plan(program, target())), arrays)
    apart = execute(Executable(build_plan(program, target(), fused=False)), arrays)
    assert all(same_bits(a, b) for a, b in zip(whole, apart, strict=True))
    assert all(np.allclose(a, b, 1e-4, 1e-4)
               for a, b in zip(whole, interpret(program, arrays), strict=True))


def test_products_that_add_to_a_carry_write_it_in_place():
    """A gradient's sum over trips has the bytes of one."""
    f, args = lstm()
    leaves = Order(lamella.plan(f, *args).plan.steps).leaves
    assert any(getattr(s, "names", "") == "contract+add" for s in leaves)
    assert not [s for s in leaves if isinstance(s, Copy) and s.names == "carry" and
                s.target.count == 16 * 64]


def head_over_time(rows=32, length=8, width=16, words=256):
    """A loop leaves time in front; a wide head reads it row by row."""
    def step(w, x):
        h = lamella.scan(lambda c, row: (lamella.tanh(c + row),) * 2, x[0], x)[1]

        def loss(w):
            out = lamella.permute_dims(h, (1, 0, 2)) @ w
            return lamella.square(lamella.softmax(out, axis=-1)).sum()
        value, g = lamella.value_and_grad(loss)(w)
        return value, w - 0.1 * g

    return step, (numbers(width, words) * 0.2, numbers(length, rows, width, seed=2))


def test_parts_are_read_out_of_several_blocks_that_stand_whole(monkeypatch):
    f, args = head_over_time()
    whole = lamella.plan(f, *args)
    budget = whole.peak - 32 * 8 * 256 * 4 // 2
    kept = lamella.plan(f, *args, memory=budget)
    assert kept.peak <= budget and kept.in_parts
    program, arrays = traced(f, *args)
    found = [checked(program, arrays, frozenset(), seed, monkeypatch) for seed in range(8)]
    assert any(c.loop is not None for c in found)


@pytest.mark.parametrize("seed", range(6))
def test_recurrent_steps_keep_their_bits_in_parts(seed, monkeypatch):
    program, arrays = traced(*(lambda f, args: (f, *args))(*lstm()))
    checked(program, arrays, frozenset(), seed, monkeypatch)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs(seed):
    made = Maker(7000 + seed, "wild")
    whole = execute(Executable(build_plan(made.program, target())), made.arrays)
    apart = execute(Executable(build_plan(made.program, target(), fused=False)), made.arrays)
    assert all(same_bits(a, b) for a, b in zip(whole, apart, strict=True))
