"""Values for other libraries and from them, by DLPack.

NumPy speaks the protocol, but has no bfloat16 and no float8: these it hands over as words of their
width, and the type that a capsule names is changed in place.
"""

from __future__ import annotations

import ctypes

import numpy as np

from ...base.dtypes import DType, bfloat16, float8_e4m3fn, float8_e5m2
from ...base.errors import CopyError, UnsupportedError
from .values import error

CPU = (1, 0)  # DLPack's kDLCPU and its only index
CUDA = 2  # kDLCUDA
WITH_FLAGS = (1, 0)  # the first version of the protocol that can say "read-only"
CODES = {bfloat16: 4, float8_e4m3fn: 10, float8_e5m2: 12}  # DLDataTypeCode, of dlpack.h 1.1
_WORD = 1  # kDLUInt
# Where the code lies: in a DLTensor behind pointer, device and rank; that lies behind the head.
_PLACES = {b"dltensor": 20, b"dltensor_versioned": 32 + 20}
_name_of, _pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
_name_of.restype, _name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _named(capsule) -> ctypes.Array | None:
    """The bytes (code, bits) of the capsule's type; None for an unknown kind of capsule."""
    name = _name_of(capsule)
    if name not in _PLACES:
        return None
    return (ctypes.c_uint8 * 2).from_address(_pointer_of(capsule, name) + _PLACES[name])


class _Words:
    """An exporter whose types beyond NumPy's are handed over as words; `dtype` is then theirs."""

    def __init__(self, x):
        self.x = x
        self.dtype: DType | None = None

    def __dlpack__(self, **options):
        capsule = self.x.__dlpack__(**options)
        named = _named(capsule)
        for dtype, code in CODES.items():
            if named is not None and tuple(named) == (code, dtype.bits):
                named[0], self.dtype = _WORD, dtype
        return capsule

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def received(name: str, x) -> np.ndarray:
    """The values of a DLPack exporter, in its memory; raises CopyError where it does not give it
    away, or where it is not this machine's."""
    words = _Words(x)
    try:
        found = np.from_dlpack(words)
    except (BufferError, RuntimeError, ValueError) as e:
        raise error(CopyError, f"{name}: {type(x).__name__} cannot be shared: {e}") from None
    return found if words.dtype is None else found.view(words.dtype.numpy)


def on_gpu(x) -> bool:
    """Whether x is a DLPack exporter of values on a GPU."""
    return hasattr(x, "__dlpack_device__") and int(x.__dlpack_device__()[0]) == CUDA


def exported(x: np.ndarray, stream, max_version, dl_device, copy):
    """A DLPack capsule of the values, shared where the consumer understands read-only memory."""
    if stream is not None:
        raise error(UnsupportedError, "__dlpack__: the cpu has no streams; pass stream=None")
    if dl_device not in (None, CPU):
        raise error(CopyError, f"__dlpack__: no device {dl_device} is here; arrays live on the cpu")
    versioned = max_version is not None and tuple(max_version) >= WITH_FLAGS
    if copy is False and not versioned:
        raise error(CopyError, "__dlpack__: the values are read-only, which the asked version "
                               "cannot say, so they have to be copied; drop copy=False")
    if copy or not versioned:
        x = x.copy()
    code = next((c for d, c in CODES.items() if x.dtype == d.numpy), None)
    x = x if code is None else x.view(f"u{x.dtype.itemsize}")
    capsule = x.__dlpack__(max_version=max_version) if versioned else x.__dlpack__()
    named = _named(capsule)
    if code is not None and named is not None:
        named[0] = code
    return capsule
