"""Values of a GPU from other libraries, by DLPack: where they lie, or copied there.

The exporter is told our stream, so that what is queued there comes behind the work that makes the
values. It gets its memory back only after all work of the device by then, as it may use it at once.
"""

from __future__ import annotations

import ctypes
from typing import Any

from ...base.devices import Device, named
from ...base.errors import CopyError, DTypeError, LamellaError, UnsupportedError
from ...engine.stations import station
from ...engine.value import Value
from ...ir.types import tensor
from ...runtime.blocks import Blocks
from .capsules import Plain, Tensor, Versioned, dtype_of
from .exchange import CUDA, WITH_FLAGS
from .values import error

WORD = 16   # kernels read so many bytes at a time, from the first one on
_TAKEN = {Plain.name: b"used_dltensor", Versioned.name: b"used_dltensor_versioned"}
_name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(
    ("PyCapsule_GetName", ctypes.pythonapi))
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi))
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_SetName", ctypes.pythonapi))


class _Taken:
    """The exporter's structure, out of its capsule; at its end the exporter gets it back."""

    def __init__(self, capsule: Any):
        name = _name_of(capsule)
        kind: Any = {Plain.name: Plain, Versioned.name: Versioned}.get(name)
        if kind is None:
            raise CopyError(f"its capsule is a {name!r}, neither new nor one of DLPack's")
        self.address = _pointer_of(capsule, name)
        held = kind.from_address(self.address)
        if kind is Versioned and held.major != WITH_FLAGS[0]:
            raise CopyError(f"it speaks version {held.major} of DLPack, not {WITH_FLAGS[0]}")
        self.tensor: Tensor = held.tensor
        self.deleter = held.deleter
        _rename(capsule, _TAKEN[name])

    def __del__(self):
        if getattr(self, "deleter", None):
            self.deleter(self.address)


class Borrowed:
    """Another library's bytes of a device at `address`. They are no block: nothing is written
    there, and a call that they are donated to takes a copy."""

    def __init__(self, taken: _Taken, address: int, blocks: Blocks):
        self.taken, self.address, self.blocks = taken, address, blocks

    def __del__(self):
        self.blocks.returned.append(self.taken)


def borrowed(name: str, x: Any, copy: bool | None) -> Value:
    """The values of a DLPack exporter on a GPU: a copy there or, where `copy` is false, the
    exporter's memory, which must not change as long as they are used."""
    index = int(x.__dlpack_device__()[1])
    device = named(f"cuda:{index}")
    assert device is not None
    try:
        value = _value(x, device)
    except (BufferError, RuntimeError, ValueError, LamellaError) as e:
        kind = type(e) if isinstance(e, LamellaError) else CopyError
        text = f"{name}: {type(x).__name__} on {device} cannot be shared: {e}"
        raise error(kind, text) from None
    if copy is False and value.address % WORD:
        raise error(CopyError, f"{name}: the values begin at an address that is no multiple of "
                               f"{WORD}, so they have to be copied; drop copy=False")
    return value if copy is False else value.copy()


def _value(x: Any, device: Device) -> Value:
    at = station(device)
    with at.blocks.turn:
        at.runtime.enter()
        taken = _Taken(_asked(x, at.runtime.queue))
    found = taken.tensor
    owner = Borrowed(taken, (found.data or 0) + found.byte_offset, at.blocks)
    dtype = dtype_of(found)
    if (found.device_type, found.device_id) != (CUDA, device.index):
        raise CopyError(f"its capsule is of another device, {found.device_type, found.device_id}")
    if dtype is None:
        raise DTypeError(f"elements of {found.bits} bits (code {found.code}, {found.lanes} lanes) "
                         "have no counterpart here")
    shape = _words(found.shape, found.ndim)
    if found.strides and not _packed(shape, _words(found.strides, found.ndim)):
        raise UnsupportedError("its elements are not packed row by row; make it contiguous first")
    return Value(owner.address, owner, tensor(dtype, shape).on(device))


def _asked(x: Any, queue: int) -> Any:
    """The exporter's capsule for our stream, of the old kind where it knows no other."""
    try:
        return x.__dlpack__(stream=queue, max_version=WITH_FLAGS)
    except TypeError:
        return x.__dlpack__(stream=queue)


def _words(address: int, count: int) -> tuple[int, ...]:
    return tuple((ctypes.c_int64 * count).from_address(address)) if count else ()


def _packed(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements lie row by row; steps along axes of one element are never taken."""
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n > 1 and s != step:
            return 0 in shape
        step *= n
    return True
