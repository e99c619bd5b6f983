"""Calls of compiled functions with arrays as they are: what they hold, give back and refuse."""

import gc
import sys
import threading

import numpy as np
import pytest

import lamella
from lamella.base.errors import DonatedError, ExecutionError
from lamella.runtime.signature import offset


@lamella.compile
def both(x, y):
    return x + y, x * y


def direct(f) -> bool:
    """Whether the last call's specialisation is called without Python code."""
    return f.last[1].executable.signed


def entries(f) -> int:
    return len(f.entries)


def test_results_are_those_of_a_first_call():
    x, y = lamella.asarray(np.arange(6, dtype="float32")), lamella.ones((6,))
    first, again = both(x, y), both(x, y)
    assert direct(both)
    for a, b in zip(first, again, strict=True):
        assert type(b) is lamella.Array and b.shape == (6,) and b.dtype is lamella.float32
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_results_go_on_being_usable():
    x = lamella.ones((3,))
    both(x, x)
    s, p = both(x, x)
    s, p = both(s, p)                                   # as arguments
    assert float((s + p).sum()) == 3 * (3 + 2)          # uncompiled
    assert lamella.grad(lambda s: (s * s).sum())(s).tolist() == [6.0] * 3
    s[0] = 5.0
    assert s.tolist() == [5.0, 3.0, 3.0] and p.tolist() == [2.0] * 3
    assert repr(p).startswith("Array([2., 2., 2.]")


@pytest.mark.parametrize("other", [
    np.full(4, 2, "float32"), 2.0, [2.0] * 4, lamella.asarray(2.0), lamella.full((4,), 2),
    lamella.full((4,), 2.0, dtype="float64")], ids=repr)
def test_other_arguments_are_looked_up(other):
    f = lamella.compile(lambda x, y: x * y)
    x = lamella.ones((4,))
    f(x, x), f(x, x)
    if isinstance(other, list):
        other = [lamella.asarray(v) for v in other]
        f = lamella.compile(lambda x, y: x * (y[0] if isinstance(y, list) else y))
        f(x, x), f(x, x)
    assert f(x, other).numpy().tolist() == [2.0] * 4
    assert f(x, x).numpy().tolist() == [1.0] * 4 and entries(f) <= 2


def test_arrays_without_a_value_yet_are_evaluated():
    x = lamella.ones((4,))
    both(x, x), both(x, x)
    y = x + 1.0
    y[0] = 7.0
    assert both(x, y)[0].tolist() == [8.0, 3.0, 3.0, 3.0]


def test_a_donated_argument_is_refused_where_it_is_passed_again():
    take = lamella.compile(lambda x: x + 1.0, donate="x")
    x = lamella.ones((4,))
    both(x, x), both(x, x)
    take(x)
    with pytest.raises(DonatedError, match="donated to .* at "):
        both(x, x)


def test_captured_arrays_come_along():
    w = lamella.asarray([1.0, 2.0])
    f = lamella.compile(lambda x: x * w)
    x = lamella.ones((2,))
    assert f(x).tolist() == f(x).tolist() == [1.0, 2.0] and direct(f)


def test_a_view_keeps_its_result_from_being_used_again():
    x = lamella.ones((16,))
    f = lamella.compile(lambda x, k: x * k)
    views = [f(x, lamella.asarray(float(k))).numpy() for k in range(200)]
    assert [v[3] for v in views] == [float(k) for k in range(200)]


def test_nothing_is_lost_or_kept():
    x, y = lamella.ones((8,)), lamella.ones((8,))
    x.numpy(), y.numpy()
    for _ in range(2):
        both(x, y), both(x, 1.0)
    gc.collect()
    objects = x, x.node, x.node.data, x.node.data.type, x.node.data.owner
    counts, blocks = [sys.getrefcount(o) for o in objects], sys.getallocatedblocks()
    for _ in range(20_000):
        both(x, y)
        both(x, 1.0)
    gc.collect()
    assert sum(abs(sys.getrefcount(o) - n) for o, n in zip(objects, counts, strict=True)) < 10
    assert sys.getallocatedblocks() - blocks < 2_000


def test_what_a_host_function_raises_comes_through():
    fails = []

    @lamella.foreign(result=lambda x: x, name="test.calls.maybe", pure=False)
    def maybe(x):
        if fails:
            raise KeyError("no")
        return x

    f = lamella.compile(lambda x: (maybe(x), x + 1.0))
    x = lamella.ones((4,))
    f(x), f(x)
    assert direct(f)
    fails.append(1)
    for _ in range(50):
        with pytest.raises(ExecutionError, match="maybe: 'no'"):
            f(x)
    fails.clear()
    assert f(x)[1].tolist() == [2.0] * 4


def test_many_results_in_many_threads():
    f = lamella.compile(lambda x: [x + float(k) for k in range(20)])
    x = lamella.ones((5,))
    f(x)
    wrong = []

    def work():
        kept = []
        for _ in range(300):
            kept = [*kept[-40:], *f(x)]
        wrong.extend(a for k, a in enumerate(kept) if a.tolist() != [1.0 + k % 20] * 5)

    team = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in team], [t.join() for t in team]
    assert not wrong


def test_many_arguments_are_not_called_directly():
    f = lamella.compile(lambda xs: xs[0] + xs[-1])
    xs = [lamella.asarray(float(k)) for k in range(5000)]
    assert float(f(xs)) == float(f(xs)) == 4999.0 and not direct(f)


def test_slots_are_found_where_they_lie():
    class Base:
        __slots__ = ("b",)

    class Derived(Base):
        __slots__ = ("a", "c")

    assert offset(Derived, "b") == offset(Base, "b") == 16
    assert sorted([offset(Derived, "a"), offset(Derived, "c")]) == [24, 32]
