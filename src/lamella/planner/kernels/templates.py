"""The templates of each kind of target: how a group becomes steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from ..groups.group import Fusion
from ..plan import Step
from . import product, reduction, rows
from .nest import Nest
from .residues import schedule_residues

Template = Callable[..., Sequence[Step]]


class Templates(NamedTuple):
    """Functions of (nest, buffers, fusion, target) for products, for one reduction alone, and for
    maps with the reductions along their rows."""

    contraction: Template
    reduction: Template
    rows: Template


def _rows(nest: Nest, buffers, fusion: Fusion, target) -> Sequence[Step]:
    return schedule_residues(nest, buffers) or rows.schedule_rows(nest, buffers)


def _reduction(nest: Nest, buffers, fusion: Fusion, target) -> Sequence[Step]:
    return reduction.schedule_reduction(nest, buffers, fusion)


LOOPS = Templates(product.schedule_product, _reduction, _rows)


@cache
def _tiles() -> Templates:
    """Loaded where a device is planned for."""
    from .tiles import contraction, reduction, rows

    def one(nest: Nest, buffers, fusion: Fusion, target) -> Sequence[Step]:
        return [rows.schedule_rows(nest, buffers)]

    return Templates(contraction.schedule_contraction, reduction.schedule_reduction, one)


def templates_of(target) -> Templates:
    """The templates that serve a target."""
    return _tiles() if target.level == "tiles" else LOOPS
