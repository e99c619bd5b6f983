"""Looking into programs while they run: `print` and `check`, compiled or not."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...base import dtypes, source
from ...base.errors import DTypeError
from ...ir.types import TupleType
from ...ops import effect
from ..arrays.array import Array, asarray
from ..arrays.scope import blocking
from ..arrays.values import error
from .effects import current, move_on

__all__ = ["check", "print"]

_print = print


def print(message: str, *args: Any) -> None:
    """Write the message with the arrays filled in for its {}, each time that the line runs.

    In compiled functions, loops and branches too, in the order in which they stand; under `vmap`
    once for each lane. Python formats apply: `lamella.debug.print("loss {:.3f} at {}", loss, i)`.
    """
    if blocking() is None:
        _print(effect.text_of(message, [_value(a) for a in args]), flush=True)
        return
    _call(effect.PRINT, message, args)


def check(pred: Any, message: str, *args: Any) -> None:
    """Raise ExecutionError with the message (its {} filled in) at this line unless all of pred, an
    array of booleans, holds when it runs; see `debug.print`."""
    holds = asarray(pred)
    if holds.dtype is not dtypes.bool_:
        raise error(DTypeError, f"check: takes booleans, got {holds.node.type}; write a comparison")
    if blocking() is None:
        if not np.all(holds.numpy()):
            raise effect.failed(effect.text_of(message, [_value(a) for a in args]),
                                source.render(source.here()))
        return
    _call(effect.CHECK, message, (holds, *args))


def _value(a: Any) -> Any:
    return a.numpy() if isinstance(a, Array) else a


def _call(function: effect.Foreign, message: str, args: tuple) -> None:
    nodes = [asarray(a).node for a in args]
    order = function(current(), *nodes, message=message, where=source.render(source.here()))
    assert not isinstance(order.type, TupleType)
    move_on(order)
