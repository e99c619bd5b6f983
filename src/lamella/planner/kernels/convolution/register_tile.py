"""The register tile of a product: so many rows x vectors of columns, chosen by what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ....base.extents import Extent, upper
from ....lang.loops import LANES

Tile = tuple[int, int]      # rows, vectors

TILES: tuple[Tile, ...] = (
    (6, 4), (5, 4), (4, 4), (8, 3), (8, 2), (6, 2), (8, 1), (6, 1), (4, 1))


def fits(tile: Tile, target) -> bool:
    """Whether its sums, a vector of columns for each, and one element are held by registers."""
    rows, vectors = tile
    return rows * vectors + vectors + 1 <= target.room


def tile_cost(rows: Extent, columns: Extent, tile: Tile, addresses: int = 0) -> float:
    """Of a product cut into such tiles: wasted lanes, then instructions."""
    m, n = max(1, upper(rows)), max(1, upper(columns))
    r, v = tile
    padded = -(-m // r) * r * -(-n // (v * LANES)) * v * LANES
    # for each multiply-add, the loop's own with them
    instructions = 1 + (r + v + 4 + addresses) / (r * v)
    return padded * (max(1.7, instructions) + 0.1 * instructions)


def choose_tile(rows: Extent, columns: Extent, target, tiles: Iterable[Tile] = TILES,
                share: Callable[[int], float] = lambda rows: 1.0,
                addresses: Callable[[int], int] = lambda rows: 0) -> Tile:
    """The tile of few wasted lanes, then few instructions. `share` of a tile's positions take part,
    `addresses` is what its rows' own ones cost."""
    return min((t for t in tiles if fits(t, target)),
               key=lambda t: tile_cost(rows, columns, t, addresses(t[0])) * share(t[0]))
