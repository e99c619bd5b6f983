"""The reference interpreter: a Program's values by each op's NumPy meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..base.errors import ProgramError, ShapeError, UnsupportedError
from ..base.extents import Size, evaluate, solve
from .node import INPUT, Node, placeholder, topological
from .program import Program
from .types import TensorType, TupleType, tensor


def interpret(program: Program, arrays: Sequence[np.ndarray],
              env_symbols: Mapping[str, int] | None = None) -> list[np.ndarray]:
    """The outputs for these inputs; symbols not given are read off the inputs' shapes."""
    arrays = [np.asarray(a) for a in arrays]
    env = bind_symbols(program.input_types, arrays, env_symbols)
    values = dict(zip(program.inputs, arrays, strict=True))
    return interpret_nodes(program.outputs, values, env)


def bind_symbols(types: Sequence[TensorType], arrays: Sequence[np.ndarray],
                 given: Mapping[str, int] | None = None) -> dict[str, int]:
    """The value of each symbol; raises where an array does not have its type."""
    if len(types) != len(arrays):
        raise ShapeError(f"{len(types)} inputs are needed, {len(arrays)} were given")
    env = dict(given or {})
    pairs: list[tuple] = []
    for k, (t, a) in enumerate(zip(types, arrays, strict=True)):
        if a.dtype != t.dtype.numpy or a.ndim != t.rank:
            raise ShapeError(f"input {k}: {t} is needed, {a.dtype}{list(a.shape)} was given")
        pairs += zip(t.shape, a.shape, strict=True)
    for extent, value in sorted(pairs, key=lambda p: _complexity(p[0])):
        solve(extent, value, env)
    return env


def _complexity(extent) -> int:
    """Fixed extents first, then lone symbols, then what must follow from them."""
    return len(str(extent)) if isinstance(extent, Size) else 0


def interpret_nodes(outputs: Iterable[Node], values: Mapping[Node, np.ndarray],
                    env: Mapping[str, int] | None = None) -> list[np.ndarray]:
    """The values of nodes; `values` gives those of inputs, or of any nodes known already."""
    outputs, env = list(outputs), env or {}
    known: dict = dict(values)
    for node in topological(outputs, stop=known.keys()):
        if node not in known:
            known[node] = _value(node, [known[i] for i in node.inputs], env)
    return [known[n] for n in outputs]


def _value(node: Node, inputs: list, env: Mapping[str, int]):
    """The node's array; a tuple of arrays where it has several results."""
    op = node.op
    if op is INPUT:
        raise ProgramError(f"no value was given for the input {node.params['name']!r}: {node.type}")
    params = {name: bound(v, env) for name, v in node.params.items()}
    if op.reference is not None:
        found = op.reference(params, *inputs)
        return tuple(map(np.asarray, found)) if isinstance(node.type, TupleType) \
            else np.asarray(found)
    if op.expand is None:
        raise UnsupportedError(f"{op.name}: has neither a reference nor an expansion")
    holders = [placeholder(tensor(i.dtype, a.shape))
               for i, a in zip(node.inputs, inputs, strict=True)]
    body, known = op.expand(params, *holders), dict(zip(holders, inputs, strict=True))
    if isinstance(body, tuple):
        return tuple(interpret_nodes(body, known))
    return interpret_nodes([body], known)[0]


def bound_type(t: TensorType | TupleType, env: Mapping[str, int]):
    """A type with every extent in it as an integer."""
    if isinstance(t, TupleType):
        return TupleType(bound_type(i, env) for i in t.items)
    return tensor(t.dtype, bound(t.shape, env))


def bound_program(p: Program, env: Mapping[str, int]) -> Program:
    """The program with every extent in it as an integer."""
    done: dict[int, Node] = {}
    for n in p.nodes():
        t = bound_type(n.type, env)
        params = {name: bound(v, env) for name, v in n.params.items()}
        if n.op is INPUT:
            params = {"name": n.params["name"], "type": t}
        done[id(n)] = Node(n.op, tuple(done[id(i)] for i in n.inputs), params, t, n.source, n.token)
    return Program([done[id(i)] for i in p.inputs], [done[id(o)] for o in p.outputs], p.name)


def bound(value, env: Mapping[str, int]):
    """A parameter with every extent in it as an integer."""
    if isinstance(value, Program):
        return bound_program(value, env) if env else value
    if isinstance(value, Size):
        return evaluate(value, env)
    if isinstance(value, tuple):
        return tuple(bound(v, env) for v in value)
    return value
