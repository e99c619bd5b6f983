"""A user's own operator, stated in index notation.

    @lamella.op
    def outer(x, y):
        return lambda i, j: x[i] * y[j]

Shape, derivative, batching and kernel follow from the statement.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from ...base.errors import DTypeError
from ...lang.definition import Definition
from ...lang.notation import trace
from ...ops.notation import define
from ..arrays.array import Array, asarray, wrap
from ..arrays.values import error


def op(function: Callable) -> Callable[..., Array]:
    """The function of arrays that a function in index notation states.

    Reductions, and functions of elements, are those of `lamella.lang.notation`, such as
    `sum(lambda k: a[i, k] * exp(b[k, j]))`. The statement is read once for each combination of
    operand types; its keyword arguments are constants.
    Raises NotationError, naming the axis, where the statement cannot be understood.
    """
    known: dict[tuple, Definition] = {}

    @functools.wraps(function)
    def run(*arrays, **constants) -> Array:
        nodes = [asarray(a).node for a in arrays]
        types = tuple(n.type for n in nodes)
        try:
            key = (types, *sorted(constants.items()))
            found = known.get(key)
        except TypeError:
            raise error(DTypeError,
                f"{function.__name__}: constants must be numbers or strings, got "
                f"{constants}") from None
        if found is None:
            stated = functools.partial(function, **constants) if constants else function
            found = known[key] = trace(stated, types)
        return wrap(define(found, nodes))

    return run
