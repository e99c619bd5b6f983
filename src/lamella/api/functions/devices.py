"""Arrays on devices."""

from __future__ import annotations

from typing import Any

from ...base import tree
from ..arrays.array import Array, asarray, wrap
from ..arrays.placing import device_named, placed

__all__ = ["to_device"]


def to_device(x: Any, device) -> Any:
    """x with all of its arrays (of a model, of a structure of arrays) on a device: "cpu", "cuda:0".

    An array that is there stays itself. What depends on no array (zeros, positions, random numbers
    of a key that was made of a number) is computed there; everything else is copied. Operations run
    where their operands are; DeviceError where these are on several devices. Within a function that
    is compiled a transfer is a step of its plan. Raises MissingExtra or UnsupportedError where the
    device, or what it needs, is not here.
    """
    found = device_named("to_device", device)
    leaves, structure = tree.flatten(x)
    nodes = [asarray(a).node for a in leaves]
    moved = [placed(n, found) for n in nodes]
    return tree.unflatten(structure, [
        a if m is n and isinstance(a, Array) else wrap(m)
        for a, m, n in zip(leaves, moved, nodes, strict=True)])
