"""A device's rates: those that `lamella calibrate --device` wrote to a file, or those of its kind.

Plans are the same with either, and so are bits; what changes are the times that are predicted.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..base.errors import LamellaError
from ..planner.pricing.roofline import Roofline, by_capability
from ..planner.pricing.roofline import device as profile
from ..runtime.cache import default_folder
from ..runtime.device import Device
from . import tiles


def path(device: Device) -> Path | None:
    """Where the rates measured on devices of that name are kept; None where the cache is off."""
    folder = default_folder()
    return None if folder is None else folder / f"profile-{tiles.named(device)}.json"


def rates(device: Device) -> Roofline:
    """What is known of a device that is in use; `context` is what it took there."""
    file = path(device)
    found = by_capability(device.arch)
    if file is not None and file.exists():
        with suppress(LamellaError):    # damaged, or of another version
            found = profile(str(file))
    found.context = device.context_bytes or found.context
    return found
