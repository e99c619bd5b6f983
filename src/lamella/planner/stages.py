"""A program on several devices as stages: each is a program of its own on one device.

What depends on arrays of a device is computed there; `to_device` is where values cross. A stage is
all that one device computes after the same number of crossings, so that no two stages wait for each
other; those of devices stand before the processor's, which works while they do. Values are
numbered: first the program's inputs, then what crosses and what stages hand on.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..base.devices import Device, cpu
from ..base.errors import DeviceError
from ..base.source import render
from ..ir.node import INPUT, Node, placeholder
from ..ir.program import Program, placeless
from ..ir.types import TensorType


class Stage:
    """A program on a device over the values `reads`; it gives the values `gives`. None of its types
    names a device."""

    __slots__ = ("device", "gives", "program", "reads")

    def __init__(self, device: Device, program: Program, reads: list[int], gives: list[int]):
        self.device, self.program, self.reads, self.gives = device, program, reads, gives


class Transfer:
    """A crossing: value `source` as value `target` on the device."""

    __slots__ = ("device", "line", "source", "target", "type")

    def __init__(self, source: int, target: int, device: Device, type: TensorType, line=None):
        self.source, self.target, self.device = source, target, device
        self.type, self.line = type, line

    @property
    def reads(self) -> list[int]:
        return [self.source]


class Route:
    """Stages and transfers in their order, the numbers of the program's inputs and outputs, and the
    device and type of each value."""

    __slots__ = ("homes", "inputs", "outputs", "steps", "types")

    def __init__(self, steps: list[Stage | Transfer], inputs: range, outputs: list[int],
                 homes: dict[int, Device], types: dict[int, TensorType]):
        self.steps, self.inputs, self.outputs = steps, inputs, outputs
        self.homes, self.types = homes, types

    @property
    def stages(self) -> list[Stage]:
        return [s for s in self.steps if isinstance(s, Stage)]

    @property
    def transfers(self) -> list[Transfer]:
        return [s for s in self.steps if isinstance(s, Transfer)]

    def last_reads(self) -> dict[int, int]:
        """The number of the step that reads each value last; of results one behind all steps."""
        last: dict[int, int] = {}
        for k, s in enumerate(self.steps):
            last |= dict.fromkeys(s.reads, k)
        return last | dict.fromkeys(self.outputs, len(self.steps))


def crosses(program: Program) -> bool:
    """Whether anything of the program lives on a device beside the processor."""
    return any(n.type.device is not cpu for n in program.nodes())


def route(program: Program, home: Device | None = None) -> Route:
    """The stages of a program; `home`: where all of its inputs are (where None, each is where its
    type says). DeviceError names the node whose operands are on different devices."""
    return _Route(program, home).made()


class _Route:
    def __init__(self, program: Program, home: Device | None):
        self.program, self.home = program, home
        self.nodes = program.nodes()
        self.at: dict[int, tuple[int, Device] | None] = {}      # None: wherever it is needed
        for n in self.nodes:
            self.at[id(n)] = self._place(n)
        self.number = {id(n): k for k, n in enumerate(program.inputs)}
        self.homes = {k: self._where(n)[1] for k, n in enumerate(program.inputs)}
        self.types = {k: n.type.anywhere for k, n in enumerate(program.inputs)}

    def _place(self, n: Node) -> tuple[int, Device] | None:
        """(crossings before it, device) of a node."""
        if n.op is INPUT:
            return 0, self.home or n.type.device
        if "transfer" in n.op.facts:
            before, device = self.at[id(n.inputs[0])], n.params["device"]
            if before is None:
                return 0, device
            return before if before[1] is device else (before[0] + 1, device)
        found = [p for p in (self.at[id(i)] for i in n.inputs) if p is not None]
        homes = dict.fromkeys(device for _, device in found)
        if len(homes) > 1:
            raise DeviceError(f"{n.op.name}: operands on {' and on '.join(map(str, homes))}; bring "
                              f"them together with to_device "
                              f"({render(n.source) or 'no source line'})")
        return max(found, key=lambda p: p[0]) if found else None

    def made(self) -> Route:
        outputs = [self._settled(n) for n in self.program.outputs]
        wanted = {id(n): n for n in outputs}
        for n in self.nodes:
            reads = [self._settled(i) for i in n.inputs]
            wanted |= {id(i): i for i in reads if self._handed(i, n)}
        stages: dict[tuple, list[Node]] = {}
        for n in wanted.values():
            if n.op is not INPUT and not self._is_crossing(n):
                stages.setdefault(self._where(n), []).append(n)
        for n in wanted.values():
            if n.op is not INPUT:
                self._count(n)
        order = sorted({*stages, *(self._where(n) for n in wanted.values()
                                   if self._is_crossing(n))},
                       key=lambda p: (p[0], p[1] is cpu, repr(p[1])))
        steps: list[Stage | Transfer] = []
        for where in order:
            steps += self._arrivals(where, wanted)
            if where in stages:
                steps.append(self._stage(where, stages[where]))
        return Route(steps, range(len(self.program.inputs)),
                     [self.number[id(n)] for n in outputs], self.homes, self.types)

    def _where(self, n: Node) -> tuple[int, Device]:
        return self.at[id(n)] or (0, self.home or cpu)

    def _is_crossing(self, n: Node) -> bool:
        return "transfer" in n.op.facts and self.at[id(n.inputs[0])] is not None

    def _settled(self, n: Node) -> Node:
        """The node behind transfers that go nowhere: to where it is."""
        while "transfer" in n.op.facts and self.at[id(n)] == self.at[id(n.inputs[0])]:
            n = n.inputs[0]
        return n

    def _handed(self, value: Node, reader: Node) -> bool:
        """Whether a value goes from one stage to another where this node reads it."""
        if self.at[id(value)] is None:
            return False
        return self._is_crossing(value) or self._where(value) != self._where(reader)

    def _count(self, n: Node) -> None:
        k = self.number[id(n)] = len(self.types)
        self.homes[k], self.types[k] = self._where(n)[1], n.type.anywhere

    def _arrivals(self, where: tuple[int, Device], wanted: dict[int, Node]) -> Iterator[Transfer]:
        for n in wanted.values():
            if self._is_crossing(n) and self._where(n) == where:
                source = self._settled(n.inputs[0])
                yield Transfer(self.number[id(source)], self.number[id(n)], where[1],
                               n.type.anywhere, n.source)

    def _stage(self, where: tuple[int, Device], gives: list[Node]) -> Stage:
        """The program of a stage: it begins at the values that are handed to it."""
        inside: dict[int, Node] = {}
        reads: dict[int, Node] = {}
        stack = list(reversed(gives))
        while stack:
            n = stack[-1]
            if id(n) in inside:
                stack.pop()
                continue
            given = n.op is INPUT or self._is_crossing(n) or (
                self.at[id(n)] is not None and self._where(n) != where)
            if given:
                inside[id(n)] = reads[id(n)] = placeholder(
                    n.type.anywhere, n.params["name"] if n.op is INPUT else n.op.name)
                continue
            before = [self._settled(i) for i in n.inputs]
            waiting = [i for i in before if id(i) not in inside]
            if waiting:
                stack += reversed(waiting)
                continue
            inside[id(n)] = placeless(n, tuple(inside[id(i)] for i in before))
        numbers = sorted((self.number[k], node) for k, node in reads.items())
        program = Program([node for _, node in numbers], [inside[id(n)] for n in gives],
                          self.program.name)
        return Stage(where[1], program, [k for k, _ in numbers], [self.number[id(n)]
                                                                  for n in gives])
