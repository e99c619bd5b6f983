"""The templates of each kind of target: how a group becomes steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from . import contract, reduction, rows
from .fuse import Fusion
from .nest import Nest
from .plan import Step
from .tiles import contraction as tile_contraction
from .tiles import reduction as tile_reduction
from .tiles import rows as tile_rows

Template = Callable[..., Sequence[Step]]


class Templates(NamedTuple):
    """Functions of (nest, buffers, fusion, target) for products, for one reduction alone, and for
    maps with the reductions along their rows."""

    contraction: Template
    reduction: Template
    rows: Template


def _rows(nest: Nest, buffers, fusion: Fusion, target) -> Sequence[Step]:
    return [rows.schedule_rows(nest, buffers)]


def _reduction(nest: Nest, buffers, fusion: Fusion, target) -> Sequence[Step]:
    return reduction.schedule_reduction(nest, buffers, fusion)


def _tile_rows(nest: Nest, buffers, fusion: Fusion, target) -> Sequence[Step]:
    return [tile_rows.schedule_rows(nest, buffers)]


LOOPS = Templates(contract.schedule_contraction, _reduction, _rows)
TILES = Templates(tile_contraction.schedule_contraction, tile_reduction.schedule_reduction,
                  _tile_rows)


def templates_of(target) -> Templates:
    """The templates that serve a target."""
    return TILES if target.level == "tiles" else LOOPS
