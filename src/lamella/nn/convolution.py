"""Layers over images [n, ..., c] with 1 to 3 axes between; channels come last."""

from __future__ import annotations

import math
from typing import Any

from ..api import namespace as F
from ..api.arrays.array import Array
from ..api.arrays.values import error
from ..api.randomness import random
from ..base.errors import ShapeError
from .layers import uniform_init
from .module import Module


class _Conv(Module):
    """A convolution over `axes` axes; weight [outputs, kernel..., inputs / groups]."""

    axes = 2
    weight: Array
    bias: Array | None

    def __init__(self, inputs: int, outputs: int, kernel: Any = 3, *, key: Array, stride=1,
                 padding: Any = 0, dilation=1, groups: int = 1, bias: bool = True,
                 dtype="float32"):
        taps = (kernel,) * self.axes if isinstance(kernel, int) else tuple(kernel)
        if inputs % groups or outputs % groups or len(taps) != self.axes:
            raise error(ShapeError, f"{type(self).__name__}: a kernel of {taps} over {self.axes} "
                                    f"axes with {groups} groups of {inputs} and {outputs} channels")
        first, second = random.split(key)
        fan = inputs // groups * math.prod(taps)
        self.weight = uniform_init(first, self._shape(inputs, outputs, taps, groups), fan, dtype)
        self.bias = uniform_init(second, (outputs,), fan, dtype) if bias else None
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups = groups

    def _shape(self, inputs: int, outputs: int, taps: tuple, groups: int) -> tuple:
        return (outputs, *taps, inputs // groups)

    def __call__(self, x: Array) -> Array:
        convolve = getattr(F, f"conv{self.axes}d")
        y = convolve(x, self.weight, stride=self.stride, padding=self.padding,
                     dilation=self.dilation, groups=self.groups)
        return y if self.bias is None else y + self.bias


class Conv1d(_Conv):
    """Cross-correlation of [n, t, c] with weight [outputs, k, inputs / groups], and a bias."""

    axes = 1


class Conv2d(_Conv):
    """Cross-correlation with weight [outputs, kh, kw, inputs / groups], plus a bias for each output
    channel.

    padding: a number, a pair, (before, after) pairs, "same" or "valid". Both start uniform in
    +-1/sqrt(inputs / groups kh kw).
    """


class Conv3d(_Conv):
    """Cross-correlation of [n, d, h, w, c] with weight [outputs, kd, kh, kw, inputs / groups]."""

    axes = 3


class _ConvTranspose(_Conv):
    """The transpose of a convolution; weight [inputs, kernel..., outputs / groups]."""

    def __init__(self, inputs: int, outputs: int, kernel: Any = 3, *, key: Array,
                 output_padding: Any = 0, **more):
        super().__init__(inputs, outputs, kernel, key=key, **more)
        self.output_padding = output_padding

    def _shape(self, inputs: int, outputs: int, taps: tuple, groups: int) -> tuple:
        return (inputs, *taps, outputs // groups)

    def __call__(self, x: Array) -> Array:
        convolve = getattr(F, f"conv_transpose{self.axes}d")
        y = convolve(x, self.weight, stride=self.stride, padding=self.padding,
                     output_padding=self.output_padding, dilation=self.dilation,
                     groups=self.groups)
        return y if self.bias is None else y + self.bias


class ConvTranspose1d(_ConvTranspose):
    """The transpose of a convolution of [n, t, c]: strides spread, windows add up."""

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The transpose of a convolution of images: weight [inputs, kh, kw, outputs / groups]."""


class ConvTranspose3d(_ConvTranspose):
    """The transpose of a convolution of volumes: weight [inputs, kd, kh, kw, outputs / groups]."""

    axes = 3


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
