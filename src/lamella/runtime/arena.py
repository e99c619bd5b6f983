"""Arenas: the bytes in which a plan keeps its temporaries, leased for one run at a time.

`lease(nbytes)` and `release(arena)`; a released arena serves the next lease that fits into it.
The last one released is kept whatever its size (a training step takes it again at once); others
go when more than the pool's bound lies idle. A larger request first unmaps what is too small.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager

import numpy as np

from lamella.base import knobs
from lamella.runtime.memory import map_bytes

_SMALL = 1 << 20  # what an arena may be larger than asked for without a look at the others


class Arena:
    """A private mapping, page aligned: `address` and `size` in bytes."""

    __slots__ = ("_owner", "address", "size")

    def __init__(self, nbytes: int):
        self.address, self._owner = map_bytes(nbytes)
        self.size = nbytes


class Arenas:
    """The idle arenas of the process, the most recently used last."""

    def __init__(self, bound: int):
        self.bound = bound
        self.idle: list[Arena] = []
        self.renew()

    def renew(self) -> None:
        self.lock = threading.RLock()

    def lease(self, nbytes: int) -> Arena:
        """An arena of at least `nbytes`; what it holds is unspecified."""
        try:
            last = self.idle.pop()  # what this thread gave back last, mostly
        except IndexError:
            return Arena(nbytes)
        if nbytes <= last.size <= 2 * nbytes + _SMALL:
            return last
        with self.lock:
            self.idle.append(last)
            fitting = [a for a in self.idle if a.size >= nbytes]
            if fitting:
                best = min(fitting, key=lambda a: a.size)
                self.idle.remove(best)
                return best
            self.idle.clear()
        return Arena(nbytes)

    def release(self, arena: Arena) -> None:
        """Give back a leased arena."""
        self.idle.append(arena)
        if len(self.idle) == 1:
            return
        with self.lock:
            while len(self.idle) > 1 and sum(a.size for a in self.idle) > self.bound:
                self.idle.pop(0)

    @contextmanager
    def leased(self, nbytes: int):
        """`with leased(n) as arena`: given back at the end, whatever happens."""
        arena = self.lease(nbytes)
        try:
            yield arena
        finally:
            self.release(arena)


arenas = Arenas(knobs.pool_bytes.value)
lease, release, leased = arenas.lease, arenas.release, arenas.leased
os.register_at_fork(after_in_child=arenas.renew)


def _bytes(address: int, size: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def _pattern(size: int) -> np.ndarray:
    """A fixed byte for every position, without period or zeros in sight: 1 in 251 can collide."""
    index = np.arange(size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((index >> np.uint64(40)) % np.uint64(251) + np.uint64(3)).astype(np.uint8)


def paint(address: int, size: int) -> None:
    """Fill memory so that `touched` can tell what was written afterwards."""
    _bytes(address, size)[:] = _pattern(size)


def touched(address: int, size: int, grain: int = 64) -> tuple[int, int]:
    """Of painted memory: the end of the highest written unit of `grain` bytes, and their total.

    A unit counts when one of its bytes differs from the paint: with 64-byte units a missed write
    has a chance below 1e-9 unless it is only a few bytes.
    """
    differs = _bytes(address, size) != _pattern(size)
    padded = np.pad(differs, (0, -size % grain)).reshape(-1, grain).any(axis=1)
    units = np.flatnonzero(padded)
    return (int(units[-1] + 1) * grain if len(units) else 0), len(units) * grain
