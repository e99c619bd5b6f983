"""The node: an op applied to nodes, with parameters, a type and the user's source line."""

from __future__ import annotations

import itertools

import numpy as np

from ..base import devices
from ..base import source as _source
from ..base.devices import Device, cpu
from ..base.dtypes import DType, complex64, float32, int32
from ..base.dtypes import bool_ as bool_dtype
from ..base.errors import DeviceError, LamellaError
from ..base.extents import Shape
from .arithmetic import Arithmetic
from .op import Op, check_extents, fits, in_range, is_dtype, is_int, is_shape, op_named
from .types import TensorType, TupleType, tensor

_NO_PARAMS: dict = {}
_PYTHON: dict = {"bool": bool, "complex": complex}
_DEFAULTS = ((bool, bool_dtype), (int, int32), (complex, complex64))


next_born = itertools.count(1).__next__


class Node(Arithmetic):
    """One value, or several (its type a TupleType), which only `item` nodes read. Pure unless
    `token` names the order it takes part in.

    `data` is the evaluated value (a runtime buffer) of an uncompiled node, else None. `born` counts
    nodes in the order in which they were made: a loop's body tells by it what lies outside.
    """

    __slots__ = ("__weakref__", "born", "data", "inputs", "op", "params", "source", "token", "type")

    type: TensorType  # a TupleType where there are several results: then read by items alone

    def __init__(self, op: Op, inputs: tuple[Node, ...], params: dict,
                 type: TensorType | TupleType, source=None, token=None, data=None):
        self.op, self.inputs, self.params = op, inputs, params
        self.type = type  # type: ignore[assignment]
        self.source, self.token, self.data = source, token, data
        self.born = next_born()

    @property
    def shape(self):
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    def apply(self, name: str, *args) -> Node:
        dtype = next(a.dtype for a in args if isinstance(a, Node) and
                     (a.dtype is not bool_dtype or name != "where"))
        nodes = tuple(a if isinstance(a, Node) else literal(a, dtype) for a in args)
        return make(op_named(name), nodes)

    def __repr__(self) -> str:
        return f"<{self.op.name} {self.type}>"


current_source = None  # set while a transform builds nodes on behalf of a user's line


def make(op: Op, inputs: tuple[Node, ...] = (), params: dict = _NO_PARAMS) -> Node:
    """Build a node; infers its type, so a user's error is raised here, at the user's line."""
    where = current_source or _source.here()
    try:
        if devices.beside:
            params = {k: _placeless(v) for k, v in params.items()}
            type = _placed(op, inputs, params)
        else:
            type = op.rule(params, *[n.type for n in inputs])
    except LamellaError as e:
        if where[0] and not getattr(e, "located", False):
            e.args = (f"{e.args[0]} ({_source.render(where)})", *e.args[1:])
            e.located = True  # type: ignore[attr-defined]
        raise
    return Node(op, inputs, params, type, where)


def _placeless(value):
    """A parameter whose programs say nothing of where they run."""
    if isinstance(value, tuple) and any(hasattr(v, "placeless") for v in value):
        return tuple([_placeless(v) for v in value])
    return value.placeless() if hasattr(value, "placeless") else value


def _placed(op: Op, inputs: tuple[Node, ...], params: dict):
    """The result's type, on the device of the operands."""
    type = op.rule(params, *[n.type.on(cpu) for n in inputs])
    return type.on(params["device"] if "transfer" in op.facts else _home(op, inputs))


def _home(op: Op, inputs: tuple[Node, ...]) -> Device:
    """The one device of the operands. What is made of numbers alone is made wherever it is needed;
    so is, as far as is known yet, what depends on an input of a function that is being traced."""
    home = next((n.type.device for n in inputs if n.type.device is not cpu), cpu)
    others = [n for n in inputs if n.type.device is not home]
    for n in others:
        if _known([n]) and _known([i for i in inputs if i.type.device is home]):
            raise DeviceError(f"{op.name}: operands on {home} and on {n.type.device}: "
                              f"{', '.join(str(i.type) for i in inputs)}; bring them together "
                              f"with to_device")
    return home


def _known(nodes) -> bool:
    """Whether any of the nodes depends on an array that has a value, which lies somewhere."""
    return any(n.op is INPUT and n.data is not None for n in topological(nodes))


class at_source:
    """Nodes made inside carry this source line (a gradient's node that of its forward node)."""

    __slots__ = ("before", "source")

    def __init__(self, source):
        self.source = source

    def __enter__(self):
        global current_source
        self.before, current_source = current_source, self.source or current_source

    def __exit__(self, *_):
        global current_source
        current_source = self.before


def _infer_constant(params: dict) -> TensorType:
    return tensor(params["dtype"], params["shape"])


def _constant_array(params: dict) -> np.ndarray:
    return np.full(params["shape"], params["value"], params["dtype"].numpy)


def _no_inputs(node, *_):
    return ()


def _is_value(v, params, types) -> bool:
    """a number that the dtype has"""
    return fits(v, params["dtype"])


def _is_name(v, *_) -> bool:
    """a string"""
    return isinstance(v, str)


def _is_type(v, *_) -> bool:
    """the type of a value"""
    return isinstance(v, TensorType) and is_shape(v.shape)


CONSTANT = Op("constant", doc="One number in every element: y[...] = value.",
              arity=0, params={"dtype": is_dtype, "value": _is_value, "shape": is_shape},
              infer=_infer_constant, reference=_constant_array, vjp=_no_inputs,
              jvp=lambda node, tangents: None, facts=frozenset({"constant"}))

INPUT = Op("input", doc="A value that is given when the program runs.",
           arity=0, params={"name": _is_name, "type": _is_type},
           infer=lambda params: params["type"], vjp=_no_inputs,
           jvp=lambda node, tangents: None, facts=frozenset({"input"}))


def _is_item(v, params, types) -> bool:
    """the number of one of the operand's results"""
    return is_int(v) and isinstance(types[0], TupleType) and 0 <= v < len(types[0].items)


def _item_vjp(node, cotangent):
    raise AssertionError("a pullback gathers the cotangents of items itself")


ITEM = Op("item", doc="y = x[index]: one of several results of a node.", arity=1,
          params={"index": _is_item}, infer=lambda p, x: x.items[p["index"]],
          reference=lambda p, x: x[p["index"]], vjp=_item_vjp,
          jvp=lambda node, tangents: tangents[0][node.params["index"]],
          batch=lambda node, inputs, batched: inputs[0][node.params["index"]],
          facts=frozenset({"item"}))


def item(node: Node, index: int) -> Node:
    """One of a node's several results."""
    return make(ITEM, (node,), {"index": index})


def items(node: Node) -> tuple[Node, ...]:
    """All of a node's several results."""
    return tuple(item(node, k) for k in range(len(node.type.items)))  # type: ignore[attr-defined]


def literal(value, dtype: DType | None = None, shape=()) -> Node:
    """A constant node: one number in every element of `shape`."""
    if dtype is None:
        dtype = next((d for kind, d in _DEFAULTS if isinstance(value, kind)), float32)
    if isinstance(value, complex) and not dtype.is_complex:
        raise LamellaError(f"the number {value} does not fit {dtype}; cast the array first")
    if dtype.is_float:
        value = float(value)
    elif dtype.is_int:
        whole = not isinstance(value, float) or value.is_integer()
        if not whole or not in_range(int(value), dtype):
            raise LamellaError(f"the number {value} does not fit {dtype}; cast the array first")
        value = int(value)
    else:
        value = _PYTHON.get(dtype.kind, float)(value)
    shape = tuple(shape)
    if shape:
        check_extents("constant", shape)
    return Node(CONSTANT, (), {"value": value, "dtype": dtype, "shape": shape},
                tensor(dtype, shape), current_source)


def zeros_like(node: Node) -> Node:
    """Zeros of the node's type."""
    return literal(0, node.dtype, node.shape)


def broadcast_to(node: Node, shape: Shape) -> Node:
    """The node repeated to the shape (a broadcast where it differs)."""
    return node if node.shape == shape else make(op_named("broadcast"), (node,), {"shape": shape})


def placeholder(type: TensorType, name: str = "") -> Node:
    """A fresh input node."""
    return Node(INPUT, (), {"name": name, "type": type}, type, current_source)


def topological(outputs, stop=frozenset()) -> list[Node]:
    """Nodes reachable from `outputs`, inputs first, each once; does not go past nodes in `stop`."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[Node | None] = list(outputs)[::-1]
    while stack:
        node = stack.pop()
        if node is None:    # the inputs of what lies below it have been met
            order.append(stack.pop())  # type: ignore[arg-type]
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if not node.inputs or node in stop:
            order.append(node)
            continue
        stack += (node, None)
        for i in node.inputs[::-1]:
            if id(i) not in seen:
                stack.append(i)
    return order
