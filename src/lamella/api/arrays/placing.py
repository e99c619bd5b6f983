"""Devices as users write them: the `device` arguments of the array API and of `compile`."""

from __future__ import annotations

from ...base import devices
from ...base.devices import Device, cpu
from ...base.errors import LamellaError, UnsupportedError
from ...ir.node import Node
from ...ops.transfer import to_device
from .scope import state
from .values import error


def device_named(name: str, device) -> Device | None:
    """The device of a name ("cpu", "cuda", "cuda:1") or a Device; None where none is given. Raises,
    with the remedy, where it, or what it needs, is not here."""
    if device is None or device is cpu:
        return device
    found = devices.named(str(device))
    if found is None:
        raise error(UnsupportedError, f"{name}: no device is called {device!r}; use 'cpu' or "
                                      "'cuda:0'")
    if found is not cpu:
        from ...engine.stations import check  # devices are loaded where one is asked for

        try:
            check(found)
        except LamellaError as e:
            raise error(type(e), f"{name}: {e}") from e
    return found


def placed(node: Node, device: Device | None) -> Node:
    """The node on a device; where it is if none is named. What is known is copied at once."""
    if device is None or (node.type.device is device and device is not cpu):
        return node
    if node.data is not None and not state.scopes:
        return node.data.on(device)
    return node if node.type.device is device else to_device(node, device)


def compute_device(name: str, device) -> Device:
    """The device on which a program is to run; the processor where none is named."""
    return device_named(name, device) or cpu
