"""A table: the steps of a plan as the native walker runs them, with the words of their operands.

The image is an array of 64-bit words: every launch's args, one after the other. A patch
(word, base, offset) says that the word holds an address: that of the run's `base` plus `offset`
bytes. The base after the last one given to `run` (`Table.status`) is a word that kernels may
store a nonzero code into: the run then stops and raises. Each run leases a `_Lease`, so a table
may run in several threads at once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

import numpy as np

from lamella.base.errors import ExecutionError
from lamella.runtime import layout
from lamella.runtime.memory import allocate
from lamella.runtime.packing import Packed
from lamella.runtime.signature import Signature
from lamella.runtime.spill import SpillFile
from lamella.runtime.steps import Step
from lamella.runtime.walker import walker

_AT = layout.BLOCK.index("at")


class StepFailed(ExecutionError):
    """A kernel stored `code` into the status word; `step` is the launch (or first of its group)."""

    def __init__(self, step: int, code: int):
        super().__init__(f"step {step} reported failure {code}")
        self.step, self.code = step, code


class Table:
    """Steps ready to run over `n_bases` addresses.

    `scratch_bytes` is what each thread's kernels get; `threads` bounds the threads (default: the
    team's). `hold_gil` spares a short table the release of Python's lock (and Ctrl-C its cost).
    `folder` is where steps that write and read a file have it, each run its own.
    """

    def __init__(self, steps: Sequence[Step], image: Sequence[int],
                 patches: Sequence[tuple[int, int, int]], n_bases: int, scratch_bytes: int = 0,
                 threads: int | None = None, *, hold_gil: bool = False,
                 folder: str = ""):  # fmt: skip
        self.n_bases, self.threads, self.hold_gil = n_bases, threads, hold_gil
        self.status = n_bases
        self.scratch_bytes = -(-scratch_bytes // 64) * 64
        self.steps = list(steps)
        packed = Packed(self.steps, list(image))
        self.code = np.array(packed.words, np.int64)
        self.image = np.array(packed.image, np.int64)
        self.strides = np.array(packed.strides or [0, 0], np.int64)
        self.counters, self.parallel = packed.counters, packed.parallel
        self.files, self.file_bytes, self.folder = packed.files, packed.file_bytes, folder
        self._keep = packed.callbacks
        self._place(patches)
        self.signature: Signature | None = None
        self._timed = False
        self._team = walker().team
        self._leases: list[_Lease] = []

    def _place(self, patches: Sequence[tuple[int, int, int]]) -> None:
        """Sort the patches by base; those of the status word are for the leases to apply."""
        ordered = sorted(patches, key=lambda p: p[1])
        self.status_patches = [(w, o) for w, b, o in ordered if b == self.n_bases]
        ordered = ordered[: len(ordered) - len(self.status_patches)]
        if ordered and not 0 <= ordered[0][1] <= ordered[-1][1] < self.n_bases:
            raise ValueError(f"a patch names a base outside 0..{self.n_bases}")
        self.patches = np.array([(w, o) for w, _, o in ordered] or [(0, 0)], np.int64)
        bases = [b for _, b, _ in ordered]
        self.ends = np.searchsorted(bases, np.arange(self.n_bases + 1)).astype(np.int64)

    def run(self, bases: Sequence[int], reached: list[int] | None = None) -> None:
        """Run over these addresses; they must stay valid meanwhile.

        StepFailed when a kernel reports failure; what a host step or a signal handler raised
        comes through as it is. Then `reached` is given the number of the step it was in.
        """
        lease = self._lease()
        lease.words[_AT] = -1
        try:
            outcome = lease.walk(*bases)  # on an exception the lease is dropped: a stale image
            if outcome is not None:
                self._fail(outcome, lease, len(bases))
        except BaseException:
            if reached is not None:
                reached.append(lease.field("at"))
            raise
        self._leases.append(lease)

    def call(self, arrays: list, arena: int, gone: object = None) -> list | None:
        """New arrays for these, with the arena at that address, by the table's signature; `gone` is
        the owner of donated ones from then on. None, and nothing is done, where they are of other
        types, not known, or donated and held elsewhere."""
        lease = self._lease()
        found = lease.call(arrays, arena, gone)
        if type(found) is int:
            self._fail(found, lease, self.n_bases)
        self._leases.append(lease)
        return None if found is NotImplemented else found

    def _lease(self) -> _Lease:
        try:
            lease = self._leases.pop()
        except IndexError:
            return _Lease(self)
        mine = lease.file is None or lease.file.process == os.getpid()  # not a parent's, or forked
        return lease if mine and lease.version == self._team.version else _Lease(self)

    def _fail(self, outcome: int, lease: _Lease, bases: int) -> None:
        if outcome == layout.MISCOUNTED:
            raise ValueError(f"a table of {self.n_bases} bases was run over {bases}")
        step, code = lease.field("at"), lease.field("status")
        raise StepFailed(step, code)

    @property
    def timed(self) -> bool:
        """Whether runs add up the processor's cycles per step (see `ticks`)."""
        return self._timed

    @timed.setter
    def timed(self, on: bool) -> None:
        self._timed = on
        self._leases.clear()

    def ticks(self) -> np.ndarray:
        """Cycles per step since `timed` was set, over the leases now idle.

        Launches shared out together count for the first of them.
        """
        total = np.zeros(len(self.steps), np.int64)
        for lease in self._leases if self._timed else ():
            total += lease.ticks
        return total


class _Lease:
    """All that one run of a table changes: its block, image, bases, counters, scratch and file."""

    def __init__(self, table: Table):
        size = table.file_bytes
        self.file = SpillFile(size, table.folder or tempfile.gettempdir()) if size else None
        sizes = {"bases": table.n_bases, "image": len(table.image), "counters": table.counters,
                 "ticks": len(table.steps) if table.timed else 0}  # fmt: skip
        head = len(layout.BLOCK)
        self.memory = allocate(8 * (head + sum(sizes.values())))
        self.words = self.memory.view(dtype=np.int64)
        at = {}
        for name, size in sizes.items():
            at[name], head = self.memory.address + 8 * head, head + size
        self.version, size = table._team.version, table._team.threads
        threads = (table.threads or size) if table.parallel else 1
        self.scratch = allocate(max(64, threads * table.scratch_bytes))
        self._fill(table, at, threads)
        walk, call = walker().functions
        self.walk, self.call = walk.over(self.memory.address), call.over(self.memory.address)

    def _fill(self, table: Table, at: dict[str, int], threads: int) -> None:
        address = {n: a.__array_interface__["data"][0] for n, a in (
            ("steps", table.code), ("patches", table.patches), ("ends", table.ends),
            ("strides", table.strides))}  # fmt: skip
        self.words[:] = 0
        fields = {**address, **at, "n_bases": table.n_bases, "scratch": self.scratch.address,
                  "scratch_stride": table.scratch_bytes, "threads": threads,
                  "hold": int(table.hold_gil), "none": id(None)}  # fmt: skip
        if table.signature:
            fields["signature"] = table.signature.address
        if not table.timed:
            fields["ticks"] = 0
        for name, value in fields.items():
            self.words[layout.BLOCK.index(name)] = value
        self._part(at["bases"], table.n_bases)[:] = -1  # no address: every patch is due
        image = self._part(at["image"], len(table.image))
        image[:] = table.image
        status = self.memory.address + 8 * layout.BLOCK.index("status")
        for word, offset in table.status_patches:
            image[word] = status + offset
        for word in table.files:
            assert self.file is not None, "a transfer without a file"
            image[word : word + 2] = self.file.descriptor, status
        self.ticks = self._part(at["ticks"], len(table.steps) if table.timed else 0)

    def _part(self, address: int, count: int) -> np.ndarray:
        first = (address - self.memory.address) // 8
        return self.words[first : first + count]

    def field(self, name: str) -> int:
        return int(self.words[layout.BLOCK.index(name)])
