"""Learning rates as functions of the step, a 0-d int32 array that counts finished steps."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..api import namespace as F
from ..api.arrays.array import Array

Schedule = Callable[[Array], Array]


def constant(rate: float) -> Schedule:
    """The same rate at every step."""
    return lambda step: F.full((), rate, dtype="float32")


def linear(start: float, end: float, steps: int) -> Schedule:
    """From start to end over `steps` steps, and end from there on."""
    def rate(step: Array) -> Array:
        return start + (end - start) * _share(step, steps)
    return rate


def warmup(rate: float, steps: int, then: Schedule | None = None) -> Schedule:
    """rate (k + 1) / steps in the first `steps` steps; then `rate`, or `then` from its step 0."""
    def found(step: Array) -> Array:
        rising = (step.astype("float32") + 1.0) * (rate / max(steps, 1))
        after = F.full((), rate, dtype="float32") if then is None else then(step - steps)
        return F.where(step < steps, rising, after)
    return found


def cosine(rate: float, steps: int, *, end: float = 0.0, warmup_steps: int = 0) -> Schedule:
    """Half a cosine from rate down to end over `steps` steps, `warmup_steps` of rising included.

    Loshchilov & Hutter, "SGDR", arXiv 1608.03983.
    """
    def falling(step: Array) -> Array:
        share = _share(step, steps - warmup_steps)
        return end + (rate - end) * 0.5 * (1.0 + F.cos(share * math.pi))
    return warmup(rate, warmup_steps, falling) if warmup_steps else falling


def _share(step: Array, steps: int) -> Array:
    return F.clip(step.astype("float32") * (1.0 / max(steps, 1)), 0.0, 1.0)
