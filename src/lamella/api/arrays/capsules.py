"""What DLPack's capsules hold, as dlpack.h 1.1 states it."""

from __future__ import annotations

import ctypes

from ...base import dtypes
from ...base.dtypes import DType
from .exchange import CODES

Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_KINDS = {"int": 0, "uint": 1, "float": 2, "complex": 5, "bool": 6}     # DLDataTypeCode


class Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (("data", ctypes.c_void_p), ("device_type", ctypes.c_int32),
                ("device_id", ctypes.c_int32), ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8),
                ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16), ("shape", ctypes.c_void_p),
                ("strides", ctypes.c_void_p), ("byte_offset", ctypes.c_uint64))


class Plain(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", Deleter))
    name = b"dltensor"


class Versioned(ctypes.Structure):
    """DLManagedTensorVersioned."""

    _fields_ = (("major", ctypes.c_uint32), ("minor", ctypes.c_uint32),
                ("context", ctypes.c_void_p), ("deleter", Deleter), ("flags", ctypes.c_uint64),
                ("tensor", Tensor))
    name = b"dltensor_versioned"


def code_of(dtype: DType) -> int:
    """The DLDataTypeCode of a dtype."""
    return CODES[dtype] if dtype in CODES else _KINDS[dtype.kind]


def dtype_of(tensor: Tensor) -> DType | None:
    """The dtype that a tensor's elements have; None where there is none of the kind."""
    return next((d for d in dtypes.ALL if tensor.lanes == 1 and
                 (code_of(d), d.bits) == (tensor.code, tensor.bits)), None)
