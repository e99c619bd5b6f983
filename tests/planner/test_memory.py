"""What a plan says of its memory is what a run touches.

Compared are units of 64 bytes, the alignment of every buffer: a buffer of 4 bytes owns its whole
unit. Scratch of kernels is separate and not counted here.
"""

import numpy as np
import pytest
from ops.cases import same_bits

import lamella
from lamella import nn, optim
from lamella.api import namespace as F
from lamella.base import tree
from lamella.engine import executable as running
from lamella.planner.memory.place import aligned, lower_bound
from lamella.planner.plan import Copy, Loop, Order
from lamella.runtime.arena import Arena, paint, touched

GUARD = 4096


def numbers(*shape, seed=0):
    return lamella.asarray(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def labels(count: int, classes: int):
    return lamella.asarray((np.arange(count) * 7 % classes).astype(np.int32))


def key(seed: int):
    return lamella.random.key(seed)


def mlp_step():
    model, opt = nn.MLP([20, 33, 10], key=key(0)), optim.AdamW(1e-3)

    def step(model, state, x, y):
        def loss(m):
            return nn.losses.cross_entropy(m(x), y)
        value, grads = lamella.value_and_grad(loss)(model)
        model, state = opt.update(model, grads, state)
        return value, model, state

    return step, (model, opt.init(model), numbers(16, 20), labels(16, 10))


def attention_block():
    block = nn.Block(32, 4, key=key(1))

    def f(block, x):
        return lamella.value_and_grad(lambda b: (b(x) * b(x)).sum())(block)

    return f, (block, numbers(2, 17, 32))


def conv_net():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, key=key(2)), nn.MaxPool(2), nn.Flatten(),
                          nn.Linear(8 * 3 * 3, 5, key=key(3)))

    def f(model, x, y):
        return lamella.value_and_grad(lambda m: nn.losses.cross_entropy(m(x), y))(model)

    return f, (model, numbers(4, 8, 8, 3), labels(4, 5))


def softmax_rows():
    return lambda x: F.softmax(F.softmax(x.T, axis=0) @ x, axis=1), (numbers(65, 33),)


def long_sums():
    return lambda x: (x - x.sum(axis=0)) @ (x.T - x.sum(axis=1)), (numbers(2049, 17),)


def narrow_types():
    def f(x):
        y = x.astype(lamella.bfloat16)
        return (y @ y.T).sum(axis=0, keepdims=True).T * y
    return f, (numbers(33, 7),)


def recurrent_step():
    """A loop forward and one backward, with sums for the weights."""
    def f(w, u, xs):
        def cell(h, x):
            h = F.tanh(h @ w + x @ u)
            return h, h * 2

        def loss(w):
            return lamella.scan(cell, F.zeros((4, 33)), xs)[1].sum()
        return lamella.value_and_grad(loss)(w)
    return f, (numbers(33, 33), numbers(17, 33, seed=1), numbers(7, 4, 17, seed=2))


def cache_of_keys():
    """Values written into a carried array, and all of it read again."""
    def step(c, x):
        cache, at = c
        cache[at] = x
        return (cache, at + 1), (cache @ x)
    return lambda cache, xs: lamella.scan(step, (cache, 0), xs), (numbers(65, 16), numbers(9, 16))


def loop_in_loop():
    """A scan inside of a scan, with a product in both, and carries that change places."""
    def inner(c, x):
        return (c[1], c[0] @ x), c[0].sum(axis=0)
    def outer(c, x):
        (a, b), ys = lamella.scan(inner, c, x)
        return (b + 1, a), ys @ x[0]
    return lambda a, xs: lamella.scan(outer, (a, a * 2), xs), (
        numbers(17, 17), numbers(3, 2, 17, 17, seed=1))


def open_loop():
    def f(a, x):
        return lamella.while_loop(lambda s: s[1] < 6, lambda s: (F.tanh(s[0] @ a) + x, s[1] + 1),
                                  (x, 0))
    return f, (numbers(33, 33), numbers(5, 33, seed=1))


def sorts_and_scans():
    """Routines that read each other's results, and maps between them."""
    def f(x, at):
        y = F.cumulative_sum(F.sort(x * 2, axis=0), axis=1)
        z = F.scatter(F.exp(y), at, y[:9], mode="max")
        return F.take_along_axis(z, F.argsort(z, axis=1), axis=1) @ x.T
    return f, (numbers(130, 33), labels(9, 130))


def a_long_sort():
    """Pieces of the row share workspaces: buckets that are short leave some of them alone."""
    return lambda x: F.sort(x) - F.argsort(x), (numbers(60_000),)


PROGRAMS = [sorts_and_scans, mlp_step, attention_block, conv_net, softmax_rows, long_sums,
            narrow_types, recurrent_step, cache_of_keys, loop_in_loop, open_loop]


class Watched:
    """A compiled function whose runs take place in a painted arena with a guard behind it."""

    def __init__(self, make, monkeypatch, **options):
        f, self.args = make()
        self.f = lamella.compile(f, **options)
        self.expected = [np.array(a) for a in leaves(self.f(*self.args))]
        entry, = self.f.entries.values()
        self.plan = entry.executable.plan
        self.bound = entry.executable.only
        self.arena = Arena(self.bound.arena_bytes + GUARD)
        monkeypatch.setattr(running, "lease", lambda n: self.arena)
        monkeypatch.setattr(running, "release", lambda arena: None)

    def run(self) -> tuple[int, int]:
        """(end of the highest touched unit, bytes of all touched units) of one run."""
        paint(self.arena.address, self.arena.size)
        found = leaves(self.f(*self.args))
        assert all(same_bits(np.array(a), b) for a, b in zip(found, self.expected, strict=True))
        return touched(self.arena.address, self.arena.size)


def leaves(result) -> list:
    return tree.leaves(result)


@pytest.mark.parametrize("make", PROGRAMS)
def test_a_run_touches_the_bytes_of_its_plan_and_no_more(make, monkeypatch):
    watched = Watched(make, monkeypatch)
    end, total = watched.run()
    owned = np.zeros(watched.arena.size // 64, bool)
    for i in watched.bound.layout.intervals:
        owned[i.offset // 64:(i.offset + i.size) // 64] = True
    assert end == watched.bound.arena_bytes
    assert total == 64 * owned.sum()


def test_the_workspaces_of_a_sort_are_in_its_plan(monkeypatch):
    watched = Watched(a_long_sort, monkeypatch)
    end, total = watched.run()
    assert total > 60_000 * 8 * 2 and end <= watched.bound.arena_bytes


@pytest.mark.parametrize("make", PROGRAMS)
def test_buffers_alive_together_do_not_overlap(make, monkeypatch):
    watched = Watched(make, monkeypatch)
    intervals = watched.bound.layout.intervals
    for n, a in enumerate(intervals):
        assert a.size == aligned(int(a.buffer.bytes)) and a.offset % 64 == 0
        for b in intervals[:n]:
            apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
            assert apart or a.last < b.first or b.last < a.first


@pytest.mark.parametrize("make", PROGRAMS)
def test_placement_is_close_to_what_liveness_asks_for(make, monkeypatch):
    watched = Watched(make, monkeypatch)
    least = lower_bound(watched.bound.layout.intervals)
    print(f"{make.__name__}: {watched.bound.arena_bytes} bytes placed, {least} alive at most")
    assert least <= watched.bound.arena_bytes <= 1.2 * least + 64


@pytest.mark.parametrize("make", PROGRAMS)
def test_a_buffer_is_alive_from_its_first_write_to_its_last_read(make, monkeypatch):
    """Every step's buffers lie within the lifetime that placement gave their owner."""
    watched = Watched(make, monkeypatch)
    life = {id(i.buffer): i for i in watched.bound.layout.intervals}
    order = Order(watched.plan.steps)
    for at, step in enumerate(order.leaves):
        for b in step.buffers():
            if id(b.root) in life:
                assert life[id(b.root)].first <= at <= life[id(b.root)].last


@pytest.mark.parametrize("make", [recurrent_step, loop_in_loop, open_loop, cache_of_keys])
def test_what_a_loop_finds_and_leaves_is_alive_during_all_trips(make, monkeypatch):
    watched = Watched(make, monkeypatch)
    life = {id(i.buffer): i for i in watched.bound.layout.intervals}
    order = Order(watched.plan.steps)
    assert order.loops
    for _, begin, end in order.loops:
        inside = [b.root for s in order.leaves[begin:end] for b in s.buffers()]
        beyond = {id(b.root) for s in (*order.leaves[:begin], *order.leaves[end:])
                  for b in s.buffers()}
        for b in inside:
            if id(b) in life and id(b) in beyond:
                assert life[id(b)].first <= begin and life[id(b)].last >= end


def test_a_carried_array_is_updated_in_place():
    """A cache that is given away is never copied; one that is not is copied once, before."""
    f, args = cache_of_keys()
    for donated, copies in (("cache",), 0), ((), 1):
        plan = lamella.plan(lamella.compile(f, donate=donated), *args).plan
        cache = [s for s in Order(plan.steps).leaves if isinstance(s, Copy)
                 and s.source_buffer.count == 65 * 16]
        assert len(cache) == copies, donated
        loop, = [s for s in plan.steps if isinstance(s, Loop)]
        assert not any(isinstance(s, Copy) for s in loop.body)


def test_a_plan_with_a_symbol_touches_its_bytes_at_every_size(monkeypatch):
    """One plan, bound to each size: what it promises is exact for each."""
    w, b = numbers(7, 33, seed=1), lamella.symbol("B", 1, 64)
    f = lamella.compile(lambda x, w: F.softmax(F.relu(x @ w) @ w.T, axis=1).sum(axis=0),
                        sizes={"x": (b, None)})
    for size in (1, 15, 16, 33, 64):
        x = numbers(size, 7)
        expected = np.array(f(x, w))
        entry, = f.entries.values()
        bound = list(entry.executable.bindings.values())[-1]
        arena = Arena(bound.arena_bytes + GUARD)
        with monkeypatch.context() as m:
            m.setattr(running, "lease", lambda n, arena=arena: arena)
            m.setattr(running, "release", lambda arena: None)
            paint(arena.address, arena.size)
            assert same_bits(np.array(f(x, w)), expected)
        assert touched(arena.address, arena.size)[0] == bound.arena_bytes
