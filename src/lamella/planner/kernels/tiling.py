"""How a product is cut: the register tile, the tiles of a task, the positions of a block.

Estimates in cycles of a core that does two vector multiply-adds and two loads a cycle, which is
what processors with these instruction sets do; what else they cost is the target's `prices`. Sizes
that are symbols are taken at their bounds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ...base.extents import Extent, lower, upper
from ...codegen.prices import LINE, Cache, Prices
from ...lang.loops import LANES
from ...lang.order import CONTRACT_CHUNK

LEAST_TASKS, FEW_TASKS = 16, 4  # of a product, where it has so much work
WIDER = 16              # times as many columns as rows of a task, where it lays out its rows
TASK_WORK = 1 << 21     # operations that are worth a task of their own
FEWER = 8               # times fewer are, as long as a thread would have no task
FLOPS = 64              # operations of a core in a cycle
THIN, ALONE = 0.5, 0.2  # of its arithmetic: what a task of several, of one thread, waits for
LONG = 4                # times as many rows as columns: half of it reads as many columns again
READ_ROWS = 24          # rows whose operations take as long as reading the right operand
BLOCK, NEAR_BLOCK = 1024, 256   # positions that all tiles of a task run over together, at most
STREAM_ROWS = 4         # up to so many rows the right operand is a stream, read row by row
STREAM_BLOCK = 32       # positions of it that are read side by side
STREAM_AHEAD = 4        # positions that are called for early: each lies in another page

PLACE, TASK, BEFORE = "in place", "packed by the task", "packed before"
TURNED = "turned in registers"

LATENCY = 4             # cycles until a sum can be added to again
MASKS = 7               # that registers hold
PAGE = 4096             # bytes of a page of memory
WORD_ROWS = 64          # rows of a task that make up for reading the right operand
TURNED_TILES = ((1, 1), (2, 1), (4, 1))     # of a right operand that turns in registers
MATRIX_TILES = ((32, 2), (16, 3))       # of eight registers, one for each operand's matrix
MATRIX_WORK = 16        # times as much work makes a task of matrices
WORD_TILES = ((8, 2), (4, 4), (16, 1))  # more sums leave no registers for words; rows fill LANES


class Layout(NamedTuple):
    """How an operand lies: the elements from a place to the next and from a position to the next
    (None where no single stride steps through them), and the bytes of an element. Where several
    strides step through the positions, `run` of them in a row are `inner` elements apart."""

    step: Extent | None
    along: Extent | None
    itemsize: int
    inner: Extent | None = None
    run: Extent = 0

    def copying(self, price: Prices) -> float:
        """Cycles to lay out one element in panels."""
        return price.copy if self.step == 1 else price.turn if self.along == 1 else price.gather

    def collides(self, stride: Extent | None, lines: int, cache: Cache) -> bool:
        """Whether so many places a stride apart drive each other out of a cache."""
        if not isinstance(stride, int):
            return stride is not None
        return lines > cache.ways * _sets(stride * self.itemsize, lines, cache.sets)

    def crowds(self, lines: int, target) -> bool:
        """Whether the lines of neighbouring positions take more than half of their places in the
        second cache."""
        if self.along is None:
            return self.collides(self.inner, 2 * min(lines, upper(self.run)), target.core)
        return self.collides(self.along, 2 * lines, target.core)


@lru_cache(4096)
def _sets(stride: int, lines: int, sets: int) -> int:
    """In how many of the sets of a cache so many lines fall that lie so many bytes apart."""
    return len({k * stride // LINE % sets for k in range(lines)})


class Product(NamedTuple):
    """What is to be cut: extents, and how the operands lie. `ways`: how the right operand may be
    read; `steady`: it stays the same while the product runs again and again, so that it is packed
    once; `may_pack`: a task may lay out its rows of the left operand, `must_pack`: it has to, in
    words of several positions, which `k` counts; `matrices`: for registers that hold matrices."""

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
    matrices: bool = False


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
             for packed in (False, True) if packed and p.may_pack and
             (rows <= LANES or p.matrices) and right != TURNED or not packed and not p.must_pack]
    return [t for t in dict.fromkeys(found) if t.right != TASK or
            min(t.block, max(1, upper(p.k))) * t.width * p.right.itemsize <= target.core.bytes // 8]


def _offers(p: Product, right: str, target) -> tuple:
    """(register tiles, blocks of positions) to choose from."""
    if p.matrices:
        return MATRIX_TILES, (BLOCK, NEAR_BLOCK)
    if p.must_pack:
        return WORD_TILES, (CONTRACT_CHUNK // 2,)
    if right == TURNED:
        return TURNED_TILES, (CONTRACT_CHUNK,)
    return target.contract_tiles, (BLOCK, NEAR_BLOCK)


def cycles(p: Product, t: Tiling, target) -> float:
    """What the whole product takes with a cut."""
    price = target.prices
    m, k, n = (max(1, upper(e)) for e in (p.m, p.k, p.n))
    vectors, deep = t.vectors * (512 // target.vector_bits), min(k, t.block)
    away = k * n * max(1, upper(p.batch)) * p.right.itemsize > target.far
    far = _left_far(p.left, t, deep, target) + _right_far(p.right, t, deep, target)
    late, masks, loads = 0.0, price.masked * max(0, t.vectors - MASKS), t.rows + vectors
    if not t.packed and p.left.along != 1:
        crowds = p.left.crowds(round(deep * _lines(t.rows)), target)
        late += price.late * _new_page(p.left) + price.crowded * crowds
    if t.right == PLACE:
        long = away and deep * t.width * p.right.itemsize > price.long_panel
        late += price.late * _new_page(p.right) + price.away_panel * long + masks
        if not isinstance(p.right.along, int) or p.right.along % LANES:
            loads += vectors * target.vector_bits / 512     # vectors that lie in two lines
    position = max(t.rows * vectors / 2, loads / 2, LATENCY, far)
    if p.matrices:
        position = max(t.rows * vectors / LANES, LATENCY, far)
    if t.right == TURNED:
        position = price.square
    position += far * price.blend + loads * price.loaded * (not p.must_pack) + late
    blocks = -(-k // t.block)
    ends = t.rows * (vectors * price.wait * blocks * (blocks > 1) + masks)
    if 4 * m * n * max(1, upper(p.batch)) > target.far and not p.must_pack:
        ends += t.rows * price.away_row
    rows, panels = -(-m // t.rows), -(-n // t.width)
    return rows * panels * (k * position + ends) + _laid_out(p, t, rows, panels, away, target)


def _laid_out(p: Product, t: Tiling, rows: int, panels: int, away: bool, target) -> float:
    """Cycles to lay out operands, for so many tiles of rows and panels of columns; the right
    operand may be far `away`."""
    price = target.prices
    m, k, n, batch = (max(1, upper(e)) for e in (p.m, p.k, p.n, p.batch))
    found = 0.0
    if t.packed:
        left = price.copy if p.must_pack and p.left.along == 1 else p.left.copying(price)
        left += price.strip / t.rows * (p.left.step == 1 and not p.must_pack)
        left += price.away_copy * (m * k * batch * p.left.itemsize > target.far)
        found += m * k * left * -(-panels // t.panels)
    if t.right == TASK:
        long = min(k, t.block) * t.width * p.right.itemsize > target.near.bytes
        right = p.right.copying(price) + price.stored * long
        right += price.away_copy * (away and p.right.along != 1)
        apart = upper(p.right.along or PAGE) * p.right.itemsize > PAGE
        right += price.paged * (p.must_pack and apart)
        found += n * k * right * -(-rows // t.group)
    elif t.right == BEFORE and not p.steady:
        right = p.right.copying(price) + price.stored + price.away_copied * away
        found += n * k * right + price.launch / batch
    return found


def _left_far(x: Layout, t: Tiling, deep: int, target) -> float:
    """Cycles in which a position's elements of the left operand come from farther caches."""
    price = target.prices
    if t.packed:
        return t.rows * x.itemsize / price.core_rate
    if x.along != 1:
        lines = _lines(t.rows)
        crowds = x.crowds(round(deep * lines), target)
        return LINE * lines / (price.line_rate if crowds else price.strided_rate)
    return t.rows * LINE / price.line_rate if x.collides(x.step, t.rows, target.near) else 0.0


def _lines(rows: int) -> float:
    """The lines in which so many neighbours lie, mostly: whole parts of a line begin with it."""
    return 1.0 if LANES % rows == 0 else 1 + (rows - 1) / LANES


def _right_far(x: Layout, t: Tiling, deep: int, target) -> float:
    """As `_left_far`, of the panel's elements."""
    price = target.prices
    wide = t.width * x.itemsize
    if t.right == PLACE and x.along != t.width and x.collides(x.along, deep, target.near):
        return wide / (price.line_rate if x.crowds(deep, target) else price.strided_rate)
    return wide / price.core_rate if deep * wide > 0.75 * target.near.bytes else 0.0


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
    room = target.core.bytes * 2 if p.must_pack and not p.matrices else target.core.bytes // 2
    group = _even(tiles, max(1, room // (rows * min(block, k) * 4)))
    wide = panels
    if k > block:  # the sums of all tiles wait while a block is run over
        wide = max(1, min(panels, target.core.bytes // 2 // (rows * width * 4 * group)))
    work = 2 * (rows if tiles > 1 else max(rows, READ_ROWS)) * width * k
    enough = TASK_WORK * (MATRIX_WORK if p.matrices else 1 + p.must_pack)
    least = 8 if packed else 1          # panels that make up for laying out the rows
    if p.must_pack and right == TASK:   # both operands are laid out by every task: few of them
        few = _few(p, tiles, group, panels, wide, target.prices)
        return Tiling(rows, vectors, packed, right, *few, block)
    while (tasks := others * -(-tiles // group) * -(-panels // wide)) < LEAST_TASKS and \
            group * wide * work > (enough if tasks >= target.threads else enough // FEWER):
        if tasks >= target.threads and _thin(p, group * rows, wide * width, target):
            break
        if p.must_pack and group * rows > WORD_ROWS:    # rows in words are laid out only once
            group = -(-group // 2)
        elif wide >= 2 * least and group * rows <= wide * width // (WIDER if packed else 1):
            wide = -(-wide // 2)
        elif group > 1:
            group = -(-group // 2)
        else:
            break
    wide = _even(panels, wide)
    others *= -(-panels // wide)
    several = others * -(-tiles // group) >= target.threads
    group = _even(tiles, group, others, target.threads if several else 1)
    return Tiling(rows, vectors, packed, right, group, wide, block)


def _even(count: int, most: int, others: int = 1, threads: int = 1) -> int:
    """How many of `count` a part has, at most so many, where all parts have as many, or nearly;
    with so many `others` beside, as little as may be for the thread that has the most parts."""
    parts = -(-count // most)
    sizes = {-(-count // n) for n in range(parts, parts + threads)}
    return min(sizes, key=lambda size: (-(-others * -(-count // size) // threads) * size, -size))


def _thin(p: Product, rows: int, columns: int, target) -> bool:
    """Whether half of a task of so many rows and columns would wait for operands from far away as
    long as its arithmetic takes, or near it, and not just as long as in the whole task."""
    k, m, n = (max(1, upper(e)) for e in (p.k, p.m, p.n))
    if k * (m + n) * p.right.itemsize <= target.far or rows > LONG * columns:
        return False
    rows, columns = (rows, columns // 2) if columns >= rows else (rows // 2, columns)
    reading = target.prices.shared * p.right.itemsize * (rows + columns)
    most = THIN if target.threads > 1 else ALONE
    return reading > most * rows * columns * 2 / FLOPS


def _few(p: Product, tiles: int, group: int, panels: int, wide: int,
         price: Prices) -> tuple[int, int]:
    """Tiles of rows and panels of a task, for a few tasks, each time cut where it costs less."""
    left = p.left.copying(price) * max(1, upper(p.m))
    right = p.right.copying(price) * max(1, upper(p.n))
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
