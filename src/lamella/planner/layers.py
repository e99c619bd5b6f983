"""Which layer of a model each step and each value belongs to, by the parameters that it reads.

Nothing is noted while a program is traced: an argument is named by its path in the user's model, as
in `0.blocks.3.attention.qkv.weight`, so what reads it belongs to `blocks.3.attention.qkv`. A value
that is read by a parameter's update belongs to that parameter; any other step where the largest
value that it reads was made.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..base.extents import evaluate
from .memory.accesses import touches
from .plan import Buffer, Host, Launch, Order, Plan


class Layers:
    """The layer of each step and of each owner of bytes; "" where none is known."""

    def __init__(self, plan: Plan, env: Mapping[str, int]):
        self._env = env
        self._names: dict[int, str] = {}    # by id
        steps = [s for s in (*plan.prologue, *Order(plan.steps).leaves)
                 if isinstance(s, Launch | Host)]
        self._read = {id(s): self._largest_first(s) for s in steps}
        self._written = {id(s): [b for b, writes in touches(s) if writes] for s in steps}
        owned = {id(b): path for b, path in zip(plan.arguments, _paths(plan), strict=True) if path}
        if owned:
            own = self._own(steps, owned)
            gradients = self._gradients(steps, own)
            for s in steps:
                self._name(s, own.get(id(s)) or gradients.get(id(s)) or next(
                    (n for b in self._read[id(s)] if (n := self._names.get(id(b)))), ""))

    def of(self, x: Launch | Host | Buffer) -> str:
        return self._names.get(id(x.root if isinstance(x, Buffer) else x), "")

    def __bool__(self) -> bool:
        return bool(self._names)

    def _largest_first(self, s: Launch | Host) -> list[Buffer]:
        return sorted((b for b, writes in touches(s) if not writes),
                      key=lambda b: -evaluate(b.bytes, self._env))

    def _name(self, s: Launch | Host, name: str) -> None:
        if name:
            self._names[id(s)] = name
            for b in self._written[id(s)]:
                self._names.setdefault(id(b), name)

    def _own(self, steps: list[Launch | Host], owned: dict[int, str]) -> dict[int, str]:
        """The steps that read parameters, or what lays them out: whose the largest is."""
        found: dict[int, str] = {}
        for s in steps:
            name = next((owned[id(b)] for b in self._read[id(s)] if id(b) in owned), "")
            if name:
                found[id(s)] = name
                if isinstance(s, Launch) and s.lays_out:
                    owned |= {id(b): name for b in self._written[id(s)]}
        return found

    def _gradients(self, steps: list[Launch | Host], own: dict[int, str]) -> dict[int, str]:
        """The steps that make what updates of one layer's parameters read, and of no other's."""
        updates = {id(s) for s in steps if any(
            b.role in ("argument", "result") for b in self._written[id(s)])}
        readers: dict[int, set[int]] = {}
        for s in steps:
            for b in self._read[id(s)]:
                readers.setdefault(id(b), set()).add(id(s))
        found: dict[int, str] = {}
        for s in steps:
            using = {k for b in self._written[id(s)] for k in readers.get(id(b), ()) if k in own}
            names = {own[k] for k in using}
            if using <= updates and len(names) == 1:
                found[id(s)] = names.pop()
        return found


def _paths(plan: Plan) -> list[str]:
    """The path of the layer that each argument's label names: without the number of the argument
    that it is part of, and without the parameter's own name. What ends in a path of an argument
    before is of that layer, as an optimizer's state `1.momentum.head.weight` is of `head`."""
    whose: dict[str, str] = {}      # of a path, the argument that had it first
    found = []
    for b in plan.arguments:
        first, *path = b.label.split(".")
        if not first.isdigit():
            first, path = "", [first, *path]
        names = [".".join(path[k:-1]) for k in range(len(path) - 1)]
        name = next((n for n in names if whose.get(n, first) != first), names[0] if names else "")
        whose.setdefault(name, first)
        found.append(name)
    return found
