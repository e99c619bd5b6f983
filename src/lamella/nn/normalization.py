"""Normalisation layers; channels come last."""

from __future__ import annotations

from ..api import namespace as F
from ..api.arrays.array import Array
from ..api.arrays.values import error
from ..base.errors import ShapeError
from .module import Module


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis, of extent `width`."""

    def __init__(self, width: int, *, eps: float = 1e-5, dtype="float32"):
        self.weight, self.bias = F.ones(width, dtype=dtype), F.zeros(width, dtype=dtype)
        self.eps = eps

    def __call__(self, x: Array) -> Array:
        return F.layer_norm(x, self.weight, self.bias, eps=self.eps)


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, of extent `width`."""

    def __init__(self, width: int, *, eps: float = 1e-6, dtype="float32"):
        self.weight, self.eps = F.ones(width, dtype=dtype), eps

    def __call__(self, x: Array) -> Array:
        return F.rms_norm(x, self.weight, eps=self.eps)


class GroupNorm(Module):
    """Each of `groups` parts of the channels standardised over the image, then scaled and shifted.
    """

    def __init__(self, groups: int, channels: int, *, eps: float = 1e-5, dtype="float32"):
        if groups < 1 or channels % groups:
            raise error(ShapeError, f"GroupNorm: {groups} groups do not divide {channels} channels")
        self.weight, self.bias = F.ones(channels, dtype=dtype), F.zeros(channels, dtype=dtype)
        self.groups, self.eps = groups, eps

    def __call__(self, x: Array) -> Array:
        return F.group_norm(x, self.groups, self.weight, self.bias, eps=self.eps)


class InstanceNorm(Module):
    """Each channel of each image standardised over its inner axes, then scaled and shifted."""

    def __init__(self, channels: int, *, eps: float = 1e-5, dtype="float32"):
        self.weight, self.bias = F.ones(channels, dtype=dtype), F.zeros(channels, dtype=dtype)
        self.eps = eps

    def __call__(self, x: Array) -> Array:
        return F.instance_norm(x, self.weight, self.bias, eps=self.eps)


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
        y, mean, var = F.batch_norm(x, state["mean"], state["var"], self.weight, self.bias,
                                    train=train, momentum=self.momentum, eps=self.eps)
        return y, {"mean": mean, "var": var} if train else state
