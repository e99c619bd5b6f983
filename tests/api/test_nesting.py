"""Any transform around any other: the same bits compiled or not, and slopes that differences find.

A transform here makes of a function of one array to one number another such function.
"""

import numpy as np
import pytest
from ops.cases import same_bits

import lamella as L

X = np.array([0.3, -0.7, 1.1])
WAY = np.array([0.5, 1.0, -0.25])
KEYS = L.random.split(L.random.key(3), 2)


def base(x):
    return (L.sin(x) * x).sum() + x[0] * x[-1]


def stated(f):
    """f with its own derivative as a custom rule."""
    g = L.custom_vjp(f)
    g.defvjp(lambda x: (f(x), x), lambda x, c: (L.grad(f)(x) * c,))
    return g


def pushed(f):
    """f with its own tangent as a custom rule."""
    g = L.custom_jvp(f)
    g.defjvp(lambda primals, tangents: L.jvp(f, primals, tangents))
    return g


def rows(x):
    return L.stack([x, x * 0.5])


TRANSFORMS = {
    "grad": lambda f: lambda x: (L.grad(f)(x) * WAY).sum(),
    "jvp": lambda f: lambda x: L.jvp(f, (x,), (L.asarray(WAY),))[1],
    "linearize": lambda f: lambda x: L.linearize(f, x)[1](L.asarray(WAY)),
    "vjp": lambda f: lambda x: (L.vjp(f, x)[1](L.asarray(1.0, dtype="float64"))[0] * WAY).sum(),
    "hvp": lambda f: lambda x: (L.hvp(f, (x,), (L.asarray(WAY),)) * WAY).sum(),
    "jacobian": lambda f: lambda x: (L.jacobian(lambda v: v * f(v))(x) * WAY).sum(),
    "forward jacobian": lambda f: lambda x: (L.jacobian(lambda v: v * f(v), mode="forward")(x)
                                             * WAY).sum(),
    "vmap": lambda f: lambda x: L.vmap(f)(rows(x)).sum(),
    "vmap of keys": lambda f: lambda x: L.vmap(lambda k: f(x + L.random.normal(
        k, (3,), dtype="float64")))(KEYS).sum(),
    "checkpoint": L.checkpoint,
    "compile": L.compile,
    "custom_vjp": stated,
    "custom_jvp": pushed,
    "scan": lambda f: lambda x: L.scan(lambda c, v: (c * 0.5 + f(v), f(v) * c),
                                       L.ones((), dtype="float64"), rows(x))[1].sum(),
    "scan that saves all": lambda f: lambda x: L.scan(
        lambda c, v: (c * 0.5 + f(v), c), L.ones((), dtype="float64"), rows(x), save="all")[0],
    "while": lambda f: lambda x: L.while_loop(
        lambda s: s[1] < 2, lambda s: (s[0] * 0.5 + f(s[0] * x), s[1] + 1),
        (L.ones((), dtype="float64"), 0), max_steps=3)[0],
    "cond": lambda f: lambda x: L.cond(x.sum() > 0, lambda: f(x), lambda: f(-x) * 2.0),
}
# those that need tangents of what is inside
FORWARD = {"jvp", "linearize", "hvp", "forward jacobian", "custom_jvp"}


def inner(outer: str) -> list[str]:
    return [n for n in TRANSFORMS if not (outer in FORWARD and n == "custom_vjp")]


@pytest.mark.parametrize("outer", TRANSFORMS)
def test_nested_transforms(outer):
    nested = {n: TRANSFORMS[outer](TRANSFORMS[n](base)) for n in inner(outer)}
    x = L.asarray(X)

    def every(x):
        return [L.value_and_grad(f)(x) for f in nested.values()]

    compiled = L.compile(every)
    found, at = every(x), {s: compiled(L.asarray(X + s * 1e-4 * WAY)) for s in (-2, -1, 0, 1, 2)}
    for k, name in enumerate(nested):
        for a, b in zip(found[k], at[0][k], strict=True):
            assert same_bits(a.numpy(), b.numpy()), name
        near, far = ((float(at[s][k][0]) - float(at[-s][k][0])) / (s * 2e-4) for s in (1, 2))
        slope = float((at[0][k][1] * WAY).sum())
        assert slope == pytest.approx((4 * near - far) / 3, rel=1e-6, abs=1e-6), name
