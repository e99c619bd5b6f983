"""Parts of a join are written where they stand: no kernel joins them, and the bits are the same."""

import numpy as np
import pytest

import lamella as L

R = np.random.default_rng(0)


def made(*shape):
    return R.standard_normal(shape, "float32")


def names(f, *args) -> list[str]:
    return [s.names for s in L.plan(f, *args).plan.launches()]


PLACED = {
    "products and maps, by columns": (
        lambda x, u, v: L.concat([x @ u, L.tanh(x @ v), x[:, :5] * 2.0], axis=1),
        (6, 40), (40, 48), (40, 33)),
    "products, by rows": (lambda x, u, v: L.concat([x @ u, x[:3] @ v], axis=0),
                          (6, 40), (40, 33), (40, 33)),
    "read by what comes behind": (
        lambda x, u, v: L.softmax(L.concat([x @ u, x @ v], axis=1) @ x.T[:33]),
        (6, 40), (40, 20), (40, 13)),
    "joins of joins": (
        lambda x, u, v: L.concat([x @ v, L.concat([x @ u, L.exp(x)], axis=1)], axis=1).sum(0),
        (6, 40), (40, 20), (40, 21)),
    "put between each other": (
        lambda x, u, v: L.stack([x @ u, x @ v], axis=1).reshape((12, 20)), (6, 40), (40, 20),
        (40, 20)),
    "zeros": (lambda x, u, v: L.concat([L.zeros((6, 20)), x @ u, x @ v], axis=1),
              (6, 40), (40, 20), (40, 20)),
    "a batch": (lambda x, u, v: L.concat([x @ u, x @ v], axis=2), (3, 6, 40), (40, 20), (40, 7)),
}
COPIED = {
    "a part that is read elsewhere": lambda x, u, v: (L.concat([x @ u, x @ v], axis=1), x @ v),
    "a part twice": lambda x, u, v: (lambda y: L.concat([y, y], axis=1))(x @ u),
    "an argument": lambda x, u, v: L.concat([x @ u, x], axis=1),
    "lanes apart": lambda x, u, v: L.stack([x @ u, x @ v], axis=2),
    "a part of a part": lambda x, u, v: L.concat([(x @ u)[1:], x @ v], axis=0),
}


@pytest.mark.parametrize("name", PLACED)
def test_parts_are_written_where_they_stand(name):
    f, *shapes = PLACED[name]
    args = [made(*s) for s in shapes]
    assert not any("concat" in n for n in names(f, *args))
    found, plain = L.compile(f)(*args), f(*map(L.asarray, args))
    assert found.numpy().tobytes() == plain.numpy().tobytes()


@pytest.mark.parametrize("name", COPIED)
def test_others_are_copied(name):
    f, args = COPIED[name], [made(6, 40), made(40, 20), made(40, 20)]
    assert any("concat" in n for n in names(f, *args))
    for a, b in zip(L.tree.leaves(L.compile(f)(*args)), L.tree.leaves(f(*map(L.asarray, args))),
                    strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


@pytest.mark.parametrize("size, taps, groups", [(12, 3, 1), (12, 1, 1), (12, 3, 32), (11, 3, 1),
                                                (12, 5, 1)])
def test_the_gradient_of_a_convolution_that_steps(size, taps, groups):
    """Its residues are put between each other, of even sizes without a copy."""
    w = made(32, taps, taps, 32 // groups)
    x = made(2, size, size, 32)

    def conv(x):
        return L.conv2d(x, w, stride=2, padding=taps // 2, groups=groups)

    def f(x, g):
        return L.vjp(conv, x)[1](g)[0]

    g = made(*conv(L.asarray(x)).shape)
    assert any("concat" in n for n in names(f, x, g)) == (size % 2 == 1)
    assert L.compile(f)(x, g).numpy().tobytes() == f(L.asarray(x), L.asarray(g)).numpy().tobytes()


def test_places_in_what_a_loop_carries_and_in_what_is_donated():
    """A join that could take the bytes of what its parts read does so only where that is right."""
    def halves(x, w):
        return L.concat([x[:4] @ w, L.tanh(x[4:])], axis=0)

    def swapped(x, w):
        return L.concat([L.tanh(x[4:]), x[:4] * 2.0], axis=0)

    x, w = made(8, 16), made(16, 16)
    for f in (halves, swapped):
        def loop(x, w, *, f=f):
            return L.fori_loop(0, 5, lambda k, x: f(x, w), x)

        plain = L.asarray(x)
        for _ in range(5):
            plain = f(plain, L.asarray(w))
        assert L.compile(loop)(x, w).numpy().tobytes() == plain.numpy().tobytes()
        once = f(L.asarray(x), L.asarray(w)).numpy()
        given = L.asarray(x.copy())
        given.numpy()
        assert L.compile(f, donate="x")(given, w).numpy().tobytes() == \
            once.tobytes()


def test_within_a_budget_and_as_planned():
    x, u, v = made(64, 128), made(128, 128), made(128, 128)

    def f(x, u, v):
        for _ in range(6):
            x = L.tanh(L.concat([x @ u[:, :64], L.relu(x @ v)[:, 64:] @ v[:64, :64]], axis=1))
        return x

    def step(x, u, v):
        return L.grad(lambda x: f(x, u, v).sum())(x)

    whole = L.plan(step, x, u, v)
    plain = L.compile(step)(x, u, v).numpy()
    curve = L.memory_curve(step, x, u, v)
    for memory in (whole.peak, curve[len(curve) // 3].peak, curve[len(curve) // 2].peak):
        assert L.compile(step, memory=memory)(x, u, v).numpy().tobytes() == plain.tobytes()
    assert L.measure(step, x, u, v).peak == whole.peak
