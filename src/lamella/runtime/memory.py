"""Blocks of bytes for results and state, recycled by size; every address a multiple of 64.

Sizes are rounded by `capacity`, the one place that decides it: small ones (below 1 MiB) to a
class at most a quarter above, carved from slabs that stay; large ones to whole pages, each its
own mapping, handed to the next request of the same capacity and unmapped when more than
`LAMELLA_POOL_BYTES` lie idle. A block's bytes return when its last reference goes.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
from collections import OrderedDict
from functools import lru_cache
from typing import Any

import numpy as np

from ..base import knobs
from ..base.errors import AllocationError
from .available import require

ALIGN = 64
PAGE = mmap.PAGESIZE
LARGE = 1 << 20
_HUGE = 4 << 20  # mappings from here on ask for huge pages
_SLAB = 256 << 10


def map_bytes(nbytes: int) -> tuple[int, mmap.mmap]:
    """A private mapping of zeroed pages: its address, and the object whose end unmaps it."""
    require(nbytes)
    try:
        owner = mmap.mmap(-1, max(nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as e:
        raise AllocationError(f"the system refuses {nbytes} bytes: {e}") from None
    if nbytes >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        owner.madvise(mmap.MADV_HUGEPAGE)
    return ctypes.addressof(ctypes.c_char.from_buffer(owner)), owner


def capacity(nbytes: int) -> int:
    """The bytes that a block for `nbytes` really takes."""
    if nbytes >= LARGE:
        return -(-nbytes // PAGE) * PAGE
    if nbytes <= 4 * ALIGN:
        return max(ALIGN, -(-nbytes // ALIGN) * ALIGN)
    step = 1 << ((nbytes - 1).bit_length() - 3)  # four classes per power of two
    return -(-nbytes // step) * step


class Block:
    """Bytes at `address`, `size` of them; whoever holds the block may use them.

    `item` is (address, size, what keeps it mapped); at the end it is appended to the list `home`.
    """

    __slots__ = ("__weakref__", "home", "item")

    def __init__(self, item: tuple[int, int, object], home: Any):
        self.item, self.home = item, home

    def __del__(self):
        self.home.append(self.item)

    @property
    def address(self) -> int:
        return self.item[0]

    @property
    def size(self) -> int:
        return self.item[1]

    def view(self, nbytes: int | None = None, dtype=np.uint8) -> np.ndarray:
        """The first `nbytes` (all by default) as a numpy array, which keeps this block alive."""
        nbytes = self.size if nbytes is None else nbytes
        return np.asarray(Exposed(self, self.address, (nbytes,), "|u1", False)).view(dtype)


class LargeBlock(Block):
    """A block that is a mapping of its own; its home is the pool."""

    __slots__ = ()

    def __del__(self):
        self.home.shelve(self.item)


class Exposed:
    """Memory as NumPy wants to see it: an array made of this keeps `owner` alive."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, owner: object, address: int, shape: tuple, typestr: str, readonly: bool):
        self.owner = owner
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": typestr,
                                    "data": (address, readonly)}  # fmt: skip


class Pool:
    """Recycled blocks; `bound` is in idle bytes of large ones."""

    def __init__(self, bound: int):
        self.bound = bound
        self.small: dict[int, list] = {}
        self.large: OrderedDict[int, list] = OrderedDict()  # idle mappings, least recent first
        self.idle = 0
        self.shelf_for = lru_cache(4096)(self._shelf_of)
        self.renew()

    def renew(self) -> None:
        """A lock of our own; reentrant, as a collection inside it may return blocks."""
        self.lock = threading.RLock()

    def allocate(self, nbytes: int) -> Block:
        """A block of at least `nbytes`; what it holds is unspecified."""
        size, home = self.shelf_for(nbytes)
        if home is None:
            return LargeBlock(self._take_large(size), self)
        while True:
            try:
                return Block(home.pop(), home)
            except IndexError:
                self.refill(size)

    def _shelf_of(self, nbytes: int) -> tuple[int, list | None]:
        """The size of a block for `nbytes`, and where idle ones of a small size are."""
        size = capacity(nbytes)
        return size, None if size >= LARGE else self.small.setdefault(size, [])

    def refill(self, size: int) -> None:
        """Cut a new slab into idle blocks of one size."""
        count = max(4, _SLAB // size)
        base, owner = map_bytes(count * size)
        self.small[size].extend((base + i * size, size, owner) for i in reversed(range(count)))

    def _take_large(self, size: int) -> tuple:
        with self.lock:
            shelf = self.large.get(size)
            found = shelf.pop() if shelf else None
            if found is not None:
                self.idle -= size
                if not shelf:
                    del self.large[size]
        if found is None:
            address, owner = map_bytes(size)
            found = address, size, owner
        return found

    def shelve(self, item: tuple[int, int, object]) -> None:
        """Take back a large mapping; the least recently used go while too much lies idle."""
        size = item[1]
        with self.lock:
            self.large.setdefault(size, []).append(item)
            self.large.move_to_end(size)
            self.idle += size
            self.trim(self.bound)

    def trim(self, bound: int = 0) -> None:
        """Unmap idle large blocks until at most `bound` bytes of them are left."""
        with self.lock:
            while self.idle > bound:
                size, shelf = next(iter(self.large.items()))
                shelf.pop()
                self.idle -= size
                if not shelf:
                    del self.large[size]


pool = Pool(knobs.pool_bytes.value)
allocate = pool.allocate
os.register_at_fork(after_in_child=pool.renew)
