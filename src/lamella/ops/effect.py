"""Printing and checking while a program runs: host calls that take part in one order.

Each takes the order (a count, int32) as it is before it and gives the order behind it, so that
such calls are never removed, joined, repeated or exchanged. Under `vmap` the order has the batch
axes, and the call is made for each lane in turn.
"""

from __future__ import annotations

import sys

import numpy as np

from ..base.errors import DTypeError, ExecutionError
from ..ir.types import TensorType
from .foreign import Foreign


def _infer(order: TensorType, *types: TensorType, **options) -> TensorType:
    if order.dtype.name != "int32" or any(t.shape[:order.rank] != order.shape for t in types):
        raise DTypeError(f"print: the order is int32 with the batch axes of all operands, got "
                         f"{order} with ({', '.join(map(str, types))})")
    return order


def _infer_check(order: TensorType, holds: TensorType, *types: TensorType, **options):
    if holds.dtype.name != "bool":
        raise DTypeError(f"check: takes booleans, got {holds}")
    return _infer(order, holds, *types)


def text_of(message: str, values) -> str:
    """The message with its {} filled in; as it is where there is nothing to fill in."""
    return message.format(*(v.item() if np.ndim(v) == 0 else v for v in values)) if values \
        else message


def _print(order: np.ndarray, *arrays: np.ndarray, message: str, where: str) -> np.ndarray:
    for lane in np.ndindex(order.shape):
        print(text_of(message, [a[lane] for a in arrays]), flush=True, file=sys.stdout)
    return order + np.int32(1)


def _check(order: np.ndarray, holds: np.ndarray, *arrays: np.ndarray, message: str,
           where: str) -> np.ndarray:
    for lane in np.ndindex(order.shape):
        if not np.all(holds[lane]):
            raise failed(text_of(message, [a[lane] for a in arrays]), where)
    return order + np.int32(1)


def failed(message: str, where: str) -> ExecutionError:
    """The error of a check that does not hold."""
    found = ExecutionError(f"check failed: {message}{f' ({where})' if where else ''}")
    found.located = True  # type: ignore[attr-defined]
    return found


def _is_text(v) -> bool:
    return isinstance(v, str)


def _no_cotangents(node, cotangent):
    return (None,) * len(node.inputs)


_OPTIONS = {"message": _is_text, "where": _is_text}
PRINT = Foreign("print", _print, _infer, arity=None, doc="Writes a line for each lane.",
                options=_OPTIONS, vjp=_no_cotangents, batch="leading", same_bits=True)
CHECK = Foreign("check", _check, _infer_check, arity=None, doc="Raises where a lane is false.",
                options=_OPTIONS, vjp=_no_cotangents, batch="leading", same_bits=True)
