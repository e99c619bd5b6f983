"""Functions as closed programs: traced once on stand-ins, what they capture lifted to operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...base import tree
from ...base.errors import DTypeError, LamellaError
from ...ir.node import CONSTANT, INPUT, Node, next_born, placeholder, topological
from ...ir.program import Program, copied, rebuild, replaced
from ...ir.types import TensorType
from ..arrays.array import Array, asarray
from ..arrays.scope import Scope
from ..arrays.values import error, force, unknown
from . import effects

_LIGHT = frozenset({"view", "pointwise", "constant", "step", "item"})


class Inside:
    """A function as it was traced: stand-ins of its leaves, the leaves and structure it gave."""

    __slots__ = ("inputs", "leaves", "name", "scope", "structure")

    def __init__(self, kind: str, f: Callable, types: Sequence[TensorType],
                 call: Callable[[Callable, list[Array]], Any]):
        self.name = getattr(f, "__name__", type(f).__name__)
        self.inputs = [placeholder(t) for t in types]
        self.scope = Scope(kind, self.name)
        with self.scope:
            out = call(f, [Array(n) for n in self.inputs])
            self.leaves, self.structure = tree.flatten(out)

    @property
    def ordered(self) -> bool:
        """Whether it prints or checks, so that it takes and gives an order."""
        return effects.moved(self.scope)

    @property
    def start(self) -> Node:
        """The order that it takes."""
        return effects.start_of(self.scope)

    @property
    def end(self) -> Node:
        """The order that it gives."""
        return self.scope.order or self.start

    def nodes(self, kind: str) -> list[Node]:
        """The leaves that it gave as nodes."""
        try:
            return [asarray(a).node for a in self.leaves]
        except LamellaError as e:
            raise error(DTypeError, f"{kind}: {self.name} gave a leaf that is no array: "
                                    f"{e}") from None


def mark() -> int:
    """A moment: nodes born before it lie outside of the functions traced after it."""
    return next_born()


def captured(nodes: list[Node], outputs: list[Node], since: int
             ) -> tuple[list[Node], list[Node], list[Node]]:
    """The arrays of the outside that a function of `nodes`, traced since a moment, reads as further
    inputs: (inputs, outputs, what they were). Lazy ones are evaluated first: what was stated before
    the function was traced is not computed again at each of its calls."""
    own = {id(n) for n in nodes}
    order = topological(outputs)
    lazy = frozenset(n for n in order if n.data is None and n.born < since and n.inputs
                     and id(n) not in own)
    if lazy:
        stop = lazy | {n for n in order if n.data is not None}
        force([n for n in topological(outputs, stop) if n in lazy and not unknown([n])])
        order = topological(outputs)
    done: dict[int, Node] = {}
    inputs: list[Node] = list(nodes)
    found: list[Node] = []
    stop = frozenset(n for n in order if n.data is not None)
    for n in topological(outputs, stop) if stop else order:
        if n.data is not None and id(n) not in own:
            done[id(n)] = placeholder(n.type, f"captured {len(found)}")
            inputs.append(done[id(n)])
            found.append(n)
        elif n.op is INPUT and id(n) not in own:
            raise error(LamellaError, "an array of another traced function is used here; pass it "
                                      "as an argument")
        elif n.inputs or id(n) in own:
            done[id(n)] = rebuild(n, tuple([done[id(i)] for i in n.inputs]))
        else:
            done[id(n)] = copied(n)
    return inputs, [done[id(o)] for o in outputs], found


def closed(functions: Sequence[tuple[str, list[Node], list[Node]]], since: int,
           repeats: bool) -> tuple[list[Node], list[Program]]:
    """(captured nodes, programs) of functions (name, inputs, outputs) traced since a moment.

    Every program takes the captured values first. Where the functions run repeatedly, a product, a
    reduction or the like that is the same on every trip is captured too: it is computed once.
    """
    own = {id(n) for _, inputs, _ in functions for n in inputs}
    captured: dict[int, Node] = {}
    leaves: dict[int, Node] = {}
    for _, _, outputs in functions:
        stop = frozenset(n for n in topological(outputs) if _outside(n, own, since))
        order = topological(outputs, stop)
        invariant = _invariant(order, own, since) if repeats else set()
        stop |= {n for n in order if id(n) in invariant}
        for n in topological(outputs, stop):
            if n in stop:
                captured[id(n)] = n
            elif not n.inputs and id(n) not in own:
                leaves[id(n)] = copied(n)
    inner = {k: placeholder(n.type) for k, n in captured.items()}
    programs = [Program([*inner.values(), *inputs], replaced(outputs, inner | leaves), name)
                for name, inputs, outputs in functions]
    return list(captured.values()), programs


def _outside(n: Node, own: set[int], since: int) -> bool:
    """Whether a node is a value from outside; numbers are written inside."""
    if id(n) in own or (n.op is CONSTANT and n.data is None):
        return False
    return n.data is not None or n.op is INPUT or n.born < since


def _invariant(order: list[Node], own: set[int], since: int) -> set[int]:
    """Nodes of some work that depend on captured values alone."""
    fixed: set[int] = set()
    found: set[int] = set()
    for n in order:
        if _outside(n, own, since) or (n.inputs and n.token is None
                                       and all(id(i) in fixed for i in n.inputs)):
            fixed.add(id(n))
            if n.inputs and not n.op.facts & _LIGHT and not _outside(n, own, since):
                found.add(id(n))
    return found
