"""Logic over bools and bits of integers, in the array API's names."""

from __future__ import annotations

from ...base import dtypes
from ...base.dtypes import as_dtype
from ...base.errors import DTypeError
from ...ir.node import make
from ...ops.pointwise import BITCAST
from ..arrays.array import Array, asarray, wrap
from ..arrays.values import error
from .elementwise import binary, unary

__all__ = ["bitcast", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or",
           "bitwise_right_shift", "bitwise_xor", "logical_and", "logical_not", "logical_or",
           "logical_xor"]


def _bools(name: str, *args):
    found = [asarray(a) for a in args]
    for a in found:
        if a.dtype is not dtypes.bool_:
            raise error(DTypeError, f"{name}: takes bool, got {a.dtype}; compare with 0 first")
    return found


def logical_and(a, b, /) -> Array:
    """Both, bool."""
    return binary("and", *_bools("logical_and", a, b))


def logical_or(a, b, /) -> Array:
    """Either, bool."""
    return binary("or", *_bools("logical_or", a, b))


def logical_xor(a, b, /) -> Array:
    """One but not both, bool."""
    return binary("xor", *_bools("logical_xor", a, b))


def logical_not(x, /) -> Array:
    """The opposite, bool."""
    return unary("not", *_bools("logical_not", x))


def bitwise_and(a, b, /) -> Array:
    """a & b over integers or bools."""
    return binary("and", a, b)


def bitwise_or(a, b, /) -> Array:
    """a | b over integers or bools."""
    return binary("or", a, b)


def bitwise_xor(a, b, /) -> Array:
    """a ^ b over integers or bools."""
    return binary("xor", a, b)


def bitwise_invert(x, /) -> Array:
    """~x over integers or bools."""
    return unary("not", x)


def bitwise_left_shift(a, b, /) -> Array:
    """a << b; 0 where b is outside of the word."""
    return binary("shl", a, b)


def bitwise_right_shift(a, b, /) -> Array:
    """a >> b, filling with the sign."""
    return binary("shr", a, b)


def bitcast(x, dtype) -> Array:
    """x's bits seen as a dtype of the same width."""
    return wrap(make(BITCAST, (asarray(x).node,), {"dtype": as_dtype(dtype)}))
