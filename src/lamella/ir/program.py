"""A Program: inputs, outputs and the pure graph between them; equal where its structure is."""

from __future__ import annotations

from ..base.devices import beside, cpu
from ..base.dtypes import DType
from ..base.errors import DeviceError
from ..base.extents import Size, Symbol, symbols
from ..base.source import render
from .node import INPUT, Node, placeholder, topological
from .op import exact
from .types import TensorType, tensors


class Program:
    """A function as data: `outputs` computed from `inputs` (all of them `input` nodes).

    It may be a parameter of a node (a loop's body) and does not change; two are equal that do the
    same, whatever their names and source lines are.
    """

    __slots__ = ("_hash", "_key", "inputs", "name", "outputs")

    def __init__(self, inputs, outputs, name: str = "main"):
        self.inputs: tuple[Node, ...] = tuple(inputs)
        self.outputs: tuple[Node, ...] = tuple(outputs)
        self.name = name
        self._key: tuple | None = None
        self._hash = 0

    @property
    def key(self) -> tuple:
        """The structure as data: equal for programs that do the same by the same nodes."""
        if self._key is None:
            nodes = self.nodes()
            number = {id(n): k for k, n in enumerate(nodes)}
            body = tuple(
                n.type if n.op is INPUT else
                (n.op.name, tuple(number[id(i)] for i in n.inputs), frozen(n.params), n.token)
                for n in nodes)
            self._key = (len(self.inputs), body, tuple(number[id(o)] for o in self.outputs))
            self._hash = hash(self._key)
        return self._key

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Program) and self.key == other.key)

    def __hash__(self) -> int:
        return self._hash if self._key else hash(self.key)

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

    def placeless(self) -> Program:
        """The same, with nothing said of where it runs: all of it is where its operands are.
        DeviceError where values cross within it."""
        if not beside:
            return self
        done: dict[int, Node] = {}
        for n in self.nodes():
            if "transfer" in n.op.facts and any(i.op is INPUT for i in topological([n])):
                raise DeviceError(f"{self.name}: to_device within a loop, a choice or a function "
                                  f"with a rule of its own ({render(n.source)}); move the values "
                                  "before it")
            done[id(n)] = placeless(n, tuple(done[id(i)] for i in n.inputs))
        return Program([done[id(n)] for n in self.inputs], [done[id(n)] for n in self.outputs],
                       self.name)

    def __repr__(self) -> str:
        return f"<Program {self.name}: {len(self.nodes())} nodes>"


def frozen(params: dict) -> tuple:
    """Parameters as a key: floats by their bits, so that -0.0 is not 0.0."""
    return tuple((k, exact(v), type(v)) if not isinstance(v, DType)
                 else (k, v.name) for k, v in params.items())


_ATOMS = frozenset({int, float, str, bool, type(None)})    # which have no symbols


def symbols_in(value: object) -> list[Symbol]:
    """The symbols of a parameter's value, in order; those of a program inside too."""
    if isinstance(value, tuple):
        if _ATOMS.issuperset(map(type, value)):
            return []
        return [s for v in value if type(v) not in _ATOMS for s in symbols_in(v)]
    if isinstance(value, Program):
        return [s for n in value.nodes() for t in tensors(n.type)
                for s in symbols_in((t.shape, t.strides, *n.params.values()))]
    return sorted(symbols(value), key=lambda s: s.name) if isinstance(value, Size) else []


def programs(params: dict) -> list[Program]:
    """The programs among a node's parameters (the bodies of loops, the branches of choices)."""
    found: list[Program] = []
    for v in params.values():
        found += [p for p in (v if isinstance(v, tuple) else (v,)) if isinstance(p, Program)]
    return found


def replaced(outputs, stand: dict[int, Node]) -> list[Node]:
    """The outputs with other nodes in place of some (by id)."""
    done = dict(stand)
    for n in topological(outputs, frozenset(n for n in topological(outputs) if id(n) in stand)):
        if id(n) not in done:
            done[id(n)] = rebuild(n, tuple(done[id(i)] for i in n.inputs))
    return [done[id(o)] for o in outputs]


def inlined(p: Program, nodes) -> list[Node]:
    """The outputs of a program over these nodes in place of its inputs."""
    return replaced(p.outputs, {id(i): n for i, n in zip(p.inputs, nodes, strict=True)})


def placeless(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The node over other inputs, its type without a device; a transfer is what it transfers."""
    if node.op is INPUT:
        return placeholder(node.type.anywhere, node.params["name"])
    if "transfer" in node.op.facts:
        return inputs[0]
    return Node(node.op, inputs, node.params, node.type.on(cpu), node.source, node.token)


def copied(node: Node) -> Node:
    """A node without inputs again, for a program that is kept: evaluating the one in its graph
    turns that into an input, and the copy stays what it was."""
    return Node(node.op, (), node.params, node.type, node.source, node.token)


def rebuild(node: Node, inputs: tuple[Node, ...]) -> Node:
    """The same node over other inputs (types must not change)."""
    if inputs == node.inputs or all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
        return node
    return Node(node.op, inputs, node.params, node.type, node.source, node.token)
