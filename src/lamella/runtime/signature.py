"""The signature of a table: what its calls take from arrays, and the new arrays they make."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np

from lamella.runtime.memory import LARGE, Block, LargeBlock, capacity, pool
from lamella.runtime.methods import method
from lamella.runtime.slots import SLOTS
from lamella.runtime.walker import walker

MOST = 4096  # results and arguments: their addresses lie on the stack


class Signature:
    """Types of the arguments and the results, bytes of new blocks; equal types must be one object.

    `sources` says for each result which argument's memory it has, -1 - k for new block k; `donated`
    are the numbers of the arguments whose memory the call takes, `written` gives for each argument
    the first step that may write into it. `value`: the class of values
    (`type`, `address`, `owner`), a subclass of that of nodes (`data`, a value). `array`: the class
    of arrays (`node`); None where values are given and wanted.
    """

    def __init__(self, value: type, array: type | None, inputs: Sequence[object],
                 outputs: Sequence[object], nbytes: Sequence[int], sources: Sequence[int],
                 donated: Collection[int], written: Sequence[int]):  # fmt: skip
        _prepare(value)
        shelves = [pool.shelf_for(n) for n in nbytes]
        self._kept: list = [[*inputs], [*outputs], [home for _, home in shelves],
                            [size for size, _ in shelves], pool.refill]  # fmt: skip
        *parts, refill = self._kept
        self._arrays = [np.array([*map(id, part), 0], np.int64) for part in parts]
        taken = [k in donated for k in range(len(inputs))]
        self._arrays += [np.array([*part, 0], np.int64) for part in (sources, taken, written)]
        words = [id(array), offset(array, "node")] if array else [0, 0]    # as SIGNATURE says
        words += [len(inputs), len(outputs), *map(_address, self._arrays), id(refill)]
        self.words = np.array(words, np.int64)
        self.address = _address(self.words)


def possible(inputs: int, outputs: int, nbytes: Sequence[int]) -> bool:
    """Whether a table of so many arguments and results, with new blocks of these bytes, can have a
    signature."""
    return inputs + outputs <= MOST and all(capacity(n) < LARGE for n in nbytes)


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@lru_cache(None)
def _prepare(value: type) -> None:
    """Tell the native code where the slots lie, once; let it give blocks back, too."""
    code, node = walker().code, value.__base__
    assert node is not None
    found = {"node_data": offset(node, "data"), "value": id(value),
             "value_type": offset(value, "type"), "value_address": offset(value, "address"),
             "value_owner": offset(value, "owner"), "block": id(Block),
             "large_block": id(LargeBlock), "block_item": offset(Block, "item"),
             "block_home": offset(Block, "home"),
             "none": id(None), "other": id(NotImplemented)}  # fmt: skip
    words = (ctypes.c_int64 * len(SLOTS)).from_address(code["slots"])
    words[:] = [found[name] for name in SLOTS]
    Block.__del__ = method(Block, "__del__", code["block_end"])  # type: ignore[method-assign]


@lru_cache(None)
def offset(cls: type, name: str) -> int:
    """Where instances of a class keep a slot, in bytes, as seen in one of them."""
    probe = type("Probe", (cls,), {"__slots__": (), "__del__": lambda self: None})
    seen: object = object.__new__(probe)
    mark = object()
    setattr(seen, name, mark)
    found = list((ctypes.c_uint64 * (cls.__basicsize__ // 8)).from_address(id(seen)))
    return 8 * found.index(id(mark))
