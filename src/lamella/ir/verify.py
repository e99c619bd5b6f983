"""The rules that every Program keeps; a broken one names the node and the rule."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from ..base.errors import LamellaError, ProgramError, ShapeError
from ..base.extents import Symbol, symbols
from ..base.source import render
from .interpret import bound, bound_type
from .node import INPUT, Node
from .program import Program, programs, symbols_in
from .types import TupleType, tensors

MOST_CORNERS = 64  # of the symbols' bounds, tried for each node
_OPEN, _DONE = 1, 2


def verify(program: Program) -> None:
    """Raise a ProgramError for the first rule that the program, or one inside of it, breaks."""
    _verify(program, {})


def _verify(program: Program, known: dict[str, Symbol]) -> None:
    _check_inputs(program)
    _check_acyclic(program)
    own = set(map(id, program.inputs))
    reached: dict[int, dict[str, int]] = {}
    counts: dict[str, int] = {}
    for node in program.nodes():
        if node.op is INPUT and id(node) not in own:
            _fail(node, "an input node is one of the program's inputs")
        for inner in programs(node.params):
            _verify(inner, known)
        _check_type(node)
        _check_symbols(node, known)
        _check_corners(node)
        _check_order(node, reached, counts)


def _fail(node: Node, rule: str) -> None:
    where = render(node.source)
    raise ProgramError(f"{node!r}{f' ({where})' if where else ''} breaks the rule: {rule}")


def _check_inputs(program: Program) -> None:
    for node in (*program.inputs, *program.outputs):
        if not isinstance(node, Node):
            raise ProgramError(f"{node!r} is no node; inputs and outputs of a program are nodes")
    for node in program.inputs:
        if node.op is not INPUT:
            _fail(node, "a program's inputs are input nodes")
    for node in program.outputs:
        if isinstance(node.type, TupleType):
            _fail(node, "a program's outputs are one value each; select one with item")
    if len(set(map(id, program.inputs))) != len(program.inputs):
        raise ProgramError(f"{program.name}: an input stands twice among the inputs")


def _check_acyclic(program: Program) -> None:
    state: dict[int, int] = {}
    stack = [(n, False) for n in program.outputs]
    while stack:
        node, leaving = stack.pop()
        if leaving:
            state[id(node)] = _DONE
        elif state.get(id(node)) == _OPEN:
            _fail(node, "no node depends on itself")
        elif id(node) not in state:
            for i in node.inputs:
                if not isinstance(i, Node):
                    _fail(node, f"operands are nodes, not {type(i).__name__}")
            state[id(node)] = _OPEN
            stack.append((node, True))
            stack += [(i, False) for i in node.inputs if state.get(id(i)) != _DONE]


def _check_type(node: Node) -> None:
    try:
        hash(tuple(node.params.values()))
    except TypeError as e:
        _fail(node, f"parameters are hashable ({e})")
    try:
        inferred = node.op.infer(node.params, *[i.type for i in node.inputs])
    except Exception as e:  # whatever an op's rule makes of parameters from a file
        told = e if isinstance(e, LamellaError) else f"{type(e).__name__}: {e}"
        _fail(node, f"the op takes its operands ({told})")
    if inferred != node.type:
        _fail(node, f"a type is what the op infers, here {inferred}")


def _check_symbols(node: Node, known: dict[str, Symbol]) -> None:
    for extent in (e for t in tensors(node.type) for e in t.shape):
        for s in symbols(extent):
            if known.setdefault(s.name, s) != s:
                _fail(node, f"a name stands for one symbol, but {s.name} is {s.low}..{s.high} here "
                            f"and {known[s.name].low}..{known[s.name].high} elsewhere")


def _check_corners(node: Node) -> None:
    """A node with symbols is well typed too with each at its bounds, so that an index does not
    leave its array there. (A definition in index notation is proved in range for all sizes.)"""
    if node.op is INPUT or node.op.codec:
        return
    types = [i.type for i in node.inputs]
    shapes = tuple(t.shape for n in types for t in tensors(n))
    found = set(symbols_in((shapes, *node.params.values())))
    free = sorted(found, key=lambda s: s.name)
    ends = itertools.product(*map(_ends, free)) if free else ()
    for values in itertools.islice(ends, MOST_CORNERS):
        env = dict(zip((s.name for s in free), values, strict=True))
        params = {k: bound(v, env) for k, v in node.params.items()}
        try:
            out = node.op.infer(params, *[bound_type(t, env) for t in types])
        except LamellaError as e:
            at = ", ".join(f"{k} = {v}" for k, v in env.items())
            _fail(node, f"the op takes its operands whatever its symbols are, but not {at} ({e})")
        if out != bound_type(node.type, env):
            _fail(node, f"a type holds for all sizes, but with {env} it is {out}")


def check_sizes(program: Program, env: Mapping[str, int]) -> None:
    """Raise a ShapeError at the first node that has symbols among its parameters (bounds of slices,
    say) and does not take its operands for these values of them."""
    for node in program.nodes():
        for inner in programs(node.params):
            check_sizes(inner, env)
        if node.op is INPUT or not symbols_in(tuple(node.params.values())):
            continue
        params = {k: bound(v, env) for k, v in node.params.items()}
        try:
            node.op.infer(params, *[bound_type(i.type, env) for i in node.inputs])
        except LamellaError as e:
            at = ", ".join(f"{k} = {v}" for k, v in env.items())
            where = render(node.source)
            raise ShapeError(f"{e}, with {at}{f' ({where})' if where else ''}") from None


def _ends(s: Symbol) -> list[int]:
    low = min(max(s.low, 1), s.high)
    return sorted({low, min(low + 1, s.high), s.high})


def _check_order(node: Node, reached: dict[int, dict[str, int]], counts: dict[str, int]) -> None:
    """Nodes of one token form a chain: each depends on all of that token that come before it."""
    mine: dict[str, int] = {}
    for i in node.inputs:
        for token, count in reached[id(i)].items():
            mine[token] = max(mine.get(token, 0), count)
    if node.token is not None:
        if not isinstance(node.token, str):
            _fail(node, "an order token is a string")
        if mine.get(node.token, 0) != counts.get(node.token, 0):
            _fail(node, f"nodes of the token {node.token!r} depend on each other in one order")
        mine[node.token] = counts[node.token] = counts.get(node.token, 0) + 1
    reached[id(node)] = mine
