"""A program's text: exact round trips over every op, random programs, and hostile texts."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella import ops  # noqa: F401  (defines the ops)
from lamella.base import dtypes
from lamella.base.errors import ProgramError
from lamella.base.extents import symbol
from lamella.ir import parser, printer
from lamella.ir.node import items, literal, make, placeholder
from lamella.ir.op import all_ops, op_named
from lamella.ir.program import Program
from lamella.ir.types import TensorType, TupleType, tensor
from lamella.ir.verify import verify
from lamella.lang import notation, text
from lamella.lang.notation import trace
from lamella.ops import move, reduce
from lamella.ops.activation import GELU
from lamella.ops.contract import contract, matmul
from lamella.ops.iota import iota
from lamella.ops.pointwise import apply, cast

SAMPLED = [op for op in all_ops() if op.samples is not None]


def same(p: Program, q: Program) -> None:
    """Node by node: op, parameters with their types, type, inputs, token."""
    a, b = p.nodes(), q.nodes()
    assert len(a) == len(b) and len(p.inputs) == len(q.inputs) and p.name == q.name
    place = {id(n): k for k, n in enumerate(a)} | {id(n): k for k, n in enumerate(b)}
    for x, y in zip(a, b, strict=True):
        assert x.op is y.op and x.type == y.type and x.token == y.token
        assert repr(list(x.params.items())) == repr(list(y.params.items()))
        assert [place[id(i)] for i in x.inputs] == [place[id(i)] for i in y.inputs]
    assert [place[id(n)] for n in p.outputs] == [place[id(n)] for n in q.outputs]


def round_trip(program: Program) -> Program:
    verify(program)
    text = printer.to_text(program)
    back = parser.parse(text)
    same(program, back)
    assert printer.to_text(back) == text
    verify(back)
    return back


def of_sample(op, params, arrays) -> Program:
    inputs = [placeholder(tensor(dtypes.as_dtype(a.dtype), a.shape), f"x{k}")
              for k, a in enumerate(arrays)]
    node = make(op, tuple(inputs), params)
    return Program(inputs, items(node) if isinstance(node.type, TupleType) else [node], op.name)


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_every_op_round_trips(op):
    for params, arrays in op.samples():
        round_trip(of_sample(op, params, arrays))


def test_symbols_extents_and_strides_round_trip():
    b, t = symbol("B", 1, 256), symbol("T", 0, 4096)
    x = placeholder(TensorType(dtypes.float32, (b, t, 2), (1, b, b * t)), "x")
    y = placeholder(tensor("float32", (b, (t + 1) // 2 + b * t * 3)), "strange \"n\\ame\n\u00e9")
    flat = move.reshape(x, (b * t * 2,))
    part = move.slice_(flat, (0,), ((t + 7) // 3,), (1,))
    mean = reduce.mean(y, (0, 1))
    round_trip(Program([x, y], [part, mean, x, x], "two words"))


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, -1e-45, 1e300, math.inf, -math.inf, math.nan])
def test_numbers_round_trip_by_their_bits(value):
    back = round_trip(Program([], [literal(value, dtypes.float64, (2,))]))
    assert np.float64(back.outputs[0].params["value"]).tobytes() == np.float64(value).tobytes()


def test_source_lines_and_tokens_come_back():
    x = placeholder(tensor("float32", (3,)), "x")
    y = apply("exp", x)
    y.token, y.source = "io", ("/home/u/digits.py", 12)
    back = round_trip(Program([x], [y]))
    assert back.outputs[0].source == ("digits.py", 12)


def test_the_text_is_the_documented_one():
    x = placeholder(tensor("float32", (symbol("B", 1, 256), 64)), "x")
    y = reduce.reduce("sum", x * 0.5, (1,))
    for n in (x, y, y.inputs[0], y.inputs[0].inputs[1]):
        n.source = None
    assert printer.to_text(Program([x], [y])) == (
        "program main\n"
        "symbol B 1..256\n"
        '%0 = input "x" : float32[B, 64]\n'
        "%1 = constant value=0.5 dtype=float32 shape=() : float32[]\n"
        "%2 = mul(%0, %1) : float32[B, 64]\n"
        '%3 = reduce(%2) monoid="sum" axes=(1,) : float32[B]\n'
        "return %3\n")


# ---- random programs ----------------------------------------------------------------------------

@st.composite
def programs(draw):
    b = symbol("B", 1, 64)
    rows = draw(st.sampled_from([b, 3, 16]))
    inputs = [placeholder(tensor("float32", (rows, draw(st.integers(1, 5)))), name)
              for name in draw(st.lists(st.text(max_size=4), min_size=1, max_size=3))]
    pool = list(inputs)
    for _ in range(draw(st.integers(0, 12))):
        x = draw(st.sampled_from(pool))
        kind = draw(st.sampled_from(("unary", "number", "square", "turn", "sum", "cast", "gelu")))
        if kind == "unary":
            x = apply(draw(st.sampled_from(("exp", "tanh", "neg", "abs"))), x)
        elif kind == "number":
            x = x + draw(st.floats(width=32))
        elif kind == "square":
            x = matmul(x, move.transpose(x, (1, 0)))
        elif kind == "turn":
            x = move.transpose(x, (1, 0))
        elif kind == "sum":
            x = move.reshape(reduce.reduce("max", x, (1,)), (x.shape[0], 1))
        elif kind == "cast":
            x = cast(cast(x, draw(st.sampled_from(dtypes.FLOATS))), dtypes.float32)
        else:
            x = make(GELU, (x,), {"approximate": draw(st.booleans())})
        pool.append(x)
    return Program(inputs, draw(st.lists(st.sampled_from(pool), max_size=4)))


@given(programs())
def test_random_programs_round_trip(program):
    round_trip(program)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text):
    for source in (text, "program p\n" + text, f"program p\n%0 = {text}\nreturn %0"):
        with suppress(ProgramError):
            parser.parse(source)


BASE = 'program p\nsymbol B 1..8\n%0 = input "x" : float32[B, 4]\n'


@given(st.integers(0, 400), st.sampled_from(list("%()[]:=,.\"'@# \n0BaZ-*/\\")))
def test_a_damaged_text_is_read_or_refused(at, c):
    text = BASE + '%1 = reduce(%0) monoid="sum" axes=(1,) : float32[B]\nreturn %1, %0\n'
    at %= len(text)
    for damaged in (text[:at] + c + text[at + 1:], text[:at] + text[at + 1:], text[:at]):
        with suppress(ProgramError):
            printer.to_text(parser.parse(damaged))


HOSTILE = {
    "empty": ("", "the text is empty"),
    "no return": (BASE, "the text ends before `return`"),
    "no program line": ("%0 = input \"x\" : float32[]", "line 1: the first line"),
    "unknown op": (BASE + "%1 = system(%0) : float32[B, 4]\nreturn %1", "no op is called 'system'"),
    "forward reference": (BASE + "%1 = exp(%2) : float32[B, 4]", "line 4: %2 is used before"),
    "itself": (BASE + "%1 = exp(%1) : float32[B, 4]", "line 4: %1 is used before its line"),
    "twice": (BASE + "%0 = exp(%0) : float32[B, 4]", "%0 is defined twice"),
    "wrong type": (BASE + "%1 = exp(%0) : float32[B, 5]", "the type is written as float32[B, 5]"),
    "arity": (BASE + '%1 = reduce(%0, %0) monoid="sum" axes=(1,) : float32[B]', "does not take"),
    "no parameter": (BASE + "%1 = reduce(%0) : float32[B]", "does not take"),
    "parameter twice": (BASE + "%1 = iota axis=0 axis=0 : int32[1]", "is given twice"),
    "late input": (BASE + '%1 = exp(%0) : float32[B, 4]\n%2 = input "y" : float32[]',
                   "inputs stand before"),
    "unknown symbol": (BASE + "%1 = exp(%0) : float32[C, 4]", "'C' is no dtype and no declared"),
    "call": (BASE + '%1 = exp(%0) axes=__import__("os") : float32[B, 4]', "no declared symbol"),
    "nesting": (BASE + f"%1 = exp(%0) a={'(' * 9999} : float32[]", "nest deeper than 32"),
    "digits": (BASE + f"%1 = exp(%0) a={'9' * 9999} : float32[]", "an integer of 9999 digits"),
    "power": (BASE + f"%1 = exp(%0) a={'*'.join(['B'] * 9999)} : float32[]", "16 factors"),
    "product": (BASE + f"%1 = exp(%0) a={'*'.join(['9' * 19] * 9999)} : float32[]", "64 bits"),
    "floors": (BASE + f"%1 = exp(%0) a=B{'//2' * 9999} : float32[]", "16 factors"),
    "zero": (BASE + "%1 = exp(%0) a=B//0 : float32[]", "must be a positive integer"),
    "rank": (BASE + f"%1 = iota : float32[{'1, ' * 99}]", "99 axes; at most 32"),
    "negative": ('program p\n%0 = input "x" : float32[-3]', "a negative extent"),
    "bad symbol": ("program p\nsymbol B 9..1", "bounds must satisfy"),
    "reserved": ("program p\nsymbol float32 1..2", "the name 'float32' is taken"),
    "after return": (BASE + "return %0\nreturn %0", "follows after `return`"),
    "quote": (BASE.replace('"x"', '"x'), "is no token"),
    "character": (BASE.replace('"x"', '"\\u{ffffff}"'), "is no character"),
    "long line": ("program p\n#" + "x" * (2 << 20), "the limit is"),
    "nul": ("program p\n\0", "is no token"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_with_its_line(name):
    text, told = HOSTILE[name]
    with pytest.raises(ProgramError) as e:
        parser.parse(text)
    assert told in str(e.value)


def test_what_has_no_text_is_named():
    x = placeholder(tensor("float32", ()), "x")
    y = apply("exp", x)
    y.params = {"f": print}
    with pytest.raises(ProgramError, match="%1 = <exp float32.*a builtin_function_or_method has"):
        printer.to_text(Program([x], [y]))
    with pytest.raises(ProgramError, match="is not among the inputs of main"):
        printer.to_text(Program([], [apply("exp", x)]))
    a, b = (placeholder(tensor("float32", (symbol("B", 1, n),)), "x") for n in (2, 3))
    with pytest.raises(ProgramError, match=r"two symbols are called B: 1\.\.2 and 1\.\.3"):
        printer.to_text(Program([a, b], [a, b]))


def test_a_parameter_that_is_no_literal_goes_through_the_ops_codec(monkeypatch):
    t = tensor("float32", (symbol("B", 1, 8), 4))
    d = trace(lambda x: lambda i, j: x[i, j] * x[i, j], (t,))
    asked = []

    def from_text(text, operands, symbols):
        asked.append((text, operands, dict(symbols)))
        return d

    hook = {"body": (lambda value: f"the \"body\" {value}", from_text)}
    for module in (printer, parser):
        monkeypatch.setattr(module, "codec", lambda op: hook if op.name == "notation" else {})
    x = placeholder(t, "x")
    round_trip(Program([x], [make(op_named("notation"), (x,), {"body": d})]))
    given_text, operands, symbols = asked[0]
    assert given_text == f"the \"body\" {d}" and operands == (t,) and symbols == {"B": t.shape[0]}
    with pytest.raises(ProgramError, match="line 2: notation: the parameter body must be a string"):
        parser.parse("program p\n%0 = notation body=3 : float32[]")


def test_index_notation_round_trips_by_its_own_text(monkeypatch):
    hook = {"body": (text.to_text, text.from_text)}
    for module in (printer, parser):
        monkeypatch.setattr(module, "codec", lambda op: hook if op.name == "notation" else {})
    t = tensor("float32", (symbol("B", 1, 8), 4))
    d = trace(lambda x: lambda i: notation.sum(lambda j: x[i, j] * x[i, j]), (t,))
    x = placeholder(t, "x")
    round_trip(Program([x], [make(op_named("notation"), (x,), {"body": d})]))


def test_windows_round_trip():
    x = placeholder(tensor("float32", (2, 8, 8, 3)), "x")
    w = placeholder(tensor("float32", (5, 3, 3, 3)), "w")
    y = contract(x, w, ("n", "2*y + r", "z + 2*s", "c"), ("f", "r", "s", "c"), "nyzf", "crs",
                 {"y": 3, "z": 4})
    round_trip(Program([x, w], [y, iota((3,), 0, dtypes.int64)]))
