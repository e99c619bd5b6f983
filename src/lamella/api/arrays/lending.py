"""Values of a GPU for other libraries, by DLPack: where they lie, without a copy.

A capsule holds DLPack's structure (dlpack.h 1.1) and, as long as the consumer keeps it, the value's
block: a call that the array is donated to then takes a copy. What the consumer gives back is used
again only after all work of the device by then, as nobody says on which streams it was read.
"""

from __future__ import annotations

import ctypes

from ...base.errors import CopyError, UnsupportedError
from ...engine.stations import station
from ...engine.value import Value
from ...runtime.blocks import DeviceBlock
from .capsules import Deleter, Plain, Tensor, Versioned, code_of
from .exchange import CPU, CUDA, WITH_FLAGS, exported
from .values import error

READ_ONLY, COPIED = 1, 2    # flags
LEGACY = 1                  # the stream that is meant where none is named
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)


_lent: dict[int, tuple] = {}    # by the structure's address: what it points to, and the block
_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, _Destructor]
_valid = ctypes.pythonapi.PyCapsule_IsValid
_valid.restype, _valid.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi))


@Deleter
def _given_back(address: int) -> None:
    """The consumer needs it no more; from whatever thread."""
    found = _lent.pop(address, None)
    if found is not None:
        block: DeviceBlock = found[-1]
        block.blocks.returned.append(block)


@_Destructor
def _unused(capsule: int) -> None:
    """A capsule's end: nobody has taken what it holds where it still has its first name."""
    for kind in (Plain, Versioned):
        if _valid(capsule, kind.name):
            _given_back(_pointer_of(capsule, kind.name))


def lent(value: Value, stream, max_version, dl_device, copy):
    """A DLPack capsule of a device's values, for the consumer's stream: what it queues there comes
    behind the work that makes them. Shared where it understands read-only memory, else a copy."""
    index, at = value.type.device.index, station(value.type.device)
    versioned = max_version is not None and tuple(max_version) >= WITH_FLAGS
    if dl_device not in (None, (CUDA, index)):
        if dl_device != CPU or copy is False:
            raise error(CopyError, f"__dlpack__: the values are on {value.type.device}; for the "
                                   f"device {dl_device} they have to be copied there first: use "
                                   "to_device")
        return exported(value.numpy(), stream, max_version, CPU, None)
    if stream == 0:
        raise error(UnsupportedError, "__dlpack__: stream 0 may be either of two; pass 1 (the "
                                      "legacy default stream), 2 (each thread's own) or a handle")
    if copy is False and not versioned:
        raise error(CopyError, "__dlpack__: the values are read-only, which the asked version "
                               "cannot say, so they have to be copied; drop copy=False")
    copied = bool(copy) or not versioned
    value = value.copy() if copied else value
    with at.blocks.turn:
        at.runtime.enter()
        if stream != -1:
            at.runtime.lead(LEGACY if stream is None else stream)
    return _capsule(value, index, versioned, copied)


def _capsule(value: Value, index: int, versioned: bool, copied: bool):
    dtype, shape = value.type.dtype, tuple(map(int, value.type.shape))
    extents = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    strides = (ctypes.c_int64 * max(1, len(shape)))()
    step = 1
    for k in reversed(range(len(shape))):
        strides[k] = step
        step *= max(1, shape[k])
    tensor = Tensor(value.address, CUDA, index, len(shape), code_of(dtype), dtype.bits, 1,
                     ctypes.addressof(extents), ctypes.addressof(strides), 0)
    held = Versioned(*WITH_FLAGS, None, _given_back, COPIED if copied else READ_ONLY, tensor) \
        if versioned else Plain(tensor, None, _given_back)
    address = ctypes.addressof(held)
    _lent[address] = (held, extents, strides, value.owner)
    return _new(address, held.name, _unused)
