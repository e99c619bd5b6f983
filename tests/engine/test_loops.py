"""Loops as they run: interrupted, shared among threads of Python, on one thread and two."""

import os
import signal
import threading

import numpy as np
import pytest
from ops.cases import same_bits

import lamella
from lamella.runtime import walker


def forever(x):
    return lamella.while_loop(lambda c: c[0] > -1.0, lambda c: (c[0] * 0.5, c[1] + 1), (x, 0))


def test_a_signal_ends_a_loop_and_the_next_call_runs():
    f = lamella.compile(lambda x: forever(x.sum()))
    killer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        f(lamella.ones(3))
    killer.join()
    assert int(forever(lamella.asarray(-2.0))[1]) == 0
    assert int(f(lamella.asarray([-2.0, -1.0]))[1]) == 0


def steps(a, x):
    return lamella.scan(lambda c, v: (lamella.tanh(c @ a) + v, c.sum(axis=0)), x[0], x)


def test_threads_do_not_change_a_loop_s_bits():
    rng = np.random.default_rng(1)
    a, x = (lamella.asarray(rng.standard_normal(s).astype(np.float32))
            for s in ((160, 160), (6, 200, 160)))
    f, before = lamella.compile(steps), walker.threads()
    try:
        found = []
        for count in (1, 2):
            walker.set_threads(count)
            found.append([np.array(y) for y in f(a, x)])
    finally:
        walker.set_threads(before)
    assert all(map(same_bits, *found))


def test_calls_from_several_threads_do_not_disturb_each_other():
    f = lamella.compile(steps)
    a = lamella.ones((5, 5)) * 0.1
    inputs = [lamella.asarray(np.full((40, 3, 5), k, np.float32)) for k in range(4)]
    expected = [np.array(f(a, x)[1]) for x in inputs]
    wrong = []

    def call(k):
        for _ in range(50):
            if not same_bits(np.array(f(a, inputs[k])[1]), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_plan_shows_its_loops():
    report = lamella.plan(lambda a, x: lamella.cond(a[0, 0] > 0, lambda: steps(a, x)[0],
                                                    lambda: x[0]),
                          lamella.ones((5, 5)), lamella.ones((7, 3, 5)))
    text = report.kernels()
    assert "branch" in text and "7 trips" in text and "    contract" in text
    inside = 2 * 3 * 5 * 5 * 7
    assert inside <= report.flops < 3 * inside
