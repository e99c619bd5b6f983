"""Node helpers that depend on the kind of number."""

from __future__ import annotations

from ...base import dtypes
from ...ir.node import Node, literal
from ...ops.pointwise import cast


def floating(x: Node) -> Node:
    """x itself where it is floating or complex, else as float32. (A float8 is left for the op to
    refuse.)"""
    return cast(x, dtypes.float32) if x.dtype.is_int or x.dtype is dtypes.bool_ else x


def wide(x: Node) -> Node:
    """x itself, or bools and small integers as 32 bits, in which they add up."""
    if x.dtype.bits >= 32 or not (x.dtype.is_int or x.dtype is dtypes.bool_):
        return x
    return cast(x, dtypes.uint32 if x.dtype.kind == "uint" else dtypes.int32)


def powered(x: Node, n: int) -> Node:
    """x * x * ... by repeated squaring."""
    found, square = None, x
    while n:
        if n & 1:
            found = square if found is None else found * square
        n >>= 1
        square = square * square if n else square
    return literal(1, x.dtype, x.shape) if found is None else found
