"""Small training steps on which memory budgets are tested."""

import numpy as np
from planner.test_memory import key, labels, numbers

import lamella
from lamella import nn, optim
from lamella.api import namespace as F


def training(model, x, y, **options):
    opt = optim.AdamW(1e-3)

    def step(model, state, x, y):
        def loss(m):
            out = m(x, **options)
            return nn.losses.cross_entropy(out.reshape((-1, out.shape[-1])), y.reshape((-1,)))
        value, grads = lamella.value_and_grad(loss)(model)
        model, state = opt.update(model, grads, state)
        return value, model, state

    return step, (model, opt.init(model), x, y)


def deep_mlp():
    """Seven layers, their values larger than their weights."""
    return training(nn.MLP([20, *[32] * 6, 10], key=key(0)), numbers(96, 20), labels(96, 10))


def small_gpt():
    """Two blocks with dropout: the random numbers are computed again too."""
    model = nn.GPT(vocabulary=17, context=16, layers=2, heads=2, width=32, key=key(1), rate=0.1)
    tokens = lamella.asarray((np.arange(64).reshape(4, 16) * 7 % 17).astype(np.int32))
    return training(model, tokens, tokens, key=key(5))


def conv_net():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, key=key(2)), nn.Function(F.relu),
                          nn.Conv2d(8, 8, 3, key=key(3)), nn.Function(F.relu), nn.MaxPool(2),
                          nn.Flatten(), nn.Linear(8 * 4 * 4, 5, key=key(4)))
    return training(model, numbers(8, 12, 12, 3), labels(8, 5))


def copied(args):
    """The arguments once more, so that they may be donated."""
    return lamella.tree.map(lambda a: lamella.asarray(np.array(a)), args)
