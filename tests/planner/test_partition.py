"""What is kept between a program's halves: a minimum cut, and plans that keep less."""

import itertools
import random

import numpy as np
import pytest
from ops.cases import same_bits

import lamella
from lamella import nn
from lamella.planner import build
from lamella.planner.groups.flow import Network


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_is_the_smallest_of_all(seed):
    rng = random.Random(seed)
    n = 6
    edges = [(a, b, rng.randrange(1, 9)) for a in range(n) for b in range(n)
             if a != b and rng.random() < 0.5]
    net = Network(n)
    for a, b, c in edges:
        net.edge(a, b, c)
    side = net.minimum_cut(0, n - 1)

    def cost(inside) -> int:
        return sum(c for a, b, c in edges if inside[a] and not inside[b])

    least = min(cost((True, *rest, False)) for rest in itertools.product((False, True),
                                                                         repeat=n - 2))
    assert side[0] and not side[n - 1] and cost(side) == least


def block_step():
    block = nn.Block(32, 2, key=lamella.random.key(0))
    x = lamella.asarray(np.random.default_rng(0).standard_normal((4, 32, 32), "float32"))

    def step(block, x):
        return lamella.value_and_grad(lambda b: (b(x) ** 2).mean())(block)

    return step, block, x


def test_what_a_map_gives_is_not_kept_beside_what_it_was_given(monkeypatch):
    """The hidden layer [4, 32, 128] is kept with and behind its GELU, and the tanh of that is not.
    """
    step, block, x = block_step()
    found = lamella.plan(step, block, x)
    hidden = 4 * 32 * 128 * 4
    wide = [i for i in found.layout.intervals if i.size == hidden]
    assert max(sum(i.first <= t <= i.last for i in wide) for t in range(60)) == 2
    bits = [a.numpy() for a in lamella.tree.leaves(lamella.compile(step)(block, x))]
    monkeypatch.setattr(build, "partition", lambda p, worth: (p, build.NO_SECOND))
    whole = lamella.plan(step, block, x)
    assert found.memory.temporaries < whole.memory.temporaries
    assert found.traffic <= whole.traffic
    again = [a.numpy() for a in lamella.tree.leaves(lamella.compile(step)(block, x))]
    assert all(map(same_bits, bits, again))


def test_maps_at_the_end_stay_in_one_kernel():
    """Of a chain of maps behind a norm nothing is kept: there is no half behind it."""
    rows = lamella.spec((4096, 256))
    plan = lamella.plan(lambda x, g: lamella.gelu(lamella.layer_norm(x, g, g), approximate=True),
                        rows, lamella.spec((256,))).plan
    assert len(plan.launches()) == 1
