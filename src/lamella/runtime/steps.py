"""The steps of a table, as its maker states them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Launch(NamedTuple):
    """Run kernel `fn` on tasks [0, `tasks`), `grain` at a time, with args at image word `at`.

    `serial`: one call on one thread. `independent`: the step after it, if a launch, neither
    reads nor overwrites what this one writes, nor the reverse: they are shared out together.
    """

    fn: int
    at: int
    tasks: int
    grain: int = 1
    serial: bool = False
    independent: bool = False


class Copy(NamedTuple):
    """Copy `nbytes` from the address in image word `source` to that in word `to`; no overlap."""

    to: int
    source: int
    nbytes: int
    independent: bool = False


class Transfer(NamedTuple):
    """Write `nbytes` from the address in image word `at` into the run's file from byte `offset` on,
    or, where it `reads`, read them from there."""

    at: int
    offset: int
    nbytes: int
    reads: bool = False


class Loop(NamedTuple):
    """Repeat up to the matching `EndLoop`; per trip each (word, stride) moves by its stride."""

    trips: int
    strides: Sequence[tuple[int, int]] = ()


class EndLoop(NamedTuple):
    """The end of the innermost open loop."""


class Branch(NamedTuple):
    """Go to step `target` if the byte whose address is in image word `word` is 0."""

    word: int
    target: int


class Jump(NamedTuple):
    """Go to step `target`."""

    target: int


class Host(NamedTuple):
    """Call `callback(address)`, the address of its args in the image, on the entering thread.

    `independent`: as a launch's; the other threads begin with the launches that follow meanwhile.
    """

    callback: Callable[[int], object]
    at: int = 0
    independent: bool = False


Step = Launch | Copy | Transfer | Loop | EndLoop | Branch | Jump | Host
