"""Uncompiled evaluation: one kernel for each op, no fusion across ops, no planner's choices.

A lazy graph that was seen before (same ops, parameters and types) runs at once from its plan; a new
graph of known kernels compiles nothing. Numbers are run-time inputs, so that `x * 0.5` and
`x * 0.25` are one kernel.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from ..base import devices
from ..base.devices import Device, cpu
from ..ir.node import CONSTANT, INPUT, ITEM, Node, items, placeholder
from ..ir.op import exact
from ..ir.program import Program, copied, rebuild
from ..planner.build import build_plan
from .executable import Executable
from .kernels import target
from .pause import collection_paused
from .value import Value

KEEP = 1024
_executables: OrderedDict[tuple, Any] = OrderedDict()
_numbers: dict[tuple, Value] = {}


class Unknown(Exception):
    """A node depends on an input that has no value."""


def evaluate(wanted: list[Node]) -> None:
    """Compute the data of the nodes, which have none; Unknown where an input has none."""
    several = [n for n in wanted if n.op is ITEM]
    if several:
        wanted = wanted + _siblings(several)
    order, leaves, key = _signature(wanted)
    home = _home(wanted, order, leaves) if devices.beside else cpu
    if home is None:    # numbers are made where they are needed, on several devices
        key = (*key, *(exact(n.params["value"]) for n in leaves if n.op is CONSTANT))
        leaves = [n for n in leaves if n.op is not CONSTANT]
    values = [_number(n, home) if n.op is CONSTANT else n.data for n in leaves]
    if None in values:
        raise Unknown
    run = _executables.get(key)
    if run is None:
        with collection_paused():
            run = _executables[key] = _executable(_program(wanted, order, leaves, home), home)
            run.sign()
        if len(_executables) > KEEP:
            _executables.popitem(last=False)
    results = run.call(values)
    for node, value in zip(wanted, run(values) if results is None else results, strict=True):
        node.data = value
    for node in several:
        if node.inputs[0].data is None:
            of = {n.params["index"]: n.data for n in wanted if n.inputs == node.inputs}
            node.inputs[0].data = tuple(of[k] for k in range(len(of)))


def _home(wanted: list[Node], order: list[Node], leaves: list[Node]) -> Device | None:
    """The device on which all of a graph's arrays are; None where there are several, or something
    goes from one to another."""
    found = {n.type.device for n in wanted} | {
        n.type.device for n in leaves if n.op is not CONSTANT}
    if len(found) > 1 or any("transfer" in n.op.facts for n in order):
        return None
    return found.pop() if found else cpu


def _executable(program: Program, home: Device | None) -> Any:
    if home is cpu:
        return Executable(build_plan(program, target(), fused=False))
    from .placed import Placed  # devices are loaded where arrays are there
    return Placed(program, home, fused=False)


def _siblings(several: list[Node]) -> list[Node]:
    """All other results of nodes with several results: these run once."""
    sources = {id(n.inputs[0]): n.inputs[0] for n in several}
    own = {(id(n.inputs[0]), n.params["index"]) for n in several}
    return [n for s in sources.values() if s.data is None for n in items(s)
            if (id(s), n.params["index"]) not in own]


def _signature(wanted: list[Node]):
    """(nodes in order, leaves in order, a key equal for graphs of equal structure)."""
    order: list[Node] = []
    leaves: list[Node] = []
    index: dict[Node, int] = {}
    key: list = []
    stack: list[Node | None] = [None]    # None stands for what reads the wanted nodes
    while stack:
        node = stack[-1]
        if node in index:
            stack.pop()
            continue
        inputs, waits = node.inputs if node else wanted, len(stack)
        for i in inputs:
            if i in index:
                continue
            if i.op is ITEM and i.data is None and i.inputs[0].data is not None:
                i.data = i.inputs[0].data[i.params["index"]]
            if i.data is not None or i.op is INPUT or (i.op is CONSTANT and not i.type.shape):
                index[i] = ~len(leaves)
                leaves.append(i)
                key.append(i.type)
            else:
                stack.append(i)
        if len(stack) > waits:
            continue
        stack.pop()
        if node:
            index[node] = len(order)
            order.append(node)
            key.append(node.op)
            if node.params:
                key.append(_params(node.params))
        key += [index[i] for i in inputs]
    return order, leaves, tuple(key)


def _params(params: dict) -> tuple:
    return tuple([(exact(v), type(v)) if type(v) in (float, complex) else v
                  for v in params.values()])


def _program(wanted: list[Node], order: list[Node], leaves: list[Node],
             home: Device | None) -> Program:
    new: dict[int, Node] = {id(n): placeholder(n.type if home is None else n.type.on(home))
                            for n in leaves}
    inputs = list(new.values())
    for node in (*order, *wanted):
        for i in (node, *node.inputs):
            if i.op is CONSTANT and id(i) not in new:
                new[id(i)] = copied(i)
        if id(node) not in new:
            new[id(node)] = rebuild(node, tuple(new[id(i)] for i in node.inputs))
    return Program(inputs, [new[id(n)] for n in wanted], "uncompiled")


def _number(node: Node, home: Device | None) -> Value:
    if node.data is not None:
        return node.data
    value, dtype = node.params["value"], node.type.dtype
    key = (exact(value), dtype, home)
    found = _numbers.get(key)
    if found is None:
        if len(_numbers) > 4096:
            _numbers.clear()
        found = Value.from_numpy(np.asarray(value, dtype.numpy))
        found = _numbers[key] = found if home is None else found.on(home)
    return found
