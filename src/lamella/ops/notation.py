"""The op behind index notation: one statement of its elements, everything else derived."""

from __future__ import annotations

from ..base.errors import ShapeError
from ..ir.node import Node, make
from ..ir.op import Op
from ..ir.types import TensorType
from ..lang import derive, interpret, text
from ..lang.definition import Definition


def _infer(p: dict, *types: TensorType) -> TensorType:
    d: Definition = p["body"]
    given = [(t.dtype, t.shape) for t in types]
    if given != [(t.dtype, t.shape) for t in d.operands]:
        raise ShapeError(f"notation: defined for ({', '.join(map(str, d.operands))}), got "
                         f"({', '.join(map(str, types))})")
    return d.type


def _is_definition(v, *_) -> bool:
    """a definition in index notation"""
    return isinstance(v, Definition)


def define(d: Definition, nodes) -> Node:
    """The node of a Definition over its operands."""
    return make(NOTATION, tuple(nodes), {"body": d})


def _vjp(n: Node, g: Node):
    d = n.params["body"]
    out = []
    for k, i in enumerate(n.inputs):
        derived = derive.gradient(d, k) if i.dtype.is_inexact and n.dtype.is_inexact else None
        out.append(None if derived is None else define(derived, (*n.inputs, g)))
    return tuple(out)


def _jvp(n: Node, tangents):
    known = {k for k, t in enumerate(tangents) if t is not None}
    if not known or not n.dtype.is_inexact:
        return None
    d = derive.tangent(n.params["body"], known)
    return define(d, (*n.inputs, *(t for t in tangents if t is not None)))


def _batch(n: Node, inputs, batched):
    extent = next(i.shape[0] for i, b in zip(inputs, batched, strict=True) if b)
    return define(derive.batched(n.params["body"], tuple(batched), extent), inputs)


NOTATION = Op("notation", doc="y[axes] = body, stated in index notation.", infer=_infer,
              arity=0, more=True, params={"body": _is_definition},
              reference=lambda p, *xs: interpret.evaluate_definition(p["body"], *xs),
              codec={"body": (text.to_text, text.from_text)},
              lower=lambda p, *types: p["body"], vjp=_vjp, jvp=_jvp, batch=_batch)
