"""Each rule of the verifier: a program that breaks it, and what is told."""

from __future__ import annotations

import pytest

from lamella import ops  # noqa: F401  (defines the ops)
from lamella.base.errors import ProgramError
from lamella.base.extents import symbol
from lamella.ir.node import Node, placeholder
from lamella.ir.op import op_named
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.ir.verify import verify
from lamella.ops.pointwise import apply

F = tensor("float32", (3,))


def _x() -> Node:
    return placeholder(F, "x")


def _free():
    return Program([], [apply("exp", _x())])


def _no_input():
    y = apply("exp", _x())
    return Program([y], [y])


def _twice():
    x = _x()
    return Program([x, x], [x])


def _type():
    x = _x()
    return Program([x], [Node(op_named("exp"), (x,), {}, tensor("float32", (4,)), ("a.py", 7))])


def _refused():
    x = placeholder(tensor("int32", (3,)), "x")
    return Program([x], [Node(op_named("exp"), (x,), {}, x.type)])


def _cycle():
    x = _x()
    a = apply("exp", x)
    b = apply("tanh", a)
    a.inputs = (b,)
    return Program([x], [b])


def _unhashable():
    x = _x()
    return Program([x], [Node(op_named("exp"), (x,), {"a": []}, F)])


def _no_node():
    x = _x()
    return Program([x], [Node(op_named("exp"), (3,), {}, F)])


def _symbols():
    a, b = (placeholder(tensor("float32", (symbol("B", 1, n),)), "x") for n in (2, 3))
    return Program([a, b], [])


def _tokens():
    x = _x()
    a, b = apply("exp", x), apply("tanh", x)
    a.token = b.token = "io"
    return Program([x], [a, b])


BROKEN = {
    "free input": (_free, r"<input float32\[3\]> breaks the rule: an input node is one of the"),
    "input is computed": (_no_input, "<exp .* a program's inputs are input nodes"),
    "input twice": (_twice, "stands twice"),
    "wrong type": (_type, r"\(a.py:7\) breaks the rule: a type is what the op infers, here"),
    "refused by the op": (_refused, "the op takes its operands .*takes float"),
    "cycle": (_cycle, "no node depends on itself"),
    "unhashable": (_unhashable, "parameters are hashable"),
    "operand is no node": (_no_node, "operands are nodes, not int"),
    "two symbols": (_symbols, r"B is 1\.\.3 here and 1\.\.2 elsewhere"),
    "unordered tokens": (_tokens, "token 'io' depend on each other in one order"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_named_with_its_node(name):
    build, told = BROKEN[name]
    with pytest.raises(ProgramError, match=told):
        verify(build())


def test_ordered_tokens_pass():
    x = _x()
    a = apply("exp", x)
    b = apply("tanh", a) + x
    a.token = b.token = "io"
    verify(Program([x], [b, a]))
