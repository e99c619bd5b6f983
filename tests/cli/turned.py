"""A model whose values are dear to make again and cannot be had in parts of a batch: recipes of
tests name it."""

import lamella
from lamella import nn


class Turned(nn.Module):
    """Products of all rows of a batch with each other, transposed again and again."""

    def __init__(self, key):
        a, b = lamella.random.split(key)
        self.first, self.last = nn.Linear(64, 64, key=a), nn.Linear(64, 10, key=b)

    def __call__(self, x):
        y = self.first(x) @ x.T
        for _ in range(8):
            y = lamella.tanh(y.T @ y) * 0.01
        return self.last(y @ x)


def model(*, key):
    """The model with fresh weights."""
    return Turned(key)
