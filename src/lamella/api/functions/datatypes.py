"""Dtypes: the array API's data type functions."""

from __future__ import annotations

from typing import NamedTuple

import ml_dtypes
import numpy as np

from ...base.dtypes import DType, as_dtype, complex_of, promote
from ...base.errors import DTypeError
from ..arrays.array import Array, asarray
from ..arrays.imports import DEFAULTS, RANKS, is_number, number_rank
from ..arrays.values import error

__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]


class FloatLimits(NamedTuple):
    """Of a floating dtype: its bits, 1's distance to the next number, the largest and the least
    number, the smallest normal one."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntegerLimits(NamedTuple):
    """Of an integer dtype: its bits, the largest and the least number."""

    bits: int
    max: int
    min: int
    dtype: DType


def astype(x: Array, dtype, /, *, copy: bool = True, device=None) -> Array:
    """x as another dtype: nearest value; to integers saturating, NaN gives 0."""
    y = asarray(x) if not copy and as_dtype(dtype) is x.dtype else x.astype(dtype)
    return y if device is None else y.to_device(device)


def result_type(*arrays_and_dtypes) -> DType:
    """The dtype that operators on these arrays, dtypes and Python numbers give."""
    strong = [as_dtype(getattr(a, "dtype", a)) for a in arrays_and_dtypes
              if not is_number(a)]
    rank = max((number_rank(a) for a in arrays_and_dtypes if is_number(a)), default=-1)
    if not arrays_and_dtypes:
        raise error(DTypeError, "result_type: takes one array, dtype or number at least")
    if not strong:
        return DEFAULTS[rank]
    found = strong[0]
    for d in strong[1:]:
        found = promote(found, d)
    if rank <= RANKS[found.kind]:
        return found
    return complex_of(found) if rank == 3 else DEFAULTS[rank]


def can_cast(from_, to, /) -> bool:
    """Whether every value of the dtype (or array) `from_` keeps its kind and fits `to`."""
    source, to = as_dtype(getattr(from_, "dtype", from_)), as_dtype(to)
    try:
        return promote(source, to) is to
    except DTypeError:
        return False


def isdtype(dtype, kind) -> bool:
    """Whether a dtype is of a kind: "bool", "signed integer", "unsigned integer", "integral",
    "real floating", "complex floating", "numeric", a dtype, or one of several of these."""
    dtype = as_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, DType):
        return dtype is kind
    kinds = {"bool": ("bool",), "signed integer": ("int",), "unsigned integer": ("uint",),
             "integral": ("int", "uint"), "real floating": ("float",),
             "complex floating": ("complex",), "numeric": ("int", "uint", "float", "complex")}
    if kind not in kinds:
        raise error(DTypeError, f"isdtype: no kind {kind!r}; known: {', '.join(kinds)}")
    return dtype.kind in kinds[kind]


def finfo(type, /) -> FloatLimits:
    """Limits of a floating dtype (or array), or of a complex one's parts."""
    dtype = as_dtype(getattr(type, "dtype", type)).real
    if not dtype.is_float and dtype.kind != "float8":
        raise error(DTypeError, f"finfo: takes a floating dtype, got {dtype}")
    found = ml_dtypes.finfo(dtype.numpy)
    return FloatLimits(dtype.bits, float(found.eps), float(found.max), float(found.min),
                       float(found.smallest_normal), dtype)


def iinfo(type, /) -> IntegerLimits:
    """Limits of an integer dtype (or array)."""
    dtype = as_dtype(getattr(type, "dtype", type))
    if not dtype.is_int:
        raise error(DTypeError, f"iinfo: takes an integer dtype, got {dtype}")
    found = np.iinfo(dtype.numpy)
    return IntegerLimits(dtype.bits, int(found.max), int(found.min), dtype)
