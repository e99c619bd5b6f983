"""Batching: the same graph with one more leading axis on everything that depends on the inputs."""

from __future__ import annotations

from typing import Any

from ..base.errors import LamellaError
from ..ir.node import ITEM, Node, at_source, broadcast_to, topological
from ..ir.program import rebuild


def batch(outputs, inputs, batched_inputs, extent) -> list[Node]:
    """Outputs with a leading batch axis, for `batched_inputs` that carry it in place of `inputs`.

    Outputs that do not depend on a batched input are repeated `extent` times.
    """
    found = propagate(outputs, inputs, batched_inputs)
    return [b if flag else broadcast_to(b, (extent, *b.shape)) for b, flag in found]


def propagate(outputs, inputs, replacements, flags=None) -> list[tuple[Node, bool]]:
    """(node, whether it has the batch axis) for each output; of a node with several results such
    a pair for each of them."""
    flags = flags or [True] * len(inputs)
    found: dict = {id(n): (r, f) for n, r, f in zip(inputs, replacements, flags, strict=True)}
    for node in topological(outputs, frozenset(inputs)):
        if id(node) not in found:
            found[id(node)] = _batched(node, [found[id(i)] for i in node.inputs])
    return [found[id(n)] for n in outputs]


def _batched(node: Node, given: list[tuple[Node, bool]]) -> tuple[Node, bool]:
    nodes, flags = [n for n, _ in given], [f for _, f in given]
    if not any(flags):
        return rebuild(node, tuple(nodes)), False
    with at_source(node.source):
        if node.op is ITEM:
            return node.op.batch(node, nodes, flags)  # type: ignore[misc]
        if node.op.batch is not None:
            return node.op.batch(node, nodes, flags), True
        if node.op.expand is None:
            raise LamellaError(f"vmap: {node.op.name} has no batching rule")
        body = node.op.expand(node.params, *node.inputs)
        if isinstance(body, tuple):
            several: Any = tuple(propagate(body, node.inputs, nodes, flags))
            return several, True
        return propagate([body], node.inputs, nodes, flags)[0]
