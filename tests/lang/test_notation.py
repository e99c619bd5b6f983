"""Index notation: what a user's function means, the extents it gets, and its errors."""

import builtins

import numpy as np
import pytest
from lang.examples import conv2d, matmul, softmax

from lamella.base.errors import DTypeError, ExecutionError, NotationError
from lamella.base.extents import symbol
from lamella.ir.types import tensor
from lamella.lang.interpret import evaluate_definition
from lamella.lang.notation import (
    all,
    any,
    cast,
    eq,
    exp,
    max,
    maximum,
    min,
    prod,
    sqrt,
    sum,
    tanh,
    trace,
    where,
)

T, U = symbol("T", 1, 4096), symbol("U", 1, 4096)
RNG = np.random.default_rng(0)


def embed(table, ids):
    return lambda t, d: table[ids[t], d]


def given(*shapes, dtype="float32"):
    return tuple(tensor(dtype, s) for s in shapes)


def normal(*shape):
    return RNG.standard_normal(shape)


def value(function, *arrays):
    types = tuple(tensor(a.dtype.name, a.shape) for a in arrays)
    return evaluate_definition(trace(function, types), *arrays)


def padded(x, p):
    return np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))


# ---- values -------------------------------------------------------------------------------------

def test_matmul():
    a, b = normal(3, 4), normal(4, 5)
    assert np.allclose(value(matmul, a, b), a @ b)
    d = trace(matmul, given((3, 4), (4, 5)))
    assert repr(d) == "[i:3, j:5] = dot(k : x0[i, k] . x1[k, j])"


def test_convolution_pads_by_its_least_index():
    x, w = normal(2, 7, 8, 3), normal(3, 3, 3, 4)
    out = value(conv2d, x, w)
    assert out.shape == (2, 4, 4, 4)
    windows = np.lib.stride_tricks.sliding_window_view(padded(x, 1), (3, 3), (1, 2))[:, ::2, ::2]
    assert np.allclose(out, np.einsum("nyzcrs,rscf->nyzf", windows, w))


def test_softmax_names_axes_apart_and_shares_the_maximum():
    x = normal(3, 4)
    e = np.exp(x - x.max(1, keepdims=True))
    assert np.allclose(value(softmax, x), e / e.sum(1, keepdims=True))
    d = trace(softmax, given((3, 4)))
    assert repr(d) == ("[i:3, j:4] = (exp((x0[i, j] - max(j_1 : x0[i, j_1]))) / "
                       "sum(k : exp((x0[i, k] - max(j_1 : x0[i, j_1])))))")


def test_gather_clamps():
    table, ids = normal(5, 3), np.array([4, 0, 9, -2], np.int32)
    assert np.array_equal(value(embed, table, ids), table[[4, 0, 4, 0]])


def test_pooling():
    x = normal(2, 6, 6, 3)
    out = value(lambda x: lambda n, y, z, c: max(
        lambda r=2, s=2: x[n, y * 2 + r, z * 2 + s, c]), x)
    assert np.array_equal(out, x.reshape(2, 3, 2, 3, 2, 3).max((2, 4)))


@pytest.mark.parametrize(("n", "r", "stride", "dilation", "pad"),
                         [(9, 3, 1, 1, 0), (9, 3, 2, 1, 1), (10, 3, 3, 2, 2), (8, 4, 2, 3, 3)])
def test_windows(n, r, stride, dilation, pad):
    x, w = normal(n), normal(r)
    out = value(lambda x, w: lambda y: sum(
        lambda r: x[y * stride + r * dilation - pad] * w[r]), x, w)
    full = np.pad(x, pad)
    count = (n + 2 * pad - 1 - (r - 1) * dilation) // stride + 1
    assert np.allclose(out, [builtins.sum(full[y * stride + k * dilation] * w[k] for k in range(r))
                             for y in range(count)])


@pytest.mark.parametrize(("function", "expected"), [
    (lambda x: lambda i, j: x[j, i], lambda x: x.T),
    (lambda x: lambda i=12: x[i // 4, i % 4], lambda x: x.reshape(12)),
    (lambda x: lambda i=3: x[i, i], lambda x: np.diagonal(x)),
    (lambda x: lambda i: x[i, 2], lambda x: x[:, 2]),
    (lambda x: lambda i, j=2: x[i, 1 + 2 * j], lambda x: x[:, 1::2]),
    (lambda x: lambda i, j: x[2 - i, j], lambda x: x[::-1]),
    (lambda x: lambda i, j=8: x[i, j // 2], lambda x: np.repeat(x, 2, 1)),
    (lambda x: lambda i, j=8: x[i, j % 4], lambda x: np.tile(x, (1, 2))),
    (lambda x: lambda b=2, i=3, j=4: x[i, j], lambda x: np.stack([x, x])),
    (lambda x: lambda i, j=4: x.get(i, j + 1, fill=7), lambda x: np.c_[x[:, 1:], [7] * 3]),
    (lambda x: lambda i, j: where(j > 1, x[i, j], 0), lambda x: x * [0, 0, 1, 1]),
    (lambda x: lambda i, j: where(i == j, x[i, j], 0), lambda x: x * np.eye(3, 4)),
    (lambda x: lambda i, j: where(eq(i, j), 0, x[i, j]), lambda x: x * (1 - np.eye(3, 4))),
    (lambda x: lambda: sum(lambda i, j: x[i, j]), lambda x: x.sum()),
    (lambda x: lambda i: prod(lambda j: x[i, j]), lambda x: x.prod(1)),
    (lambda x: lambda i: min(lambda j: x[i, j]), lambda x: x.min(1)),
    (lambda x: lambda i: any(lambda j: x[i, j] > 1), lambda x: (x > 1).any(1)),
    (lambda x: lambda i: all(lambda j: x[i, j] > -1), lambda x: (x > -1).all(1)),
    (lambda x: lambda i: sum(lambda j: x[i, j]) / x.shape[1], lambda x: x.mean(1)),
    (lambda x: lambda i, j: sqrt(abs(x[i, j])) + 2, lambda x: np.sqrt(np.abs(x)) + 2),
    (lambda x: lambda i=5: cast(i, "float64") * 2, lambda x: np.arange(5) * 2.0),
])
def test_meanings(function, expected):
    x = normal(3, 4)
    assert np.allclose(value(function, x), expected(x))


def test_operands_without_dimensions_are_elements():
    s, x = np.float64(3), normal(4)
    assert np.allclose(value(lambda s, x: lambda i: s * x[i] + s[()], s, x), 3 * x + 3)


def test_integers_stay_integers():
    x = np.array([[200, 100], [3, 4]], np.uint8)
    assert value(lambda x: lambda i: sum(lambda j: x[i, j]), x).tolist() == [44, 7]


# ---- symbolic extents ---------------------------------------------------------------------------

def test_symbolic_windows_are_in_range_for_all_sizes():
    d = trace(conv2d, given((1, T, 2 * T, 3), (3, 3, 3, 4)))
    assert d.shape == (1, (T - 1) // 2 + 1, (2 * T - 1) // 2 + 1, 4)
    x, w = normal(1, 7, 14, 3).astype("float32"), normal(3, 3, 3, 4).astype("float32")
    assert np.allclose(evaluate_definition(d, x, w), value(conv2d, x, w))


def test_sizes_are_numbers():
    d = trace(lambda x: lambda i: sum(lambda j: x[i, j]) / x.shape[1] + x.shape[1] * x[i, 0],
              given((3, T)))
    x = normal(3, 5).astype("float32")
    assert np.allclose(evaluate_definition(d, x), x.mean(1) + 5 * x[:, 0])


def test_sizes_alone_are_numbers():
    assert evaluate_definition(trace(lambda x: lambda: maximum(3, x.shape[0] * 2 - 1), given((T,))),
                               np.zeros(5, np.float32)) == 9


def test_sizes_are_extents():
    d = trace(lambda x: lambda i=x.shape[0] * 2 - 1: x[i // 2], given((T,)))
    assert d.shape == (2 * T - 1,)
    last = trace(lambda x: lambda: x[x.shape[0] - 1], given((T,)))
    assert evaluate_definition(last, np.arange(5, dtype=np.float32)) == 4


def test_symbolic_reshape_is_in_range():
    d = trace(lambda x: lambda i=x.shape[0] * x.shape[1]: x[i // x.shape[1], i % x.shape[1]],
              given((4, T)))
    x = normal(4, 3).astype("float32")
    assert np.array_equal(evaluate_definition(d, x), x.reshape(12))


# ---- errors -------------------------------------------------------------------------------------

@pytest.mark.parametrize(("function", "types", "message"), [
    (matmul, given((3, 4), (5, 6)),
     r"matmul: axis k: 4 along dimension 1 of a: float32\[3, 4\], but 5 along dimension 0 of "
     r"b: float32\[5, 6\]"),
    (matmul, given((3, 4), (U, 6)), "axis k: 4 .* but U "),
    (matmul, given((3, 4)), r"takes 2 operands \(a, b\), 1 were given"),
    (lambda x: lambda i: x[i, i, i], given((3, 4)), "2 dimensions but is read with 3 indices"),
    (lambda x: 3, given((3,)), "must return a function of the result's axes.* returned int 3"),
    (lambda x: lambda i: 3, given((3,)), r"the result is int 3.*cast\(number, dtype\)"),
    (lambda x: lambda i, j: x[i], given((3,)), "axis j: no index tells its extent; declare it"),
    (lambda x: lambda i: x[i + 1] - x[i], given((3,)),
     r"axis i: the index \(i \+ 1\) runs from 1 to 3, outside of the 3 elements along dimension 0 "
     r"of x.*fill=0"),
    (lambda x: lambda i=9: x[i // 2], given((3,)), "axis i: .* from 0 to 4, outside of the 3"),
    (lambda x: lambda: x[3], given((3,)), r"the index 3 is outside .* last is x.shape\[0\] - 1"),
    (lambda x: lambda: x[-1], given((3,)), "the index -1 is outside"),
    (lambda x: lambda y: sum(lambda r=5: x[y + r]), given((3,)),
     "axis y: .* spans 5 elements, more than the 3 along dimension 0 of x"),
    (lambda x, z: lambda i: sum(lambda r=2: x[i + r] * z[i + r]), given((T,), (U,)),
     "axis i: its indices allow .* declare its extent"),
    (lambda x: lambda i="a": x[i], given((3,)), "axis i: its extent .* is str 'a'"),
    (lambda x: lambda *i: x[i], given((3,)), "must be a plain parameter"),
    (lambda x: lambda i: x[1.5], given((3,)), "index 0 of x: .* is float 1.5; an index is"),
    (lambda x: lambda i: x[x[i]], given((3,)), "an index is an integer"),
    (lambda x: lambda i: x + 1, given((3,)), r"used without indices; write x\[i\]"),
    (lambda x: lambda i: x[i] if x[i] > 0 else 0, given((3,)), "no truth value .* where"),
    (lambda x: lambda i: x[i] + "a", given((3,)), "add: str 'a' is not a number"),
    (lambda x: lambda i: where(True, x[i], 0), given((3,)), "the condition is bool True"),
    (lambda x: lambda i: max(x[i], 0), given((3,)), r"max takes a function .* maximum\(a, b\)"),
    (lambda x: lambda: sum(x[i] for i in range(3)), given((3,)), "sum takes a function"),
    (lambda x: lambda: sum(lambda: x[0]), given((3,)), "sum: its function has no parameters"),
    (lambda x: lambda: sum(lambda i: 1.0), given((3,)), "the body of sum is float 1.0"),
    (lambda x: lambda i: x.get(i, fill=float("nan")), given((3,)), "fill=nan is not a number"),
    (lambda x: lambda i: x.get(i, fill=x[0]), given((3,)), "fill=.* is not a number"),
])
def test_errors_name_the_axis_and_the_remedy(function, types, message):
    with pytest.raises(NotationError, match=message):
        trace(function, types)


@pytest.mark.parametrize(("function", "message"), [
    (lambda x, n: lambda i: x[i] * n[i], r'mul mixes float32 and int32; write cast\(element, "flo'),
    (lambda x, n: lambda i: x[i] * i, "mul mixes float32 and int64"),
    (lambda x, n: lambda i: n[i] + 0.5, "the number 0.5 does not fit int32"),
    (lambda x, n: lambda i: exp(n[i]),
     r"exp: takes float or complex values, got int32; write cast\(element"),
    (lambda x, n: lambda: sum(lambda i: x[i] > 0), "sum of bool elements"),
    (lambda x, n: lambda: any(lambda i: x[i]), "any of float32 elements; compare them first"),
    (lambda x, n: lambda i: cast(x[i], "float8"), "no dtype is called 'float8'"),
])
def test_dtypes_do_not_mix(function, message):
    with pytest.raises(DTypeError, match=message):
        trace(function, (tensor("float32", (3,)), tensor("int32", (3,))))


def test_operands_are_not_iterable():
    with pytest.raises(TypeError):
        trace(lambda x: list(x), given((3,)))


def test_evaluation_checks_its_arrays():
    d = trace(lambda x: lambda i: tanh(x[i]), given((3,)))
    with pytest.raises(ExecutionError, match="1 are read"):
        evaluate_definition(d)
    with pytest.raises(ExecutionError, match="operand 0: float64"):
        evaluate_definition(d, normal(3))
