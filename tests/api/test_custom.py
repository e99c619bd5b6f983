"""Derivatives that the user states or shapes: checkpoint, custom rules, Jacobians, prefix scans."""

import numpy as np
import pytest
from ops.cases import same_bits

import lamella
from lamella.base.errors import LamellaError, ShapeError


def numbers(*shape, seed=0):
    return lamella.asarray(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(np.array(a), np.array(b), rtol=tolerance, atol=tolerance)


def block(x, w):
    for _ in range(3):
        x = lamella.tanh(x @ w)
    return x


X, W = numbers(64, 32), numbers(32, 32, seed=1) * 0.3


def deep(part):
    def loss(w, x):
        for _ in range(6):
            x = part(x, w)
        return (x * x).sum()
    return loss


@pytest.mark.parametrize("policy", ["nothing", "products"])
def test_a_checkpoint_changes_no_bit(policy):
    kept = lamella.checkpoint(block, policy=policy)
    for order in (lambda f: f, lambda f: lamella.grad(f, 1)):   # (sums for w group otherwise)
        plain, again = order(deep(block)), order(deep(kept))
        assert same_bits(np.array(plain(W, X)), np.array(again(W, X)))
        assert same_bits(np.array(again(W, X)), np.array(lamella.compile(again)(W, X)))


def test_a_checkpoint_trades_operations_for_memory():
    wide = numbers(512, 32)
    plain, nothing, products = (lamella.plan(lamella.grad(deep(f)), W, wide) for f in (
        block, lamella.checkpoint(block), lamella.checkpoint(block, policy="products")))
    assert nothing.memory.temporaries < 0.7 * plain.memory.temporaries
    assert nothing.flops > 1.2 * plain.flops
    assert products.flops < nothing.flops


def test_a_checkpoint_in_a_batch_stays_one():
    f = lamella.checkpoint(lambda x: lamella.tanh(x @ W) * 2)
    batched = lamella.grad(lambda x: lamella.vmap(f)(x).sum())
    assert "barrier" in [n.op.name for n in lamella.trace(batched, X).nodes()]
    close(batched(X), lamella.grad(lambda x: (lamella.tanh(x @ W) * 2).sum())(X))


def test_a_checkpoint_in_a_scan():
    def loss(f):
        return lambda w: lamella.fori_loop(0, 4, lambda i, c: f(c, w), X, save="all").sum()
    close(lamella.grad(loss(block))(W), lamella.grad(loss(lamella.checkpoint(block)))(W))


def clipped():
    """The identity, whose gradient is clipped to +-1."""
    f = lamella.custom_vjp(lambda x, limit: x * 1.0)
    f.defvjp(lambda x, limit: (x * 1.0, limit),
             lambda limit, g: (lamella.clip(g, -limit, limit), None))
    return f


def test_a_stated_pullback_is_used():
    f, x = clipped(), numbers(5)
    g = lamella.grad(lambda x: (f(x, 1.0) * lamella.asarray([-9., -.5, 0., .5, 9.])).sum())
    for h in (g, lamella.compile(g)):
        assert np.array_equal(np.array(h(x)), [-1, -.5, 0, .5, 1])
    batched = lamella.grad(lambda x: (lamella.vmap(f, in_axes=(0, None))(x, 1.0) * 3.0).sum())
    assert np.array_equal(np.array(batched(x)), [1] * 5)
    with pytest.raises(LamellaError, match="custom_jvp"):
        lamella.jvp(lambda x: f(x, 1.0), (x,), (x,))


def logistic():
    """log(1 + exp x) with a derivative that does not overflow."""
    f = lamella.custom_jvp(lambda x: lamella.log(1 + lamella.exp(x)))

    def rule(primals, tangents):
        x, = primals
        return f(x), tangents[0] * (1 - 1 / (1 + lamella.exp(x)))

    f.defjvp(rule)
    return f


def test_a_stated_tangent_serves_in_both_directions():
    f, x = logistic(), lamella.asarray(np.array([-3., 0., 100.], np.float32))
    slopes = [1 / (1 + np.exp(3)), 0.5, 1]
    close(lamella.jvp(f, (x,), (lamella.ones(3),))[1], slopes)
    close(lamella.grad(lambda x: f(x).sum())(x), slopes)
    close(lamella.vmap(lamella.grad(f))(x), slopes)
    close(lamella.grad(lamella.grad(f))(lamella.asarray(0.0)), 0.25)
    y, push = lamella.linearize(f, x)
    assert same_bits(np.array(y), np.array(f(x)))
    close(push(lamella.ones(3) * 2), 2 * np.array(slopes))


ERRORS = {
    "no rule": (lambda: lamella.custom_vjp(lambda x: x)(1.0), "defvjp"),
    "no tangent rule": (lambda: lamella.custom_jvp(lambda x: x)(1.0), "defjvp"),
    "forward": (lambda: _vjp(lambda x: x, lambda r, g: (g,)), r"\(value, residuals\)"),
    "forward's type": (lambda: _vjp(lambda x: (x[:2], x), lambda r, g: (g,)), "forward's value"),
    "count": (lambda: _vjp(lambda x: (x, x), lambda r, g: (g, g)), "1 cotangents"),
    "shape": (lambda: _vjp(lambda x: (x, x), lambda r, g: (g[:2],)), "cotangent of argument 0"),
    "policy": (lambda: lamella.checkpoint(block, policy="all"), "policy is one of"),
    "no array": (lambda: lamella.checkpoint(block)("x"), "no array"),
    "mode": (lambda: lamella.jacobian(block, mode="both"), "reverse"),
    "combined": (lambda: lamella.associative_scan(lambda a, b: a[:1], numbers(4)),
                 r"fn gives float32\[1\] for float32\[2\]"),
    "bounds": (lambda: lamella.fori_loop(0.0, 3.0, lambda i, c: c, 1.0), "bounds are integers"),
}


def _vjp(forward, backward):
    f = lamella.custom_vjp(lambda x: x * 1.0)
    f.defvjp(forward, backward)
    return f(numbers(3))


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_is_wrong(name):
    wrong, text = ERRORS[name]
    with pytest.raises(LamellaError, match=text) as e:
        wrong()
    assert "test_custom.py" in str(e.value)


def test_jacobians_agree_in_every_mode():
    def f(x):
        return lamella.stack([lamella.sin(x).sum(), (x * x).prod(), x[0, 0] * x[1, 2]])
    x = numbers(2, 3)
    want = lamella.jacobian(f)(x)
    assert want.shape == (3, 2, 3)
    for options in ({"chunk": 1}, {"chunk": 2}, {"chunk": 9}, {"mode": "forward"},
                    {"mode": "forward", "chunk": 4}):
        close(lamella.jacobian(f, **options)(x), want)


@pytest.mark.parametrize("options", [{}, {"mode": "forward"}, {"chunk": 2},
                                     {"mode": "forward", "chunk": 4}], ids=str)
def test_jacobians_of_pytrees_and_of_several_arguments(options):
    a, x, s = numbers(3, 4), numbers(4), numbers()
    given = {"x": x, "s": s, "n": lamella.asarray(2)}

    def f(d, b):
        return {"y": b @ d["x"] * d["s"], "z": d["x"][::2]}

    by_d, by_b = lamella.jacobian(f, (0, -1), **options)(given, a)["y"]
    close(by_d["x"], a * s)
    close(by_d["s"], a @ x)
    assert by_d["n"].tolist() == [0, 0, 0] and by_d["n"].dtype == lamella.int32
    close(by_b, np.eye(3)[:, :, None] * np.array(x) * np.array(s))
    found = lamella.jacobian(f, 1, **options)(given, a)
    close(found["y"], by_b)
    assert not found["z"].numpy().any() and found["z"].shape == (2, 3, 4)
    with pytest.raises(ShapeError, match="no positional argument 2 among 2"):
        lamella.jacobian(f, 2, **options)(given, a)


def test_hessians_of_pytrees():
    x, s = numbers(3), numbers()
    found = lamella.hessian(lambda d, c: (d["x"] ** 3).sum() * d["s"] * c, (0, 1))(
        {"x": x, "s": s}, s)
    v, k = np.array(x), np.array(s)
    close(found[0]["x"][0]["x"], np.diag(6 * v) * k * k)
    close(found[0]["x"][0]["s"], 3 * v * v * k)
    close(found[1][0]["s"], (v ** 3).sum())
    assert found[1][1].tolist() == 0


def test_hessians_and_their_products():
    def f(x):
        return (lamella.sin(x) * x[::-1]).sum()
    x, v = numbers(4), numbers(4, seed=3)
    close(lamella.hvp(f, (x,), (v,)), lamella.hessian(f)(x) @ v)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 33])
@pytest.mark.parametrize("reverse", [False, True])
def test_prefixes_of_an_associative_function(n, reverse):
    """Affine maps composed: (a, b) stands for y = a y + b, as in a linear recurrence."""
    a, b = np.random.default_rng(n).uniform(0.5, 1.5, (2, n, 3)).astype(np.float32)

    def fn(p, q):
        return p[0] * q[0], q[0] * p[1] + q[1]

    found = lamella.associative_scan(fn, (lamella.asarray(a), lamella.asarray(b)), reverse)
    y, want = np.zeros(3, np.float32), np.empty_like(b)
    for i in (reversed(range(n)) if reverse else range(n)):
        y = want[i] = a[i] * y + b[i]
    close(found[1], want, 1e-4)


def test_prefixes_along_another_axis():
    x = numbers(3, 5)
    found = lamella.associative_scan(lamella.maximum, x, axis=1)
    close(found, np.maximum.accumulate(np.array(x), 1))
    with pytest.raises(ShapeError, match="one extent"):
        lamella.associative_scan(lambda a, b: a, (x, numbers(4, 5)))
