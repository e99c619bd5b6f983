"""The array functions against NumPy."""

import numpy as np
import pytest

import lamella as L

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 4, 5)).astype(np.float32)
Y = rng.standard_normal((4, 1)).astype(np.float32)
POS = np.abs(X) + np.float32(0.1)
INT = rng.integers(-9, 9, (3, 4)).astype(np.int32)
BOOL = X > 0.2


def close(found, wanted, rtol=2e-5, atol=2e-6):
    found = np.asarray(found)
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found.astype(np.float64), np.asarray(wanted, np.float64),
                               rtol=rtol, atol=atol)


UNARY = ["abs", "ceil", "cos", "cosh", "exp", "exp2", "expm1", "floor", "isfinite", "isinf",
         "isnan", "negative", "positive", "reciprocal", "round", "sign", "signbit", "sin", "sinh",
         "square", "tan", "tanh", "trunc"]


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    close(getattr(L, name)(X), getattr(np, name)(X), rtol=1e-4)


@pytest.mark.parametrize("name", ["log", "log1p", "log2", "log10", "sqrt"])
def test_unary_positive(name):
    close(getattr(L, name)(POS), getattr(np, name)(POS), rtol=1e-4)


def test_inverse_hyperbolic():
    close(L.asinh(X), np.arcsinh(X), rtol=1e-4)
    close(L.acosh(POS + 1), np.arccosh(POS + 1), rtol=1e-3)
    close(L.atanh(np.tanh(X)), np.arctanh(np.tanh(X)), rtol=1e-3, atol=1e-4)


def test_awkward_numbers():
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30], np.float32)
    for name in ("isnan", "isinf", "isfinite", "signbit"):
        np.testing.assert_array_equal(getattr(L, name)(x).numpy(), getattr(np, name)(x))
    np.testing.assert_array_equal(L.hypot(x, 3.0).numpy(), np.hypot(x, np.float32(3)))
    np.testing.assert_array_equal(L.copysign(2.0, x[:4]).numpy(), [2, -2, 2, -2])
    assert L.logaddexp(L.asarray([-np.inf, 500.0]), L.asarray([-np.inf, 500.0])).tolist() == [
        -np.inf, pytest.approx(500 + np.log(2))]


BINARY = [("add", "add"), ("subtract", "subtract"), ("multiply", "multiply"), ("divide", "divide"),
          ("maximum", "maximum"), ("minimum", "minimum"), ("less", "less"),
          ("less_equal", "less_equal"), ("greater", "greater"), ("greater_equal", "greater_equal"),
          ("equal", "equal"), ("not_equal", "not_equal"), ("floor_divide", "floor_divide"),
          ("remainder", "remainder"), ("copysign", "copysign"), ("hypot", "hypot"),
          ("logaddexp", "logaddexp")]


@pytest.mark.parametrize("ours, theirs", BINARY)
def test_binary_broadcasts(ours, theirs):
    close(getattr(L, ours)(X, Y), getattr(np, theirs)(X, Y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", ["//", "%", "&", "|", "^", "+", "*", "-"])
def test_integer_operators(op):
    b = INT[::-1].copy() + np.int32(20)
    a = L.asarray(INT)
    found = eval(f"a {op} b", {"a": a, "b": L.asarray(b)})
    np.testing.assert_array_equal(found.numpy(), eval(f"a {op} b", {"a": INT, "b": b}))
    assert found.dtype is L.int32
    np.testing.assert_array_equal((a << 2).numpy(), INT << 2)
    np.testing.assert_array_equal((~a).numpy(), ~INT)


def test_powers():
    x = L.asarray(X)
    for n in (0, 1, 2, 3, 7, -2):
        close(x ** n, X.astype(np.float64) ** n, rtol=1e-3)
    close(L.asarray(POS) ** 1.7, POS ** 1.7, rtol=1e-4)
    close(2.0 ** x, 2.0 ** X, rtol=1e-4)
    np.testing.assert_array_equal((L.asarray(INT) ** 3).numpy(), INT ** 3)


REDUCTIONS = ["sum", "mean", "max", "min", "prod", "var", "std"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
def test_reductions(name, axis):
    for keepdims in (False, True):
        close(getattr(L, name)(X, axis=axis, keepdims=keepdims),
              getattr(np, name)(X, axis=axis, keepdims=keepdims), rtol=1e-4)


def test_tests_and_searches():
    for name in ("any", "all"):
        np.testing.assert_array_equal(getattr(L, name)(BOOL, axis=1).numpy(),
                                      getattr(np, name)(BOOL, axis=1))
    for name in ("argmax", "argmin"):
        for axis in (None, 0, -1):
            np.testing.assert_array_equal(getattr(L, name)(X, axis=axis).numpy(),
                                          getattr(np, name)(X, axis=axis))
    assert int(L.count_nonzero(L.asarray(BOOL))) == BOOL.sum()
    assert [p.tolist() for p in L.nonzero(L.asarray([0, 3, 0, 4]))] == [[1, 3]]
    close(L.logsumexp(X, axis=1), np.log(np.exp(X).sum(1)))
    assert L.sum(L.asarray(np.full(1000, 200, np.uint8))).item() == 200_000
    assert L.sum(L.asarray(BOOL)).dtype is L.int32
    close(L.var(X, axis=0, correction=1), X.var(0, ddof=1), rtol=1e-4)


def test_creation():
    np.testing.assert_array_equal(L.arange(2, 11, 3).numpy(), np.arange(2, 11, 3))
    close(L.arange(0.0, 1.0, 0.25), np.arange(0, 1, 0.25))
    assert L.arange(5).dtype is L.int32 and L.arange(5.0).dtype is L.float32
    close(L.linspace(-1, 2, 7), np.linspace(-1, 2, 7))
    assert L.linspace(0, 1, 3).tolist()[-1] == 1.0
    close(L.eye(3, 5, k=1), np.eye(3, 5, k=1))
    close(L.tril(X, k=-1), np.tril(X, -1))
    close(L.triu(X), np.triu(X))
    close(L.full((2, 3), 7.5), np.full((2, 3), 7.5))
    assert L.full((), True).dtype is L.bool and L.zeros(3).dtype is L.float32
    for a, b in zip(L.meshgrid(L.arange(3), L.arange(4)), np.meshgrid(np.arange(3), np.arange(4)),
                    strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


def test_large_integers_in_lists_keep_their_last_bits():
    large = [0, (1 << 63) + 1, (1 << 64) - 1]
    assert L.asarray(large, dtype=L.uint64).numpy().tolist() == large
    nested = [[-(1 << 63), (1 << 53) + 1], [True, 1]]
    assert L.asarray(nested, dtype=L.int64).numpy().tolist() == [
        [-(1 << 63), (1 << 53) + 1], [1, 1]]


def test_asarray_of_many_things():
    assert L.asarray([1, 2]).dtype is L.int32 and L.asarray([1, 2.5]).dtype is L.float32
    assert L.asarray(np.float64(2)).dtype in (L.float64, L.float32)
    assert L.asarray([[True]]).dtype is L.bool
    assert L.asarray([L.asarray(1.0), L.asarray(2.0)]).tolist() == [1.0, 2.0]
    assert L.asarray([]).shape == (0,)
    with pytest.raises(L.errors.ShapeError, match="no one shape"):
        L.asarray([[1], [1, 2]])
    with pytest.raises(L.errors.DTypeError):
        L.asarray(["a"])


MOVES = {
    "reshape": (lambda f, x: f.reshape(x, (5, -1))),
    "broadcast_to": (lambda f, x: f.broadcast_to(x, (2, 3, 4, 5))),
    "expand_dims": (lambda f, x: f.expand_dims(x, axis=(0, -1))),
    "squeeze": (lambda f, x: f.squeeze(f.reshape(x, (3, 1, 20, 1)), axis=(1, 3))),
    "flip": (lambda f, x: f.flip(x, axis=(0, 2))),
    "roll": (lambda f, x: f.roll(x, (7, -1), axis=(0, 2))),
    "roll flat": (lambda f, x: f.roll(x, 7)),
    "moveaxis": (lambda f, x: f.moveaxis(x, (0, 1), (-1, 0))),
    "concat": (lambda f, x: f.concat([x, x, x], axis=1)),
    "concat flat": (lambda f, x: f.concat([x, x], axis=None)),
    "stack": (lambda f, x: f.stack([x, x], axis=-1)),
    "tile": (lambda f, x: f.tile(x, (2, 1, 1, 3))),
    "repeat": (lambda f, x: f.repeat(x, 3, axis=1)),
    "permute_dims": (lambda f, x: f.permute_dims(x, (2, 0, 1))),
    "diff": (lambda f, x: f.diff(x, axis=1)),
    "clip": (lambda f, x: f.clip(x, -0.5, 0.25)),
    "where": (lambda f, x: f.where(x > 0, x, -1.0)),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name):
    found = MOVES[name](L, L.asarray(X)).numpy()
    np.testing.assert_array_equal(found, MOVES[name](np, X).astype(np.float32))


def test_split_and_unstack():
    assert [p.shape for p in L.split(L.asarray(X), 2, axis=1)] == [(3, 2, 5)] * 2
    assert [p.shape for p in L.split(L.asarray(X), [1, 4], axis=-1)] == [
        (3, 4, 1), (3, 4, 3), (3, 4, 1)]
    close(L.unstack(L.asarray(X), axis=1)[2], X[:, 2])


def test_take():
    i = np.array([[2, 0], [-1, 1]])
    close(L.take(X, i, axis=1), np.take(X, i, axis=1))
    order = np.argsort(X, axis=1)
    close(L.take_along_axis(X, order, axis=1), np.take_along_axis(X, order, axis=1))
    close(L.one_hot(L.asarray([0, 2]), 3), np.eye(3)[[0, 2]])
    close(L.pad(X, ((0, 1), (2, 0), (0, 0)), value=3), np.pad(
        X, ((0, 1), (2, 0), (0, 0)), constant_values=3))


@pytest.mark.parametrize("spec, shapes", [
    ("ij,jk->ik", [(3, 4), (4, 5)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("...ij,jk->...ik", [(2, 6, 3, 4), (4, 5)]), ("ij->j", [(3, 4)]), ("ij->ji", [(3, 4)]),
    ("i,j->ij", [(3,), (4,)]), ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ("ij,ij->", [(3, 4)] * 2),
    ("bthd,bshd->bhts", [(2, 3, 4, 5), (2, 6, 4, 5)]), ("ij,kj", [(2, 3), (4, 3)])])
def test_einsum(spec, shapes):
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    close(L.einsum(spec, *arrays), np.einsum(spec, *arrays), rtol=1e-4, atol=1e-5)


def test_products():
    a, b = X, rng.standard_normal((5, 2)).astype(np.float32)
    close(L.matmul(a, b), a @ b, rtol=1e-4, atol=1e-5)
    close(L.asarray(a) @ b, a @ b, rtol=1e-4, atol=1e-5)
    close(a @ L.asarray(b), a @ b, rtol=1e-4, atol=1e-5)
    for m, n in (((2, 1, 3, 4), (2, 3, 4, 5)), ((2, 1, 3, 4), (1, 2, 4, 5)),
                 ((1, 1, 3, 4), (4, 5))):
        c, d = np.resize(X, m), np.resize(Y, n)
        close(L.matmul(c, d), c @ d, rtol=1e-4, atol=1e-5)
    close(L.tensordot(a, a, axes=((1, 2), (1, 2))), np.tensordot(a, a, ((1, 2), (1, 2))), atol=1e-4)
    close(L.vecdot(a, a), (a * a).sum(-1), rtol=1e-4)
    close(L.outer(Y[:, 0], Y[:, 0]), np.outer(Y, Y))
    close(L.asarray(b).T, b.T)
    close(L.softmax(X, axis=1), np.exp(X) / np.exp(X).sum(1, keepdims=True), rtol=1e-4)


def test_dtypes():
    assert L.result_type(L.int32, L.float16) is L.float16
    assert L.result_type(L.asarray(INT), 2.0) is L.float32
    assert L.result_type(L.uint8, L.int8) is L.int16
    assert (L.asarray(INT) + 1.5).dtype is L.float32
    assert (L.asarray(INT) / 2).dtype is L.float32
    assert (L.asarray(INT, dtype="int8") + 1).dtype is L.int8
    assert (L.ones(2, dtype="bfloat16") * 2.5).dtype is L.bfloat16
    assert (L.ones(2, dtype="bfloat16") + L.ones(2)).dtype is L.float32
    assert L.can_cast(L.int8, L.int32) and not L.can_cast(L.float32, L.int32)
    assert L.finfo(L.bfloat16).bits == 16 and L.iinfo("int8").max == 127
    assert L.isdtype(L.uint8, "integral") and L.isdtype(L.bool, ("bool", "numeric"))
    assert L.asarray([1.7, -1.7, np.nan]).astype("int32").tolist() == [1, -1, 0]
    with pytest.raises(L.errors.DTypeError, match="300 does not fit int8"):
        L.asarray(INT, dtype="int8") + 300
    with pytest.raises(L.errors.DTypeError, match="no common integer type"):
        L.zeros(1, dtype="int64") + L.zeros(1, dtype="uint64")


def test_all_functions_have_docstrings():
    from lamella.api import namespace

    for name, f in vars(namespace).items():
        if callable(f) and not name.startswith("_"):
            assert f.__doc__, name


@pytest.mark.parametrize("spec", ["ii->i", "ii->", "iij->ij", "iji->ji", "iii->i", "ii,ij->j"])
def test_einsum_reads_diagonals(spec):
    x = np.random.default_rng(0).standard_normal((3, 3, 3)).astype(np.float32)
    arrays = [x[(0,) * (3 - len(p))] for p in spec.split("->")[0].split(",")]
    found = L.einsum(spec, *map(L.asarray, arrays)).numpy()
    assert np.allclose(found, np.einsum(spec, *arrays), atol=1e-6)


def test_a_diagonal_of_einsum_leaves_infinities_beside_it_alone():
    x = np.array([[1, np.inf], [np.nan, 2]], np.float32)
    assert L.einsum("ii->", L.asarray(x)).item() == 3


def test_cosines_of_arrays_that_broadcast_along_the_axis():
    a, b = X[:1, :2], X[:2, :1]
    u, v = np.broadcast_arrays(a, b)
    wanted = (u * v).sum(1) / np.sqrt((u * u).sum(1) * (v * v).sum(1))
    close(L.cosine_similarity(L.asarray(a), L.asarray(b), axis=1), wanted)
