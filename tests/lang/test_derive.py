"""Derived definitions: gradients against finite differences, tangents and batches against them."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lang.examples import conv2d, matmul, softmax

from lamella.base.extents import symbol
from lamella.ir.types import tensor
from lamella.lang import expr, scalar
from lamella.lang.definition import Definition, axes_for
from lamella.lang.derive import batched, gradient, is_scatter, tangent
from lamella.lang.interpret import evaluate_definition
from lamella.lang.notation import (
    cast,
    exp,
    log,
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

RNG = np.random.default_rng(1)


def normal(*shape):
    return RNG.standard_normal(shape)


def define(function, *arrays):
    return trace(function, tuple(tensor(a.dtype.name, a.shape) for a in arrays))


def floats(arrays):
    return [k for k, a in enumerate(arrays) if a.dtype == np.float64]


def checked(d, *arrays, order=2, tolerance=2e-6):
    """Compare d's gradients (and theirs) with finite differences along random directions, its
    tangent with its gradients, and its batch with a stack."""
    g = normal(*d.shape)
    for k in floats(arrays):
        v, h = normal(*arrays[k].shape), 1e-6
        moved = [[a + s * h * v if i == k else a for i, a in enumerate(arrays)] for s in (1, -1)]
        up, down = (evaluate_definition(d, *m) for m in moved)
        slope = (up - down) / (2 * h)
        scale = 1 + np.abs(slope).max(initial=0)
        change = evaluate_definition(tangent(d, {k}), *arrays, v)
        assert np.abs(change - slope).max(initial=0) < tolerance * scale
        derived = gradient(d, k)
        if derived is None:
            assert not slope.any()
            continue
        assert (derived.operands, derived.type) == ((*d.operands, d.type), d.operands[k])
        found = evaluate_definition(derived, *arrays, g)
        difference = (found * v).sum() - (change * g).sum()
        assert abs(difference) < 1e-9 * (1 + np.abs(found).sum()) * scale
        if order > 1:
            checked(derived, *arrays, g, order=order - 1, tolerance=1e-4)
    flags = tuple(k % 2 == 0 for k in range(len(arrays)))
    stacks = [np.stack([a, a + 1, a]) if f else a for f, a in zip(flags, arrays)]
    each = [evaluate_definition(d, *(s[b] if f else s for f, s in zip(flags, stacks)))
            for b in range(3)]
    together = batched(d, flags, 3)
    assert np.array_equal(evaluate_definition(together, *stacks), np.stack(each))


def layer_norm(x, w):
    n = x.shape[1]
    mean = lambda i: sum(lambda j: x[i, j]) / n
    variance = lambda i: sum(lambda j: (x[i, j] - mean(i)) * (x[i, j] - mean(i))) / n
    return lambda i, j: (x[i, j] - mean(i)) / (variance(i) + 0.1) * w[j]


CASES = {
    "matmul": (matmul, (3, 4), (4, 5)),
    "conv2d": (conv2d, (1, 5, 4, 2), (3, 3, 2, 2)),
    "softmax": (softmax, (2, 4)),
    "layer norm": (layer_norm, (2, 3), (3,)),
    "transpose": (lambda x: lambda i, j: x[j, i], (3, 4)),
    "merge": (lambda x: lambda i=12: x[i // 4, i % 4], (3, 4)),
    "split": (lambda x: lambda i=3, j=4: x[i * 4 + j], (12,)),
    "digits": (lambda x: lambda i=24: x[i // 8, i // 2 % 4, i % 2], (3, 4, 2)),
    "regroup": (lambda x: lambda i=3, j=8: x[(i * 8 + j) // 12, (i * 8 + j) % 12], (2, 12)),
    "shifted digits": (lambda x: lambda i=7: x[(i + 3) // 4, (i + 3) % 4], (3, 4)),
    "diagonal": (lambda x: lambda i: x[i, i], (3, 3)),
    "constant index": (lambda x: lambda i: x[i, 1], (3, 2)),
    "step": (lambda x: lambda i=4: x[i * 2 + 3], (11,)),
    "flip": (lambda x: lambda i, j=2: x[2 - i, 3 - j * 2], (3, 5)),
    "repeat": (lambda x: lambda i=9: x[i // 2], (5,)),
    "tile": (lambda x: lambda i=9: x[i % 4], (4,)),
    "both": (lambda x: lambda i, j: x[i] * x[j], (4,)),
    "broadcast": (lambda x: lambda i=3, j=4: x[j], (4,)),
    "skew": (lambda x: lambda i=3, j=3: x[i + j, i - j + 2], (5, 5)),
    "windows": (lambda x: lambda i, r=3: x[i + r], (6,)),
    "square": (lambda x: lambda i: x[i] * x[i] / 3 + 1, (4,)),
    "hidden window": (lambda x, w: lambda y: tanh(sum(lambda r: x[y + r] * w[r])), (6,), (3,)),
    "max pool": (lambda x: lambda y, z: max(lambda r=2, s=2: x[y * 2 + r, z * 2 + s]), (4, 6)),
    "overlap pool": (lambda x: lambda y: min(lambda r=3: x[y * 2 + r - 1]), (7,)),
    "padded average": (lambda x: lambda y: sum(lambda r=3: x[y + r - 1]) / 3, (7,)),
    "prod": (lambda x: lambda i: prod(lambda j: x[i, j]), (3, 4)),
    "prods": (lambda x: lambda: prod(lambda i, j: x[i, j]), (2, 3)),
    "where": (lambda x: lambda i: where(x[i] > 0, x[i] * 2, exp(x[i])), (5,)),
    "maximum": (lambda x: lambda i: maximum(x[i], 0.1) * i_(i), (5,)),
    "unused sum": (lambda x: lambda i: sum(lambda k=3: x[i] * x[i]), (4,)),
    "constant": (lambda x: lambda i: x[i] * 0 + 1, (4,)),
    "fill": (lambda x: lambda i=6: x.get(i - 2, fill=3), (4,)),
    "causal": (lambda x: lambda t, s: where(s <= t, x[t, s], 0), (3, 3)),
    "no axes": (lambda x: lambda: exp(x[()]), ()),
}


def i_(i):
    return cast(i, "float64")


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name):
    function, *shapes = CASES[name]
    arrays = [normal(*s) for s in shapes]
    d = define(function, *arrays)
    checked(d, *arrays)
    assert not any(is_scatter(d, k) for k in range(len(arrays)))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 4),
       st.integers(1, 12))
@settings(max_examples=60)
def test_window_derivatives(stride, dilation, pad, r, n):
    assume(n + 2 * pad > (r - 1) * dilation)
    x, w = normal(n), normal(r)
    d = define(lambda x, w: lambda y: sum(lambda k: x[y * stride + k * dilation - pad] * w[k]),
               x, w)
    checked(d, x, w)
    if (r - 1) * dilation < stride * d.shape[0] and r > stride:
        body = gradient(d, 0).body
        work = np.prod([a.attr[1] for a in body.attr[1]]) if body.op == "reduce" else 1
        assert work <= -(-r // stride) if np.gcd(stride, dilation) == 1 else work <= r


@given(st.lists(st.integers(-2, 2), min_size=4, max_size=4), st.integers(0, 6), st.integers(0, 6))
def test_affine_maps_of_any_rank(c, p, q):
    """Indices that do and do not have an inverse."""
    x = normal(13, 13)
    d = define(lambda x: lambda i=3, j=2: x.get(
        i * c[0] + j * c[1] + p, i * c[2] + j * c[3] + q), x)
    checked(d, x)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_divided_maps(a, b, c, p):
    """Digits of every radix, also such as do not divide each other."""
    x = normal(8, 8)
    d = define(lambda x: lambda i=9: x.get((i * c + p) // a % 8, i % b), x)
    checked(d, x)


# ---- gathers ------------------------------------------------------------------------------------

def test_gathers_search_for_their_reads():
    table, ids = normal(5, 3), np.array([1, 4, 1, 7])
    d = define(lambda table, ids: lambda t, d: table[ids[t], d], table, ids)
    checked(d, table, ids)
    assert is_scatter(d, 0) and gradient(d, 1) is None
    again = gradient(gradient(d, 0), 2)
    assert repr(again) == "[t:4, d:3] = x3[max(min(x1[t], 4), 0), d]"
    counts = evaluate_definition(gradient(d, 0), table, ids, np.ones((4, 3)))
    assert counts[:, 0].tolist() == [0, 2, 0, 0, 2]


def test_gathers_along_an_axis():
    x, ids = normal(3, 4), np.array([[0, 3], [1, 1], [2, 0]])
    checked(define(lambda x, ids: lambda i, j: x[i, ids[i, j]], x, ids), x, ids)


# ---- what stands in the result ------------------------------------------------------------------

def test_gradients_of_contractions_are_contractions():
    a, b = normal(3, 4), normal(4, 5)
    d = define(matmul, a, b)
    assert repr(gradient(d, 0)) == "[i:3, k:4] = dot(j : x2[i, j] . x1[k, j])"
    assert repr(gradient(d, 1)) == "[k:4, j:5] = dot(i : x2[i, j] . x0[i, k])"
    assert repr(gradient(gradient(d, 0), 2)) == "[i:3, j:5] = dot(k : x3[i, k] . x1[k, j])"


def test_strided_convolution_multiplies_no_work():
    d = define(conv2d, normal(1, 9, 9, 2), normal(3, 3, 2, 4))
    assert repr(gradient(d, 0)) == (
        "[n:1, y:9, z:9, c:2] = dot(r, s, f : "
        "x2[n, (((y + 1) // 2) - r), (((z + 1) // 2) - s), f else 0] . "
        "x1[(((y + 1) % 2) + (r * 2)), (((z + 1) % 2) + (s * 2)), c, f else 0])")
    for k in range(3):
        again = gradient(gradient(d, 0), k)
        assert again is None if k == 0 else again.body.attr[0] == "dot"


def test_reshapes_become_reads():
    d = define(lambda x: lambda i=12: x[i // 4, i % 4], normal(3, 4))
    assert repr(gradient(d, 0)) == "[p0:3, p1:4] = x1[(p1 + (p0 * 4))]"
    assert gradient(gradient(d, 0), 1).body.op == "read"


def test_ties_share():
    x = np.array([[1.0, 3, 3, 2]])
    d = define(lambda x: lambda i: max(lambda j: x[i, j]), x)
    assert evaluate_definition(gradient(d, 0), x, np.ones(1)).tolist() == [[0, 0.5, 0.5, 0]]


@pytest.mark.parametrize("row", [[2.0, 3, 5], [2.0, 0, 5], [0.0, 0, 5]])
def test_products_with_zeros(row):
    x = np.array([row])
    d = define(lambda x: lambda i: prod(lambda j: x[i, j]), x)
    expected = [[np.prod(np.delete(x, k)) for k in range(3)]]
    assert evaluate_definition(gradient(d, 0), x, np.ones(1)).tolist() == expected
    checked(d, x)


def test_casts_take_the_cotangent_back():
    x = normal(3).astype(np.float32)
    d = define(lambda x: lambda i: cast(x[i], "float64") * 2 + cast(cast(x[i], "int32"), "float64"),
               x)
    derived = gradient(d, 0)
    assert derived.type == d.operands[0]
    assert evaluate_definition(derived, x, np.ones(3)).tolist() == [2, 2, 2]


def test_what_has_no_gradient():
    x, n = normal(3), np.arange(3)
    assert gradient(define(lambda x, n: lambda i: x[i] * 2, x, n), 1) is None
    assert gradient(define(lambda x: lambda i: cast(x[i], "int32"), x), 0) is None
    assert gradient(define(lambda x: lambda i=3: cast(i, "float64"), x), 0) is None


def test_no_reads_of_what_is_out_of_range_count():
    """Padding and guards keep what is not finite out of an element's neighbours."""
    x, w = normal(6), normal(3)
    d = define(lambda x, w: lambda y: sum(lambda r: exp(x[y * 2 + r - 1]) / w[r]), x, w)
    checked(d, x, w)
    assert np.isfinite(evaluate_definition(gradient(d, 0), x, w, normal(*d.shape))).all()


def test_what_a_where_leaves_out_does_not_count():
    x = np.array([4.0, -1.0, 0.0])
    d = define(lambda x: lambda i: where(x[i] > 0, log(x[i]) * sqrt(x[i]), x[i]), x)
    one, half = evaluate_definition(gradient(d, 0), x, np.ones(3)), evaluate_definition(
        tangent(d, {0}), x, np.ones(3))
    assert np.allclose(one, half) and one[1:].tolist() == [1, 1]
    again = evaluate_definition(gradient(gradient(d, 0), 0), x, np.ones(3), np.ones(3))
    assert np.isfinite(again).all()


def test_symbolic_extents():
    t = symbol("T", 1, 64)
    d = trace(conv2d, (tensor("float64", (1, t, 2 * t, 2)), tensor("float64", (3, 3, 2, 2))))
    derived = gradient(d, 0)
    assert derived.type == d.operands[0]
    x, w = normal(1, 5, 10, 2), normal(3, 3, 2, 2)
    fixed = define(conv2d, x, w)
    g = normal(*fixed.shape)
    assert np.allclose(evaluate_definition(derived, x, w, g),
                       evaluate_definition(gradient(fixed, 0), x, w, g))


def test_hidden_axes_are_told_apart():
    """A definition made by hand may bind an axis that is also an axis of the result."""
    i, j = axes_for((3, 4))
    t = tensor("float64", (3, 4))
    x = expr.read(0, (i, j), t.dtype)
    d = Definition((t,), (i, j), x * scalar.exp(expr.reduce("sum", (j,), x * 0.1)))
    checked(d, normal(3, 4))


def test_tangents_of_several_operands():
    a, b, da, db = normal(3, 4), normal(4, 5), normal(3, 4), normal(4, 5)
    d = tangent(define(matmul, a, b), {0, 1})
    assert np.allclose(evaluate_definition(d, a, b, da, db), da @ b + a @ db)
