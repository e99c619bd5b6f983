"""Products of widened 8-bit operands read the operands as they are, where a target multiplies them:
`a.astype(int32) @ b.astype(int32)` of bytes, `a.astype(float32) @ b.astype(float32)` of float8s.

The casts are not stored. A product is still one of the dtype that they were cast to: every element
is widened where it is read, or an instruction multiplies several as they are.
"""

from __future__ import annotations

from ...base import dtypes
from ...base.dtypes import DType
from ...ir.node import Node, at_source, make, topological
from ...ir.program import Program, rebuild
from ...ir.types import tensor
from ...lang import expr
from ...lang.definition import Definition
from ...ops.notation import define

BYTES = (dtypes.int8, dtypes.uint8)
FLOAT8 = tuple(d for d in dtypes.ALL if d.kind == "float8")
WIDE = (dtypes.float16, dtypes.bfloat16, dtypes.float32)    # each holds every float8


def narrow(p: Program, target, tags: dict[int, int] | None = None) -> Program:
    """The program with its products over 8-bit values where these were cast for it."""
    done: dict[int, Node] = {}
    for node in topological(p.outputs):
        new = rebuild(node, tuple(done[id(i)] for i in node.inputs))
        kinds = _multiplied(new, target)
        if kinds:
            with at_source(new.source):
                new = _over(kinds, new)
        if tags is not None and id(node) in tags:
            tags.setdefault(id(new), tags[id(node)])
        done[id(node)] = new
    return Program([done.get(id(i), i) for i in p.inputs], [done[id(o)] for o in p.outputs], p.name)


def _multiplied(node: Node, target) -> tuple[DType, ...]:
    """The 8-bit dtypes that the target multiplies for a product of this dtype."""
    if node.op.name != "contract":
        return ()
    if node.dtype is dtypes.int32 and target.quads:
        return BYTES
    return FLOAT8 if node.dtype in WIDE and target.float8 else ()


def _over(kinds: tuple[DType, ...], node: Node) -> Node:
    """The product over the operands before their casts, or the node itself; windows stay."""
    indices = (*node.params["a"], *node.params["b"])
    a, b = (_before(i, kinds) for i in node.inputs)
    if a is None or b is None or not node.params["sum"] or \
            not all(text.isidentifier() for text in indices):
        return node
    assert node.op.lower is not None
    wide: Definition = node.op.lower(node.params, *(
        tensor(node.dtype, x.shape) for x in (a, b)))
    reads = [expr.read(k, e.args, x.dtype)
             for k, (e, x) in enumerate(zip(wide.body.args, (a, b), strict=True))]
    body = expr.make("reduce", tuple(reads), wide.body.attr, node.dtype)
    return define(Definition((a.type, b.type), wide.axes, body), (a, b))


def _before(node: Node, kinds: tuple[DType, ...]) -> Node | None:
    """The node's elements before a cast from one of these dtypes, which views may have moved
    since."""
    if node.op.name == "cast":
        return node.inputs[0] if node.inputs[0].dtype in kinds else None
    if "view" not in node.op.facts or len(node.inputs) != 1:
        return None
    inner = _before(node.inputs[0], kinds)
    return None if inner is None else make(node.op, (inner,), node.params)
