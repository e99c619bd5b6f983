"""Definitions as text: exact round trips, and refusals of what is no definition."""

import ast
import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.base import dtypes
from lamella.base.errors import ProgramError
from lamella.base.extents import symbol
from lamella.ir.types import tensor
from lamella.lang import expr, scalar
from lamella.lang.definition import Definition, axes_for
from lamella.lang.derive import batched, gradient, tangent
from lamella.lang.notation import cast, exp, max, sum, tanh, trace, where
from lamella.lang.text import extent_text, from_text, parse_extent, to_text

T = symbol("T", 1, 4096)
SYMBOLS = {"T": T}


def matmul(a, b):
    return lambda i, j: sum(lambda k: a[i, k] * b[k, j])


def softmax(x):
    m = lambda i: max(lambda j: x[i, j])
    e = lambda i, j: exp(x[i, j] - m(i))
    return lambda i, j: e(i, j) / sum(lambda k: e(i, k))


def conv(x, w):
    return lambda y: tanh(sum(lambda r: x[y * 2 + r * 3 - 2] * w[r]))


def mixed(x, n):
    return lambda i: where((n[i] > 3) & ~(n[i] == 5), cast(n[i] << 1, "float32") * 1.5 - x[n[i]],
                           x.get(i + 1, fill=-np.inf) / x.shape[0])


def types(*shapes, dtype="float32"):
    return tuple(tensor(dtype, s) for s in shapes)


DEFINITIONS = {
    "matmul": trace(matmul, types((4, 3), (3, 2 * T))),
    "softmax": trace(softmax, types((3, T))),
    "window": trace(conv, types((T,), (3,))),
    "mixed": trace(mixed, (tensor("float32", (T,)), tensor("int32", (T - 1,)))),
    "one": trace(lambda x: lambda: x[()] + float("nan"), types(())),
    "bool": trace(lambda x: lambda i: x[i] ^ True, types((3,), dtype="bool")),
    "wide": trace(lambda x: lambda i: x[i] + ((1 << 64) - 1), types((3,), dtype="uint64")),
}


def round_trip(d):
    text = to_text(d)
    assert "\n" not in text and ast.parse(text, mode="eval")
    back = from_text(text, d.operands, SYMBOLS)
    assert back == d and back.body is d.body and back.axes == d.axes
    return text


def test_the_form():
    assert round_trip(DEFINITIONS["matmul"]) == (
        "define(axes(i=4, j=2*T), dot(axes(k=3), x0[i, k], x1[k, j]))")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_round_trips(name):
    d = DEFINITIONS[name]
    round_trip(d)
    round_trip(batched(d, (True,) * len(d.operands), 2))
    derived = [g for k in range(len(d.operands)) if (g := gradient(d, k))]
    for g in derived:
        round_trip(g)
        round_trip(tangent(g, {len(d.operands)}))
        for k in range(len(g.operands)):
            if (again := gradient(g, k)) is not None:
                assert len(round_trip(again)) < 5000


def test_the_text_outlives_the_expressions():
    d = trace(softmax, types((3, 7)))
    text, shown = to_text(d), repr(d)
    operands = d.operands
    del d
    gc.collect()
    assert repr(from_text(text, operands, {})) == shown


def test_deep_and_shared_expressions_stay_small():
    t, = types((3,))
    axes = axes_for((3,))
    body = expr.read(0, axes, t.dtype)
    for _ in range(150):
        body = scalar.tanh(body * body)
    assert len(round_trip(Definition((t,), axes, body))) < 10000


def test_axes_of_one_name_are_told_apart():
    t, = types((3, 4))
    i, j = axes_for((3, 4))
    other = expr.axis("i1", 3)
    inner = expr.reduce("sum", (other,), expr.read(0, (other, j), t.dtype))
    round_trip(Definition((t,), (i, j), inner * expr.read(0, (i, j), t.dtype)))


def test_every_scalar_has_a_text():
    for op in scalar.ALL.values():
        if op in (scalar.cast_, scalar.bitcast_):
            continue
        kinds = (dtypes.float32, dtypes.int32, dtypes.bool_, dtypes.complex64)
        dtype = next(d for d in kinds if d.kind in op.kinds)
        t = tensor(dtype, (3,))
        axes = axes_for((3,))
        args = [expr.read(0, axes, dtype)] * op.arity
        if op is scalar.where:
            args[0] = scalar.lt(args[0], args[0])
        round_trip(Definition((t,), axes, op(*args)))


def test_complex_numbers_have_a_text():
    t = tensor("complex64", (3,))
    axes = axes_for((3,))
    for value in (1 - 0j, complex(-0.0, float("inf")), complex(0.1, float("nan"))):
        round_trip(Definition((t,), axes, expr.read(0, axes, t.dtype) * expr.lit(value, t.dtype)))


@pytest.mark.parametrize("extent", [3, T, 2 * T - 1, (T + 3) // 4 * T, 5 - T * T // 2 + T])
def test_extents(extent):
    node = ast.parse(extent_text(extent), mode="eval").body
    assert parse_extent(node, SYMBOLS) == extent


OPERANDS = (*types((4, 3), (3, 5)), tensor("int32", (4,)), tensor("int64", (4,)))


@pytest.mark.parametrize(("text", "message"), [
    ("", "cannot be read"),
    ("define(axes(i=4), x0[i, 0]", "cannot be read"),
    ("axes(i=4)", "define"),
    ("define(axes(i=4))", "define"),
    ("define(axes(i=4), x0[i, k])", "expression is expected, not Name"),
    ("define(axes(i=4), x0[i])", r"x0: float32\[4, 3\] is read with \[int64\]"),
    ("define(axes(i=4), x9[i])", "operand: x0 to x3"),
    ("define(axes(i=4), y[i])", "operand"),
    ("define(axes(i=5), x0[i, 0])", "may read outside"),
    ("define(axes(i=4), x0[sub(i, 1), 0])", "may read outside"),
    ("define(axes(i=4), x0[x3[i], 0])", "may read outside"),
    ("define(axes(i=4), x0[x2[i], 0])", "is read with"),
    ("define(axes(i=U), x0[i, 0])", "extent"),
    ("define(axes(i=-4), x3[i])", "the extent -4"),
    ("define(axes(i=T//0), x3[i])", "extent"),
    ("define(axes(i=4//T), x3[i])", "extent"),
    ("define(axes(i=T**9), x3[i])", "extent"),
    ("define(axes(i=4, i=4), x3[i])", "one axis for each name"),
    ("define(axes(4), x3[0])", "axes"),
    ("define(axes(**i), x3[0])", "cannot name|extent"),
    ("define(axes(i=4), i=3)", "define"),
    ("define(axes(i=4), x3[i], i=3)", "the name 'i' is taken"),
    ("define(axes(i=4), x3[i], **{})", "taken"),
    ("define(axes(i=4), e0, e1=3, e0=e2)", "expression"),
    ("define(axes(i=4), axis('k', 3))", "declared twice or not at all"),
    ("define(axes(i=4), axis('k n', 3))", "cannot name an axis"),
    ("define(axes(i=4), dot(axes(k=3), x0[i, k]))", "dot over 1 axes"),
    ("define(axes(i=4), sum(axes(), x0[i, 0]))", "sum over 0 axes"),
    ("define(axes(i=4), any(axes(k=3), x0[i, k]))", "any over 1 axes"),
    ("define(axes(i=4), add(x0[i, 0], x2[i]))", "dtypes differ"),
    ("define(axes(i=4), add(x0[i, 0]))", "add takes 2 arguments, got 1"),
    ("define(axes(i=4), exp(x2[i]))", "takes float"),
    ("define(axes(i=4), where(x2[i], i, i))", "the condition is int32"),
    ("define(axes(i=4), cast('float8', i))", "no dtype"),
    ("define(axes(i=4), bitcast('int32', i))", "widths differ"),
    ("define(axes(i=4), cast_(i))", "cast takes 1"),
    ("define(axes(i=4), lit(1.5, 'float32'))", "a number is expected"),
    ("define(axes(i=4), lit('0x1p+99999', 'float32'))", "cannot be read"),
    ("define(axes(i=4), lit('soon', 'float32'))", "cannot be read"),
    ("define(axes(i=4), lit(1, 'float32'))", "1 is no float32"),
    ("define(axes(i=4), lit(True, 'int32'))", "True is no int32"),
    ("define(axes(i=4), lit(99999999999999999999, 'int64'))", "a number is expected"),
    ("define(axes(i=4), 9223372036854775808)", "64 bits"),
    ("define(axes(i=9223372036854775807*T*9), i)", "64 bits"),
    ("define(axes(i=4), x3.get(i))", "fill"),
    ("define(axes(i=4), x3.get(i, fill=open('f')))", "a number"),
    ("define(axes(i=4), __import__('os').system('true'))", "known operation"),
    ("define(axes(i=4), (lambda: i)())", "known operation"),
    ("define(axes(i=4), [i for i in i])", "expression"),
    ("define(axes(i=4), i if i else i)", "expression"),
    ("define(axes(i=4), i + 1)", "expression"),
    ("define(axes(i=4), 'i')", "expression"),
    ("define(axes(i=4), lane())", "known operation"),
    ("define(axes(i=4), x3[i:])", "expression"),
    ("define(axes(i=4), x3[*i])", "expression"),
    ("define(axes(i=4), 1" + "0" * 5000 + ")", "cannot be read"),
    ("define(axes(i=4), i\0)", "null"),
    ("define(axes(i=4), '\\d')", "backslash"),
    ("define(axes(i=4), 0x10)", "'0x10' is no number"),
    ("define(axes(i=4), 9axes)", "'9axes' is no number"),
    (" " * (2 << 20), "characters"),
    ("define(axes(i=4), " + "neg(" * 5000 + "i" + ")" * 5001, "nest"),
    ("define(axes(i=4), " + "neg(" * 150 + "i" + ")" * 151, "nest"),
    ("define(axes(i=" + "1+" * 9999 + "1), i)", "nest"),
    ("define(axes(i=" + "-" * 9999 + "1), i)", "nest"),
    ("define(axes(i=4), " + "not " * 9999 + "i)", "nest"),
    ("define(axes(i=4), i" + "[0]" * 9999 + ")", "nest"),
    ("define(axes(i=4), i" + ".a" * 9999 + ")", "nest"),
    ("define(axes(i=4), " + "lambda:" * 9999 + "i)", "nest"),
    (")" * 9999, "cannot be read|nest"),
])
def test_refusals(text, message):
    with pytest.raises(ProgramError, match=message):
        from_text(text, OPERANDS, SYMBOLS)


def test_the_loop_level_has_no_text():
    t, = types((3,))
    with pytest.raises(ProgramError, match="loop level"):
        to_text(Definition((t,), axes_for((3,)), expr.var("v", t.dtype)))
    i = expr.axis("a b", 3)
    with pytest.raises(ProgramError, match="cannot name an axis"):
        to_text(Definition((t,), (i,), expr.read(0, (i,), t.dtype)))


TOKENS = ["define(", "axes(", "i=4", "i", ",", ")", "x0[", "]", "dot(", "sum(", "lit(", "'int32'",
          "T", "+", "*", "-", "//", "1", "0", "size(", "x0.get(", "fill=", "(", "e0", "e0=",
          "cast(", "\n", "#", '"', "'", "\\", "{", "}", ":", "lambda", "and_(", "axis('i', 4)",
          "9" * 30]


@given(st.lists(st.sampled_from(TOKENS), max_size=30).map("".join))
@settings(max_examples=200)
def test_any_text_is_read_or_refused(text):
    for candidate in (text, f"define(axes(i=4), {text})"):
        try:
            d = from_text(candidate, OPERANDS, SYMBOLS)
        except ProgramError:
            continue
        assert isinstance(d, Definition)


@given(st.data())
@settings(max_examples=100)
def test_damaged_text_is_read_or_refused(data):
    d = DEFINITIONS[data.draw(st.sampled_from(sorted(DEFINITIONS)))]
    text = to_text(d)
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from(["", "(", ")", ",", "9", "[", "T"]))
    damaged = text[:at] + put + text[at + 1:]
    try:
        back = from_text(damaged, d.operands, SYMBOLS)
    except ProgramError:
        return
    assert from_text(to_text(back), d.operands, SYMBOLS) == back
