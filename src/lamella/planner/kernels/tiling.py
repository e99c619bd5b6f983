"""How a product is cut: the register tile, the tiles of a task, the positions of a block.

Estimates in cycles of a core that does two vector multiply-adds and two loads a cycle, which is
what processors with these instruction sets do; what else they cost was fitted to the timed cuts of
70 shapes (docs/performance.md). Sizes that are symbols are taken at their bounds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ...base.extents import Extent, lower, upper
from ...lang.loops import LANES
from ...lang.order import CONTRACT_CHUNK

LEAST_TASKS, FEW_TASKS = 16, 4  # of a product, where it has so much work
WIDER = 16              # times as many columns as rows of a task, where it lays out its rows
TASK_WORK = 1 << 21     # operations that are worth a task of their own
READ_ROWS = 24          # rows whose operations take as long as reading the right operand
BLOCK, NEAR_BLOCK = 1024, 256   # positions that all tiles of a task run over together, at most
STREAM_ROWS = 4         # up to so many rows the right operand is a stream, read row by row
STREAM_BLOCK = 32       # positions of it that are read side by side
STREAM_AHEAD = 4        # positions that are called for early: each lies in another page

PLACE, TASK, BEFORE = "in place", "packed by the task", "packed before"
TURNED = "turned in registers"

LATENCY = 4             # cycles until a sum can be added to again
CORE_RATE = 64          # bytes a cycle from the second cache: what lies side by side,
STRIDED_RATE = 40       # what lies a stride apart,
LINE_RATE = 20          # and lines of which little is used, or that strides have driven out of it,
CROWDED = 0.8           # with so many cycles more
BLEND = 0.03            # the part of such cycles that arithmetic does not hide
LOADED = 0.08           # cycles of each load that arithmetic on single elements does not hide
LATE = 1.0              # cycles until an element of another page of memory is there
AWAY = 8 << 20          # bytes of an operand or result that no cache holds:
AWAY_COPY, AWAY_COPIED = 0.9, 1.0   # cycles more to lay out an element, in the task or before;
AWAY_PANEL = 4.0        # cycles for a position of a long panel;
AWAY_ROW = 15.0         # cycles for a tile's row of such a result: it lies in a page of its own
MASKS, MASKED = 7, 0.5  # masks that registers hold; cycles to bring another one
LINE, PAGE, WAYS, CORE_WAYS = 64, 4096, 8, 16
WAIT = 3.0              # cycles for a vector of sums that wait while others run over a block
STORED = 0.3            # cycles for an element that goes through memory or the second cache
LAUNCH = 2000           # cycles of a step of its own
COPY, TURN, GATHER = 0.2, 0.46, 2.0     # cycles to lay out an element: side by side, turned, apart
STRIP = 3.0             # more for a position of a tile's rows that lies in a line of its own
PAGED = 3.0             # more of them where a panel's positions lie more than a page apart
WORD_ROWS = 64          # rows of a task that make up for reading the right operand
TURNED_TILES = ((1, 1), (2, 1), (4, 1))     # of a right operand that turns in registers
SQUARE = 4.5            # cycles for a position of it
WORD_TILES = ((8, 2), (4, 4), (16, 1))  # more sums leave no registers for words; rows fill LANES


class Layout(NamedTuple):
    """How an operand lies: the elements from a place to the next and from a position to the next
    (None where no single stride steps through them), and the bytes of an element."""

    step: Extent | None
    along: Extent | None
    itemsize: int

    def copying(self) -> float:
        """Cycles to lay out one element in panels."""
        return COPY if self.step == 1 else TURN if self.along == 1 else GATHER

    def collides(self, stride: Extent | None, lines: int, cache: int, ways: int = WAYS) -> bool:
        """Whether so many places a stride apart drive each other out of a cache of so many
        bytes."""
        if not isinstance(stride, int):
            return stride is not None
        return lines > ways * _sets(stride * self.itemsize, lines, cache // ways // LINE)

    def crowds(self, positions: int, target) -> bool:
        """Whether so many of them take more than half of their places in the second cache."""
        return self.collides(self.along, 2 * positions, target.core_bytes, CORE_WAYS)


@lru_cache(4096)
def _sets(stride: int, lines: int, sets: int) -> int:
    """In how many of the sets of a cache so many lines fall that lie so many bytes apart."""
    return len({k * stride // LINE % sets for k in range(lines)})


class Product(NamedTuple):
    """What is to be cut: extents, and how the operands lie. `ways`: how the right operand may be
    read; `steady`: it stays the same while the product runs again and again, so that it is packed
    once; `may_pack`: a task may lay out its rows of the left operand, `must_pack`: it has to, in
    words of several positions, which `k` counts."""

    batch: Extent
    m: Extent
    k: Extent
    n: Extent
    left: Layout
    right: Layout
    ways: tuple[str, ...]
    steady: bool
    may_pack: bool
    must_pack: bool = False


class Tiling(NamedTuple):
    """A tile of `rows` by `vectors`; a task has `group` tiles of rows and `panels` of columns, and
    runs over `block` summed positions of all of them before it goes on to the next; `packed`: it
    lays out its rows of the left operand before; `right`: how it reads the right one."""

    rows: int
    vectors: int
    packed: bool
    right: str
    group: int
    panels: int
    block: int

    @property
    def width(self) -> int:
        """The columns of a panel."""
        return self.vectors * LANES

    @property
    def streams(self) -> bool:
        """Whether the right operand is read once, row by row."""
        return self.right == PLACE and self.block == STREAM_BLOCK

    @property
    def size(self) -> int:
        """The elements of a tile."""
        return self.rows * self.width


def choose_tiling(p: Product, target) -> Tiling:
    """The cut that was found the fastest on this machine, or has the least estimated time."""
    return target.tuned.get(p) or _estimated(p, target)


@lru_cache(4096)
def _estimated(p: Product, target) -> Tiling:
    """Remembered, as the layers of a model have the same products."""
    return min(tilings(p, target), key=lambda t: cycles(p, t, target))


def tilings(p: Product, target) -> list[Tiling]:
    """The cuts that are worth a thought."""
    found = [_tasks(p, rows, vectors, packed, right, block, target)
             for right in p.ways for tiles, blocks in [_offers(p, right, target)]
             for block in blocks if block >= BLOCK or block < upper(p.k)
             for rows, vectors in tiles
             for packed in (False, True) if packed and p.may_pack and rows <= LANES and
             right != TURNED or not packed and not p.must_pack]
    return [t for t in dict.fromkeys(found) if t.right != TASK or
            min(t.block, max(1, upper(p.k))) * t.width * p.right.itemsize <= target.core_bytes // 8]


def _offers(p: Product, right: str, target) -> tuple:
    """(register tiles, blocks of positions) to choose from."""
    if p.must_pack:
        return WORD_TILES, (CONTRACT_CHUNK // 2,)
    if right == TURNED:
        return TURNED_TILES, (CONTRACT_CHUNK,)
    return target.contract_tiles, (BLOCK, NEAR_BLOCK)


def cycles(p: Product, t: Tiling, target) -> float:
    """What the whole product takes with a cut."""
    m, k, n = (max(1, upper(e)) for e in (p.m, p.k, p.n))
    vectors, deep = t.vectors * (512 // target.vector_bits), min(k, t.block)
    away = k * n * max(1, upper(p.batch)) * p.right.itemsize > AWAY
    far = _left_far(p.left, t, deep, target) + _right_far(p.right, t, deep, target)
    late, masks, loads = 0.0, MASKED * max(0, t.vectors - MASKS), t.rows + vectors
    if not t.packed and p.left.along != 1:
        late += LATE * _new_page(p.left) + CROWDED * p.left.crowds(deep, target)
    if t.right == PLACE:
        long = away and deep * t.width * p.right.itemsize > target.core_bytes // 8
        late += LATE * _new_page(p.right) + AWAY_PANEL * long + masks
        if not isinstance(p.right.along, int) or p.right.along % LANES:
            loads += vectors * target.vector_bits / 512     # vectors that lie in two lines
    position = max(t.rows * vectors / 2, loads / 2, LATENCY, far)
    if t.right == TURNED:
        position = SQUARE
    position += far * BLEND + loads * LOADED * (not p.must_pack) + late
    blocks = -(-k // t.block)
    ends = t.rows * (vectors * WAIT * blocks * (blocks > 1) + masks)
    if 4 * m * n * max(1, upper(p.batch)) > AWAY and not p.must_pack:
        ends += t.rows * AWAY_ROW
    rows, panels = -(-m // t.rows), -(-n // t.width)
    return rows * panels * (k * position + ends) + _laid_out(p, t, rows, panels, away, target)


def _laid_out(p: Product, t: Tiling, rows: int, panels: int, away: bool, target) -> float:
    """Cycles to lay out operands, for so many tiles of rows and panels of columns; the right
    operand may be far `away`."""
    m, k, n, batch = (max(1, upper(e)) for e in (p.m, p.k, p.n, p.batch))
    found = 0.0
    if t.packed:
        left = COPY if p.must_pack and p.left.along == 1 else p.left.copying()
        left += STRIP / t.rows * (p.left.step == 1 and not p.must_pack)
        left += AWAY_COPY * (m * k * batch * p.left.itemsize > AWAY)
        found += m * k * left * -(-panels // t.panels)
    if t.right == TASK:
        long = min(k, t.block) * t.width * p.right.itemsize > target.near_bytes
        right = p.right.copying() + STORED * long + AWAY_COPY * (away and p.right.along != 1)
        right += PAGED * (p.must_pack and upper(p.right.along or PAGE) * p.right.itemsize > PAGE)
        found += n * k * right * -(-rows // t.group)
    elif t.right == BEFORE and not p.steady:
        right = p.right.copying() + STORED + AWAY_COPIED * away
        found += n * k * right + LAUNCH / batch
    return found


def _left_far(x: Layout, t: Tiling, deep: int, target) -> float:
    """Cycles in which a position's elements of the left operand come from farther caches."""
    if t.packed:
        return t.rows * x.itemsize / CORE_RATE
    if x.along != 1:
        rate = LINE_RATE if x.crowds(deep, target) else STRIDED_RATE
        return LINE * (1 + (t.rows - 1) // LANES) / rate
    return t.rows * LINE / LINE_RATE if x.collides(x.step, t.rows, target.near_bytes) else 0.0


def _right_far(x: Layout, t: Tiling, deep: int, target) -> float:
    """As `_left_far`, of the panel's elements."""
    wide = t.width * x.itemsize
    if t.right == PLACE and x.along != t.width and x.collides(x.along, deep, target.near_bytes):
        return wide / (LINE_RATE if x.crowds(deep, target) else STRIDED_RATE)
    return wide / CORE_RATE if deep * wide > 0.75 * target.near_bytes else 0.0


def _new_page(x: Layout) -> bool:
    """Whether each position lies in another page of memory."""
    return not isinstance(x.along, int) or x.along * x.itemsize >= PAGE // 2


def _tasks(p: Product, rows: int, vectors: int, packed: bool, right: str, block: int,
           target) -> Tiling:
    """Tasks for every thread, each with tiles enough to use again what it has read."""
    k, width = max(1, upper(p.k)), vectors * LANES
    tiles = max(1, -(-max(1, lower(p.m) or upper(p.m)) // rows))
    panels = -(-max(1, upper(p.n)) // width)
    others = max(1, upper(p.batch))
    stream = right == PLACE and upper(p.m) <= STREAM_ROWS
    block = STREAM_BLOCK if stream and panels > 1 else min(block, CONTRACT_CHUNK)
    room = target.core_bytes * 2 if p.must_pack else target.core_bytes // 2
    group = max(1, min(tiles, room // (rows * min(block, k) * 4)))
    wide = panels
    if k > block:  # the sums of all tiles wait while a block is run over
        wide = max(1, min(panels, target.core_bytes // 2 // (rows * width * 4 * group)))
    work = 2 * (rows if tiles > 1 else max(rows, READ_ROWS)) * width * k
    least = 8 if packed else 1          # panels that make up for laying out the rows
    if p.must_pack and right == TASK:   # both operands are laid out by every task: few of them
        return Tiling(rows, vectors, packed, right, *_few(p, tiles, group, panels, wide), block)
    while others * -(-tiles // group) * -(-panels // wide) < LEAST_TASKS and \
            group * wide * work > TASK_WORK * (1 + p.must_pack):
        if p.must_pack and group * rows > WORD_ROWS:    # rows in words are laid out only once
            group = -(-group // 2)
        elif wide >= 2 * least and group * rows <= wide * width // (WIDER if packed else 1):
            wide = -(-wide // 2)
        elif group > 1:
            group = -(-group // 2)
        else:
            break
    return Tiling(rows, vectors, packed, right, group, wide, block)


def _few(p: Product, tiles: int, group: int, panels: int, wide: int) -> tuple[int, int]:
    """Tiles of rows and panels of a task, for a few tasks, each time cut where it costs less."""
    left = p.left.copying() * max(1, upper(p.m))
    right = p.right.copying() * max(1, upper(p.n))
    while max(1, upper(p.batch)) * -(-tiles // group) * -(-panels // wide) < FEW_TASKS:
        if wide > 1 and (left <= right or group == 1):
            wide = -(-wide // 2)
            left *= 2
        elif group > 1:
            group = -(-group // 2)
            right *= 2
        else:
            break
    return group, wide
