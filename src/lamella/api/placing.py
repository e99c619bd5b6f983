"""Devices as users write them: the array API's `device` arguments."""

from __future__ import annotations

from ..base.devices import Device, cpu
from ..base.errors import UnsupportedError
from .values import error


def device_named(name: str, device) -> Device:
    """The device of None (the default), a Device or its name; raises for one that is not here."""
    if device is None or device is cpu or (isinstance(device, str) and device == repr(cpu)):
        return cpu
    raise error(UnsupportedError, f"{name}: there is no device {device!r}; arrays live on 'cpu'")
