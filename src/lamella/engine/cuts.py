"""The cuts of products that `lamella tune` found the fastest on this machine, and their file."""

from __future__ import annotations

import json
from pathlib import Path

from ..base.atomic import replace_text
from ..planner.kernels.tiling import Layout, Product, Tiling
from ..runtime.cache import default_folder


def path(target: str) -> Path | None:
    """Where the cuts for the target of that name are kept; None where the cache is off."""
    folder = default_folder()
    return None if folder is None else folder / f"tuned-{target}.json"


def remembered(target: str) -> dict[Product, Tiling]:
    """What was found before; nothing where there is no file that can be read."""
    file = path(target)
    try:
        rows = [] if file is None else json.loads(file.read_text())
        return dict(map(_entry, rows))
    except (OSError, ValueError, TypeError):
        return {}


def remember(target: str, found: dict[Product, Tiling]) -> None:
    """Write the file, for the processes to come."""
    file = path(target)
    assert file is not None, "asked for only where there is a folder"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_text(file, json.dumps([[list(p), list(t)] for p, t in found.items()]))


def _entry(row: list) -> tuple[Product, Tiling]:
    (batch, m, k, n, left, right, ways, *rest), cut = row
    return (Product(batch, m, k, n, Layout(*left), Layout(*right), tuple(ways), *rest),
            Tiling(*cut))
