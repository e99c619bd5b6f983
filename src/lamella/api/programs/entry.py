"""Entry: one specialisation of a compiled function, for arguments of one structure and type."""

from __future__ import annotations

from typing import Any

from ...base import outline, source, tree
from ...engine.plans import executable
from ...engine.value import Donated, Value
from ..arrays.array import Array, wrap
from ..arrays.placing import placed
from ..arrays.values import settle
from .donation import given_away
from .options import Options
from .traced import Traced


class Entry:
    """A program ready to run: with the values that it captured, and the numbers of the leaves
    that it may overwrite."""

    __slots__ = ("captured", "donated", "executable", "name", "structure")

    def __init__(self, traced: Traced, options: Options, donated: list[int]):
        self.name, self.donated = traced.program.name, donated
        self.executable = _executable(traced, options, frozenset(donated))
        self.captured = [wrap(placed(n, options.home)) for n in traced.captured]
        self.structure = tree.LEAF if traced.structure == tree.LEAF else traced.structure
        self.executable.sign(Array, donated)

    def run(self, values: list[Value]) -> list[Array]:
        """The results for these values, those of `captured` included."""
        if not self.donated:
            return [Array(v) for v in self.executable(values)]
        gone = self.taker()
        values = given_away(values, self.donated)
        lost: set[int] = set()
        try:
            results = self.executable(values, lost)
            lost.update(self.donated)
        except BaseException:
            gone.failed = True
            raise
        finally:
            for k in lost.intersection(self.donated):
                values[k].owner = gone
                values[k].address = None  # type: ignore[assignment]
        return [Array(v) for v in results]

    def taker(self) -> Donated:
        """What stands for the memory that a call takes; what may depend on it is evaluated."""
        settle()
        return Donated(self.name, source.here())

    def returned(self, arrays: list[Array]) -> Any:
        """The results as the function returns them."""
        s = self.structure
        if s is tree.LEAF:
            return arrays[0]
        return outline.unflatten(s, arrays if len(arrays) == s.num_leaves else
                                 arrays[:s.num_leaves])


def _executable(traced: Traced, options: Options, donated: frozenset[int]) -> Any:
    """The program planned and compiled."""
    if not options.elsewhere(traced.program):
        return executable(traced.program, donated, traced.fixed(), options.budget, options.fast,
                          options.folder)
    from ...engine.placed import Placed  # devices are loaded where programs run there

    return Placed(traced.program, options.home, donated, True, options.budget)
