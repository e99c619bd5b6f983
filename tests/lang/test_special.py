"""Special functions against 40 digits, to the errors that docs/special_functions.md states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lamella.base.dtypes import float32, float64
from lamella.lang import expr, scalar, special  # noqa: F401  (defines the functions)
from lamella.lang.evaluate import evaluate

mp = pytest.importorskip("mpmath")
INF, NAN = np.inf, np.nan


def _exact(f):
    def g(*values):
        with mp.workdps(40):
            try:
                return mp.re(f(*map(mp.mpf, values)))
            except (ValueError, ZeroDivisionError):
                return mp.nan
    return g


def _erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def _ndtri(p):
    with mp.workdps(60):
        return mp.sqrt(2) * mp.erfinv(2 * p - 1)


# name: (exact function, ranges of the arguments, where relative errors hold)
FUNCTIONS = {
    "lgamma": (lambda x: mp.loggamma(x), [(1e-3, 0.9), (2.1, 30.0), (30.0, 1e6)]),
    "digamma": (mp.digamma, [(1e-3, 1.2), (1.8, 30.0), (30.0, 1e6)]),
    "erfc": (mp.erfc, [(-4.0, 4.0), (4.0, 26.0)]),
    "erfcx": (_erfcx, [(-20.0, 0.0), (0.0, 5.0), (5.0, 1e4)]),
    "erfinv": (mp.erfinv, [(-0.999999, 0.999999)]),
    "ndtri": (_ndtri, [(1e-9, 0.45), (0.55, 1 - 1e-9)]),
    "i0": (lambda x: mp.besseli(0, x), [(-20.0, 20.0), (20.0, 600.0)]),
    "i0e": (lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), [(-20.0, 20.0), (20.0, 600.0)]),
    "i1": (lambda x: mp.besseli(1, x), [(-20.0, 20.0), (20.0, 600.0)]),
    "i1e": (lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), [(-20.0, 20.0), (20.0, 600.0)]),
    "k0": (lambda x: mp.besselk(0, x), [(1e-6, 2.5), (2.5, 600.0)]),
    "k0e": (lambda x: mp.exp(x) * mp.besselk(0, x), [(1e-6, 2.5), (2.5, 600.0)]),
    "k1": (lambda x: mp.besselk(1, x), [(1e-6, 2.5), (2.5, 600.0)]),
    "k1e": (lambda x: mp.exp(x) * mp.besselk(1, x), [(1e-6, 2.5), (2.5, 600.0)]),
    "bessel_j0": (lambda x: mp.besselj(0, x), [(-2.0, 2.0)]),
    "bessel_j1": (lambda x: mp.besselj(1, x), [(-3.0, 3.0)]),
    "bessel_y0": (lambda x: mp.bessely(0, x), [(0.01, 0.7), (1.1, 3.5)]),
    "bessel_y1": (lambda x: mp.bessely(1, x), [(0.01, 1.9)]),
}
ABSOLUTE = {  # beyond the ranges above there are zeros: errors in units of 2^-53
    "lgamma": [(0.9, 2.1), (-9.5, 0.0)], "digamma": [(1.2, 1.8), (-9.5, -0.1)],
    "bessel_j0": [(2.0, 40.0)], "bessel_j1": [(3.0, 40.0)], "bessel_y0": [(0.7, 40.0)],
    "bessel_y1": [(1.9, 40.0)],
}

LIMITS = {"i0": (-80.0, 80.0), "i1": (-80.0, 80.0), "k0": (0.0, 80.0), "k1": (0.0, 80.0),
          "erfc": (-9.0, 9.0), "erfcx": (-9.0, INF), "ndtri": (0.0, 0.999999)}  # normal float32


def _stated() -> dict:
    """docs/special_functions.md: (name, dtype) -> the worst error in ulp."""
    text = (Path(__file__).parents[2] / "docs" / "special_functions.md").read_text()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()
            if line.startswith("| ") and "float" in line]
    return {(r[0], r[1]): float(r[2]) for r in rows}


def compute(name: str, dtype, *arrays) -> np.ndarray:
    args = [expr.var(f"x{k}", dtype) for k in range(len(arrays))]
    given = [np.asarray(a, dtype.numpy) for a in arrays]
    return evaluate(scalar.ALL[name](*args), dict(zip(args, given, strict=True)), use_expand=True)


def error(name: str, dtype, x: np.ndarray, unit=None) -> float:
    """The worst error over x, in units in the last place or of `unit`."""
    found, exact = compute(name, dtype, x), FUNCTIONS[name][0]
    worst = 0.0
    for value, y in zip(x, found, strict=True):
        want = _exact(exact)(float(value))
        step = unit or float(np.spacing(np.abs(np.asarray(float(want), dtype.numpy))))
        worst = max(worst, float(abs(mp.mpf(float(y)) - want)) / step)
    return worst


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_those_stated(name, dtype):
    stated = _stated()[name, str(dtype)]
    for low, high in FUNCTIONS[name][1]:
        x = np.random.default_rng(1).uniform(low, high, 150).astype(dtype.numpy)
        if dtype is float32:
            x = x[(x >= LIMITS.get(name, (-INF, INF))[0]) & (x <= LIMITS.get(name, (-INF, INF))[1])]
        assert error(name, dtype, x) <= stated, (low, high)


@pytest.mark.parametrize("name", ABSOLUTE)
def test_errors_near_zeros_are_small_against_one(name):
    for low, high in ABSOLUTE[name]:
        x = np.random.default_rng(2).uniform(low, high, 150)
        x = x[np.abs(x - np.round(x)) > 0.01] if low < 0 else x
        assert error(name, float64, x, 2.0**-53) <= 128


@pytest.mark.parametrize(("name", "x", "y"), [
    ("lgamma", 0.0, INF), ("lgamma", 1.0, 0.0), ("lgamma", 2.0, 0.0), ("lgamma", -3.0, INF),
    ("lgamma", INF, INF), ("lgamma", -INF, INF), ("digamma", 0.0, -INF), ("digamma", -2.0, NAN),
    ("digamma", INF, INF), ("erfc", INF, 0.0), ("erfc", -INF, 2.0), ("erfc", 0.0, 1.0),
    ("erfcx", INF, 0.0), ("erfcx", -INF, INF), ("erfinv", 1.0, INF), ("erfinv", -1.0, -INF),
    ("erfinv", 1.5, NAN), ("erfinv", 0.0, 0.0), ("ndtri", 0.0, -INF), ("ndtri", 1.0, INF),
    ("ndtri", 0.5, 0.0), ("ndtri", -1.0, NAN), ("i0", 0.0, 1.0), ("i0", INF, INF),
    ("i0", -INF, INF), ("i0e", INF, 0.0), ("i1", -INF, -INF), ("i1", 0.0, 0.0), ("k0", 0.0, INF),
    ("k0", -1.0, NAN), ("k0", INF, 0.0), ("k1", 0.0, INF),
    ("bessel_j0", INF, 0.0), ("bessel_y0", 0.0, -INF), ("bessel_y1", -1.0, NAN),
    *[(name, NAN, NAN) for name in FUNCTIONS]])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_special_values(name, x, y, dtype):
    found = compute(name, dtype, np.array([x]))[0]
    assert found == y or (np.isnan(found) and np.isnan(y))


@pytest.mark.parametrize(("s", "q"), [(2.0, 0.3), (2.0, 1.0), (3.5, 7.25), (5.0, -2.5), (2.0, -9.3),
                                      (1.5, 300.0), (20.0, 2.0)])
def test_zeta(s, q):
    with mp.workdps(40):
        exact = mp.nsum(lambda k: (q + k) ** -mp.mpf(s), [0, mp.inf]) if q < 0 else mp.zeta(s, q)
    assert compute("zeta", float64, [s], [q])[0] == pytest.approx(float(exact), rel=3e-14)
