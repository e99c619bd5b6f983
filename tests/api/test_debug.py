"""Prints and checks: in order, once each, compiled or not, in loops, branches, lanes."""

import numpy as np
import pytest

import lamella
from lamella.base.errors import DTypeError, ExecutionError, LamellaError


def say(message, *args):
    lamella.debug.print(message, *args)


def straight(x):
    say("a {}", x.sum())
    say("a {}", x.sum())
    say("plain {}")
    return x * 2


def looped(x):
    def trip(c, v):
        say("trip {} {:.1f}", c, v)
        return c + 1, v
    say("before")
    n, _ = lamella.scan(trip, 0, x)
    say("after {}", n)
    return n


def branched(x):
    def other():
        say("small")
        return x
    for y in (x, -x):
        lamella.cond(y.sum() > 1, lambda: x, other)
    return x


def counting(x):
    def trip(n):
        say("n {}", n)
        return n + 1
    return lamella.while_loop(lambda n: n < 3, trip, 0)


def lanes(x):
    def one(v):
        say("lane {}", v)
        return v + 1
    say("before")
    y = lamella.vmap(one)(x)
    say("after")
    return y


def in_gradient(x):
    def loss(x):
        say("forward {}", x.sum())
        return lamella.scan(lambda c, v: (say("step {}", v), (c * v, None))[1], 1.0, x)[0]
    return lamella.value_and_grad(loss)(x)


X = lamella.asarray(np.array([0.5, 1.0, 2.0], np.float32))
CASES = {
    straight: ["a 3.5", "a 3.5", "plain {}"],
    looped: ["before", "trip 0 0.5", "trip 1 1.0", "trip 2 2.0", "after 3"],
    branched: ["small"], counting: ["n 0", "n 1", "n 2"],
    lanes: ["before", "lane 0.5", "lane 1.0", "lane 2.0", "after"],
    in_gradient: ["forward 3.5", "step 0.5", "step 1.0", "step 2.0"],
}


@pytest.mark.parametrize("f", CASES)
def test_each_line_is_printed_once_and_in_order(f, capfd):
    compiled = lamella.compile(f)
    for run in (f, compiled, compiled):
        for a in lamella.tree.leaves(run(X)):
            a.numpy()
        assert capfd.readouterr().out.split("\n")[:-1] == CASES[f]


def test_a_print_of_an_unused_value_stays(capfd):
    @lamella.compile
    def f(x):
        say("{}", (x * x).sum())
        return x
    f(X)
    assert capfd.readouterr().out == "5.25\n"


def checked(x):
    lamella.check(x > 0, "x is {}", x.min())
    return lamella.sqrt(x)


def test_a_check_that_holds_is_silent():
    for f in (checked, lamella.compile(checked)):
        np.testing.assert_allclose(np.array(f(X)), np.sqrt(np.array(X)))


@pytest.mark.parametrize("wrap", [lambda f: f, lamella.compile, lambda f: lamella.compile(
    lambda x: lamella.scan(lambda c, v: (c, f(v)), 0, x.reshape((3, 1)))[1]),
    lambda f: lamella.vmap(lambda v: f(v.reshape((1,)))),
    lambda f: lamella.compile(lambda x: lamella.cond(x.sum() < 9, f, lambda v: v, x))])
def test_a_check_that_fails_raises_at_its_line(wrap):
    with pytest.raises(ExecutionError, match=r"check failed: x is -1.0 \(test_debug.py:\d+\)"):
        wrap(checked)(lamella.asarray(np.array([1.0, -1.0, 2.0], np.float32)))


def test_checks_take_booleans():
    with pytest.raises(DTypeError, match="comparison"):
        lamella.check(X, "")


def test_where_order_cannot_be_kept_it_is_refused():
    def f(x):
        say("x")
        return x
    with pytest.raises(LamellaError, match="not possible inside"):
        lamella.checkpoint(f)(X)
