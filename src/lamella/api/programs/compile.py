"""compile: a Python function as one planned and compiled program."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping

from ...base.devices import Device
from .compiled import Compiled
from .options import options
from .parameters import Parameters


def compile(f: Callable | None = None, *, donate: str | int | tuple = (),
            memory: str | int | None = None, sizes: Mapping[str, tuple] | None = None,
            device: str | Device | None = None, fast: bool = False,
            spill: bool | str | os.PathLike = False):
    """f as one planned and compiled program; may be used as a decorator.

    donate: parameters (names or positions) whose arrays the call may overwrite; they cannot be used
    afterwards.
    memory: a budget in bytes ("64 MiB"): where the plan needs more, values are computed again
    instead of kept (the bits stay the same); where that does not help either, BudgetError says what
    would, before anything is compiled.
    sizes: symbols for extents that vary, `sizes={"x": (symbol("B", 1, 256), None)}`: one compile
    then serves every value in the bounds.
    device: "cuda:0" runs it on that GPU, to which arguments that are elsewhere are copied at each
    call, and where its results stay; without it each operation runs where its operands are, and
    `to_device` within the function is a transfer of its plan. MissingExtra or UnsupportedError
    where the GPU or what it needs is not here.
    fast: sums may be computed in other orders and by other algorithms than the rules of
    docs/numerics.md state, where that is faster: the bits are then not those of the uncompiled
    function, but still the same at every call and at any number of threads. Convolutions with 3 x 3
    taps of float32 are the first to gain, by Winograd's F(4x4, 3x3).
    spill: to keep the budget, values may also rest in a file between their uses, in the folder of
    that name, or (True) in that for temporary files, which should lie on a disk; ExecutionError
    where that is full. Those of a GPU rest in this machine's memory.

    Called within a transform or another compiled function it is a part of that: f as it was
    written, which donates nothing, has no budget of its own and is not fast. On a method, self is
    an argument.
    """
    if f is None:
        return functools.partial(compile, donate=donate, memory=memory, sizes=sizes, device=device,
                                 fast=fast, spill=spill)
    parameters = Parameters(f)
    return Compiled(parameters, options(parameters, donate, memory, sizes, device, fast, spill))


__all__ = ["compile"]
