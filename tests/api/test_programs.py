"""Small real programs in which transforms and loops nest: compiled and uncompiled, the same bits,
and values that are known by other ways."""

import numpy as np
import pytest
from ops.cases import same_bits

import lamella as L
from lamella import nn
from lamella.base import tree


def numbers(*shape, seed=0):
    return L.asarray(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def generated(x):
    """A decoder with a cache of keys and values, in a scan."""
    d, heads, steps = 16, 2, 8
    w = {name: numbers(d, d, seed=k) * 0.3 for k, name in enumerate("qkvo")}

    def step(carry, at):
        (keys, values), x = carry
        q, k, v = (x @ w[name] for name in "qkv")
        keys, values = (L.update_slice(c, n[None], (at, 0)) for c, n in ((keys, k), (values, v)))
        scores = (keys.reshape(steps, heads, -1) * q.reshape(1, heads, -1)).sum(axis=-1)
        p = L.softmax(L.where((L.arange(steps) <= at)[:, None], scores, -L.inf), axis=0)
        y = (p[..., None] * values.reshape(steps, heads, -1)).sum(axis=0).reshape(-1) @ w["o"]
        return ((keys, values), L.tanh(y)), y

    empty = L.zeros((steps, d)), L.zeros((steps, d))
    return L.scan(step, (empty, x), L.arange(steps))[1]


def meta_learned(xs, ys):
    """The gradient through a step of gradient descent, over a batch of tasks."""
    model = nn.MLP([1, 8, 1], key=L.random.key(0))

    def loss(m, x, y):
        return ((m(x) - y) ** 2).mean()

    def adapted(m, x, y):
        return loss(tree.map(lambda p, g: p - 0.1 * g, m, L.grad(loss)(m, x, y)), x, y)

    return L.value_and_grad(lambda m: L.vmap(lambda x, y: adapted(m, x, y))(xs, ys).mean())(model)


def per_example(x):
    """The gradient of each example alone."""
    model = nn.MLP([4, 8, 2], key=L.random.key(0))

    def loss(m, x, y):
        return nn.losses.cross_entropy(m(x[None]), y[None]).sum()

    return L.vmap(L.grad(loss), in_axes=(None, 0, 0))(model, x, L.arange(x.shape[0]) % 2)


def gaussian_process(x):
    """The likelihood of a Gaussian process, its gradient and Hessian by its parameters."""
    y = L.sin(x[:, 0])

    def likelihood(p):
        apart = ((x[:, None] - x[None]) ** 2 / L.exp(p[:2])).sum(axis=-1)
        k = L.exp(p[2] - 0.5 * apart) + L.exp(p[3]) * L.eye(x.shape[0])
        c = L.linalg.cholesky(k)
        return 0.5 * (y * L.linalg.solve(k, y)).sum() + L.log(L.linalg.diagonal(c)).sum()

    return L.value_and_grad(likelihood)(L.zeros(4)), L.hessian(likelihood)(L.zeros(4))


def beams(w):
    """Beam search in an open loop."""
    width, classes, steps = 3, w.shape[0], 5

    def step(s):
        at, scores, found = s
        last = L.take(found, L.maximum(at - 1, 0), axis=1)
        longer = L.log_softmax(w[last], axis=-1) + scores[:, None]
        best, place = L.top_k(longer.reshape(-1), width)
        found = L.where(L.arange(steps)[None] == at, (place % classes)[:, None],
                        found[place // classes])
        return at + 1, best, found

    return L.while_loop(lambda s: s[0] < steps, step, (
        0, L.asarray([0.0, -1e9, -1e9]), L.zeros((width, steps), dtype="int32")))


def filtered(ys):
    """A Kalman filter in a scan, and the gradient of its likelihood."""
    a, h, q, r = L.asarray([[1.0, 0.1], [0, 1]]), L.asarray([[1.0, 0]]), L.eye(2) * 0.01, L.eye(1)

    def step(carry, y):
        m, p = a @ carry[0], a @ carry[1] @ a.T + q
        s, off = h @ p @ h.T + r, y - h @ m
        gain = p @ h.T @ L.linalg.inv(s)
        m, p = m + gain @ off, p - gain @ h @ p
        return (m, p), (m, -0.5 * (off @ L.linalg.solve(s, off) + L.linalg.slogdet(s)[1]))

    def likelihood(ys):
        return L.scan(step, (L.zeros(2), L.eye(2)), ys)[1][1].sum()

    return L.value_and_grad(likelihood)(ys)


def sampled(x):
    """Hamiltonian chains: gradients in a loop in a scan in a batch of random keys."""
    def energy(x):
        return 0.5 * (x ** 2).sum() + 0.1 * (x ** 4).sum()

    def leap(_, s):
        x, p = s
        p = p - 0.05 * L.grad(energy)(x)
        x = x + 0.1 * p
        return x, p - 0.05 * L.grad(energy)(x)

    def chain(x, key):
        def step(x, k):
            first, second = L.random.split(L.random.fold_in(key, k))
            p = L.random.normal(first, x.shape)
            y, q = L.fori_loop(0, 5, leap, (x, p))
            fall = energy(x) - energy(y) + 0.5 * ((p ** 2).sum() - (q ** 2).sum())
            x = L.where(L.log(L.random.uniform(second, ())) < fall, y, x)
            return x, x
        return L.scan(step, x, L.arange(10))[1]

    return L.vmap(chain)(x, L.random.split(L.random.key(1), x.shape[0]))


def solved(b):
    """Conjugate gradients with products of a Hessian, in an open loop."""
    def f(x):
        return (x ** 4).sum() / 4 + (x ** 2).sum() + (x[1:] * x[:-1]).sum()

    def step(s):
        x, r, p, k = s
        ap = L.hvp(f, (L.ones_like(b),), (p,))
        a = (r * r).sum() / (p * ap).sum()
        rest = r - a * ap
        return x + a * p, rest, rest + (rest * rest).sum() / (r * r).sum() * p, k + 1

    return L.while_loop(lambda s: ((s[1] ** 2).sum() > 1e-8) & (s[3] < 50), step,
                        (L.zeros_like(b), b, b, 0))[0]


PROGRAMS = {"decoder": (generated, [numbers(16)]),
            "meta-learning": (meta_learned, [numbers(3, 5, 1), numbers(3, 5, 1, seed=1)]),
            "per example": (per_example, [numbers(6, 4)]),
            "Gaussian process": (gaussian_process, [numbers(10, 2)]),
            "beam search": (beams, [numbers(6, 6)]), "Kalman filter": (filtered, [numbers(20, 1)]),
            "Hamiltonian chains": (sampled, [numbers(3, 2)]),
            "conjugate gradients": (solved, [numbers(5)])}


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_and_uncompiled_give_the_same_bits(name):
    f, arrays = PROGRAMS[name]
    found, compiled = (tree.leaves(g(*arrays)) for g in (f, L.compile(f)))
    for a, b in zip(found, compiled, strict=True):
        assert same_bits(a.numpy(), b.numpy()) and np.isfinite(a.numpy()).all()


def test_known_values():
    b = numbers(5)
    hessian = L.hessian(lambda x: (x ** 4).sum() / 4 + (x ** 2).sum() + (x[1:] * x[:-1]).sum())(
        L.ones(5))
    assert np.allclose(solved(b).numpy(), np.linalg.solve(hessian.numpy(), b.numpy()), atol=1e-4)
    w = numbers(6, 6)
    logs, scores = L.log_softmax(w, axis=-1).numpy().astype(float), {(0,): 0.0}
    for _ in range(5):  # all sequences, the best three kept
        longer = {(*s, t): v + logs[s[-1], t] for s, v in scores.items() for t in range(6)}
        scores = dict(sorted(longer.items(), key=lambda i: -i[1])[:3])
    assert beams(w)[2].tolist() == [list(s[1:]) for s in scores]
    rows = per_example(numbers(6, 4))
    alone = per_example(numbers(6, 4)[2:3])
    for a, c in zip(tree.leaves(rows), tree.leaves(alone), strict=True):
        assert a.shape[1:] == c.shape[1:] and np.array_equal(a.numpy()[2], c.numpy()[0])
