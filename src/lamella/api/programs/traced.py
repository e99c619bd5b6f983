"""Traced: a function's Program, found by calling it once on stand-ins for its arguments.

Python side effects happen while tracing only; Python numbers given as arguments are 0-d inputs;
arrays that the function closes over become inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...base import outline, tree
from ...base.dtypes import int32
from ...base.errors import DTypeError, LamellaError
from ...engine.value import Value
from ...ir.node import Node, literal, placeholder
from ...ir.program import Program, replaced
from ...ir.types import TensorType
from ..arrays.array import asarray, wrap
from ..arrays.scope import Scope
from ..arrays.values import error
from . import effects
from .closing import captured, mark


class Traced:
    """A function's Program: `structure` of the results, `captured` nodes behind extra inputs."""

    __slots__ = ("captured", "program", "structure")

    def __init__(self, program: Program, structure: Any, captured: list[Node]):
        self.program, self.structure, self.captured = program, structure, captured

    def fixed(self) -> dict[int, Value]:
        """The captured arrays' values, by the numbers of their inputs."""
        first = len(self.program.inputs) - len(self.captured)
        return {first + k: n.data for k, n in enumerate(self.captured)}


def traced(f: Callable, args: tuple, types: list[TensorType], name: str) -> Traced:
    """Call f on stand-ins of these types for the leaves of args."""
    _, structure = tree.flatten(args)
    names = tree.paths(args)
    nodes = [placeholder(t, n) for t, n in zip(types, names, strict=True)]
    scope, since = Scope("compile", name), mark()
    with scope:
        out = f(*tree.unflatten(structure, [wrap(n) for n in nodes]))
        leaves, out_structure = outline.flatten(out)
        outputs = [_output(name, a) for a in leaves]
    if effects.moved(scope):    # one more result, which the caller does not see
        stand = {id(effects.start_of(scope)): literal(0, int32)}
        outputs = replaced([*outputs, scope.order], stand)
    inputs, outputs, found = captured(nodes, outputs, since)
    return Traced(Program(inputs, outputs, name), out_structure, found)


def _output(name: str, leaf: Any) -> Node:
    try:
        return asarray(leaf).node
    except LamellaError as e:
        raise error(DTypeError, f"{name} returned {type(leaf).__name__}, "
                                f"which is no array: {e}") from None
