"""How a product is cut: the register tile, the tiles of a task, the positions of a block.

Estimates in cycles of a core that does two vector multiply-adds and two loads a cycle, which is
what processors with these instruction sets do. Sizes that are symbols are taken at their bounds.
"""

from __future__ import annotations

from typing import NamedTuple

from ...base.extents import Extent, lower, upper
from ...lang.loops import LANES
from ...lang.order import CONTRACT_CHUNK

LEAST_TASKS = 16        # of a product, where it has so much work
TASK_WORK = 1 << 21     # operations that are worth a task of their own
BLOCK = 1024            # positions that all tiles of a task run over together, at most
STREAM_ROWS = 4         # up to so many rows the right operand is a stream, read row by row
STREAM_BLOCK = 16       # positions of it that are read side by side

LATENCY = 4             # cycles until a sum can be added to again
CORE_RATE = 24          # bytes a cycle from the second cache
LINE, PAGE = 64, 4096
END = 3.0               # cycles for a vector of results
POINTERS = 8            # rows whose places have registers of their own
COPY, TURN, GATHER = 0.2, 0.6, 2.0  # cycles to lay out an element: side by side, turned, scattered


class Layout(NamedTuple):
    """How an operand lies: the elements from a place to the next and from a position to the next
    (None where no single stride steps through them), and the bytes of an element."""

    step: Extent | None
    along: Extent | None
    itemsize: int

    def copying(self) -> float:
        """Cycles to lay out one element in panels."""
        return COPY if self.step == 1 else TURN if self.along == 1 else GATHER

    def collides(self, stride: Extent | None, lines: int, near_bytes: int) -> bool:
        """Whether so many places a stride apart drive each other out of the first cache."""
        if not isinstance(stride, int):
            return stride is not None
        places = near_bytes // 8 // LINE
        used = {k * stride * self.itemsize // LINE % places for k in range(lines)}
        return lines > 4 * len(used)


class Product(NamedTuple):
    """What is to be cut: extents, and how the operands lie. `panels`: the right operand is packed
    in panels, not read in place; `may_pack`: a task may lay out its rows of the left operand."""

    batch: Extent
    m: Extent
    k: Extent
    n: Extent
    left: Layout
    right: Layout
    panels: bool
    may_pack: bool


class Tiling(NamedTuple):
    """A tile of `rows` by `vectors`; a task has `group` tiles of rows and `panels` of columns, and
    runs over `block` summed positions of all of them before it goes on to the next; `packed`: it
    lays out its rows of the left operand before."""

    rows: int
    vectors: int
    packed: bool
    group: int
    panels: int
    block: int

    @property
    def width(self) -> int:
        """The columns of a panel."""
        return self.vectors * LANES

    @property
    def size(self) -> int:
        """The elements of a tile."""
        return self.rows * self.width


def choose_tiling(p: Product, target) -> Tiling:
    """The cut with the least estimated time."""
    choices = [(tile, packed) for tile in target.contract_tiles for packed in (False, True)
               if not packed or (p.may_pack and tile[0] <= LANES)]
    (rows, vectors), packed = min(choices, key=lambda c: _cycles(p, c[0], c[1], target))
    return _tasks(p, rows, vectors, packed, target)


def _cycles(p: Product, tile: tuple[int, int], packed: bool, target) -> float:
    """What the whole product takes with a tile."""
    m, k, n = (max(1, upper(e)) for e in (p.m, p.k, p.n))
    rows, width, parts = tile[0], tile[1] * LANES, 512 // target.vector_bits
    vectors = tile[1] * parts
    far, late = 0.0, 0.0
    if packed:
        far += rows * p.left.itemsize
    elif p.left.along != 1:
        far += LINE * (1 + (rows - 1) // LANES)
        late += 2 * _new_page(p.left)
    elif p.left.collides(p.left.step, rows, target.near_bytes):
        far += rows * LINE
    split = 1
    if not p.panels:
        late += 2 * _new_page(p.right)
        split = 1 if isinstance(p.right.along, int) and p.right.along % LANES == 0 else 2
    if k * width * p.right.itemsize > target.near_bytes // 2 or not p.panels and \
            p.right.collides(p.right.along, k, target.near_bytes):
        far += width * p.right.itemsize
    far /= CORE_RATE
    loads = rows + split * vectors
    if not packed and rows > POINTERS:  # the places of the rows are read again at each position
        loads += rows
    position = max(rows * vectors / 2, loads / 2, LATENCY, far) + far / 10 + late
    tiles = -(-m // rows) * -(-n // width)
    layout = m * k * p.left.copying() if packed else 0.0
    return tiles * (k * position + rows * vectors * END + 10) + layout


def _new_page(x: Layout) -> bool:
    """Whether each position lies in another page of memory."""
    return not isinstance(x.along, int) or x.along * x.itemsize >= PAGE // 2


def _tasks(p: Product, rows: int, vectors: int, packed: bool, target) -> Tiling:
    """Tasks for every thread, each with tiles enough to use again what it has read."""
    k, width = max(1, upper(p.k)), vectors * LANES
    tiles = max(1, -(-max(1, lower(p.m) or upper(p.m)) // rows))
    panels = -(-max(1, upper(p.n)) // width)
    others = max(1, upper(p.batch))
    stream = not p.panels and upper(p.m) <= STREAM_ROWS
    block = STREAM_BLOCK if stream and panels > 1 else min(BLOCK, CONTRACT_CHUNK)
    group = max(1, min(tiles, target.core_bytes // 2 // (rows * min(block, k) * 4)))
    wide = panels
    if k > block:  # the sums of all tiles wait while a block is run over
        wide = max(1, min(panels, target.core_bytes // 2 // (rows * width * 4 * group)))
    work = 2 * rows * width * k
    least = 8 if packed else 1          # panels that make up for laying out the rows
    while others * -(-tiles // group) * -(-panels // wide) < LEAST_TASKS and \
            group * wide * work > TASK_WORK:
        if wide >= 2 * least and group * rows <= wide * width // (4 if packed else 1):
            wide = -(-wide // 2)
        elif group > 1:
            group = -(-group // 2)
        else:
            break
    return Tiling(rows, vectors, packed, group, wide, block)
