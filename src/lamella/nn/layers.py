"""Linear layers, embeddings, normalisation, dropout, and their composition."""

from __future__ import annotations

from collections.abc import Callable

from ..api import namespace as F
from ..api.arrays.array import Array
from ..api.arrays.shapes import some_axes
from ..api.arrays.values import error
from ..api.randomness import random
from ..base.errors import DTypeError, LamellaError, ShapeError
from .module import Module


def uniform_init(key: Array, shape, fan_in: int, dtype="float32") -> Array:
    """Uniform in +-1/sqrt(fan_in)."""
    bound = fan_in ** -0.5 if fan_in else 0.0
    return random.uniform(key, shape, low=-bound, high=bound, dtype=dtype)


class Linear(Module):
    """y = x weight + bias over the last axis; weight [inputs, outputs].

    Both start uniform in +-1/sqrt(inputs).
    """

    def __init__(self, inputs: int, outputs: int, *, key: Array, bias: bool = True,
                 dtype="float32"):
        first, second = random.split(key)
        self.weight = uniform_init(first, (inputs, outputs), inputs, dtype)
        self.bias = uniform_init(second, (outputs,), inputs, dtype) if bias else None

    def __call__(self, x: Array) -> Array:
        if not x.ndim or x.shape[-1] != self.weight.shape[0]:
            raise error(ShapeError,
                f"Linear: x {x.shape} must have {self.weight.shape[0]} values in "
                f"its last axis, since the weight is {self.weight.shape}")
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class Function(Module):
    """A function without arrays of its own, as a module."""

    def __init__(self, function: Callable):
        self.function = function

    def __call__(self, x: Array) -> Array:
        return self.function(x)


class Sequential(Module):
    """Modules and functions one after another."""

    def __init__(self, *layers: Callable):
        self.layers = tuple(f if isinstance(f, Module) else Function(f) for f in layers)

    def __call__(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer(x)
        return x


class MLP(Module):
    """Linear layers of the given sizes with an activation between them."""

    def __init__(self, sizes, *, key: Array, activation: Callable = F.relu, bias: bool = True,
                 dtype="float32"):
        if len(sizes) < 2:
            raise error(ShapeError, f"MLP: needs at least two sizes, got {list(sizes)}")
        keys = random.split(key, len(sizes) - 1)
        self.layers = [Linear(a, b, key=k, bias=bias, dtype=dtype)
                       for a, b, k in zip(sizes, sizes[1:], keys, strict=False)]
        self.activation = activation

    def __call__(self, x: Array) -> Array:
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


class Embedding(Module):
    """A row of weight [rows, width] for each integer; out of range ones take the nearest row.

    The weight starts normal, of standard deviation `scale`.
    """

    def __init__(self, rows: int, width: int, *, key: Array, scale: float = 1.0, dtype="float32"):
        self.weight = random.normal(key, (rows, width), dtype=dtype) * scale

    def __call__(self, tokens: Array) -> Array:
        if not tokens.dtype.is_int:
            raise error(DTypeError, f"Embedding: takes integers, got {tokens.dtype}")
        return F.take(self.weight, tokens, axis=0)


def dropout(x: Array, rate: float, key: Array | None, *, whole=()) -> Array:
    """Each value zero with probability `rate`, else divided by 1 - rate; x itself without a key.

    Slices along the axes `whole` are kept or zeroed as one: (1, 2) drops channels of [n, h, w, c].
    """
    if key is None or rate == 0:
        return x
    if not 0 <= rate < 1:
        raise error(ShapeError, f"dropout: the rate {rate} must lie in 0..1, 1 left out")
    axes = some_axes("dropout", whole, x.ndim)
    shape = tuple(1 if d in axes else e for d, e in enumerate(x.shape))
    return F.where(random.bernoulli(key, 1 - rate, shape), x / (1 - rate), 0.0)


class Dropout(Module):
    """`dropout` of a fixed rate: `d(x, key)` when training, `d(x)` otherwise."""

    def __init__(self, rate: float, *, whole=()):
        if not 0 <= rate <= 1:
            raise error(LamellaError, f"Dropout: the rate {rate} is outside of 0..1")
        self.rate, self.whole = rate, whole

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        return dropout(x, self.rate, key, whole=self.whole)
