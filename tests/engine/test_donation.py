"""Calls that take the memory of their arguments, without Python code where that can be."""

import gc
import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from engine.raising import raising

import lamella
from lamella.base import events
from lamella.base.errors import DonatedError, ExecutionError

SIZES = (4, 1 << 19)    # blocks of a slab, and of their own


def step_of(n=4):
    """A step over (state, x) -> (state, sum), called twice, and its next arguments."""
    step = lamella.compile(lambda s, x: ({"a": s["a"] + x, "b": s["b"] * 2.0}, x.sum()),
                           donate="s")
    x = lamella.ones((n,))
    s = {"a": lamella.zeros((n,)), "b": lamella.ones((n,))}
    for _ in range(2):
        s, _ = step(s, x)
    assert step.last[1].executable.signed
    return step, s, x


def addresses(tree):
    return [a.node.data.address for a in lamella.tree.leaves(tree)]


@pytest.mark.parametrize("n", SIZES)
def test_results_take_the_memory_of_arguments(n):
    step, s, x = step_of(n)
    where = addresses(s)
    for k in range(3, 8):
        s, total = step(s, x)
        assert sorted(addresses(s)) == sorted(where) and float(total) == n
        assert s["a"][n - 1].tolist() == k and s["b"][0].tolist() == 2.0 ** k


@pytest.mark.parametrize("n", SIZES)
def test_what_was_taken_says_so(n):
    step, s, x = step_of(n)
    old = s["a"]
    s, _ = step(s, x)
    for use in (old.numpy, (old + 1).numpy, lambda: step({"a": old, "b": s["b"]}, x)):
        with pytest.raises(DonatedError, match=r"donated to <lambda> at test_donation.py:\d+"):
            use()
    assert s["a"][0].tolist() == 3.0 and s["b"][0].tolist() == 8.0     # and the rest is as it was


@pytest.mark.parametrize("n", SIZES)
def test_a_view_keeps_what_it_shows(n):
    step, s, x = step_of(n)
    seen = s["a"].numpy()
    s, _ = step(s, x)
    assert seen[0] == 2.0 and s["a"][0].tolist() == 3.0


def test_one_array_in_two_places():
    step, s, x = step_of()
    with pytest.raises(DonatedError, match="donated and passed twice"):
        step({"a": s["a"], "b": s["a"]}, x)
    with pytest.raises(DonatedError, match="donated and passed twice"):
        step({"a": x, "b": s["b"]}, x)
    s, _ = step(s, x)                   # nothing was taken by these
    assert s["a"].tolist() == [3.0] * 4 and x.tolist() == [1.0] * 4


def test_a_numpy_array_that_is_shared_is_not_written():
    step, s, x = step_of()
    own = np.zeros(4, "float32")
    s, _ = step({"a": lamella.asarray(own, copy=False), "b": s["b"]}, x)
    assert own.tolist() == [0.0] * 4 and s["a"].tolist() == [1.0] * 4


def test_what_fails_gives_back():
    fails: list = []
    maybe = raising(fails)
    f = lamella.compile(lambda s, x: (s + maybe(x)), donate="s")
    s, x = lamella.ones((4,)), lamella.ones((4,))
    s = f(f(s, x), x)
    fails.append(KeyError("no"))

    def counts():
        value = s.node.data
        return sys.getrefcount(value), sys.getrefcount(value.owner), value.address

    before = counts()
    for _ in range(20):
        with pytest.raises(ExecutionError, match="'no'"):
            f(s, x)
    assert counts() == before
    fails.clear()
    assert s.tolist() == [3.0] * 4 and f(s, x).tolist() == [4.0] * 4


def test_what_no_result_needs_is_free():
    f = lamella.compile(lambda s, x: (s[:2] + x[:2]).sum(), donate="s")
    x = lamella.ones((300,))
    for _ in range(3):
        assert float(f(x + 1.0, x)) == 6.0
    blocks = set()
    for _ in range(50):
        s = x + 1.0
        s.numpy()
        blocks.update(addresses([s]))
        f(s, x)
    assert len(blocks) <= 3


def test_arguments_pass_through():
    f = lamella.compile(lambda s, x: (s, x, x, s + x), donate="s")
    s, x = lamella.zeros((4,)), lamella.ones((4,))
    for k in range(5):
        _, y, z, s = f(s, x)
        assert s.tolist() == [k + 1.0] * 4 and y.tolist() == z.tolist() == [1.0] * 4
    kept = y.numpy()
    g = lamella.compile(lambda y: y * 3.0, donate="y")
    assert g(y).tolist() == [3.0] * 4 and kept.tolist() == x.tolist() == [1.0] * 4
    assert z.tolist() == [1.0] * 4      # what two results share is copied, not taken


def test_nothing_is_lost_or_kept():
    step, s, x = step_of()
    objects = s["a"].node.data.type, None, x.node.data, x.node.data.owner
    for _ in range(2):
        s, _ = step(s, x)
    gc.collect()
    counts, blocks = [sys.getrefcount(o) for o in objects], sys.getallocatedblocks()
    for _ in range(20_000):
        s, _ = step(s, x)
    gc.collect()
    assert sum(abs(sys.getrefcount(o) - n) for o, n in zip(objects, counts, strict=True)) < 500
    assert sys.getallocatedblocks() - blocks < 2_000


def test_each_thread_has_its_own_state():
    step, _, x = step_of()
    wrong = []

    def work():
        s = {"a": lamella.zeros((4,)), "b": lamella.zeros((4,))}
        for _ in range(300):
            s, _ = step(s, x)
        wrong.extend(v for v in s["a"].tolist() if v != 300.0)

    team = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in team], [t.join() for t in team]
    assert not wrong


def test_two_threads_give_the_same_array():
    step, s, x = step_of()
    done, refused = [], []

    def work(s):
        try:
            done.append(step(s, x)[0]["a"].tolist())
        except (DonatedError, TypeError) as e:
            refused.append(e)

    for _ in range(100):
        s = {"a": lamella.zeros((4,)), "b": lamella.zeros((4,))}
        [a.numpy() for a in s.values()]
        done.clear(), refused.clear()
        team = [threading.Thread(target=work, args=(s,)) for _ in range(2)]
        [t.start() for t in team], [t.join() for t in team]
        assert len(done) + len(refused) == 2 and done and all(d == [1.0] * 4 for d in done)


def failing():
    """A call over (s, t, u, x) that overwrites s before a host function which raises what stands in
    the list, and t behind it; u's memory is not needed."""
    raises: list = []
    maybe = raising(raises)

    def f(s, t, u, x):
        a = s + 1.0
        return a, t * 3.0 + maybe(a * 2.0), x.sum()

    return lamella.compile(f, donate=("s", "t", "u")), raises


def arrays():
    return [lamella.asarray(np.full(4, k, "float32")) for k in range(4)]


@pytest.mark.parametrize("way", ("first call", "later call", "recorded"))
@pytest.mark.parametrize("error", (KeyError("no"), KeyboardInterrupt()))
def test_what_a_failed_call_overwrote_says_so(way, error, tmp_path):
    f, raises = failing()
    if way != "first call":
        for _ in range(2):
            f(*arrays())
        assert f.last[1].executable.signed
    raises.append(error)
    s, t, u, x = arrays()
    recorded = events.recording(tmp_path / "trace.json") if way == "recorded" else nullcontext()
    told = ExecutionError if isinstance(error, KeyError) else KeyboardInterrupt
    with pytest.raises(told), recorded:
        f(s, t, u, x)
    for use in (s.numpy, (s + 1).numpy, lambda: f(s, t, u, x)):
        with pytest.raises(DonatedError, match="the call failed when it was overwritten already"):
            use()
    raises.clear()
    whole = [a.tolist() for a in (t, u, x)]
    assert whole == [[k] * 4 for k in (1.0, 2.0, 3.0)]
    s, t, total = f(lamella.zeros((4,)), t, u, x)
    assert s.tolist() == [1.0] * 4 and t.tolist() == [5.0] * 4 and float(total) == 12.0


@pytest.mark.parametrize("signed", (False, True))
def test_what_a_loop_overwrites_is_lost_with_it(signed):
    raises = []

    @lamella.foreign(result=lambda x: x, name=f"test.donation.loop.{signed}", pure=False)
    def third(x):
        if raises and x[0] >= 3:
            raise raises[0]
        return x

    f = lamella.compile(lambda s: lamella.fori_loop(0, 5, lambda k, c: third(c + 1.0) * 1.0, s),
                        donate="s")
    if signed:
        for _ in range(2):
            assert f(lamella.zeros((4,))).tolist() == [5.0] * 4
    raises.append(KeyError("no"))
    s = lamella.zeros((4,))
    s.numpy()
    with pytest.raises(ExecutionError, match="'no'"):
        f(s)
    with pytest.raises(DonatedError, match="failed"):
        s.numpy()
