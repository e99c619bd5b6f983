"""Leaves of arguments: arrays, Python and NumPy numbers, NumPy arrays, specs; type and value."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...base.dtypes import as_dtype, bool_, float32, int32
from ...base.errors import DTypeError
from ...engine.value import Value
from ...ir.types import TensorType, tensor
from ..arrays.array import Array
from ..arrays.values import error, force
from .spec import Spec

_NUMBERS = {bool: tensor(bool_, ()), int: tensor(int32, ()), float: tensor(float32, ())}


def type_of(leaf: Any, name: str) -> TensorType:
    """The type of an argument's leaf of the function of that name."""
    if isinstance(leaf, Array):
        return leaf.node.type
    found = _NUMBERS.get(type(leaf))
    if found is not None:
        return found
    if isinstance(leaf, Spec):
        return leaf.type
    if isinstance(leaf, np.ndarray | np.generic):
        return tensor(as_dtype(leaf.dtype), leaf.shape)
    raise error(DTypeError, f"{name}: {type(leaf).__name__} is no array, number or pytree of them")


def value_of(leaf: Any) -> Value:
    """The value of a leaf that has a type; a lazy array is evaluated."""
    if isinstance(leaf, Array):
        node = leaf.node
        if node.data is None:
            force([node])
        return node.data
    if isinstance(leaf, Spec):
        raise error(DTypeError, f"{leaf} has no values; give an array")
    dtype = _NUMBERS[type(leaf)].dtype.numpy if type(leaf) in _NUMBERS else None
    return Value.from_numpy(np.asarray(leaf, dtype), copy=False)
