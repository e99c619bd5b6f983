"""The cuts of products that `lamella tune` found the fastest on this machine."""

from __future__ import annotations

from ..planner.kernels.tiling import Layout, Product, Tiling
from .tuned import read


def remembered(target: str) -> dict[Product, Tiling]:
    """What was found for the target of that name."""
    return read(target, _entry)


def _entry(row: list) -> tuple[Product, Tiling]:
    (batch, m, k, n, left, right, ways, *rest), cut = row
    return (Product(batch, m, k, n, Layout(*left), Layout(*right), tuple(ways), *rest),
            Tiling(*cut))
