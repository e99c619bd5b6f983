"""The signature of a table: what its calls take from arrays, and the new arrays they make."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lamella.runtime.call import SIGNATURE, SLOTS
from lamella.runtime.memory import LARGE, Block, capacity, pool
from lamella.runtime.methods import method
from lamella.runtime.walker import walker

MOST = 4096  # results and arguments: their addresses lie on the stack


class Signature:
    """Types of the arguments, types and bytes of the results; equal types must be one object.

    `classes`: of arrays (with the slot `node`), of nodes (with `data`, which is a value), and of
    values (nodes with `type`, `address` and `owner`).
    """

    def __init__(self, classes: tuple[type, type, type], inputs: Sequence[object],
                 outputs: Sequence[object], nbytes: Sequence[int]):
        _prepare(classes)
        shelves = [pool.shelf_for(n) for n in nbytes]
        self._kept: list = [[*inputs], [*outputs], [home for _, home in shelves],
                            [size for size, _ in shelves], pool.refill]  # fmt: skip
        *parts, refill = self._kept
        self._arrays = [np.array([*map(id, part), 0], np.int64) for part in parts]
        found = dict(zip(SIGNATURE, (len(inputs), len(outputs), *map(_address, self._arrays),
                                     id(refill)), strict=True))  # fmt: skip
        self.words = np.array([found[n] for n in SIGNATURE], np.int64)
        self.address = _address(self.words)


def possible(inputs: int, nbytes: Sequence[int]) -> bool:
    """Whether a table of so many arguments and results of these bytes can have a signature."""
    return inputs + len(nbytes) <= MOST and all(capacity(n) < LARGE for n in nbytes)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@lru_cache(None)
def _prepare(classes: tuple[type, type, type]) -> None:
    """Tell the native code where the slots lie, once; let it give blocks back, too."""
    code = walker().code
    a, n, v = classes
    found = {"array": id(a), "array_node": offset(a, "node"), "node_data": offset(n, "data"),
             "value": id(v), "value_type": offset(v, "type"),
             "value_address": offset(v, "address"), "value_owner": offset(v, "owner"),
             "block": id(Block), "block_item": offset(Block, "item"),
             "block_home": offset(Block, "home"), "none": id(None),
             "other": id(NotImplemented)}  # fmt: skip
    words = (ctypes.c_int64 * len(SLOTS)).from_address(code["slots"])
    words[:] = [found[name] for name in SLOTS]
    Block.__del__ = method(Block, "__del__", code["block_end"])  # type: ignore[method-assign]


def offset(cls: type, name: str) -> int:
    """Where instances of a class keep a slot, in bytes, as seen in one of them."""
    probe = type("Probe", (cls,), {"__slots__": (), "__del__": lambda self: None})
    seen: object = object.__new__(probe)
    mark = object()
    setattr(seen, name, mark)
    found = list((ctypes.c_uint64 * (cls.__basicsize__ // 8)).from_address(id(seen)))
    return 8 * found.index(id(mark))
