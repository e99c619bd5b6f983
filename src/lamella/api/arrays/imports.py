"""Python numbers, sequences and other libraries' arrays, as NumPy arrays and literals."""

from __future__ import annotations

import numpy as np

from ...base import dtypes
from ...base.dtypes import DType, as_dtype
from ...base.errors import DTypeError, ShapeError
from ...ir.node import Node, literal
from ...ir.op import in_range
from .exchange import received
from .values import error

DEFAULTS = (dtypes.bool_, dtypes.int32, dtypes.float32, dtypes.complex64)
RANKS = {"bool": 0, "uint": 1, "int": 1, "float": 2, "complex": 3, "float8": 4}  # of kinds


def imported(x, dtype: DType | None) -> np.ndarray:
    """What x holds, as a NumPy array of one of our dtypes; shares its memory where it can."""
    if not isinstance(x, np.ndarray | np.generic) and hasattr(x, "__dlpack__"):
        found = received("asarray", x)
    elif isinstance(x, list | tuple):
        found = _from_sequence(x, dtype)
    else:
        found = np.asarray(x)
    if found.dtype == object or found.dtype.kind in "US":
        raise error(DTypeError,
            f"asarray: {type(x).__name__} with elements of {found.dtype} has no "
            "counterpart; pass numbers of one shape")
    wanted = dtype or as_dtype(found.dtype)
    return found if found.dtype == wanted.numpy else found.astype(wanted.numpy)


def shares(found: np.ndarray, x) -> bool:
    """Whether `found`, imported from x, can be used where it lies: packed, and x's own memory."""
    return (not isinstance(x, list | tuple) and found.flags.c_contiguous and found.flags.aligned
            and (not isinstance(x, np.ndarray | np.generic) or np.may_share_memory(found, x)))


def _from_sequence(x, dtype: DType | None) -> np.ndarray:
    """Nested sequences: Python numbers take our default dtypes, arrays inside keep theirs."""
    leaves: list = []

    def plain(item):
        if isinstance(item, list | tuple):
            return [plain(i) for i in item]
        leaves.append(item)
        return item if isinstance(item, bool | int | float | complex) else np.asarray(item)

    try:
        found = np.array(plain(x))
    except OverflowError as e:
        raise error(DTypeError, f"asarray: {e}; integers have at most 64 bits") from None
    except ValueError as e:
        raise error(ShapeError, f"asarray: the nested sequence has no one shape: {e}") from None
    if dtype is None and all(isinstance(i, bool | int | float | complex) for i in leaves):
        dtype = DEFAULTS[max(map(number_rank, leaves), default=2)]
    if dtype is None:
        return found
    if dtype.is_int and found.size and all(isinstance(i, int) for i in leaves):
        for extreme in (min(leaves), max(leaves)):
            _check_fits(extreme, dtype)
        return np.array(x, dtype.numpy)  # on the way through float64 large ones would be rounded
    return found.astype(dtype.numpy)


def is_number(x) -> bool:
    """Whether x is a Python number of a kind that arrays have."""
    return isinstance(x, bool | int | float | complex)


def number_rank(number) -> int:
    """0 for a bool, 1 for an integer, 2 for a float, 3 for a complex number."""
    if isinstance(number, complex):
        return 3
    return 2 if isinstance(number, float) else 1 - isinstance(number, bool)


def number_node(x, dtype: DType) -> Node:
    """The literal of a Python number; raises where an integer does not fit the dtype."""
    if isinstance(x, complex) and not dtype.is_complex:
        raise error(DTypeError, f"the number {x} does not fit {dtype}; cast the array to complex64")
    if dtype.is_int and not isinstance(x, float):
        _check_fits(x, dtype)
    return literal(x, dtype)


def _check_fits(x: int, dtype: DType) -> None:
    if not in_range(x, dtype):
        raise error(DTypeError,
            f"the number {x} does not fit {dtype}; cast the array to a wider type")
