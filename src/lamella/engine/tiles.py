"""The tiles of products that `lamella tune --device` found the fastest on a device."""

from __future__ import annotations

import re

from ..planner.kernels.tiles.contraction import Shape, Tile
from ..runtime.device import Device
from .tuned import read


def named(device: Device) -> str:
    """The name of a kind of device, for its file."""
    return f"sm_{device.arch}-{re.sub(r'[^A-Za-z0-9]+', '-', device.name)}"


def remembered(name: str) -> dict[Shape, Tile]:
    """What was found for devices of that name."""
    return read(name, lambda row: (Shape(*row[0]), Tile(*row[1])))
