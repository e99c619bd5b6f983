"""Kernels that differ in a count alone are one, with the bits of a division."""

import numpy as np
import pytest

import lamella as L
from lamella.engine import kernels


def _kernels(f, *specs) -> set:
    plan = L.plan(f, *specs).plan
    return {kernels.key_of(s.kernel) for s in (*plan.prologue, *plan.launches())}


@pytest.mark.parametrize("f, shapes", [
    (lambda x: x.mean(0), [(8192, 64), (1 << 14, 96), (1 << 15, 128)]),
    (lambda x: x.mean(0), [(8000, 64), (12000, 96), (20000, 128)]),
    (lambda x: x.mean(1), [(32, 4096), (96, 8192), (64, 1 << 15)]),
    (lambda x: (x - x.mean(0)) ** 2 + 1e-5, [(8000, 64), (20000, 96)]),
])
def test_reductions_over_any_count_are_the_same_kernels(f, shapes):
    found = [_kernels(f, L.spec(s)) for s in shapes]
    assert all(k == found[0] for k in found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by", [0.1, 3.0, -7.5, 2.0, 4.0, -4.0, 0.25, 32768.0, 2.0 ** -100,
                                2.0 ** 100, -2.0 ** 126, 2.0 ** -126, 1e-40, 1e38])
def test_a_quotient_by_a_count_has_its_bits(dtype, by):
    info = np.finfo(dtype)
    x = np.array([0.0, -0.0, 1.0, -3.0, np.pi, info.tiny, -info.tiny * 1.5, info.max, -info.max,
                  info.smallest_subnormal, info.smallest_subnormal * 12345, np.inf, -np.inf,
                  np.nan, *np.random.default_rng(0).standard_normal(100)], dtype)
    got = np.asarray(L.compile(lambda x: x / by)(L.asarray(x)))
    with np.errstate(all="ignore"):
        want = x / np.asarray(by, dtype)
    word = f"int{info.bits}"
    there = ~np.isnan(want)
    assert (np.isnan(got) == ~there).all()
    assert (got.view(word)[there] == want.view(word)[there]).all()


def test_convolutions_of_any_batch_are_the_same_kernels():
    def f(x, w):
        return L.conv2d(x, w, stride=2, padding=1)

    found = [_kernels(f, L.spec((n, 20, 20, 64)), L.spec((128, 3, 3, 64))) for n in (4, 8)]
    assert found[0] == found[1]
