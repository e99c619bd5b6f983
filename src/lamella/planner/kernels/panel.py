"""Panels: neighbouring rows or columns of an operand laid out position by position.

A panel has `pitch` places (rows of the left operand, columns of the right); what a register tile
needs at one summed position stands together in it, and the next position's behind that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...base import dtypes
from ...base.dtypes import DType
from ...lang import scalar
from ...lang.expr import Expr, lit, load
from ...lang.loops import LANES, Loop, Set, Store, When, index_var, lane_index, transposed


class Source(NamedTuple):
    """An operand as panels are read from it: the element of a place at position k lies at
    start + place * step + at(k). `along`: LANES positions that begin at a multiple of LANES are
    neighbours in memory."""

    name: str
    dtype: DType
    start: Expr
    step: Expr
    at: Callable[[Expr], Expr]
    along: bool

    @property
    def turns(self) -> bool:
        """Whether panels are laid out in squares that turn."""
        return self.along and self.step is not lit(1, dtypes.index)


class Target(NamedTuple):
    """Where panels go: `pitch` elements of `dtype` a position, from `base` of a buffer on."""

    name: str
    dtype: DType
    base: Expr
    pitch: int


def pitch_of(places: int) -> int:
    """The elements of a position: whole vectors where one vector does not hold all places."""
    return places if places <= LANES else -(-places // LANES) * LANES


def slack(s: Source, pitch: int) -> int:
    """Elements behind the last panel's end that are written too, with no meaning."""
    return -pitch % LANES if s.turns else 0


def lay_out(s: Source, to: Target, first: Expr, count: Expr, low: Expr, high: Expr) -> list:
    """The places first, first + 1, ... before `count` at the positions low..high; places beyond
    have some other place's elements, or zeros."""
    if s.turns:
        return _transposed(s, to, first, count, low, high)
    k = index_var("pk")
    stores = []
    for v in range(0, to.pitch, LANES):
        place = first + v + lane_index()
        x = load(s.name, s.start + place * s.step + s.at(k), s.dtype, LANES, place < count, 0)
        inside = lane_index() < to.pitch - v if to.pitch - v < LANES else None  # a panel may follow
        stores.append(Store(to.name, to.base + (k - low) * to.pitch + v, scalar.cast(x, to.dtype),
                            inside))
    return [Loop(k, low, high, stores, "serial")]


def _transposed(s: Source, to: Target, first: Expr, count: Expr, low: Expr, high: Expr) -> list:
    """Positions are neighbours in memory: squares of LANES places by LANES positions turn."""
    k, v, full = index_var("pk"), index_var("pv"), index_var("pfull")
    whole = low + (high - low) // LANES * LANES
    used = min(LANES, to.pitch)

    def squares(k: Expr, inside: tuple, end: Expr | None = None) -> list:
        rows = []
        for lane in range(LANES):
            place = scalar.minimum(first + v + min(lane, used - 1), count - 1)
            x = load(s.name, s.start + place * s.step + s.at(k), s.dtype, LANES, *inside)
            rows.append(scalar.cast(x, to.dtype))
        return [Store(to.name, to.base + (k - low) * to.pitch + v + n * to.pitch,
                      transposed(rows, n), None if end is None else k + n < end)
                for n in range(LANES)]

    body = [Loop(k, low, full, squares(k, ()), "serial", LANES),
            When(full < high, squares(full, (full + lane_index() < high, 0), high))]
    return [Set(full, whole), Loop(v, lit(0, dtypes.index), lit(to.pitch, dtypes.index), body,
                                   "serial", LANES)]
