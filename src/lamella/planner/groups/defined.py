"""A node as index notation: its definition, and the kind of kernel that this asks for."""

from __future__ import annotations

from ...ir.node import Node
from ...ir.program import frozen
from ...lang import expr
from ...lang.definition import PRODUCTS, Definition

CHEAP = frozenset({"add", "sub", "mul", "neg", "max", "min", "abs", "where", "cast", "eq", "ne",
                   "lt", "le", "and", "or", "xor", "not", "stop_gradient", "bitcast", "sign",
                   "div", "real", "imag", "conj", "complex"})


def is_step(node: Node) -> bool:
    """Whether the node's op is planned as steps of its own."""
    return "step" in node.op.facts


def kind_of(node: Node, definition: Definition) -> str:
    """Which template a definition asks for by its outermost operation."""
    body = definition.body
    if "update" in node.op.facts:
        return "update"
    if body.op == "reduce":
        return "dot" if body.attr[0] in PRODUCTS else "reduce"
    return "map" if not any(e.op == "reduce" for e in expr.walk(body)) else "general"


_definitions: dict[tuple, Definition] = {}


def definition_of(node: Node) -> Definition:
    """The node's lowering, remembered for nodes of equal op, parameters and types."""
    types = tuple(i.type for i in node.inputs)
    key = (node.op.name, frozen(node.params), types)
    found = _definitions.get(key)
    if found is None:
        if len(_definitions) > 8192:
            _definitions.clear()
        assert node.op.lower is not None
        found = _definitions[key] = node.op.lower(node.params, *types)
    return found
