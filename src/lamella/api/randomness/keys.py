"""Keys of random numbers: what one is, and that it is used once."""

from __future__ import annotations

from ...base import source
from ...base.dtypes import uint32
from ...base.errors import DTypeError, LamellaError
from ...ir.node import Node
from ..arrays.array import Array, asarray
from ..arrays.scope import active
from ..arrays.values import error


def checked(name: str, k) -> Node:
    """The node of a key; raises DTypeError where it is none."""
    k = asarray(k)
    if k.dtype is not uint32 or k.shape != (2,):
        raise error(DTypeError, f"{name}: a key is uint32[2], got {k.node.type}; make one with "
                                "random.key(seed)")
    return k.node


def use(name: str, k) -> Node:
    """The key's node; at top level the handle is marked as used."""
    node = checked(name, k)
    if isinstance(k, Array) and not active():
        before = getattr(k, "spent", None)
        if before is not None:
            raise error(LamellaError,
                f"{name}: this key was used before, by {before}, and would give "
                "the same numbers; split it first: a, b = random.split(key)")
        where = source.render(source.here())
        k.spent = f"{name} at {where}" if where else name
    return node
