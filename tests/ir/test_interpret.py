"""The reference interpreter: references and expansions agree, symbols are bound."""

from __future__ import annotations

import numpy as np
import pytest

from lamella import ops  # noqa: F401  (defines the ops)
from lamella.base import dtypes
from lamella.base.errors import ProgramError, ShapeError
from lamella.base.extents import evaluate, symbol
from lamella.ir.interpret import interpret, interpret_nodes
from lamella.ir.node import items, make, placeholder
from lamella.ir.op import all_ops
from lamella.ir.program import Program
from lamella.ir.types import TupleType, tensor
from lamella.ops import move, reduce
from lamella.ops.normalization import LAYER_NORM
from lamella.ops.pointwise import apply
from lamella.ops.softmax import SOFTMAX

SAMPLED = [op for op in all_ops() if op.samples is not None]


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_a_value_has_its_inferred_type(op):
    for params, arrays in op.samples():
        inputs = [placeholder(tensor(dtypes.as_dtype(a.dtype), a.shape)) for a in arrays]
        node = make(op, tuple(inputs), params)
        results = items(node) if isinstance(node.type, TupleType) else [node]
        for value, n in zip(interpret(Program(inputs, results), arrays), results, strict=True):
            assert value.dtype == n.dtype.numpy and value.shape == n.shape


def test_symbols_are_read_off_the_inputs():
    b, t = symbol("B", 1, 8), symbol("T", 1, 99)
    x = placeholder(tensor("float32", (b, t)), "x")
    y = placeholder(tensor("float32", (b * t,)), "y")
    z = reduce.mean(move.reshape(y, (b, t)) + x, (1,))
    value = np.arange(12, dtype=np.float32)
    got, = interpret(Program([y, x], [z]), [value, value.reshape(3, 4)])
    np.testing.assert_allclose(got, (2 * value).reshape(3, 4).mean(1))
    assert got.shape == tuple(evaluate(e, {"B": 3, "T": 4}) for e in z.shape)


def test_a_composite_is_its_expansion():
    b = symbol("B", 1, 8)
    x = placeholder(tensor("float32", (b, 5)), "x")
    w = placeholder(tensor("float32", (5,)), "w")
    soft = make(SOFTMAX, (make(LAYER_NORM, (x, w, w), {"axes": (1,), "eps": 1e-5}),), {"axis": 1})
    xs = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    got, = interpret(Program([x, w], [soft]), [xs, np.ones(5, np.float32)])
    norm = (xs - xs.mean(1, keepdims=True)) / np.sqrt(xs.var(1, keepdims=True) + 1e-5) + 1
    want = np.exp(norm - norm.max(1, keepdims=True))
    np.testing.assert_allclose(got, want / want.sum(1, keepdims=True), rtol=1e-5)


def test_wrong_inputs_are_refused():
    x = placeholder(tensor("float32", (symbol("B", 1, 8), 5)), "x")
    p = Program([x], [apply("exp", x)])
    for arrays, told in [([], "1 inputs are needed, 0 were given"),
                         ([np.zeros((3, 5))], r"float32\[B, 5\] is needed, float64\[3, 5\]"),
                         ([np.zeros((9, 5), np.float32)], "outside its declared bounds 1..8"),
                         ([np.zeros((3, 4), np.float32)], "extent 4 was given where 5")]:
        with pytest.raises(ShapeError, match=told):
            interpret(p, arrays)
    with pytest.raises(ProgramError, match="no value was given for the input 'x'"):
        interpret_nodes(p.outputs, {})


def test_known_nodes_stop_the_walk():
    x = placeholder(tensor("float32", (2,)), "x")
    inner = apply("exp", x)
    got, = interpret_nodes([inner + 1.0], {inner: np.zeros(2, np.float32)})
    assert got.tolist() == [1, 1]
