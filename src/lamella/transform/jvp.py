"""Forward-mode derivatives: tangents of outputs from tangents of inputs."""

from __future__ import annotations

from ..base.errors import LamellaError
from ..ir.node import Node, at_source, topological, zeros_like


def pushforward(outputs, inputs, tangents) -> list[Node]:
    """The tangent of each of `outputs` for the given tangents of `inputs` (zeros where none)."""
    results = propagate(outputs, inputs, tangents)
    return [zeros_like(n) if t is None else t for n, t in zip(outputs, results, strict=True)]


def propagate(outputs, inputs, tangents) -> list[Node | None]:
    """The tangents, None where an output does not change; of a node with several results the
    tangent is a tuple."""
    found: dict = {id(n): t for n, t in zip(inputs, tangents, strict=True)}
    for node in topological(outputs, frozenset(inputs)):
        if id(node) not in found:
            found[id(node)] = _tangent(node, [found[id(i)] for i in node.inputs])
    return [found[id(n)] for n in outputs]


def _tangent(node: Node, tangents):
    if all(t is None for t in tangents):
        return None
    with at_source(node.source):
        if node.op.jvp is not None:
            return node.op.jvp(node, tangents)
        if node.op.expand is None:
            raise LamellaError(f"{node.op.name} has no derivative; wrap it in stop_gradient")
        body = node.op.expand(node.params, *node.inputs)
        if isinstance(body, tuple):
            return tuple(propagate(body, node.inputs, tangents))
        return propagate([body], node.inputs, tangents)[0]
