"""The tiles of products that `lamella tune --device` found the fastest, and their file."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..base.atomic import replace_text
from ..planner.kernels.tiles.contraction import Shape, Tile
from ..runtime.cache import default_folder
from ..runtime.device import Device


def named(device: Device) -> str:
    """The name of a kind of device, for its file."""
    return f"sm_{device.arch}-{re.sub(r'[^A-Za-z0-9]+', '-', device.name)}"


def path(name: str) -> Path | None:
    """Where the tiles for devices of that name are kept; None where the cache is off."""
    folder = default_folder()
    return None if folder is None else folder / f"tuned-{name}.json"


def remembered(name: str) -> dict[Shape, Tile]:
    """What was found before; nothing where there is no file that can be read."""
    file = path(name)
    try:
        rows = [] if file is None else json.loads(file.read_text())
        return {Shape(*shape): Tile(*tile) for shape, tile in rows}
    except (OSError, ValueError, TypeError):
        return {}


def remember(name: str, found: dict[Shape, Tile]) -> None:
    """Write the file, for the processes to come."""
    file = path(name)
    assert file is not None, "asked for only where there is a folder"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_text(file, json.dumps([[list(p), list(t)] for p, t in found.items()]))
