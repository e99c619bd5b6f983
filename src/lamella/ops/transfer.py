"""Transfer: the same numbers on another device."""

from __future__ import annotations

import numpy as np

from ..base.devices import Device, cpu, named
from ..base.errors import ProgramError
from ..ir.node import Node, make
from ..ir.op import Op
from ..ir.types import TensorType
from ..lang import expr
from ..lang.definition import Definition, axes_for


def _is_device(v, p, types) -> bool:
    """a device"""
    return isinstance(v, Device)


def _lower(p: dict, t: TensorType) -> Definition:
    axes = axes_for(t.shape)
    return Definition((t,), axes, expr.read(0, axes, t.dtype))


def _from_text(text: str, types, symbols) -> Device:
    found = named(text)
    if found is None:
        raise ProgramError(f"to_device: no device is called {text!r}; write cpu or cuda:0")
    return found


def to_device(x: Node, device: Device) -> Node:
    """x on the device; numbers that depend on no array are made there."""
    return x if x.type.device is device and device is not cpu else make(
        TRANSFER, (x,), {"device": device})


def _back(node: Node, g: Node) -> tuple[Node]:
    return to_device(g, node.inputs[0].type.device),


TRANSFER = Op(
    "to_device", doc="y = x, on another device: its elements are copied there.",
    infer=lambda p, t: t.anywhere, arity=1, params={"device": _is_device},
    reference=lambda p, x: x, lower=_lower, vjp=_back,
    jvp=lambda n, t: None if t[0] is None else to_device(t[0], n.params["device"]),
    batch=lambda n, i, b: to_device(i[0], n.params["device"]),
    codec={"device": (repr, _from_text)}, facts=frozenset({"transfer"}),
    samples=lambda: [({"device": cpu}, [np.arange(6, dtype=np.float32).reshape(2, 3)])])
