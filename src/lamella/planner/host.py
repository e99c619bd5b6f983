"""Calls of host functions as steps of the Plan."""

from __future__ import annotations

from functools import partial

from ..ir.types import tensors
from ..ops import foreign
from .groups.group import Fusion, Group, producer
from .plan import Buffer, Host


def schedule_host(group: Group, fusion: Fusion, buffers, kept: set[int]) -> Host:
    """The step of one call; results that nobody reads get no buffer."""
    node = producer(group.seeds[0].node)
    operands = [(buffers[id(fusion.access[id(i)].base)], i.type) for i in node.inputs]
    found: dict[int, Buffer] = {}
    for s in group.seeds:
        if id(s.node) in kept:  # a result may be selected more than once
            k = s.node.params["index"] if s.node is not node else 0
            buffers[id(s.node)] = found.setdefault(k, buffers[id(s.node)])
    results = [(found.get(k), t) for k, t in enumerate(tensors(node.type))]
    f = foreign.function_of(node)
    return Host(partial(foreign.called, node), operands, results, foreign.workspace_of(node),
                f.same_bits, f.name, node.source)
