"""The models of the examples: the same bits however a step runs, and in any batch."""

from __future__ import annotations

import numpy as np
import pytest

import lamella as L
from lamella import nn, optim
from lamella.runtime import walker

rng = np.random.default_rng(0)


class Pictures(nn.Module):
    """Two convolutions, a pooling, a linear layer on the mean."""

    def __init__(self, key):
        a, b, c = L.random.split(key, 3)
        self.first = nn.Conv2d(1, 8, 3, key=a, padding=1)
        self.second = nn.Conv2d(8, 16, 3, key=b, padding=1, stride=2)
        self.head = nn.Linear(16, 10, key=c)

    def __call__(self, x):
        x = L.max_pool(L.relu(self.first(x)), 2, stride=2)
        return self.head(L.relu(self.second(x)).mean((1, 2)))


def tokens(rows: int) -> np.ndarray:
    return rng.integers(0, 65, (rows, 64)).astype(np.int32)


def floats(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


MODELS = {
    "mlp": (lambda key: nn.MLP([64, 256, 10], key=key), floats(33, 64)),
    "gpt": (lambda key: nn.GPT(vocabulary=65, context=64, layers=2, heads=4, width=128, key=key),
            tokens(5)),
    "cnn": (Pictures, floats(7, 16, 16, 1)),
}


def loss_fn(model, x, y):
    return nn.losses.cross_entropy(model(x), y)


def bits(tree) -> list[bytes]:
    return [a.numpy().tobytes() for a in L.tree.leaves(tree)]


@pytest.fixture
def restored_threads():
    before = walker.threads()
    yield
    walker.set_threads(before)


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_has_the_same_bits_compiled_or_not_on_any_threads(name, restored_threads):
    make, x = MODELS[name]
    model, opt = make(L.random.key(0)), optim.AdamW(1e-3)
    y = x if name == "gpt" else rng.integers(0, 10, len(x)).astype(np.int32)

    def step(model, state, x, y):
        loss, grads = L.value_and_grad(loss_fn)(model, x, y)
        return loss, grads, *opt.update(model, grads, state)

    whole, found = L.compile(step), []
    for count in (1, 2):
        walker.set_threads(count)
        found += [bits(run(model, opt.init(model), x, y)) for run in (step, whole)]
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("name", MODELS)
def test_a_row_has_the_same_bits_alone_and_in_any_batch(name):
    make, x = MODELS[name]
    model, size = make(L.random.key(0)), L.symbol("B", 1, 64)
    batched = L.compile(lambda x: model(x), sizes={"x": (size, *[None] * (x.ndim - 1))})
    together = batched(x).numpy()
    assert together.tobytes() == model(L.asarray(x)).numpy().tobytes()
    for first in range(0, len(x), 2):
        for rows in (1, 2, 3):
            part = x[first:first + rows]
            assert batched(part).numpy().tobytes() == together[first:first + rows].tobytes()
    assert len(batched.entries) == 1
