"""NumPy evaluation of scalar expressions, and the fused multiply-add and error function it has."""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from lamella.base import dtypes
from lamella.base.errors import NotationError
from lamella.lang import expr, scalar
from lamella.lang.evaluate import erf_array, evaluate, fma_array
from lamella.lang.scalar import bitcast, cast, where

x, y = expr.var("x", dtypes.float32), expr.var("y", dtypes.float32)
X = np.array([-1.5, -0.0, 0.25, np.inf, np.nan], np.float32)


def test_evaluates_by_reference():
    y = evaluate(where(x < 0, -x, x * 2 + 1), {x: X})
    assert y.dtype == np.float32
    assert np.array_equal(y, np.float32([1.5, 1, 1.5, np.inf, np.nan]), equal_nan=True)


def test_casts_and_bitcasts():
    assert evaluate(cast(x, dtypes.int32), {x: X}).tolist() == [-1, 0, 0, 2**31 - 1, 0]
    assert np.array_equal(evaluate(bitcast(x, dtypes.int32), {x: X}), X.view(np.int32))
    assert evaluate(bitcast(expr.lit(1, dtypes.float32), dtypes.int32), {}) == 0x3F800000


def test_any_part_may_be_given():
    loaded = expr.load("a", expr.lit(0, dtypes.index), dtypes.float32)
    assert evaluate(loaded + x, {loaded: np.float32(2), x: np.float32(1)}) == 3
    with pytest.raises(NotationError, match="no value is given for y"):
        evaluate(x + y, {x: X})


def test_expansion_takes_the_place_of_the_reference():
    finite = X[:3]
    assert np.array_equal(evaluate(scalar.sign(x), {x: finite}, use_expand=True), np.sign(finite))
    given = np.float32([0.3, 0.7])
    assert np.array_equal(evaluate(scalar.rsqrt(x), {x: given}, use_expand=True),
                          np.float32(1) / np.sqrt(given))


# ---- fused multiply-add -------------------------------------------------------------------------

AWKWARD = [0.0, -0.0, 1.0, -1.0, 3.0, 1e-45, 2.0**-149, 5e-324, -5e-324, 2.0**-1022, 1e300, -1e300,
           2.0**100, 2.0**511, 2.0**-950, np.inf, -np.inf, np.nan, 1 + 2.0**-23, 1 + 2.0**-52,
           1 - 2.0**-24, 2.0**127, 1e-160]


def _triples(dtype, seed=0):
    """Random triples, triples whose sum nearly cancels, and all the awkward ones."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        a, b = rng.normal(size=(2, 1500)).astype(dtype)
        c = np.where(rng.random(1500) < 0.7, -(a * b).astype(np.float64), rng.normal(size=1500))
        grid = np.meshgrid(*[np.array(AWKWARD).astype(dtype)] * 3)
    return [np.concatenate([r.astype(dtype), g.ravel()]) for r, g in zip((a, b, c), grid)]


def _exact(a, b, c, dtype):
    """a b + c by rational numbers, rounded once; None where the value is not a number's."""
    a, b, c = float(a), float(b), float(c)
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    total = Fraction(a) * Fraction(b) + Fraction(c)
    return _rounded(total, dtype) if total else a * b + c


def _rounded(total: Fraction, dtype) -> float:
    info = ml_dtypes.finfo(dtype)
    digits, least = info.nmant + 1, info.minexp - info.nmant
    e = max(_exponent(abs(total)) + 1 - digits, least)
    n = round(total / Fraction(2) ** e)  # ties to even
    if n == 0:
        return -0.0 if total < 0 else 0.0
    if abs(n) * Fraction(2) ** e > Fraction(float(info.max)):
        return math.copysign(math.inf, n)
    return float(n * Fraction(2) ** e)


def _exponent(t: Fraction) -> int:
    e = t.numerator.bit_length() - t.denominator.bit_length()
    return e if t >= Fraction(2) ** e else e - 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_fma_rounds_once(dtype):
    a, b, c = _triples(dtype)
    got = fma_array(a, b, c)
    assert got.dtype == dtype
    want = np.array([_exact(*t, dtype) for t in zip(a, b, c)]).astype(dtype)
    same = (got == want) & (np.signbit(got) == np.signbit(want)) | (got != got) & (want != want)
    assert same.all(), [(a[i], b[i], c[i], got[i], want[i]) for i in np.flatnonzero(~same)[:5]]


def test_fma_broadcasts_numbers():
    assert fma_array(np.float32([1, 2]), np.float32(3), np.float32(1)).tolist() == [4, 7]


def test_erf():
    given = np.array([-np.inf, -1.0, -0.0, 0.5, 30, np.nan])
    want = np.array([math.erf(v) for v in given])
    for dtype in (np.float64, np.float32, ml_dtypes.bfloat16):
        got = erf_array(given.astype(dtype))
        assert got.dtype == dtype
        assert np.array_equal(got, want.astype(dtype), equal_nan=True)
    assert np.signbit(erf_array(np.float32(-0.0)))
