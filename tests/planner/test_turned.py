"""Products of few rows by an operand that is turned in registers: the bits of the other ways."""

import numpy as np
import pytest

import lamella
from lamella.engine import kernels
from lamella.planner.build import build_plan
from lamella.planner.kernels import contract
from lamella.planner.kernels.tiling import BEFORE, TASK, TURNED, choose_tiling

WIDE = pytest.mark.skipif(kernels.target().vector_bits < 512, reason="squares leave the registers")


def forced(monkeypatch, way):
    """Products by that way where it is offered; gives the cuts that were chosen."""
    found = []

    def choose(p, target):
        found.append(choose_tiling(p._replace(ways=(way,)) if way in p.ways else p, target))
        return found[-1]

    monkeypatch.setattr(contract, "choose_tiling", choose)
    return found


@WIDE
@pytest.mark.parametrize("m,k,n", [(1, 16, 16), (1, 17, 33), (2, 100, 47), (3, 5, 40), (4, 33, 16),
                                   (1, 4096, 50), (1, 4097, 20), (2, 9000, 17), (1, 1, 20),
                                   (1, 64, 1), (4, 50, 100)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_every_way_gives_the_same_bits(monkeypatch, m, k, n, dtype, batch):
    rng = np.random.default_rng(0)
    x, w = (lamella.asarray(np.float32(rng.standard_normal((*batch, *s)) * 8)).astype(dtype)
            for s in ((m, k), (n, k)))
    seen = set()
    for way in (TURNED, TASK, BEFORE):
        found = forced(monkeypatch, way)
        got = lamella.compile(lambda p, q: lamella.maximum(p @ q.mT, 0))(x, w)
        assert not found or found[-1].right == way or min(n, k) == 1
        seen.add(got.astype("float32").numpy().tobytes())
    assert len(seen) == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("m,k,n", [(1, 15, 15), (2, 7, 64), (3, 40, 33), (4, 16, 16)])
def test_few_rows_are_exact(m, k, n, dtype):
    """In float16 the columns of a chain that ends within a square came out in wrong places."""
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-4, 5, s).astype("float32") for s in ((m, k), (n, k)))
    given = [lamella.asarray(v).astype(dtype) for v in (x, w)]
    found = lamella.compile(lambda p, q: (p @ q.mT).astype("float32"))(*given)
    np.testing.assert_array_equal(found.numpy(), (x @ w.T).astype(given[0].numpy().dtype))


@WIDE
def test_an_infinity_beyond_the_end_takes_no_part():
    x = np.ones((1, 21), np.float32)
    w = np.full((40, 64), np.inf, np.float32)
    w[:, :21] = 0.5
    f = lamella.compile(lambda p, q: p @ q[:, :21].mT)
    np.testing.assert_array_equal(f(lamella.asarray(x), lamella.asarray(w)).numpy(), 10.5)


@WIDE
def test_a_row_by_a_transposed_matrix_and_a_matrix_by_a_column_turn():
    for f, a, b in ((lambda p, q: p @ q.mT, (1, 768), (512, 768)),
                    (lambda p, q: p @ q, (512, 768), (768,))):
        p = lamella.trace(f, lamella.spec(a), lamella.spec(b))
        plan = build_plan(p, kernels.target())
        assert [s.kernel.name for s in plan.launches()] == ["contract"]
        assert "transposed" in str(next(iter(plan.launches())).kernel)
