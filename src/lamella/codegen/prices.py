"""What memory is like on a kind of processor, and what products cost beside their multiply-adds.

Costs are cycles of one core, which does two vector multiply-adds and two loads a cycle; they were
fitted to the timed cuts of some 70 products each (docs/performance.md).
"""

from __future__ import annotations

from typing import NamedTuple

LINE = 64               # bytes that caches keep together


class Cache(NamedTuple):
    """A core's cache: its bytes, and how many lines may stand at the same place of it."""

    bytes: int
    ways: int

    @property
    def sets(self) -> int:
        """Its places."""
        return self.bytes // self.ways // LINE

    def holds_two(self, size: int) -> bool:
        """Whether two blocks of so many bytes fit: one in use, and the next that is called for."""
        return 2 * size <= self.bytes


class Prices(NamedTuple):
    """Rates in bytes a cycle, but for one size all else in cycles; the defaults are those of AMD's
    Zen 5."""

    core_rate: float = 64       # from the second cache: what lies side by side,
    strided_rate: float = 40    # what lies a stride apart,
    line_rate: float = 20       # and lines little of which is used, or driven out by strides,
    crowded: float = 0.8        # with so many cycles more
    blend: float = 0.03         # the part of such cycles that arithmetic does not hide
    loaded: float = 0.08        # of each load: what arithmetic on single elements does not hide
    late: float = 1.0           # until an element of another page of memory is there
    away_copy: float = 0.9      # more to lay out an element from far away, in the task
    away_copied: float = 1.0    # or before
    long_panel: int = 128 << 10     # bytes of a panel in place that
    away_panel: float = 4.0     # take so long for a position where it comes from far away
    away_row: float = 15.0      # for a tile's row of a far result: it lies in a page of its own
    shared: float = 0.0         # for a byte of a far operand, read again by every task
    masked: float = 0.5         # to bring another mask into a register
    wait: float = 3.0           # for a vector of sums that wait while others run over a block
    stored: float = 0.3         # for an element that goes through memory or the second cache
    launch: float = 2000        # of a step of its own
    copy: float = 0.2           # to lay out an element: side by side,
    turn: float = 0.46          # turned,
    gather: float = 2.0         # apart
    strip: float = 3.0          # for a position of a tile's rows that lies in a line of its own
    paged: float = 3.0          # more where a panel's positions lie more than a page apart
    square: float = 4.5         # for a position of a right operand that turns in registers


PRICES, NEAR, FAR = Prices(), Cache(32 << 10, 8), 8 << 20
# Intel's cores since Sapphire Rapids: the second cache takes cycles from the arithmetic
AMX_PRICES = Prices(core_rate=48, blend=0.12, loaded=0.2, away_row=6.0, crowded=4.0,
                    away_copy=0.1, away_copied=0.3, long_panel=48 << 10, shared=0.125)
