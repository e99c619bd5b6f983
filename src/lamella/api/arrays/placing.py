"""Devices as users write them: the array API's `device` arguments."""

from __future__ import annotations

from ...base.devices import Device, cpu
from ...base.errors import LamellaError, UnsupportedError
from ...ir.program import Program
from .values import error


def device_named(name: str, device) -> Device:
    """The device of arrays: of None (the default), a Device or its name; raises for any other."""
    if device is None or device is cpu or (isinstance(device, str) and device == repr(cpu)):
        return cpu
    remedy = ""
    if str(device).partition(":")[0] == "cuda":
        remedy = f"; compile(f, device={str(device)!r}) takes them to the GPU and back"
    raise error(UnsupportedError,
                f"{name}: there is no device {device!r}; arrays live on 'cpu'{remedy}")


def compute_device(name: str, device) -> Device:
    """The device on which a program is to run: "cpu", "cuda" or "cuda:1"; raises where it, or what
    it needs, is not here, naming the remedy."""
    kind, _, number = str("cpu" if device is None else device).partition(":")
    if kind == "cpu" and not number:
        return cpu
    if kind != "cuda" or (number and not number.isdigit()):
        raise error(UnsupportedError, f"{name}: no device is called {device!r}; use 'cpu' or "
                                      "'cuda:0'")
    from ...engine.placed import check  # devices are loaded where one is asked for

    found = Device("cuda", int(number or 0))
    try:
        check(found)
    except LamellaError as e:
        raise error(type(e), f"{name}: {e}") from e
    return found


def placed(program: Program, device: Device):
    """The program ready to run on the device."""
    from ...engine.placed import Placed

    return Placed(program, device)
