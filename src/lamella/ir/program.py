"""A Program: inputs, outputs and the pure graph between them."""

from __future__ import annotations

from .node import Node, topological
from .types import TensorType


class Program:
    """A function as data: `outputs` computed from `inputs` (all of them `input` nodes)."""

    __slots__ = ("inputs", "name", "outputs")

    def __init__(self, inputs, outputs, name: str = "main"):
        self.inputs: tuple[Node, ...] = tuple(inputs)
        self.outputs: tuple[Node, ...] = tuple(outputs)
        self.name = name

    def nodes(self) -> list[Node]:
        """All nodes, inputs of the program first, then each after its inputs."""
        rest = topological(self.outputs)
        own = set(map(id, self.inputs))
        return list(self.inputs) + [n for n in rest if id(n) not in own]

    @property
    def input_types(self) -> list[TensorType]:
        return [n.type for n in self.inputs]

    @property
    def output_types(self) -> list[TensorType]:
        return [n.type for n in self.outputs]

    def __repr__(self) -> str:
        return f"<Program {self.name}: {len(self.nodes())} nodes>"


def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The same node over other inputs (types must not change)."""
    if inputs == node.inputs or all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
        return node
    return Node(node.op, inputs, node.params, node.type, node.source, node.token)
