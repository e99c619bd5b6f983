"""How a convolution's tiles lie over its pixels: as these follow one another, or in lines.

A tile of pixels as they follow one another may go around the end of a row. So each pixel needs an
address of its own, and where its window leaves the image, which others' do not, a mask.

A tile may also be a line of pixels along one axis: the same pixel of several images, or a piece of
a column or of a row. The line is what it is for two reasons. Its pixels lie equally far apart, so
that one address serves the tile, and may be more of them. And a limit of the image that the axis
does not move is left by all of them together: that shortens the run of positions for the tile as a
whole, without a mask. The same pixel of several images has no other limits; the pixels of a piece
of a column have those above and below, each its own, those of a row the ones beside. What a line
asks for is an axis that the tile divides, steps that are known, and pixels that are not so far
apart that all fall into one place of the first cache.

Chosen is what costs the least: wasted lanes and instructions (`register_tile.py`), times the share
of tiles with some pixel inside of the image, times what looks and masks at its border add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ....base.extents import Extent, product, upper
from ....lang.expr import Expr
from ....lang.loops import LANES
from .register_tile import TILES, Tile, choose_tile, fits, tile_cost
from .windows import Limit, Window

LINED = (*TILES, (7, 3), (7, 2), (7, 1), (12, 2), (12, 1), (14, 1), (16, 1))    # of a line
MASKS = 8               # rows whose masks registers hold
WAY = 4096              # bytes apart: in the same place of the first cache
CROWDED = 1.05          # what tiles of such pixels take longer
MASKED, LOOK = 4.0, 0.6     # positions whose time masks take, and a look whether a row is inside
FEW_PAIRS = 1 << 15     # of a pixel and a tap

Limits = list[tuple[int, Limit]]    # numbered


class Laid(NamedTuple):
    """A tile, the axis that it is a line of (None: pixels as they follow one another), the limits
    that its pixels leave together, and those that each leaves on its own."""

    tile: Tile
    line: Expr | None
    shared: Limits
    own: Limits


class Pixels(NamedTuple):
    """What tiles are laid over: the windows, the axes of their pixels, of the sum (`bound`), and of
    its innermost `run`."""

    windows: Window
    axes: list[Expr]
    bound: list[Expr]
    run: list[Expr]


def lay_tiles(pixels: Pixels, columns: Extent, target) -> Laid:
    """The tile of a product of these pixels with so many columns, and how it lies."""
    rows, share = product(a.attr[1] for a in pixels.axes), _share(pixels)
    limits = list(enumerate(pixels.windows.limits))
    plain = Laid(choose_tile(rows, columns, target, share=share), None, [], limits)

    def cost(laid: Laid) -> float:
        count = laid.tile[0]
        alone = laid.line is None or laid.own       # whether tiles may lie outside altogether
        return tile_cost(rows, columns, laid.tile) * share(count if alone else 1) * \
            _slower(pixels, laid) * (CROWDED if _crowds(pixels.windows, laid.line) else 1)

    return min([plain, *_lines(pixels, limits, target)], key=cost)


def _lines(pixels: Pixels, limits: Limits, target) -> Iterator[Laid]:
    """The tiles that can be lines; where there are no limits, none is needed."""
    windows, run = pixels.windows, pixels.run
    for line in pixels.axes if limits else ():
        own = [(k, x) for k, x in limits if line in x.form.terms]
        shared = [(k, x) for k, x in limits if line not in x.form.terms]
        extent, apart = line.attr[1], windows.stride(line)
        if not isinstance(extent, int) or not isinstance(apart, int) or \
                any(a in x.form.terms for _, x in shared for a in run[1:]) or \
                any(not isinstance(c, int) for _, x in shared for c in x.form.terms.values()):
            continue
        most = MASKS if _crowds(windows, line) else LANES
        for tile in LINED:
            if extent % tile[0] == 0 and tile[0] <= most and fits(tile, target):
                yield Laid(tile, line, shared, own)


def _crowds(windows: Window, line: Expr | None) -> bool:
    """Whether a line's pixels lie in the same few sets of the first cache."""
    apart = 0 if line is None else windows.stride(line)
    return line is not None and isinstance(apart, int) and apart * windows.dtype.bytes % WAY == 0


def _slower(pixels: Pixels, laid: Laid) -> float:
    """By what the limits of the pixels' own make such tiles slower: the look whether a run is
    whole, and the masks of tiles at the border."""
    along = pixels.axes if laid.line is None else [laid.line]
    limited = {a for _, x in laid.own for a in x.form.terms}
    wide = min((upper(a.attr[1]) for a in along if a in limited), default=0)
    if not wide:
        return 1.0
    rows = laid.tile[0]
    steps = product(a.attr[1] for a in pixels.run if a not in limited)
    looks = LOOK * (2 if len(along) == 1 else rows)
    return 1 + looks / max(1, upper(product(a.attr[1] for a in pixels.run))) + \
        min(1, 2 * rows / wide) * MASKED / max(1, upper(steps))


def _share(pixels: Pixels) -> Callable[[int], float]:
    """share(rows): of all tiles of so many pixels and taps the share that has some pixel inside of
    the image; the others are passed over. Of large images it is near to 1."""
    limits, limited = pixels.windows.limits, pixels.windows.limited
    axes = [[a for a in some if a in limited] for some in (pixels.axes, pixels.bound)]
    count, taps = (product(a.attr[1] for a in some) for some in axes)
    known = all(isinstance(e, int) for x in limits for e in (
        count, taps, x.extent, x.form.constant, *x.form.terms.values()))
    both = [*axes[0], *axes[1]]
    if not known or not limited <= {*both} or not 0 < upper(count * taps) <= FEW_PAIRS:
        return lambda rows: 1.0
    at = dict(zip(both, np.ix_(*(np.arange(a.attr[1]) for a in both)), strict=True))
    there = np.ones([a.attr[1] for a in both], bool)
    for x in limits:
        index = sum((at[a] * c for a, c in x.form.terms.items()), x.form.constant)
        there &= (index >= 0) & (index < x.extent)
    table = there.reshape(count, taps)
    return lambda rows: float(np.logical_or.reduceat(table, range(0, count, rows)).mean())
