"""Element types: name, size in bits, kind, and their NumPy counterpart."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from . import source
from .errors import DTypeError


class DType:
    """One element type. Identity is equality; `bits` is the storage size of an element.

    `part`: the dtype in which kernels hold it: a complex number is two parts, the real one first; a
    float8 is one of its bits. Of every other dtype it is the dtype itself.
    """

    __slots__ = ("bits", "kind", "name", "numpy", "part", "rank", "typestr")

    def __init__(self, name: str, bits: int, kind: str, numpy_type: Any, rank: int,
                 part: DType | None = None):
        self.name, self.bits, self.kind, self.rank = name, bits, kind, rank
        self.numpy = np.dtype(numpy_type)
        self.part = self if part is None else part
        # as NumPy's array interface names it; of a float8, bytes to be seen as it
        self.typestr = self.part.numpy.str if kind == "float8" else self.numpy.str

    @property
    def bytes(self) -> int:
        """Bytes of one element in memory."""
        return (self.bits + 7) // 8

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_complex(self) -> bool:
        return self.kind == "complex"

    @property
    def is_inexact(self) -> bool:
        """Floating or complex: what has derivatives."""
        return self.kind in ("float", "complex")

    @property
    def real(self) -> DType:
        """The dtype of a complex dtype's real part; the dtype itself of any other."""
        return self.part if self.kind == "complex" else self

    @property
    def is_int(self) -> bool:
        return self.kind in ("int", "uint")

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self):
        return by_name, (self.name,)


bool_ = DType("bool", 8, "bool", np.bool_, 0)
uint8 = DType("uint8", 8, "uint", np.uint8, 1)
int8 = DType("int8", 8, "int", np.int8, 1)
uint16 = DType("uint16", 16, "uint", np.uint16, 2)
int16 = DType("int16", 16, "int", np.int16, 2)
uint32 = DType("uint32", 32, "uint", np.uint32, 3)
int32 = DType("int32", 32, "int", np.int32, 3)
uint64 = DType("uint64", 64, "uint", np.uint64, 4)
int64 = DType("int64", 64, "int", np.int64, 4)
float16 = DType("float16", 16, "float", np.float16, 5)
bfloat16 = DType("bfloat16", 16, "float", ml_dtypes.bfloat16, 5)
float32 = DType("float32", 32, "float", np.float32, 6)
float64 = DType("float64", 64, "float", np.float64, 7)
complex64 = DType("complex64", 64, "complex", np.complex64, 8, float32)
complex128 = DType("complex128", 128, "complex", np.complex128, 9, float64)
float8_e4m3fn = DType("float8_e4m3fn", 8, "float8", ml_dtypes.float8_e4m3fn, 10, uint8)
float8_e5m2 = DType("float8_e5m2", 8, "float8", ml_dtypes.float8_e5m2, 10, uint8)

ALL = (bool_, uint8, int8, uint16, int16, uint32, int32, uint64, int64, float16, bfloat16, float32,
       float64, complex64, complex128, float8_e4m3fn, float8_e5m2)
FLOATS = tuple(d for d in ALL if d.is_float)
COMPLEX = tuple(d for d in ALL if d.is_complex)
INTS = tuple(d for d in ALL if d.is_int)
NATIVE = tuple(d for d in ALL if d.part is d)  # what kernels compute with
_BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.numpy: d for d in ALL}
index = int64


def by_name(name: str) -> DType:
    """The dtype called `name`; raises DTypeError naming the known ones."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise DTypeError(source.at_line(f"no dtype is called {name!r}; known: "
                                        f"{', '.join(_BY_NAME)}")) from None


def as_dtype(x: object) -> DType:
    """A DType from a DType, a name, a NumPy dtype or a Python scalar type."""
    if isinstance(x, DType):
        return x
    if isinstance(x, str):
        return by_name(x)
    if x is bool:
        return bool_
    if x is int:
        return int32
    if x is float:
        return float32
    if x is complex:
        return complex64
    try:
        if x is None:  # NumPy takes that as float64
            raise KeyError
        return _BY_NUMPY[np.dtype(x)]  # type: ignore[call-overload]
    except (KeyError, TypeError):
        raise DTypeError(source.at_line(f"{x!r} has no counterpart among "
                                        f"{', '.join(_BY_NAME)}")) from None


def promote(a: DType, b: DType) -> DType:
    """The dtype that holds both (array API rules; ints with floats take the float).

    A float8 holds numbers for others to compute with: DTypeError, cast it.
    """
    if a is b:
        return a
    if "float8" in (a.kind, b.kind):
        raise DTypeError(f"{a} and {b} have no common dtype; cast the float8 with astype")
    if a.is_complex or b.is_complex:
        return _promote_complex(a, b)
    if a.kind == b.kind == "float":
        return float32 if a.bits == b.bits else (a if a.bits > b.bits else b)
    if a.is_float or b.is_float:
        return a if a.is_float else b
    if "bool" in (a.kind, b.kind):
        return b if a.kind == "bool" else a
    if a.kind == b.kind:
        return a if a.bits > b.bits else b
    return _promote_signs(*((a, b) if a.kind == "int" else (b, a)))


def _promote_complex(a: DType, b: DType) -> DType:
    """complex64 where float32 holds the parts of both, else complex128."""
    wide = any(d.real is float64 for d in (a, b))
    return complex128 if wide else complex64


def complex_of(d: DType) -> DType:
    """The complex dtype whose parts hold the floating (or complex) dtype."""
    return complex128 if d.real is float64 else complex64


def widest(d: DType) -> DType:
    """The widest dtype of the same kind for inexact ones, in which references add up; else d."""
    if d.is_complex:
        return complex128
    return float64 if d.is_float else d


def _promote_signs(signed: DType, unsigned: DType) -> DType:
    if signed.bits > unsigned.bits:
        return signed
    if unsigned.bits == 64:
        raise DTypeError(source.at_line(f"{signed} and {unsigned} have no common integer type; "
                                        f"cast one"))
    return by_name(f"int{unsigned.bits * 2}")
