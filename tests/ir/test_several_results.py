"""A node with several results: its items, its text, its value and its transforms."""

from __future__ import annotations

import numpy as np
import pytest

from lamella import ops  # noqa: F401  (defines the ops)
from lamella.base.errors import ProgramError
from lamella.ir.interpret import interpret
from lamella.ir.node import item, items, make, placeholder
from lamella.ir.op import Op, op_named
from lamella.ir.parser import parse
from lamella.ir.printer import to_text
from lamella.ir.program import Program
from lamella.ir.types import TupleType, tensor
from lamella.ir.verify import verify
from lamella.ops.pointwise import apply
from lamella.transform.jvp import pushforward
from lamella.transform.vjp import pullback
from lamella.transform.vmap import batch

F = tensor("float32", (3,))


def _vjp(node, cotangents):
    x, y = node.inputs
    first, second = cotangents
    parts = [first * y, first * x] if first is not None else [None, None]
    if second is not None:
        parts = [second if p is None else p + second for p in parts]
    return tuple(parts)


def _jvp(node, tangents):
    x, y = node.inputs
    dx, dy = tangents
    product = [a for a in (None if dx is None else dx * y, None if dy is None else x * dy) if a]
    total = [a for a in (dx, dy) if a]
    return tuple(a[0] if len(a) == 1 else a[0] + a[1] for a in (product, total))


def _batch(node, inputs, batched):
    both = make(node.op, tuple(inputs), {})
    return tuple((i, True) for i in items(both))


PAIR = Op("test_product_and_sum", doc="(x * y, x + y)", arity=2, params={},
          infer=lambda p, x, y: TupleType([x, y]), reference=lambda p, x, y: (x * y, x + y),
          vjp=_vjp, jvp=_jvp, batch=_batch, facts=frozenset({"step"}))

X, Y = np.array([1., 2., 3.], np.float32), np.array([4., 5., 6.], np.float32)


def pair():
    x, y = placeholder(F, "x"), placeholder(F, "y")
    return [x, y], items(make(PAIR, (x, y)))


def test_the_items_are_the_results():
    inputs, (product, total) = pair()
    found = interpret(Program(inputs, [total, product]), [X, Y])
    assert np.array_equal(found[0], X + Y) and np.array_equal(found[1], X * Y)


def test_the_text_reads_back():
    inputs, found = pair()
    program = Program(inputs, found)
    verify(program)
    text = to_text(program)
    assert "test_product_and_sum(%0, %1) : (float32[3], float32[3])" in text
    assert "item(%2) index=1 : float32[3]" in text
    again = parse(text)
    verify(again)
    assert to_text(again) == text


@pytest.mark.parametrize(("line", "told"), [
    ("%3 = item(%2) index=2 : float32[3]", "index"),
    ("%3 = item(%1) index=0 : float32[3]", "index"),
    ("%3 = exp(%2) : float32[3]", "select one with item"),
    ("%3 = test_product_and_sum(%2, %0) : (float32[3], float32[3])", "select one with item"),
    ("%3 = item(%2) index=0 : (float32[3],)", "written as"),
])
def test_what_several_results_are_not(line, told):
    inputs, found = pair()
    head = to_text(Program(inputs, found)).split("%3")[0]
    with pytest.raises(ProgramError, match=told):
        parse(f"{head}{line}\nreturn %3\n")


def test_a_program_gives_one_value_for_each_output():
    inputs, (product, _) = pair()
    with pytest.raises(ProgramError, match="one value each"):
        verify(Program(inputs, [product.inputs[0]]))


def test_cotangents_of_items_come_together():
    inputs, (product, total) = pair()
    z = apply("mul", product, total)
    more = item(product.inputs[0], 0)       # an item may be taken twice
    found = interpret(Program(inputs, pullback([z, more], inputs, [
        make(op_named("broadcast"), (apply("exp", z * 0.0),), {"shape": (3,)}), more * 0.0 + 1.0])),
        [X, Y])
    assert np.allclose(found[0], Y * (X + Y) + X * Y + Y)
    assert np.allclose(found[1], X * (X + Y) + X * Y + X)


def test_an_unused_item_has_no_cotangent():
    inputs, (_, total) = pair()
    found = interpret(Program(inputs, pullback([total], inputs, [total])), [X, Y])
    assert all(np.array_equal(f, X + Y) for f in found)


def test_tangents_of_items():
    inputs, found = pair()
    t = placeholder(F)
    tangents = pushforward(found, inputs, [t, None])
    values = interpret(Program([*inputs, t], tangents), [X, Y, X])
    assert np.array_equal(values[0], X * Y) and np.array_equal(values[1], X)


def test_items_are_batched_each():
    inputs, found = pair()
    more = [placeholder(tensor("float32", (2, 3))) for _ in inputs]
    values = interpret(Program(more, batch(found, inputs, more, 2)),
                       [np.stack([X, Y]), np.stack([Y, Y])])
    assert np.array_equal(values[0], np.stack([X * Y, Y * Y]))
    assert np.array_equal(values[1], np.stack([X + Y, Y + Y]))
