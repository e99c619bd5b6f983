"""Groups that repeat are scheduled once: what that gives is the plan of each scheduled alone."""

import numpy as np
import pytest

import lamella as L
from lamella import nn
from lamella.lang.loops import structure
from lamella.planner.plan import Branch, Copy, Launch, Loop
from lamella.planner.schedule import Scheduler


class _Anew(Scheduler):
    """A scheduler that remembers nothing."""

    def steps(self, group, fusion, kept, buffers):
        self._known.clear()
        return super().steps(group, fusion, kept, buffers)


def _described(plan) -> list:
    """The plan's steps with their buffers numbered as they are met."""
    numbers: dict[int, int] = {}
    out: list = []

    def number(b) -> tuple:
        root = numbers.setdefault(id(b.root), len(numbers))
        return numbers.setdefault(id(b), len(numbers)), root, b.dtype.name, b.count, b.role

    def walk(steps) -> None:
        for s in steps:
            if isinstance(s, Launch):
                out.append((structure(s.kernel), s.sizes, s.tasks, s.grain, s.names, s.flops,
                            [(number(o.buffer), o.offset, o.writes) for o in s.operands]))
            elif isinstance(s, Copy):
                out.append((number(s.source_buffer), number(s.target)))
            elif isinstance(s, Loop | Branch):
                for part in (s.head, s.body) if isinstance(s, Loop) else s.arms:
                    out.append(type(s))
                    walk(part)

    walk([*plan.prologue, *plan.steps])
    return out


def _blocks(depth: int):
    layers = [nn.Linear(24, 24, key=k) for k in L.random.split(L.random.key(0), depth)]

    def loss(layers, x):
        for layer in layers:
            x = x + L.attention(*(layer(x).reshape((2, 8, 3, 8)) for _ in range(3)), causal=True
                                ).reshape((2, 8, 24))
            x = (x - x.mean(-1, keepdims=True)) * (x * x).mean(-1, keepdims=True)
        return (x ** 2).mean()

    return L.grad(loss), (layers, L.ones((2, 8, 24)))


def _rolled(depth: int):
    def f(x):
        for _ in range(depth):
            x, _ = L.scan(lambda c, row: (c * 0.5 + row.sum(), c), x.mean(), x)
            x = L.ones((5, 4)) * x
        return x
    return f, (L.ones((5, 4)),)


def _folded(depth: int):
    """Convolutions, a view of one value read twice, and sums along both axes."""
    w = L.asarray(np.random.default_rng(0).standard_normal((8, 3, 3, 8), "float32"))

    def f(x):
        for _ in range(depth):
            x = L.relu(L.conv2d(x, w, padding=1)) + x[:, ::-1]
            x = x - x.sum(1, keepdims=True) * x.sum((0, 3), keepdims=True)
        return x * L.permute_dims(x, (0, 2, 1, 3))
    return f, (L.ones((2, 6, 6, 8)),)


@pytest.mark.parametrize("made", [_blocks, _rolled, _folded])
def test_as_if_alone(made, monkeypatch):
    f, arguments = made(4)
    once = L.plan(f, *arguments).plan
    monkeypatch.setattr("lamella.planner.build.Scheduler", _Anew)
    alone = L.plan(f, *arguments).plan
    assert _described(once) == _described(alone)
    assert _distinct(once) < _distinct(alone)


def _distinct(plan) -> int:
    return len({id(s.kernel) for s in plan.launches()})


@pytest.mark.parametrize("made", [_blocks, _folded])
def test_more_layers_are_no_more_kernels(made):
    kernels = [_distinct(L.plan(f, *a).plan) for f, a in map(made, (4, 9))]
    assert kernels[0] == kernels[1]


def test_loops_over_what_is_computed_are_their_own():
    """Scans whose operands are substituted differ by what they compute, not by what they read."""
    def f(x):
        two, three = (L.exp(L.full((8,), v)) for v in (2.0, 3.0))
        return [L.cumulative_sum(v) for v in (two, three, x + 1.0, x + 2.0)]

    x = L.ones((8,))
    for found, wanted in zip(L.compile(f)(x), f(x), strict=True):
        assert found.numpy().tobytes() == wanted.numpy().tobytes()
