"""Factorizations of matrices: what they multiply to, and the derivatives of what is unique in them.

Gradients are held against slopes along random directions, and against PyTorch where it is there.
"""

import numpy as np
import pytest

import lamella
from lamella import linalg
from lamella.base.errors import DTypeError, ExecutionError, LamellaError, ShapeError
from lamella.ir.interpret import interpret
from lamella.ir.parser import parse
from lamella.ir.printer import to_text


def normal(*shape, seed=0, dtype=np.float64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape)).astype(dtype) if np.dtype(dtype).kind == "c" \
        else x.astype(dtype)


def ct(x):
    return lamella.conj(x).mT


def hermitian(x):
    return x @ ct(x) + 3 * lamella.eye(x.shape[-2], dtype=x.dtype)


# name: (function of arrays to arrays that are unique, shapes of the operands)
UNIQUE = {
    "cholesky": (lambda x: linalg.cholesky(hermitian(x)), [(4, 4)]),
    "cholesky of several": (lambda x: linalg.cholesky(hermitian(x)), [(2, 3, 3)]),
    "upper cholesky": (lambda x: linalg.cholesky(hermitian(x), upper=True), [(4, 4)]),
    "qr": (lambda x: linalg.qr(x), [(5, 3)]),
    "square qr": (lambda x: linalg.qr(x), [(2, 3, 3)]),
    "wide qr": (lambda x: linalg.qr(x), [(3, 5)]),
    "eigh": (lambda x: linalg.eigvalsh(hermitian(x)), [(4, 4)]),
    "eigh's spaces": (lambda x: _spaces(*linalg.eigh(hermitian(x))), [(3, 3)]),
    "eig": (lambda x: linalg.eigvals(x), [(4, 4)]),
    "eig's spaces": (lambda x: _powers(*linalg.eig(x)), [(3, 3)]),
    "svd": (lambda x: linalg.svdvals(x), [(5, 3)]),
    "svd's spaces": (lambda x: _polar(*linalg.svd(x, full_matrices=False)), [(5, 3)]),
    "wide svd's spaces": (lambda x: _polar(*linalg.svd(x, full_matrices=False)), [(2, 3, 4)]),
    "solve": (lambda a, b: linalg.solve(a, b), [(4, 4), (4, 2)]),
    "solve of a vector": (lambda a, b: linalg.solve(a, b), [(3, 4, 4), (4,)]),
    "solve_triangular": (lambda a, b: linalg.solve_triangular(a, b), [(4, 4), (4, 2)]),
    "upper unit triangle": (lambda a, b: linalg.solve_triangular(
        a, b, lower=False, unit_diagonal=True), [(4, 4), (4, 2)]),
    "inv": (lambda a: linalg.inv(a), [(2, 4, 4)]),
    "det": (lambda a: linalg.det(a), [(2, 4, 4)]),
    "slogdet": (lambda a: linalg.slogdet(a), [(4, 4)]),
    "pinv": (lambda a: linalg.pinv(a), [(5, 3)]),
    "lstsq": (lambda a, b: linalg.lstsq(a, b), [(5, 3), (5, 2)]),
    "expm": (lambda a: linalg.expm(a), [(2, 3, 3)]),
    "nuclear norm": (lambda a: linalg.matrix_norm(a, ord="nuc"), [(3, 4)]),
    "matrix_power": (lambda a: linalg.matrix_power(a, -3), [(3, 3)]),
}


def _spaces(w, v):
    return (v * (w * w)[..., None, :].astype(v.dtype)) @ ct(v)


def _powers(w, v):
    return (v * (w * w)[..., None, :]) @ linalg.inv(v)


def _polar(u, s, vh):
    return u @ vh


def flat(out) -> list:
    out = list(out) if isinstance(out, tuple) else [out]
    return [p for o in out for p in ((lamella.real(o), lamella.imag(o)) if o.dtype.is_complex
                                     else (o,))]


def operands(shapes, dtype):
    return [lamella.asarray(normal(*s, seed=7 + k, dtype=dtype)) for k, s in enumerate(shapes)]


def weighted(f):
    """A real number made of all of f's results."""
    def loss(*xs):
        total = 0.0
        for k, part in enumerate(flat(f(*xs))):
            total = total + (part * lamella.asarray(normal(*part.shape, seed=20 + k))).sum()
        return total
    return loss


@pytest.mark.parametrize("dtype", [np.float64, np.complex128], ids=["real", "complex"])
@pytest.mark.parametrize("name", UNIQUE)
def test_gradients_are_slopes(name, dtype):
    f, shapes = UNIQUE[name]
    xs, loss = operands(shapes, dtype), weighted(f)
    grads = lamella.compile(lamella.grad(loss, tuple(range(len(xs)))))(*xs)
    for k, (x, g) in enumerate(zip(xs, grads, strict=True)):
        way = normal(*x.shape, seed=40, dtype=dtype)

        def at(h, k=k, x=x, way=way):
            moved = [*xs]
            moved[k] = lamella.asarray(x.numpy() + h * way)
            return float(loss(*moved))

        slope = (8 * (at(1e-5) - at(-1e-5)) - (at(2e-5) - at(-2e-5))) / 12e-5
        stated = float(np.sum(np.conj(np.asarray(g)) * way).real)
        assert stated == pytest.approx(slope, rel=2e-6, abs=1e-6)


@pytest.mark.parametrize("name", UNIQUE)
def test_second_derivatives_are_slopes_of_the_first(name):
    f, shapes = UNIQUE[name]
    xs, loss = operands(shapes, np.float64), weighted(f)
    x, rest = xs[0], xs[1:]
    first = lamella.grad(lambda x: loss(x, *rest))
    weights, way = lamella.asarray(normal(*x.shape, seed=50)), normal(*x.shape, seed=51)
    second = lamella.grad(lambda x: (first(x) * weights).sum())(x)

    def at(h):
        return float((first(lamella.asarray(x.numpy() + h * way)) * weights).sum())

    slope = (8 * (at(1e-5) - at(-1e-5)) - (at(2e-5) - at(-2e-5))) / 12e-5
    assert float(np.sum(np.asarray(second) * way)) == pytest.approx(slope, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", UNIQUE)
def test_tangents_are_slopes(name):
    f, shapes = UNIQUE[name]
    xs, loss = operands(shapes, np.float64), weighted(f)
    ways = [lamella.asarray(normal(*x.shape, seed=60 + k)) for k, x in enumerate(xs)]
    _, tangent = lamella.jvp(loss, tuple(xs), tuple(ways))
    grads = lamella.grad(loss, tuple(range(len(xs))))(*xs)
    along = sum(float((g * w).sum()) for g, w in zip(grads, ways, strict=True))
    assert float(tangent) == pytest.approx(along, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64], ids=["real", "complex"])
@pytest.mark.parametrize("name", UNIQUE)
def test_compiled_is_uncompiled_and_a_batch_its_members(name, dtype):
    f, shapes = UNIQUE[name]
    xs = operands(shapes, dtype)
    alone, together = flat(f(*xs)), flat(lamella.compile(f)(*xs))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    pairs = [lamella.stack([x, x * 0.5 + 1]) for x in xs]
    batched = flat(lamella.vmap(f)(*pairs))
    second = flat(f(*(p[1] for p in pairs)))
    for b, first, other in zip(batched, alone, second, strict=True):
        assert np.allclose(b[0], first, rtol=1e-4, atol=1e-4)
        assert np.allclose(b[1], other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["cholesky", "qr", "svd", "inv", "det", "pinv", "eigh"])
def test_gradients_are_pytorch_s(name):
    torch = pytest.importorskip("torch")
    theirs = {"cholesky": lambda x: torch.linalg.cholesky(x @ x.mH + 3 * torch.eye(4)),
              "qr": lambda x: torch.linalg.qr(x), "svd": lambda x: torch.linalg.svdvals(x),
              "inv": lambda x: torch.linalg.inv(x), "det": lambda x: torch.linalg.det(x),
              "pinv": lambda x: torch.linalg.pinv(x),
              "eigh": lambda x: torch.linalg.eigvalsh(x @ x.mH + 3 * torch.eye(4))}[name]
    f, shapes = UNIQUE[name]
    for dtype in (np.float64, np.complex128):
        x, = operands(shapes, dtype)
        t = torch.from_numpy(x.numpy().copy()).requires_grad_()
        out = theirs(t)
        parts = [p for o in (out if isinstance(out, tuple) else (out,))
                 for p in ((o.real, o.imag) if o.is_complex() else (o,))]
        sum((p * torch.from_numpy(normal(*p.shape, seed=20 + k))).sum()
            for k, p in enumerate(parts)).backward()
        g = lamella.grad(weighted(f))(x)
        assert np.allclose(np.asarray(g), t.grad.numpy(), rtol=1e-8, atol=1e-9)


def test_factors_multiply_to_the_matrix():
    for dtype in (np.float32, np.complex64):
        x = lamella.asarray(normal(2, 5, 3, dtype=dtype))
        q, r = linalg.qr(x)
        assert np.allclose(q @ r, x, atol=1e-5)
        whole = linalg.qr(x, mode="complete")
        assert whole.Q.shape == (2, 5, 5) and np.allclose(whole.Q @ whole.R, x, atol=1e-5)
        u, s, vh = linalg.svd(x, full_matrices=False)
        assert np.allclose((u * s[:, None, :].astype(u.dtype)) @ vh, x, atol=1e-5)
        h = hermitian(x)
        low = linalg.cholesky(h)
        assert np.allclose(low @ ct(low), h, atol=1e-4)
        w, v = linalg.eigh(h)
        assert np.allclose(h @ v, v * w[:, None, :].astype(v.dtype), atol=1e-3)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 130])
def test_triangular_solutions_of_every_size(n):
    a = normal(n, n) + 3 * n * np.eye(n)
    b = normal(n, 3, seed=1)
    for lower in (True, False):
        t = np.tril(a) if lower else np.triu(a)
        x = linalg.solve_triangular(lamella.asarray(a), lamella.asarray(b), lower=lower)
        assert np.allclose(t @ np.asarray(x), b)


def test_expm_of_large_and_nilpotent_matrices():
    a = np.array([[0.0, 1, 2], [0, 0, 3], [0, 0, 0]])
    assert np.allclose(linalg.expm(lamella.asarray(a)), np.eye(3) + a + a @ a / 2)
    assert np.allclose(linalg.expm(lamella.asarray(np.diag([-40.0, 3.0]))),
                       np.diag(np.exp([-40.0, 3.0])), rtol=1e-10)


def test_equal_values_have_finite_gradients():
    eye = lamella.asarray(np.eye(3))
    g = lamella.grad(lambda x: _spaces(*linalg.eigh(x)).sum())(eye)
    assert np.isfinite(np.asarray(g)).all()
    g = lamella.grad(lambda x: linalg.svdvals(x).sum())(eye)
    assert np.allclose(g, np.eye(3))


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda x: linalg.inv(x), ShapeError, "square"),
    (lambda x: linalg.cholesky(x[0]), ShapeError, "matrices"),
    (lambda x: linalg.svd(x.astype("int32")), DTypeError, "cast"),
    (lambda x: linalg.svd(x.astype("float16")), DTypeError, "cast"),
    (lambda x: linalg.solve(x.mT @ x, x), ShapeError, "solve"),
    (lambda x: linalg.matrix_norm(x, ord=7), LamellaError, "matrix_norm"),
])
def test_errors_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call(lamella.asarray(normal(2, 3)))


def test_a_failure_at_run_time_names_the_function_and_the_line():
    with pytest.raises(ExecutionError, match=r"(?s)cholesky: .*test_matrices.py"):
        lamella.compile(lambda x: linalg.cholesky(x))(lamella.asarray(-np.eye(3)))
    with pytest.raises(LamellaError, match="reduced"):
        lamella.grad(lambda x: linalg.qr(x, mode="complete").R.sum())(
            lamella.asarray(normal(4, 2)))


def test_a_program_with_factorizations_has_a_text():
    p = lamella.trace(lambda x: linalg.svd(x, full_matrices=False), lamella.spec((4, 3)))
    again = parse(to_text(p))
    assert to_text(again) == to_text(p)
    x = normal(4, 3, dtype=np.float32)
    for a, b in zip(interpret(again, [x]), linalg.svd(lamella.asarray(x), full_matrices=False),
                    strict=True):
        assert np.allclose(a, b)


def test_a_plan_states_host_calls_and_their_workspace():
    p = lamella.plan(lambda x: linalg.inv(x @ x.mT) * 2, lamella.spec((8, 8)))
    assert "host calls" in str(p) and p.workspace > 0 and not p.same_bits
    assert "host" in p.kernels()
