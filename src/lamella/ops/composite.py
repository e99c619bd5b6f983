"""Composite ops: stated in other ops by `expand`; every other rule follows from it.

A composite has a name in printed programs, one kernel when uncompiled, and the derivative of its
expansion unless it states a better one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir.node import Node, make, placeholder, topological
from ..ir.op import Op, check_extents
from ..ir.types import TensorType, tensors
from .pointwise import require_float


def composite(name: str, doc: str, expand: Callable, *, arity: int = 1,
              more: bool = False, params: dict[str, Callable], vjp: Callable | None = None,
              jvp: Callable | None = None, check: Callable | None = None,
              batch: Callable | None = None, samples: Callable | None = None) -> Op:
    """An op by its expansion. `expand(params, *nodes)` builds it from other ops; `check(params,
    *types)` raises the user's errors before that."""
    known: dict[tuple, TensorType] = {}

    def infer(params: dict, *types: TensorType) -> TensorType:
        key = (types, *params.items())
        found = known.get(key)
        if found is None:
            if check is not None:
                check(params, *types)
            node = expand(params, *map(placeholder, types))
            for inner in topological([node]):
                for t in tensors(inner.type):
                    check_extents(name, t.shape)
            found = node.type
            if len(known) > 4096:
                known.clear()
            known[key] = found
        return found

    return Op(name, doc=doc, arity=arity, more=more, params=params, infer=infer, expand=expand,
              vjp=vjp, jvp=jvp, batch=batch, samples=samples, facts=frozenset({"composite"}))


def batch_same(n: Node, inputs, batched) -> Node:
    """Batching of an op that treats every axis alike."""
    return make(n.op, tuple(inputs), n.params)


def batch_axis(n: Node, inputs, batched) -> Node:
    """Batching of an op with the parameter `axis`."""
    return make(n.op, tuple(inputs), {**n.params, "axis": n.params["axis"] + 1})


def expanded(n: Node) -> Node:
    """The node's expansion over its inputs."""
    assert n.op.expand is not None
    return n.op.expand(n.params, *n.inputs)


def normal(*shape, seed=0, scale=2.0) -> np.ndarray:
    """float32 numbers for samples."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def float_only(name: str) -> Callable:
    """A check that the first operand is floating."""
    return lambda p, *types: require_float(name, types[0])
