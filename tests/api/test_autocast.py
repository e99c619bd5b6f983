"""Products of few bits in functions that are written for float32."""

import numpy as np
import pytest

import lamella as L
from lamella import nn, optim
from lamella.base.errors import DTypeError
from lamella.train import Trainer

RNG = np.random.default_rng(0)
X, W, V = (RNG.standard_normal(s, "float32") for s in ((6, 20), (20, 9), (20, 9)))
IMAGE, TAPS = (RNG.standard_normal(s, "float32") for s in ((2, 7, 6, 4), (5, 3, 3, 4)))
Q, K = (RNG.standard_normal((2, 8, 16), "float32") for _ in range(2))


def rounded(x, dtype="bfloat16"):
    return L.asarray(x).astype(dtype)


PRODUCTS = {
    "matmul": (lambda a, b: a @ b, (X, W)),
    "vector": (lambda a, b: a @ b, (X, W[:, 0])),
    "einsum": (lambda a, b: L.einsum("ij,jk->ki", a, b), (X, W)),
    "tensordot": (lambda a, b: L.tensordot(a, b, axes=1), (X, W)),
    "convolution": (lambda a, b: L.conv2d(a, b, padding=1), (IMAGE, TAPS)),
    "its transpose": (lambda a, b: L.conv_transpose2d(a, b, stride=2), (IMAGE[..., :3], TAPS[:3])),
    "attention": (lambda a, b: L.attention(a, b, a, causal=True), (Q, K)),
    "masked": (lambda a, b: L.attention(a, b, b, mask=L.zeros((8, 8))), (Q, K))}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_the_one_of_rounded_operands(name, dtype):
    f, operands = PRODUCTS[name]
    want = f(*(rounded(x, dtype) for x in operands))
    assert want.dtype == L.asarray(0, dtype=dtype).dtype
    for g in (L.autocast(f, dtype), L.compile(L.autocast(f, dtype))):
        got = g(*map(L.asarray, operands))
        assert got.dtype == L.float32
        np.testing.assert_array_equal(got.numpy(), want.astype("float32").numpy())


def test_all_else_stays_in_float32_and_other_dtypes_as_they_are():
    def f(a, b, c):
        return (a * 1.5 + 1e-3).sum(), (b @ c), L.asarray(X, dtype="float64") @ W.astype("float64")

    whole = [L.asarray(v) for v in (X, X.astype("int32"), W.astype("int32"))]
    for got, want in zip(L.autocast(f)(*whole), f(*whole), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got.numpy(), want.numpy())


@pytest.mark.parametrize("inside", [True, False], ids=["grad of autocast", "autocast of grad"])
def test_gradients_are_of_the_same_products(inside):
    def loss(w):
        return ((X @ w) ** 2).sum()

    g = L.grad(L.autocast(loss)) if inside else L.autocast(L.grad(loss))
    y = (rounded(X) @ rounded(W)).astype("float32")
    want = (rounded(X).mT @ rounded(2 * y)).astype("float32")
    got = g(L.asarray(W))
    assert got.dtype == L.float32
    np.testing.assert_array_equal(got.numpy(), want.numpy())
    np.testing.assert_array_equal(L.compile(g)(L.asarray(W)).numpy(), want.numpy())


def test_it_ends_with_the_function_also_where_that_fails_and_nests():
    def fails(a):
        raise KeyError("so")

    with pytest.raises(KeyError):
        L.autocast(fails)(X)
    exact = (L.asarray(X) @ W).numpy()
    np.testing.assert_array_equal((L.asarray(X) @ W).numpy(), exact)

    def outer(a):
        return a @ W, L.autocast(lambda a: a @ W, "float16")(a), a @ W

    first, second, third = L.autocast(outer)(L.asarray(X))
    np.testing.assert_array_equal(first.numpy(), third.numpy())
    np.testing.assert_array_equal(
        second.numpy(), (rounded(X, "float16") @ rounded(W, "float16")).astype("float32").numpy())


def test_a_compiled_function_inside_follows_and_keeps_its_own_bits_elsewhere():
    g = L.compile(lambda a: a @ W)
    exact, inner = g(L.asarray(X)).numpy(), L.autocast(g)(L.asarray(X)).numpy()
    np.testing.assert_array_equal(inner, (rounded(X) @ rounded(W)).astype("float32").numpy())
    fresh = L.compile(lambda a: a @ W)      # first called inside
    L.autocast(fresh)(L.asarray(X))
    np.testing.assert_array_equal(fresh(L.asarray(X)).numpy(), exact)
    np.testing.assert_array_equal(g(L.asarray(X)).numpy(), exact)


def test_bodies_of_loops_batches_and_values_inside():
    def f(a):
        float(a[0, 0])      # values are known
        total, _ = L.scan(lambda c, w: (c + a @ w, None), L.zeros((6, 9)), L.asarray([W, V]))
        return total, L.vmap(lambda row: row @ L.asarray(W))(a)

    total, rows = L.autocast(f)(L.asarray(X))
    parts = [(rounded(X) @ rounded(w)).astype("float32") for w in (W, V)]
    np.testing.assert_array_equal(total.numpy(), (parts[0] + parts[1]).numpy())
    np.testing.assert_array_equal(rows.numpy(), parts[0].numpy())


def test_other_dtypes_are_refused():
    with pytest.raises(DTypeError, match="bfloat16 or float16, not int8"):
        L.autocast(lambda x: x, "int8")


@pytest.mark.parametrize("fast", [False, True])
def test_a_trainer_keeps_its_parameters_in_float32_and_learns(fast):
    def loss(model, x, y):
        return nn.losses.cross_entropy(model(x), y)

    words = RNG.integers(0, 11, (4, 17)).astype("int32")
    x, y = words[:, :-1], words[:, 1:]
    losses = {}
    for autocast in (None, "bfloat16"):
        model = nn.GPT(vocabulary=11, context=16, width=32, layers=2, heads=2,
                       key=L.random.key(1))
        trainer = Trainer(model, optim.AdamW(3e-3), loss, autocast=autocast, fast=fast)
        losses[autocast] = [float(trainer.step(x, y)) for _ in range(20)]
        assert all(a.dtype == L.float32 for a in L.tree.leaves(trainer.model))
    exact, few = losses[None], losses["bfloat16"]
    assert exact != few and few[-1] < 0.8 * few[0]
    np.testing.assert_allclose(exact, few, rtol=0.02)
