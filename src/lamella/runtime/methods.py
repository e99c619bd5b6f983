"""Native functions as Python's own: callables over a block's address, methods of a class."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_FASTCALL, _NOARGS = 0x80, 0x04
_kept: list = []  # functions point at their definitions for ever


class _Definition(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p),
                ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]  # fmt: skip


_new_function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object,
                                  ctypes.c_void_p)(("PyCFunction_NewEx", ctypes.pythonapi))
_new_method = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p)(
    ("PyDescr_NewMethod", ctypes.pythonapi))  # fmt: skip


class Function:
    """A native function of (self, array of objects, their count): `over(x)` has x as its self."""

    def __init__(self, name: str, address: int):
        self._definition = _kept_definition(name, address, _FASTCALL)

    def over(self, self_object: object) -> Callable:
        return _new_function(ctypes.addressof(self._definition), self_object, None)


def method(cls: type, name: str, address: int) -> Callable:
    """A native function of (self, null) as a method of a class, without arguments."""
    return _new_method(cls, ctypes.addressof(_kept_definition(name, address, _NOARGS)))


def _kept_definition(name: str, address: int, flags: int) -> _Definition:
    _kept.append(_Definition(name.encode(), address, flags, None))
    return _kept[-1]
