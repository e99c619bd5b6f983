"""Products of widened bytes read the bytes: `a.astype(int32) @ b.astype(int32)` of 8-bit operands.

The casts are not stored. A product is still one of int32: every element is widened where it is
read, or four at once are multiplied by an instruction for bytes.
"""

from __future__ import annotations

from ...base import dtypes
from ...ir.node import Node, at_source, make, topological
from ...ir.program import Program, rebuild
from ...lang import expr
from ...lang.definition import Definition
from ...ops.notation import define

BYTES = (dtypes.int8, dtypes.uint8)


def narrow(p: Program, tags: dict[int, int] | None = None) -> Program:
    """The program with its products of int32 over bytes where these were cast for it."""
    done: dict[int, Node] = {}
    for node in topological(p.outputs):
        new = rebuild(node, tuple(done[id(i)] for i in node.inputs))
        if new.op.name == "contract" and new.dtype is dtypes.int32:
            with at_source(new.source):
                new = _over_bytes(new)
        if tags is not None and id(node) in tags:
            tags.setdefault(id(new), tags[id(node)])
        done[id(node)] = new
    return Program([done.get(id(i), i) for i in p.inputs], [done[id(o)] for o in p.outputs], p.name)


def _over_bytes(node: Node) -> Node:
    """The product over the operands before their casts, or the node itself; windows stay."""
    indices = (*node.params["a"], *node.params["b"])
    bodies = [_bytes_of(i) for i in node.inputs]
    a, b = bodies
    if a is None or b is None or not node.params["sum"] or \
            not all(text.isidentifier() for text in indices):
        return node
    assert node.op.lower is not None
    wide: Definition = node.op.lower(node.params, a.type.__class__(dtypes.int32, a.shape),
                                     b.type.__class__(dtypes.int32, b.shape))
    reads = [expr.read(k, e.args, x.dtype)
             for k, (e, x) in enumerate(zip(wide.body.args, (a, b), strict=True))]
    body = expr.make("reduce", tuple(reads), wide.body.attr, dtypes.int32)
    return define(Definition((a.type, b.type), wide.axes, body), (a, b))


def _bytes_of(node: Node) -> Node | None:
    """The node's elements before a cast from bytes to int32, which views may have moved since."""
    if node.op.name == "cast":
        return node.inputs[0] if node.inputs[0].dtype in BYTES else None
    if "view" not in node.op.facts or len(node.inputs) != 1:
        return None
    inner = _bytes_of(node.inputs[0])
    return None if inner is None else make(node.op, (inner,), node.params)
