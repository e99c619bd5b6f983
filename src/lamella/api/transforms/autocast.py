"""Products of few bits in a function that is written for float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...base import dtypes
from ...base.errors import DTypeError
from ..arrays.scope import Scope, state
from ..arrays.values import error
from .results import name_of

__all__ = ["autocast"]

DTYPES = (dtypes.bfloat16, dtypes.float16)


def autocast(f: Callable, dtype: Any = "bfloat16") -> Callable:
    """f with its products of float32 arrays computed in bfloat16 (or float16).

    Products are matmul, einsum, tensordot, outer, convolutions and attention, and what is made of
    them: layers, recurrences. Their operands are rounded to `dtype`, the product is one of that
    dtype (added up in float32, rounded once), and widened to float32 again. All else, parameters,
    sums of gradients and losses among it, stays in float32, and products of other dtypes stay as
    they are. Gradients of f round the same products likewise (Micikevicius et al., "Mixed precision
    training", ICLR 2018). float16 has few small numbers: scale a loss before its gradient is taken.

    A function compiled inside of f is a part of it. Use it inside of `compile`, `grad` and others:
    `compile(grad(autocast(loss)))`. On processors with AMX bfloat16 is faster than float32 in
    `fast` mode alone. Raises DTypeError for other dtypes.
    """
    to = dtypes.as_dtype(dtype)
    if to not in DTYPES:
        raise error(DTypeError, f"autocast of {name_of(f)}: products are computed in bfloat16 or "
                                f"float16, not {to}")

    @functools.wraps(f)
    def run(*args, **kwargs):
        before = state.products
        with Scope("autocast", name_of(f)):
            state.products = to
            try:
                return f(*args, **kwargs)
            finally:
                state.products = before

    return run
