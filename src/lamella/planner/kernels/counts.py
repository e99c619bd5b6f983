"""Divisors as arguments of a kernel: those that differ in a count alone, as of a mean, are one.

A literal divisor becomes the bits of a number that the kernel is given. Where it is a power of two
the number is its inverse: the product is the quotient, bit by bit, and takes less time.
"""

from __future__ import annotations

import math

import numpy as np

from ...base import dtypes
from ...lang import expr, scalar
from ...lang.expr import Expr, value_of

_BITS = {dtypes.float32: dtypes.int32, dtypes.float64: dtypes.int64}
_PLAIN = (1.0, 2.0)     # halves are everywhere, and mean no count


def with_counts(bodies: list[Expr]) -> list[Expr]:
    """The expressions with their literal divisors as arguments."""
    memo: dict[Expr, Expr] = {}
    for x in (x for body in bodies for x in expr.walk(body)):
        if x not in memo:
            args = tuple(memo[a] for a in x.args)
            memo[x] = _divided(x, args[0]) if _by_count(x) else \
                x if args == x.args else expr.rebuild(x, args)
    return [memo[body] for body in bodies]


def _by_count(e: Expr) -> bool:
    if e.op is not scalar.div or e.dtype not in _BITS or e.args[1].op != "lit":
        return False
    value = abs(value_of(e.args[1]))
    return 0 < value < math.inf and value not in _PLAIN


def _divided(e: Expr, x: Expr) -> Expr:
    value = value_of(e.args[1])
    significand, exponent = math.frexp(value)
    if abs(significand) == 0.5 and abs(exponent) < 120:
        return x * _given(1 / value, e.dtype)
    return x / _given(value, e.dtype)


def _given(value: float, dtype: dtypes.DType) -> Expr:
    """The number as an argument."""
    word = _BITS[dtype]
    bits = int(np.asarray(value, dtype.numpy).view(word.numpy))
    return scalar.bitcast(scalar.cast(expr.given(bits), word), dtype)
