"""The safetensors layout: a JSON table of names, dtypes, shapes and offsets, then the bytes.

    8 bytes   length of the table, little endian
    table     {"weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
    data      arrays one after another without holes, row-major, little endian

Written and read here without a copy, so that weights can stay in a mapped file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from ..base import dtypes
from ..base.dtypes import DType, as_dtype
from ..base.errors import FormatError

ALIGNMENT = 64
MOST_TABLE = 100_000_000
MOST_RANK = 32

_WORDS = {"BOOL": dtypes.bool_, "U8": dtypes.uint8, "I8": dtypes.int8, "U16": dtypes.uint16,
          "I16": dtypes.int16, "U32": dtypes.uint32, "I32": dtypes.int32, "U64": dtypes.uint64,
          "I64": dtypes.int64, "F16": dtypes.float16, "BF16": dtypes.bfloat16,
          "F32": dtypes.float32, "F64": dtypes.float64, "C64": dtypes.complex64,
          "F8_E4M3": dtypes.float8_e4m3fn, "F8_E5M2": dtypes.float8_e5m2}
_NAMES = {d: word for word, d in _WORDS.items()}


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


_ENTRY = msgspec.json.Decoder(_Entry)
_NOTES = msgspec.json.Decoder(dict[str, str])
_ENTRIES = msgspec.json.Decoder(dict[str, msgspec.Raw])


def chunks(arrays: Mapping[str, np.ndarray],
           notes: Mapping[str, str] | None = None) -> Iterable[memoryview]:
    """The file's bytes, in pieces: the table, then each array, those of wide dtypes first. `notes`
    are the table's `__metadata__`."""
    named = {n: np.asarray(a, order="C") for n, a in arrays.items()}
    order = sorted(named, key=lambda n: (-named[n].dtype.itemsize, n))
    table: dict[str, Mapping] = {"__metadata__": notes} if notes else {}
    at = 0
    for name in order:
        a = named[name]
        dtype = as_dtype(a.dtype)
        if dtype not in _NAMES:
            raise FormatError(f"weights: {name!r} is {dtype}, which safetensors has no word for; "
                              f"cast it, or store its parts")
        table[name] = {"dtype": _NAMES[dtype], "shape": list(a.shape),
                       "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = msgspec.json.encode(table)
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return [memoryview(len(text).to_bytes(8, "little") + text),
            *(_raw(named[name]) for name in order)]


def _raw(a: np.ndarray) -> memoryview:
    return np.ascontiguousarray(a).reshape(-1).view(np.uint8).data


def read(data: memoryview | bytes) -> dict[str, np.ndarray]:
    """The arrays by name, as read-only views of `data`; checks every bound."""
    return read_all(data)[0]


def read_all(data: memoryview | bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(the arrays by name, the notes in `__metadata__`)."""
    view = memoryview(data).toreadonly()
    length = int.from_bytes(view[:8], "little")
    if len(view) < 8 or length > min(MOST_TABLE, len(view) - 8):
        raise FormatError(f"weights: the table of {length} bytes does not fit into {len(view)}")
    table, notes = _table(bytes(view[8:8 + length]))
    view = view[8 + length:]
    at, out = 0, {}
    for name, e in sorted(table.items(), key=lambda item: item[1].data_offsets):
        dtype, (start, stop) = _checked(name, e), e.data_offsets
        if start != at or stop > len(view):
            raise FormatError(f"weights: {name!r} lies at bytes {start}..{stop}, where it should "
                              f"begin at {at} and end before {len(view)}")
        out[name] = np.frombuffer(view[start:stop], dtype.numpy).reshape(e.shape)
        at = stop
    if at != len(view):
        raise FormatError(f"weights: {len(view) - at} bytes follow after the last array")
    return out, notes


def _table(text: bytes) -> tuple[dict[str, _Entry], dict[str, str]]:
    """The table, and its `__metadata__`; a name may stand in it once."""
    try:
        raw = _ENTRIES.decode(text)
        notes = _NOTES.decode(raw.pop("__metadata__", b"{}"))
        table = {n: _ENTRY.decode(v) for n, v in raw.items()}
    except (msgspec.MsgspecError, ValueError, RecursionError) as e:
        raise FormatError(f"weights: the table cannot be read: {e}") from None
    return table, notes


def _checked(name: str, e: _Entry) -> DType:
    """The entry's dtype, if its shape and offsets agree with each other."""
    dtype = _WORDS.get(e.dtype)
    if dtype is None:
        raise FormatError(f"weights: {name!r} has the dtype {e.dtype!r}; "
                          f"known: {', '.join(_WORDS)}")
    if len(e.shape) > MOST_RANK or any(not 0 <= n < 1 << 48 for n in e.shape):
        raise FormatError(f"weights: {name!r} has the shape {e.shape[:MOST_RANK]}")
    need, given = math.prod(e.shape) * dtype.bytes, e.data_offsets[1] - e.data_offsets[0]
    if need != given:
        raise FormatError(f"weights: {name!r} is {dtype}{e.shape}, {need} bytes, but has {given}")
    return dtype
