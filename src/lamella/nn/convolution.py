"""Layers over images [n, h, w, c]."""

from __future__ import annotations

from typing import Any

from ..api import functions as F
from ..api import random
from ..api.array import Array
from ..api.values import error
from ..base.errors import ShapeError
from .layers import uniform_init
from .module import Module


class Conv2d(Module):
    """Cross-correlation with weight [outputs, kh, kw, inputs], plus a bias for each output channel.

    padding: a number, a pair, (before, after) pairs, or "same". Both start uniform in
    +-1/sqrt(inputs kh kw).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int] = 3, *, key: Array,
                 stride=1, padding: Any = 0, dilation=1, bias: bool = True, dtype="float32"):
        kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
        first, second = random.split(key)
        self.weight = uniform_init(first, (outputs, kh, kw, inputs), inputs * kh * kw, dtype)
        self.bias = uniform_init(second, (outputs,), inputs * kh * kw, dtype) if bias else None
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def __call__(self, x: Array) -> Array:
        y = F.conv2d(x, self.weight, stride=self.stride, padding=self.padding,
                     dilation=self.dilation)
        return y if self.bias is None else y + self.bias


class BatchNorm(Module):
    """Normalisation of each channel (last axis) over all other axes; returns (y, new state).

    Training uses the batch's statistics and moves the state's running ones towards them by
    `momentum`; with `train=False` the running ones are used and stay.

        state = norm.init_state()
        y, state = norm(x, state)
    """

    def __init__(self, channels: int, *, momentum: float = 0.1, eps: float = 1e-5,
                 dtype="float32"):
        self.weight, self.bias = F.ones(channels, dtype=dtype), F.zeros(channels, dtype=dtype)
        self.momentum, self.eps = momentum, eps

    def init_state(self) -> dict[str, Array]:
        """Running mean 0 and variance 1 for each channel."""
        return {"mean": F.zeros_like(self.bias), "var": F.ones_like(self.weight)}

    def __call__(self, x: Array, state: dict[str, Array], *, train: bool = True):
        if x.shape[-1:] != self.weight.shape:
            raise error(ShapeError, f"BatchNorm: x {x.shape} must have {self.weight.shape[0]} "
                                    "channels in its last axis")
        if not train:
            return self._normal(x, state["mean"], state["var"]), state
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        var = F.square(x - mean).mean(axes)
        count = F.asarray(x.size // x.shape[-1]).astype(var.dtype)
        unbiased = F.stop_gradient(var) * (count / F.maximum(count - 1, 1))
        new = {"mean": self._moved(state["mean"], F.stop_gradient(mean)),
               "var": self._moved(state["var"], unbiased)}
        return self._normal(x, mean, var), new

    def _normal(self, x: Array, mean: Array, var: Array) -> Array:
        return (x - mean) * (F.rsqrt(var + self.eps) * self.weight) + self.bias

    def _moved(self, old: Array, new: Array) -> Array:
        return old * (1 - self.momentum) + new * self.momentum


class MaxPool(Module):
    """The largest of each window; the stride is the window by default."""

    def __init__(self, window=2, *, stride=None, padding=0):
        self.window, self.stride, self.padding = window, stride, padding

    def __call__(self, x: Array) -> Array:
        return F.max_pool(x, self.window, stride=self.stride, padding=self.padding)


class AvgPool(Module):
    """The mean of each window; the stride is the window by default."""

    def __init__(self, window=2, *, stride=None, padding=0):
        self.window, self.stride, self.padding = window, stride, padding

    def __call__(self, x: Array) -> Array:
        return F.avg_pool(x, self.window, stride=self.stride, padding=self.padding)


class Flatten(Module):
    """All axes but the first as one."""

    def __call__(self, x: Array) -> Array:
        return x.reshape(x.shape[0], -1)
