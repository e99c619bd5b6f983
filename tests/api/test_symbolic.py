"""Extents that are symbols, through indices, loops, choices, sorts and transforms: one compile
serves every size with the bits of uncompiled code, and what may leave an axis is refused."""

import numpy as np
import pytest
from ops.cases import same_bits

import lamella as L
from lamella.base import tree
from lamella.base.errors import PositionError, ShapeError

N = L.symbol("n", 1, 64)
FUNCTIONS = {
    "flip": lambda x: x[::-1],
    "flip both": lambda x: x[::-1, ::-1],
    "every second": lambda x: x[::2],
    "every third from the end": lambda x: x[::-3],
    "a part from the end": lambda x: x[-1:0:-2],
    "roll": lambda x: L.roll(x, (1, -1), axis=(0, 1)),
    "differences": lambda x: x[1:] - x[:-1],
    "half": lambda x: x[:x.shape[0] // 2],
    "scan": lambda x: L.scan(lambda c, v: (c * 0.5 + v, c), L.zeros(3), x, reverse=True),
    "gradient of scan": L.grad(lambda x: L.scan(lambda c, v: (L.tanh(c * 0.5 + v), c),
                                                L.zeros(3), x)[1].sum()),
    "scan over the other axis": lambda x: L.scan(
        lambda c, v: (c * 0.5 + v, c.sum()), L.zeros(x.shape[:1]), x.T),
    "cond": L.value_and_grad(lambda x: L.cond(x.sum() > 0, lambda: x * x, lambda: -x).sum()),
    "while": L.grad(lambda x: L.while_loop(lambda y: (y * y).sum() > 1e-2, lambda y: y * 0.5, x,
                                           max_steps=5).sum()),
    "fori": lambda x: L.fori_loop(0, x.shape[0], lambda i, c: c + x[i], L.zeros(3)),
    "pad": lambda x: [L.pad(x, [(2, 3), (0, 1)], mode=m)
                      for m in ("edge", "reflect", "wrap", "symmetric")],
    "interpolate": lambda x: [L.interpolate(x.reshape(1, -1, 3), 7, method=m)
                              for m in ("nearest", "nearest-exact", "linear", "cubic")],
    "interpolate between corners": L.grad(lambda x: (L.interpolate(
        x.reshape(1, -1, 3), 9, method="linear", align_corners=True) ** 2).sum()),
    "shuffle": lambda x: L.random.permutation(L.random.key(3), x),
    "associative scan": lambda x: L.associative_scan(
        lambda p, q: (p[0] * q[0], q[0] * p[1] + q[1]), (x, x * 0.5)),
    "associative scan from the end": lambda x: L.associative_scan(
        L.maximum, x.T, reverse=True, axis=1),
    "gradient of associative scan": L.grad(lambda x: (
        L.associative_scan(lambda p, q: p * L.sin(q), x) * x).sum()),
    "batched associative scan": L.vmap(lambda v: L.associative_scan(L.add, v), 1),
    "map": lambda x: L.map(lambda v: v.sum() * v, x),
    "batched cond": L.vmap(lambda v: L.cond(v.sum() > 0, lambda: v * 2, lambda: -v)),
    "batched while": L.vmap(lambda v: L.while_loop(lambda y: y.sum() > 1, lambda y: y * 0.5, v)),
    "batched scan": L.vmap(lambda v: L.scan(lambda c, u: (c + u, c * u), 0.0, v)),
    "sort": lambda x: (L.sort(x, axis=0), L.argsort(x, axis=0, descending=True)),
    "gradient of sort": L.grad(lambda x: (L.sort(x, axis=0) * x).sum()),
    "top_k": lambda x: L.top_k(x.T, 1),
    "median": lambda x: L.median(x, axis=0),
    "searchsorted": lambda x: L.searchsorted(L.sort(x[:, 0]), x[:, 1]),
    "products": L.value_and_grad(lambda x: L.prod(x, axis=0).sum()
                                 + L.cumulative_prod(x, axis=0).sum()),
    "checkpoint": L.grad(lambda x: L.checkpoint(lambda v: L.sin(L.sin(v)))(x).sum()),
    "jacobian": lambda x: L.jacobian(lambda v: v * v.sum())(x[0]),
    "cholesky": lambda x: L.linalg.cholesky(x @ x.T + L.eye(x.shape[0]) * 9.0),
    "take": lambda x: L.take(x, L.argsort(x[:, 0]), axis=0),
    "segments": lambda x: L.segment_sum(x, L.argmax(x, axis=1), 3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_compile_serves_every_size(name):
    f = FUNCTIONS[name]
    compiled = L.compile(f, sizes={0: (N, None)})
    for n in (1, 2, 3, 7, 64):
        x = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
        found, wanted = (tree.leaves(g(L.asarray(x))) for g in (compiled, f))
        for a, b in zip(found, wanted, strict=True):
            assert same_bits(a.numpy(), b.numpy()), n
    assert len(compiled.entries) == 1


@pytest.mark.parametrize("index", (-1, 0, 7, slice(1, None), slice(None, -1), slice(0, 5),
                                   slice(None, 3, -1)))
def test_what_may_lie_outside_is_refused_when_it_is_written(index):
    empty = L.symbol("m", 0, 64)
    f = L.compile(lambda x: x[index], sizes={0: (empty, None)})
    with pytest.raises(PositionError, match="raise the symbol's lower bound .test_symbolic"):
        f(np.ones((9, 3), np.float32))


def test_what_turns_out_to_lie_outside_is_refused_at_the_call():
    m = L.symbol("m", 1, 64)
    f = L.compile(lambda x, y: x[:y.shape[0]] * 2, sizes={0: (N, None), 1: (m,)})
    x = np.ones((5, 3), np.float32)
    assert f(x, np.ones(4, np.float32)).shape == (4, 3)
    with pytest.raises(ShapeError, match=r"outside of axis 0 of shape \(5, 3\), with n = 5, m = 9"):
        f(x, np.ones(9, np.float32))
    g = L.compile(lambda x: L.scan(lambda c, v: (c + x[:x.shape[0] - 2].sum(), c), 0.0, x)[0],
                  sizes={0: (N, None)})
    assert g(x) == 5 * 9
    with pytest.raises(ShapeError, match="with n = 1"):
        g(x[:1])


def test_what_an_open_associative_scan_combines_for_nobody_stays_out_of_gradients():
    f = L.grad(lambda x: L.associative_scan(L.multiply, x).sum())
    compiled = L.compile(f, sizes={0: (L.symbol("n", 0, 9),)})
    for x in ([], [1e30, 1e-30, 1e38], [0.0, 1e38, 1e-30, 0.0, 1e38]):  # 1e38 squared overflows
        x = L.asarray(np.array(x, np.float32))
        assert same_bits(compiled(x).numpy(), f(x).numpy())
