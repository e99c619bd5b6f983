"""Products of bfloat16 by pairs of positions: the bits are those of the chain position by position,
small numbers included."""

import numpy as np
import pytest
from planner.targets import HERE, agree

import lamella
from lamella.engine.value import Value
from lamella.planner.kernels import worded
from lamella.planner.kernels.tiling import BEFORE, TASK, choose_tiling

SHAPES = [(37, 33, 70, "nn"), (16, 16, 16, "nn"), (40, 100, 50, "nt"), (40, 101, 50, "tn"),
          (64, 1025, 48, "tt"), (20, 2500, 33, "nn"), (9, 7, 1, "nn"), (30, 4100, 20, "nt"),
          (600, 40, 300, "nn")]


def rounded(x):
    return lamella.asarray(np.float32(x)).astype("bfloat16").astype("float32").numpy().copy()


def chain(a, b):
    """Fused multiply-adds in ascending order; the products of two bfloat16 are exact."""
    sums = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        exact = a[:, k:k + 1].astype(np.longdouble) * b[k:k + 1].astype(np.longdouble)
        sums = (sums.astype(np.longdouble) + exact).astype(np.float32)
    return sums


def product(layout):
    return lambda p, q: (p.mT if layout[0] == "t" else p) @ (q.mT if layout[1] == "t" else q)


@pytest.mark.parametrize("m,k,n,layout", SHAPES)
@pytest.mark.parametrize("scales", [(1.0, 1.0), (1e-20, 1e-18), (1e-30, 1.0), (1e20, 1e20)],
                         ids=str)
def test_the_chain_is_the_one_of_single_positions(m, k, n, layout, scales):
    rng = np.random.default_rng(0)
    a = rounded(rng.standard_normal((m, k)) * scales[0])
    b = rounded(rng.standard_normal((k, n)) * scales[1])
    a[0, :3], b[:2, 0] = 0.0, -0.0
    x, y = (lamella.asarray(z.T.copy() if t == "t" else z).astype("bfloat16")
            for z, t in zip((a, b), layout, strict=True))
    got = lamella.compile(product(layout))(x, y).astype("float32").numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        want = chain(a[:, :4096], b[:4096])
        if k > 4096:
            want = want + chain(a[:, 4096:], b[4096:])
    np.testing.assert_array_equal(got, rounded(want))


@pytest.mark.parametrize("way", [TASK, BEFORE])
@pytest.mark.parametrize("m,k,n,layout", [(33, 71, 100, "nn"), (70, 1100, 40, "tn"),
                                          (19, 35, 45, "nt"), (24, 4131, 33, "tt")])
def test_whoever_packs_the_right_operand(monkeypatch, m, k, n, layout, way):
    monkeypatch.setattr(worded, "choose_tiling",
                        lambda p, target: choose_tiling(p._replace(ways=(way,)), target))
    rng = np.random.default_rng(2)
    a, b = rounded(rng.standard_normal((2, m, k))), rounded(rng.standard_normal((2, k, n)))
    b[1, k - 1, n - 1] = 2.0 ** -70     # one panel of one product meets a small element
    x, y = (lamella.asarray(np.ascontiguousarray(z.swapaxes(1, 2) if t == "t" else z))
            .astype("bfloat16") for z, t in zip((a, b), layout, strict=True))
    got = lamella.compile(product(layout))(x, y).astype("float32").numpy()
    for i in range(2):
        want = chain(a[i, :, :4096], b[i, :4096])
        if k > 4096:
            want = want + chain(a[i, :, 4096:], b[i, 4096:])
        np.testing.assert_array_equal(got[i], rounded(want))


@pytest.mark.parametrize("way", [TASK, BEFORE])
@pytest.mark.parametrize("tiny,other", [(2.0 ** -100, 2.0 ** -33), (2.0 ** -33, 2.0 ** -100)])
@pytest.mark.parametrize("k", [9, 62, 63])
def test_one_small_element_is_enough(monkeypatch, way, tiny, other, k):
    monkeypatch.setattr(worded, "choose_tiling",
                        lambda p, target: choose_tiling(p._replace(ways=(way,)), target))
    a, b = np.ones((32, 64), np.float32), np.ones((64, 32), np.float32)
    a[7, k], b[k, 3] = tiny, other      # their product is 2^-133, a denormal number
    a[7, :k] = a[7, k + 1:] = 0.0
    a, b = a[:, :k + 1], b[:k + 1]
    for left, right, place in ((a, b, (7, 3)), (b.T, a.T, (3, 7))):
        x, y = (lamella.asarray(z.copy()).astype("bfloat16") for z in (left, right))
        got = lamella.compile(product("nn"))(x, y).astype("float32").numpy()
        assert got[place] == 2.0 ** -133


@pytest.mark.skipif(len(HERE) < 2, reason="one target here")
def test_targets_agree_with_an_epilogue_over_the_operand():
    p = lamella.trace(lambda x, w: lamella.tanh(x @ w) + x * 2.0,
                      *(lamella.spec((48, 48), "bfloat16"),) * 2)
    rng = np.random.default_rng(1)
    given = [Value.from_numpy(lamella.asarray(np.float32(rng.standard_normal((48, 48))))
                              .astype("bfloat16").numpy()) for _ in range(2)]
    assert agree(p, given)
