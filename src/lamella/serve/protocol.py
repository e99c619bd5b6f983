"""The messages of the Open Inference Protocol v2 (REST), to arrays and back.

Tensors come as JSON numbers, flat or nested, or as raw little-endian bytes behind the JSON (the
`binary_tensor_data` extension: the header `Inference-Header-Content-Length` tells the JSON's
length, `binary_data_size` each tensor's). Only declared dtypes and shapes are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ..base import dtypes
from ..base.dtypes import DType, by_name
from ..formats.lamella_file import Spec
from .registry import Registry, RequestError, Served

MOST_TENSORS = 64
MOST_RANK = 8
HEADER = "Inference-Header-Content-Length"

WORDS = {"BOOL": dtypes.bool_, "UINT8": dtypes.uint8, "INT8": dtypes.int8, "UINT16": dtypes.uint16,
         "INT16": dtypes.int16, "UINT32": dtypes.uint32, "INT32": dtypes.int32,
         "UINT64": dtypes.uint64, "INT64": dtypes.int64, "FP16": dtypes.float16,
         "BF16": dtypes.bfloat16, "FP32": dtypes.float32, "FP64": dtypes.float64}
NAMES = {d: word for word, d in WORDS.items()}


class Tensor(msgspec.Struct):
    """An input tensor of a request."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw = msgspec.Raw()


class Wanted(msgspec.Struct):
    """An output that a request names."""

    name: str
    parameters: dict[str, Any] = {}


class Request(msgspec.Struct):
    """The body of an inference request."""

    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[Wanted] = []


_REQUEST = msgspec.json.Decoder(Request)
_LISTS: dict[str, Any] = {"float": list[float], "int": list[int], "uint": list[int],
                          "bool": list[bool]}
_FLAT = {kind: msgspec.json.Decoder(t) for kind, t in _LISTS.items()}


def read_request(body: bytes, header_length: str | None,
                 served: Served) -> tuple[Request, list[np.ndarray]]:
    """The request and its inputs in the model's order."""
    text, rest = _parts(body, header_length)
    try:
        request = _REQUEST.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise RequestError(400, f"the request cannot be read: {e}") from None
    if len(request.inputs) > MOST_TENSORS:
        raise RequestError(400, f"{len(request.inputs)} inputs; at most {MOST_TENSORS} are read")
    found: dict[str, np.ndarray] = {}
    for t in request.inputs:
        if t.name in found:
            raise RequestError(400, f"the input {t.name!r} is given twice")
        found[t.name], rest = _tensor(t, rest)
    if len(rest):
        raise RequestError(400, f"{len(rest)} bytes follow after the last binary tensor")
    return request, _ordered(found, served.manifest.inputs)


def _parts(body: bytes, header_length: str | None) -> tuple[memoryview, memoryview]:
    view = memoryview(body)
    if header_length is None:
        return view, view[len(view):]
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 12):
        raise RequestError(400, f"the header {HEADER} is no number")
    length = int(header_length)
    if length > len(view):
        raise RequestError(400, f"the header {HEADER} is {length}, the body has {len(view)} bytes")
    return view[:length], view[length:]


def _ordered(found: dict[str, np.ndarray], specs: Sequence[Spec]) -> list[np.ndarray]:
    names = [s.name for s in specs]
    if set(names) != set(found):
        raise RequestError(400, f"the model's inputs are {', '.join(names) or 'none'}; the request "
                                f"gives {', '.join(found) or 'none'}")
    return [found[n] for n in names]


def _tensor(t: Tensor, rest: memoryview) -> tuple[np.ndarray, memoryview]:
    """The array, and what is left of the binary data."""
    dtype = WORDS.get(t.datatype)
    if dtype is None:
        raise RequestError(400, f"input {t.name!r}: the datatype {t.datatype!r} is not known; "
                                f"known: {', '.join(WORDS)}")
    if len(t.shape) > MOST_RANK or any(not 0 <= n < 1 << 40 for n in t.shape):
        raise RequestError(400, f"input {t.name!r}: bad shape (at most {MOST_RANK} extents, "
                                f"none negative)")
    size = t.parameters.get("binary_data_size")
    if size is None:
        return _from_json(t, dtype), rest
    if type(size) is not int or size != math.prod(t.shape) * dtype.bytes or size > len(rest):
        raise RequestError(400, f"input {t.name!r}: {t.datatype}{t.shape} does not have {size} "
                                f"bytes, or the body ends before")
    raw = rest[:size]
    if dtype is dtypes.bool_ and any(b > 1 for b in raw):
        raise RequestError(400, f"input {t.name!r}: a BOOL byte is neither 0 nor 1")
    array = np.frombuffer(raw, dtype.numpy) if size else np.zeros(0, dtype.numpy)
    return array.reshape(t.shape), rest[size:]


def _from_json(t: Tensor, dtype: DType) -> np.ndarray:
    try:
        try:
            flat = _FLAT[dtype.kind].decode(t.data)
        except msgspec.ValidationError:
            nested = msgspec.json.decode(t.data)
            if not isinstance(nested, list) or not any(isinstance(i, list) for i in nested):
                raise
            flat = _flattened(nested, t.shape)
            flat = msgspec.convert(flat, _LISTS[dtype.kind])
        if len(flat) != math.prod(t.shape):
            raise ValueError(f"{len(flat)} numbers for the shape {t.shape}")
        with np.errstate(over="ignore"):
            return np.array(flat, dtype.numpy).reshape(t.shape)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError, TypeError) as e:
        raise RequestError(400, f"input {t.name!r}: the data cannot be read as {t.datatype}: {e}"
                           ) from None


def _flattened(data: Any, shape: list[int]) -> list:
    """Nested lists of that shape as one list."""
    items = [data]
    for extent in shape:
        if any(not isinstance(i, list) or len(i) != extent for i in items):
            raise ValueError(f"the lists do not nest as {shape}")
        items = [x for i in items for x in i]
    return items


def write_response(request: Request, served: Served,
                   arrays: list[np.ndarray]) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON where binary tensors follow."""
    specs = served.manifest.outputs
    wanted = request.outputs or [Wanted(s.name) for s in specs]
    place = {s.name: k for k, s in enumerate(specs)}
    outputs, pieces = [], []
    for w in wanted:
        if w.name not in place:
            raise RequestError(400, f"the model has no output {w.name!r}; it has "
                                    f"{', '.join(place)}")
        a = arrays[place[w.name]]
        entry: dict[str, Any] = {"name": w.name, "datatype": NAMES[dtypes.as_dtype(a.dtype)],
                                 "shape": a.shape}
        if w.parameters.get("binary_data", request.parameters.get("binary_data_output", False)):
            pieces.append(np.ascontiguousarray(a).tobytes())
            entry["parameters"] = {"binary_data_size": a.nbytes}
        else:
            flat = a.reshape(-1)
            wide = flat.astype(np.float32) if flat.dtype.kind == "V" else flat
            entry["data"] = wide.tolist()
        outputs.append(entry)
    head = {"model_name": served.name, "model_version": served.version, "outputs": outputs}
    text = msgspec.json.encode({**head, "id": request.id} if request.id else head)
    return b"".join([text, *pieces]), len(text) if pieces else None


def check_outputs(request: Request, served: Served) -> None:
    """Refuse unknown outputs before anything runs."""
    known = [s.name for s in served.manifest.outputs]
    for w in request.outputs[:MOST_TENSORS + 1]:
        if w.name not in known or len(request.outputs) > MOST_TENSORS:
            raise RequestError(400, f"the model has no output {w.name[:64]!r}; it has "
                                    f"{', '.join(known)}, each at most {MOST_TENSORS} times")


def metadata(registry: Registry, served: Served) -> dict:
    """What a client may know of a model."""
    def tensors(specs: Sequence[Spec]) -> list[dict]:
        return [{"name": s.name, "datatype": NAMES[by_name(s.dtype)],
                 "shape": [e if isinstance(e, int) else -1 for e in s.shape],
                 **({"labels": s.labels} if s.labels else {})} for s in specs]

    return {"name": served.name, "versions": registry.versions(served.name), "platform": "lamella",
            "inputs": tensors(served.manifest.inputs), "outputs": tensors(served.manifest.outputs)}
