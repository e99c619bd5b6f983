"""grad, vjp, jvp, vmap: values, nesting, pytrees, errors."""

import numpy as np
import pytest

import lamella as L
from lamella.ir.printer import to_text

rng = np.random.default_rng(1)
X = rng.uniform(0.3, 1.2, (3, 4)).astype(np.float32)
W = rng.standard_normal((4, 2)).astype(np.float32)

FUNCTIONS = {
    "polynomial": lambda x: (x ** 3 - 2 * x + 1).sum(),
    "matmul": lambda x: L.tanh(x @ W).sum(),
    "softmax": lambda x: (L.softmax(x) * L.arange(4.0)).sum(),
    "norm": lambda x: L.norm(x - 2),
    "logsumexp": lambda x: L.logsumexp(x, axis=0).sum(),
    "var": lambda x: L.var(x, axis=1).sum() + L.std(x),
    "index": lambda x: (x[1:, ::-1] * x[[0, 2]] + x[..., None, 0].sum()).sum(),
    "where": lambda x: L.where(x > 0.7, x * x, L.sin(x)).mean(),
    "moves": lambda x: (L.concat([x.T, L.roll(x, 1, axis=0).T], axis=0) ** 2).sum(),
    "prod": lambda x: L.prod(x, axis=1).sum(),
    "max": lambda x: L.max(x, axis=0).sum(),
    "erf": lambda x: (L.gelu(x) + L.erf(x) + L.silu(x) + L.hypot(x, 2.0)).sum(),
    "einsum": lambda x: L.einsum("ij,kj,jl->", x, x, W),
    "divide": lambda x: (1 / x + x / (x + 1) + x ** -2 + x ** 0.5 + 2.0 ** x).sum(),
}


def write(x):
    y = x * 1
    y[1] = y[0] * y[1]
    y[:, ::2] = 0.5 * y[:, 1::2]
    return (y * y).sum()


FUNCTIONS["write"] = write


def numeric(f, x, eps=1e-5):
    """Central differences in float64."""
    x = x.astype(np.float64)
    out = np.zeros_like(x)
    for k in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[k] = eps
        out[k] = (float(f(L.asarray(x + step))) - float(f(L.asarray(x - step)))) / (2 * eps)
    return out


@pytest.mark.parametrize("name", FUNCTIONS)
def test_grad_and_jvp_against_differences(name):
    f = FUNCTIONS[name]
    given = W.astype(np.float64)
    f64 = lambda x: f(x) if name not in ("matmul", "einsum") else (
        L.tanh(x @ given).sum() if name == "matmul" else L.einsum("ij,kj,jl->", x, x, given))
    wanted = numeric(f64, X[:, :4])
    found = L.grad(f)(L.asarray(X)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-4)
    direction = rng.standard_normal(X.shape).astype(np.float32)
    value, tangent = L.jvp(f, (L.asarray(X),), (L.asarray(direction),))
    np.testing.assert_allclose(tangent.numpy(), (wanted * direction).sum(), rtol=5e-3, atol=1e-3)
    np.testing.assert_allclose(value.numpy(), f(L.asarray(X)).numpy(), rtol=1e-5)


def test_derivatives_of_derivatives():
    f = lambda x: x ** 5
    d = f
    for wanted in (5 * 2.0 ** 4, 20 * 2.0 ** 3, 60 * 2.0 ** 2, 120 * 2.0):
        d = L.grad(d)
        assert float(d(2.0)) == pytest.approx(wanted, rel=1e-5)
    forward = lambda x: L.jvp(lambda y: y ** 3, (x,), (1.0,))[1]
    assert float(L.grad(forward)(2.0)) == pytest.approx(12)
    assert float(L.jvp(L.grad(lambda y: y ** 3), (2.0,), (1.0,))[1]) == pytest.approx(12)
    assert float(L.jvp(forward, (2.0,), (1.0,))[1]) == pytest.approx(12)


def test_perturbations_are_not_confused():
    assert float(L.grad(lambda x: x * L.grad(lambda y: x * y)(x))(3.0)) == 6
    assert float(L.grad(lambda x: x * L.grad(lambda y: x + y)(1.0))(3.0)) == 1
    inner = lambda x: L.jvp(lambda y: x * y, (x,), (1.0,))[1]
    assert float(L.jvp(lambda x: x * inner(x), (3.0,), (1.0,))[1]) == 6
    x = L.asarray(3.0)
    assert float(L.grad(lambda y: x * y)(x)) == 3


def test_hessian_and_jacobian():
    x = L.asarray([0.5, -1.0, 2.0])
    f = lambda x: (x ** 3).sum() + x[0] * x[2]
    wanted = np.diag(6 * x.numpy()) + np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(L.hessian(f)(x).numpy(), wanted, rtol=1e-5)
    a = rng.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_allclose(L.jacobian(lambda x: a @ x)(x).numpy(), a, rtol=1e-6)


def test_pytrees_arguments_and_aux():
    params = {"w": L.asarray(W), "parts": [L.asarray(2.0), None, (L.asarray([1, 2]),)]}

    def f(p, x, scale=1.0):
        y = (x @ p["w"]).sum() * p["parts"][0] * scale
        return y, {"y": y, "count": p["parts"][2][0]}

    (value, aux), (g, gx) = L.value_and_grad(f, (0, 1), has_aux=True)(params, L.asarray(X), scale=3)
    assert float(value) == pytest.approx(float(aux["y"])) and aux["count"].tolist() == [1, 2]
    np.testing.assert_allclose(g["w"].numpy(), 6 * np.repeat(X.sum(0)[:, None], 2, 1), rtol=1e-5)
    assert g["parts"][1] is None and g["parts"][2][0].tolist() == [0, 0]
    assert g["parts"][2][0].dtype is L.int32 and gx.shape == X.shape
    grads, aux = L.grad(f, has_aux=True)(params, L.asarray(X))
    assert set(grads) == {"w", "parts"}


def test_values_inside_grad_are_known():
    def f(x):
        assert x.node is not None and float(x) == -2.0
        return x * x if x > 0 else -3 * x

    assert float(L.grad(f)(-2.0)) == -3


def test_looking_at_inner_values_keeps_derivatives():
    seen = []

    def f(x):
        y = x * x
        seen.append(float(y))
        return L.sin(y)

    assert float(L.grad(f)(1.5)) == pytest.approx(3 * np.cos(2.25), rel=1e-5) and seen == [2.25]


def test_vjp_pull_survives_evaluation_and_may_be_called_again():
    y, pull = L.vjp(lambda a, b: {"s": a * b, "t": L.exp(a)}, L.asarray(2.0), L.asarray(3.0))
    assert float(y["s"]) == 6 and float(y["t"]) > 7  # evaluated: the nodes drop their inputs
    for scale in (1.0, 2.0):
        a, b = pull({"s": scale, "t": 0.0})
        assert (float(a), float(b)) == (3 * scale, 2 * scale)
    with pytest.raises(L.errors.ShapeError, match="structure"):
        pull(1.0)


def test_independent_and_stopped():
    assert L.grad(lambda x: L.asarray(2.0) * 3)(1.0).item() == 0
    assert L.grad(lambda x: x * L.stop_gradient(x))(3.0).item() == 3


ERRORS = [
    (lambda: L.grad(lambda x: x)(L.ones(3)), L.errors.ShapeError, r"shape \(3,\).*sum or mean"),
    (lambda: L.grad(lambda x: x > 0)(1.0), L.errors.DTypeError, "the value is bool"),
    (lambda: L.grad(lambda x: (x, 1))(1.0), L.errors.DTypeError, "has_aux"),
    (lambda: L.grad(lambda x: x.sum())(L.arange(3)), L.errors.DTypeError, "int32.*cast"),
    (lambda: L.grad(lambda x: x, 1)(1.0), L.errors.ShapeError, "no positional argument 1"),
    (lambda: L.grad(lambda x: x["a"])({"a": "text"}), L.errors.DTypeError, "no array"),
    (lambda: L.jvp(lambda x: x, (1.0,), (L.ones(2),)), L.errors.ShapeError, r"shape \(2,\)"),
    (lambda: L.vmap(lambda x, y: x + y)(L.ones(2), L.ones(3)), L.errors.ShapeError, "2 and 3"),
    (lambda: L.vmap(lambda x: x, in_axes=None)(1.0), L.errors.ShapeError, "no argument"),
    (lambda: L.vmap(lambda x: x)(L.asarray(1.0)), L.errors.ShapeError, "axis 0"),
]


@pytest.mark.parametrize("k", range(len(ERRORS)))
def test_errors(k):
    call, kind, text = ERRORS[k]
    with pytest.raises(kind, match=text):
        call()


# ---- vmap ---------------------------------------------------------------------------------------

B = rng.standard_normal((5, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_is_a_loop(name):
    b = np.abs(B) + np.float32(0.2)
    f = FUNCTIONS[name]
    found = L.vmap(f)(L.asarray(b)).numpy()
    np.testing.assert_allclose(found, [f(L.asarray(x)).numpy() for x in b], rtol=2e-5, atol=1e-5)
    grads = L.vmap(L.grad(f))(L.asarray(b)).numpy()
    np.testing.assert_allclose(grads, [L.grad(f)(L.asarray(x)).numpy() for x in b],
                               rtol=1e-4, atol=1e-5)


def test_vmap_axes_and_trees():
    x, w = L.asarray(B), L.asarray(W)
    y = L.vmap(lambda x, w: x @ w, in_axes=(0, None))(x, w)
    np.testing.assert_allclose(y.numpy(), B @ W, rtol=1e-4, atol=1e-5)
    y = L.vmap(lambda x: x * 2, in_axes=2, out_axes=-1)(x)
    np.testing.assert_allclose(y.numpy(), B * 2)
    y = L.vmap(lambda t, c: {"a": t["x"].sum() + c, "b": t["k"]},
               in_axes=({"x": 0, "k": None}, None), out_axes={"a": 0, "b": 1})(
        {"x": x, "k": L.arange(3)}, 1.0)
    np.testing.assert_allclose(y["a"].numpy(), B.sum((1, 2)) + 1, rtol=1e-4)
    assert y["b"].shape == (3, 5)
    pairs = L.vmap(lambda a: L.vmap(lambda b: (a * b).sum())(x[:, 0]))(x[:, 1])
    np.testing.assert_allclose(pairs.numpy(), B[:, 1] @ B[:, 0].T, rtol=1e-4, atol=1e-5)


def test_a_closure_over_an_outer_batch():
    f = lambda a: L.vmap(lambda b: a * b)(L.arange(3.0))
    np.testing.assert_array_equal(L.vmap(f)(L.arange(2.0)).numpy(), np.outer([0, 1], [0, 1, 2]))
    g = L.grad(lambda s: L.vmap(lambda x: s * x * x)(L.arange(4.0)).sum())
    assert float(g(2.0)) == 14


def test_looking_inside_vmap_raises():
    looks = [lambda x: bool(x[0]), lambda x: float(x[0]), lambda x: x.numpy(),
             lambda x: x[x > 0], lambda x: L.nonzero(x), lambda x: x.tolist()]
    for look in looks:
        with pytest.raises(L.errors.TraceError, match="where.*test_transforms.py"):
            L.vmap(lambda x, look=look: look(x) and x)(L.ones((3, 2)))
    assert L.vmap(lambda x: x * float(L.ones(3)[0]))(L.ones(2)).tolist() == [1, 1]
    leaked = []
    L.vmap(lambda x: leaked.append(x) or x)(L.ones(2))
    with pytest.raises(L.errors.TraceError, match="return it"):
        float(leaked[0])
    assert "not known" in repr(leaked[0])


def test_transforms_inside_compile():
    f = lambda x: (L.sin(x) * x).sum()
    step = L.compile(lambda x: (L.value_and_grad(f)(x), L.vmap(L.grad(f))(L.stack([x, 2 * x]))))
    (value, g), rows = step(L.asarray(X))
    np.testing.assert_array_equal(g.numpy(), L.grad(f)(L.asarray(X)).numpy())
    np.testing.assert_array_equal(rows.numpy()[0], g.numpy())
    with pytest.raises(L.errors.TraceError, match="compile of .*where"):
        L.compile(lambda x: x if x > 0 else -x)(1.0)


def test_a_compiled_function_inside_of_transforms_is_a_part_of_them():
    cube = L.compile(lambda x: (x ** 3).sum(), donate=0)
    x = L.asarray([1.0, 2.0])
    np.testing.assert_array_equal(L.grad(cube)(x).numpy(), [3, 12])
    np.testing.assert_array_equal(L.compile(L.grad(cube))(x).numpy(), [3, 12])
    np.testing.assert_array_equal(L.hessian(cube)(x).numpy(), [[6, 0], [0, 12]])
    assert float(L.jvp(cube, (x,), (x,))[1]) == 27
    assert float(L.linearize(cube, x)[1](x)) == 27
    np.testing.assert_array_equal(L.vmap(cube)(L.stack([x, 2 * x])).numpy(), [9, 72])
    step = L.compile(lambda c, a: (c * a, c))
    assert L.scan(step, L.asarray(1.0), x)[1].tolist() == [1, 1]
    assert L.cond(x[0] > 0, cube, cube, x).item() == 9
    captures = L.grad(lambda c: L.compile(lambda a: (a * c).sum())(L.ones(2)))
    assert captures(x).tolist() == [1, 1]


def test_a_compiled_method_takes_self_as_an_argument():
    class Scaled(L.nn.Module):
        def __init__(self, by):
            self.by = L.asarray(by)

        @L.compile
        def __call__(self, x, y=1.0):
            return x * self.by + y

    assert Scaled(2.0)(L.ones(2)).tolist() == [3, 3]
    assert Scaled(3.0)(L.ones(2), y=2.0).tolist() == [5, 5]
    assert len(Scaled.__call__.entries) == 1


def test_a_trace_is_not_changed_by_looking_at_its_numbers():
    by = L.asarray(2.0)
    program = L.trace(lambda x: x * by, L.spec((2,)))
    before = to_text(program)
    assert float(by) == 2
    assert to_text(program) == before


def test_jvp_and_hvp_want_tuples():
    for f in (L.jvp, L.hvp):
        with pytest.raises(L.errors.ShapeError, match=r"tuples .* got Array.*test_transforms"):
            f(lambda x: x * x, L.asarray(1.0), (1.0,))


SYMBOLIC = {
    "loop": lambda x: [x[i] for i in range(x.shape[0])],
    "comparison": lambda x: x if x.shape[0] > 2 else -x,
    "number": lambda x: x * float(x.shape[0]),
}


@pytest.mark.parametrize("name", SYMBOLIC)
def test_a_symbol_in_python_s_hands_says_what_to_write(name):
    f = L.compile(SYMBOLIC[name], sizes={"x": (L.symbol("B", 1, 8),)})
    with pytest.raises(L.errors.TraceError, match=r"size B is a symbol.*scan.*test_transforms"):
        f(L.ones(4))


@pytest.mark.parametrize("given", [("B",), L.symbol("B", 1, 8), 3])
def test_sizes_are_tuples_of_symbols(given):
    with pytest.raises(L.errors.ShapeError, match=r"sizes of 'x'.*test_transforms"):
        L.compile(lambda x: x, sizes={"x": given})
    with pytest.raises(L.errors.ShapeError, match="name is a word"):
        L.symbol(3, 1, 2)
