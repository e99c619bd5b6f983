"""Reverse-mode derivatives: cotangents of inputs from cotangents of outputs.

Each node's `vjp` slot gives its inputs' cotangents as more nodes, so gradients of gradients are
nothing new, and a planner sees forward and backward as one program.
"""

from __future__ import annotations

from ..base.errors import LamellaError
from ..ir.node import ITEM, Node, at_source, broadcast_to, placeholder, topological, zeros_like
from ..ir.program import Program
from ..ir.types import TupleType


def pullback(outputs, inputs, cotangents) -> list[Node]:
    """The cotangent of each of `inputs` for the given cotangents of `outputs`.

    A graph node in `inputs` is taken as independent: what it was computed from is not followed.
    Inputs that no output depends on get zeros of their type.
    """
    found = propagate(outputs, inputs, cotangents)
    return [zeros_like(n) if g is None else g for n, g in zip(inputs, found, strict=True)]


def propagate(outputs, inputs, cotangents) -> list[Node | None]:
    """The cotangents, None for inputs that no output depends on."""
    inputs = list(inputs)
    order = topological(outputs, frozenset(inputs))
    live = _depending(order, inputs)
    found: dict = {}
    for node, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None:
            _accumulate(found, node, cotangent)
    leaves = {id(n) for n in inputs}
    for node in reversed(order):
        g = found.get(id(node))
        if g is None or id(node) in leaves or id(node) not in live:
            continue
        with at_source(node.source):
            if node.op is ITEM:
                _accumulate_item(found, node, g)
                continue
            parts = _cotangents(node, g)
            for source, part in zip(node.inputs, parts, strict=True):
                if part is not None and id(source) in live:
                    _accumulate(found, source, part)
    return [found.get(id(n)) for n in inputs]


def _depending(order, inputs) -> set[int]:
    live = {id(n) for n in inputs}
    for node in order:
        if any(id(i) in live for i in node.inputs):
            live.add(id(node))
    return live


def _cotangents(node: Node, g):
    if node.op.vjp is not None:
        return node.op.vjp(node, g)
    if node.op.expand is None:
        raise LamellaError(f"{node.op.name} has no derivative; wrap it in stop_gradient")
    return through([node.op.expand(node.params, *node.inputs)], node.inputs, [g])


def through(outputs, inputs, cotangents) -> list[Node | None]:
    """`pullback` for inputs of a node, of which several may be one: the first gets the cotangent.
    """
    unique = list(dict.fromkeys(inputs))
    found = pullback(outputs, unique, cotangents)
    by_node = {id(n): c for n, c in zip(unique, found, strict=True)}
    return [by_node.pop(id(i), None) for i in inputs]


def _accumulate(found: dict, node: Node, part: Node) -> None:
    before = found.get(id(node))
    part = broadcast_to(part, node.shape)
    found[id(node)] = part if before is None else before + part


def _accumulate_item(found: dict, node: Node, part: Node) -> None:
    """The cotangents of a node with several results are a tuple, None where there is none."""
    source, k = node.inputs[0], node.params["index"]
    assert isinstance(source.type, TupleType)
    slots = list(found.get(id(source)) or [None] * len(source.type.items))
    slots[k] = part if slots[k] is None else slots[k] + part
    found[id(source)] = tuple(slots)


def vjp_program(p: Program) -> Program:
    """(inputs, cotangents of the outputs) -> (outputs, cotangents of the inputs)."""

    cotangents = [placeholder(o.type, f"ct{k}") for k, o in enumerate(p.outputs)]
    return Program((*p.inputs, *cotangents),
                   (*p.outputs, *pullback(p.outputs, p.inputs, cotangents)), f"vjp_{p.name}")
