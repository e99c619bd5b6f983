"""The elementary functions: their errors, as docs/functions.md states them, and special values."""

from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import lamella.lang.functions  # noqa: F401  (installs the expansions)
from lamella.base import dtypes
from lamella.base.dtypes import float32, float64, index, int64
from lamella.lang import expr, scalar
from lamella.lang.evaluate import erf_array, evaluate
from lamella.lang.loops import Buffer, Kernel, Loop, Store, index_var
from lamella.lang.scalar import bitcast, cast, where

INF, NAN = np.inf, np.nan
NAMES = ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin",
         "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "erf")
PAIRS = ("pow", "atan2", "hypot")
SINES = ("sin", "cos", "tan")
BOUND = {float32: 2.0**44, float64: 2.0**30}  # of the sines' arguments


def _stated() -> dict:
    """docs/functions.md: (name, dtype) -> (worst error, operations)."""
    text = (Path(__file__).parents[2] / "docs" / "functions.md").read_text()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()
            if line.startswith("| ") and "float" in line]
    return {(r[0], dtypes.by_name(r[1])): (float(r[2]), int(r[4])) for r in rows}


STATED = _stated()


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


REFERENCE = {name: getattr(np, name) for name in NAMES if hasattr(np, name)} | {
    "sigmoid": _sigmoid, "erf": erf_array}
assert set(REFERENCE) == set(NAMES)


def compute(name: str, dtype, *values) -> np.ndarray:
    args = [expr.var(f"x{i}", dtype) for i in range(len(values))]
    given = [np.asarray(v, dtype.numpy) for v in values]
    return evaluate(scalar.ALL[name](*args), dict(zip(args, given)), use_expand=True)


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The error in units of got's dtype; infinite where only one is NaN."""
    info, wide = np.finfo(got.dtype), exact.dtype
    with np.errstate(all="ignore"):
        e = np.frexp(np.abs(exact))[1] - 1 - info.nmant
        unit = np.ldexp(wide.type(1), np.maximum(e, info.minexp - info.nmant))
        error = np.abs(got.astype(wide) - exact) / unit
        right = (got == exact.astype(got.dtype)) | ((got != got) & (exact != exact))
    return np.where(right, np.minimum(np.nan_to_num(error), 0.5), np.where(error >= 0, error, INF))


def check(name: str, dtype, got, exact, *args) -> None:
    error = ulps(got, exact)
    i = int(np.argmax(error))
    assert error[i] <= STATED[name, dtype][0], \
        f"{name}{tuple(a[i] for a in args)} = {got[i]}, exactly {exact[i]}: {error[i]:.3f} ulp"


# ---- errors -------------------------------------------------------------------------------------

def _patterns(step: int) -> np.ndarray:
    """Every step-th float32, and those around zeros, ones, powers of two and infinities."""
    regular = np.arange(0, 2**32, step, dtype=np.uint64)
    edges = np.arange(512, dtype=np.uint64)[:, None] * 2**23 + np.arange(-2, 3)
    return np.concatenate([regular, edges.ravel() % 2**32]).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_error_float32(name):
    x = _patterns(4099)
    if name in SINES:
        x = x[~(np.abs(x) >= BOUND[float32]) | np.isinf(x)]
    with np.errstate(all="ignore"):
        exact = REFERENCE[name](x.astype(np.float64))
    check(name, float32, compute(name, float32, x), exact, x)


def _float64_samples(name: str, count: int = 10_000) -> np.ndarray:
    """Ordinary numbers, those where the function bends, and all magnitudes."""
    rng = np.random.default_rng(0)
    reach = {"exp": 750, "expm1": 720, "sigmoid": 750, "tanh": 25, "erf": 6.5, "exp2": 1075,
             "sinh": 720, "cosh": 720, "asin": 1, "acos": 1, "atanh": 1}.get(name, 20)
    magnitudes = [np.ldexp(rng.uniform(-1, 1, count), rng.integers(low, high, count))
                  for low, high in ((-1074, 1024), (-60, 8))]
    x = np.concatenate([rng.uniform(-reach, reach, count), rng.uniform(-2, 2, count), *magnitudes,
                        [0.0, -0.0, INF, -INF, NAN, 1, -1, 5e-324, -5e-324, 1.7e308]])
    if name in SINES:
        x = x[(np.abs(x) < BOUND[float64]) | ~np.isfinite(x)]
    return np.abs(x) if name.startswith("log") and name != "log1p" else x


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="needs a wider float")
@pytest.mark.parametrize("name", [n for n in NAMES if n != "erf"])
def test_error_float64(name):
    x = _float64_samples(name)
    with np.errstate(all="ignore"):
        exact = REFERENCE[name](x.astype(np.longdouble))
    check(name, float64, compute(name, float64, x), exact, x)


TWO_BY_ROOT_PI = Fraction("1.128379167095512573896158903121545171688101258657997713688171")


def _exact_erf(x: float) -> Fraction:
    """The power series at 0 in 256-bit fixed point."""
    one, t = 1 << 256, Fraction(x)
    square = int(t * t * one)
    term, total, n = int(t * one), 0, 0
    while term:
        total += term // (2 * n + 1)
        n += 1
        term = -term * square // (one * n)
        if abs(term) <= 1:
            break
    return Fraction(total, one) * TWO_BY_ROOT_PI


def test_error_float64_erf():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-6, 6, 400), rng.uniform(-1.5, 1.5, 400), [1e-5, 1.25, 1e-9]])
    got, worst = compute("erf", float64, x), STATED["erf", float64][0]
    for a, y in zip(x, got):
        error = abs(Fraction(float(y)) - _exact_erf(a))
        assert error <= worst * Fraction(float(np.spacing(abs(y)))), a


def _power_arguments(dtype, count: int = 60_000):
    """Bases of all magnitudes and near 1; exponents that keep the result within range, or not."""
    rng = np.random.default_rng(0)
    low, high, reach = (-140, 128, 105) if dtype is float32 else (-1070, 1024, 750)
    x = np.concatenate([rng.uniform(0.01, 4, count),
                        np.ldexp(rng.uniform(0.5, 1, count), rng.integers(low, high, count)),
                        1 + rng.normal(size=count) * 10.0 ** rng.integers(-7, 0, count)])
    x = np.abs(x).astype(dtype.numpy)
    with np.errstate(all="ignore"):
        y = rng.uniform(-reach, reach, 3 * count) / np.log(x.astype(np.float64))
        y = np.where(rng.random(3 * count) < 0.2, np.round(y), y).astype(dtype.numpy)
    return np.where((rng.random(3 * count) < 0.3) & (y == np.trunc(y)), -x, x), y


@pytest.mark.parametrize("dtype,wide", [(float32, np.float64), (float64, np.longdouble)])
def test_error_pow(dtype, wide):
    if np.finfo(wide).nmant < np.finfo(dtype.numpy).nmant + 11:
        pytest.skip("needs a wider float")
    x, y = _power_arguments(dtype, 60_000 if dtype is float32 else 10_000)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(wide), y.astype(wide))
    check("pow", dtype, compute("pow", dtype, x, y), exact, x, y)


@pytest.mark.parametrize("dtype,wide", [(float32, np.float64), (float64, np.longdouble)])
@pytest.mark.parametrize("name", ["atan2", "hypot"])
def test_error_of_two_arguments(name, dtype, wide):
    if np.finfo(wide).nmant < np.finfo(dtype.numpy).nmant + 11:
        pytest.skip("needs a wider float")
    rng, count = np.random.default_rng(0), 20_000
    low, high = (-148, 127) if dtype is float32 else (-1073, 1023)
    a = np.concatenate([rng.normal(size=count),
                        np.ldexp(rng.uniform(-1, 1, count), rng.integers(low, high, count))])
    with np.errstate(all="ignore"):
        b = np.concatenate([rng.normal(size=count), a[count:] * rng.normal(size=count)])
        a, b = a.astype(dtype.numpy), b.astype(dtype.numpy)
        exact = getattr(np, {"atan2": "arctan2"}.get(name, name))(a.astype(wide), b.astype(wide))
    check(name, dtype, compute(name, dtype, a, b), exact, a, b)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_error_of_narrow_floats(name, dtype):
    """At every input; the second rounding moves a result only where float32's was next to a tie."""
    x = np.arange(2**16, dtype=np.uint16).view(dtype.numpy)
    if name in SINES:
        x = x[~(np.abs(x.astype(np.float32)) >= BOUND[float32])]
    with np.errstate(all="ignore"):
        exact = REFERENCE[name](x.astype(np.float64))
        got = compute(name, dtype, x).astype(np.float64)
        info = ml_dtypes.finfo(dtype.numpy)
        e = np.frexp(np.abs(exact))[1] - 1 - info.nmant
        unit = np.ldexp(1.0, np.maximum(e, info.minexp - info.nmant))
        rounded = exact.astype(np.float32).astype(dtype.numpy)
        right = (got == rounded) | ((got != got) & (exact != exact))
        error = np.where(right, 0, np.abs(got - exact) / unit)
    assert error.max() <= 0.51


def _error_kernel(name: str) -> Kernel:
    """err[i] = the error of f(x[i]) in ulp, 0 where it is rounded correctly; against float64."""
    i, n = index_var("i"), index_var("n")
    f, x = scalar.ALL[name], expr.load("x", i, float32)
    if name in SINES:
        x = where(abs(x) < BOUND[float32], x, 0)
    y, exact = f(x), f(cast(x, float64))
    exponent = scalar.maximum((bitcast(abs(exact), int64) >> 52) - 23, 1023 - 149)
    error = abs(cast(y, float64) - exact) / bitcast(exponent << 52, float64)
    right = scalar.eq(cast(exact, float32), y) | (scalar.ne(y, y) & scalar.ne(exact, exact))
    body = [Store("err", i, where(right, 0, error))]
    return Kernel("err", [Buffer("x", float32), Buffer("err", float64, True)], [n],
                  [Loop(i, expr.lit(0, index), n, body, "vector")])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_error_float32_at_all_inputs(name):
    """All 2^32 numbers in chunks, compiled, against the float64 function (tested above)."""
    from codegen.machine import TARGETS, aligned, run
    count = 2**20
    x, err, first = aligned(count, np.uint32), aligned(count, np.float64), np.arange(count)
    kernel, worst = _error_kernel(name), 0.0
    for low in range(0, 2**32, count):
        x[:] = first + low
        run(kernel, TARGETS[0], {"x": x, "err": err}, [count])
        worst = max(worst, err.max()) if err.max() >= 0 else INF
    assert worst <= STATED[name, float32][0]


# ---- the table ----------------------------------------------------------------------------------

@pytest.mark.parametrize("name,dtype", STATED, ids=lambda v: str(v))
def test_operations_are_as_stated(name, dtype):
    f = scalar.ALL[name]
    e = f.expand(*(expr.var(f"x{i}", dtype) for i in range(f.arity)))
    count = sum(x.kind == "apply" and x.op.name != "bitcast" for x in expr.walk(e))
    assert count == STATED[name, dtype][1]


def test_the_table_is_complete():
    assert set(STATED) == {(n, d) for n in (*NAMES, *PAIRS) for d in (float32, float64)}


# ---- special values -----------------------------------------------------------------------------

SPECIAL = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (800, INF), (-800, 0)],
    "expm1": [(0.0, 0), (-0.0, -0.0), (INF, INF), (-INF, -1), (800, INF), (-100, -1)],
    "log": [(0.0, -INF), (-0.0, -INF), (1, 0), (INF, INF), (-INF, NAN), (-1, NAN), (-1e-7, NAN)],
    "log1p": [(0.0, 0), (-0.0, -0.0), (-1, -INF), (INF, INF), (-INF, NAN), (-1.5, NAN)],
    "sin": [(0.0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN)],
    "tanh": [(0.0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (30, 1), (-30, -1)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (800, 1), (-800, 0)],
    "erf": [(0.0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (7, 1), (-7, -1)],
    "exp2": [(0.0, 1), (-0.0, 1), (3, 8), (-4, 0.0625), (INF, INF), (-INF, 0), (2000, INF)],
    "log2": [(0.0, -INF), (-0.0, -INF), (1, 0), (8, 3), (0.25, -2), (INF, INF), (-1, NAN)],
    "log10": [(0.0, -INF), (-0.0, -INF), (1, 0), (1000, 3), (INF, INF), (-INF, NAN), (-1, NAN)],
    "tan": [(0.0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN)],
    "asin": [(0.0, 0), (-0.0, -0.0), (1.5, NAN), (-INF, NAN), (INF, NAN)],
    "acos": [(1, 0), (1.5, NAN), (-1.5, NAN), (-INF, NAN), (INF, NAN)],
    "atan": [(0.0, 0), (-0.0, -0.0)],
    "sinh": [(0.0, 0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (800, INF), (-800, -INF)],
    "cosh": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, INF), (800, INF), (-800, INF)],
    "asinh": [(0.0, 0), (-0.0, -0.0), (INF, INF), (-INF, -INF)],
    "acosh": [(1, 0), (0.5, NAN), (-2, NAN), (INF, INF), (-INF, NAN)],
    "atanh": [(0.0, 0), (-0.0, -0.0), (1, INF), (-1, -INF), (1.5, NAN), (-INF, NAN)]}


def _same(got, want) -> np.ndarray:
    return (got == want) & (np.signbit(got) == np.signbit(want)) | (got != got) & (want != want)


@pytest.mark.parametrize("dtype", dtypes.FLOATS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_special_values(name, dtype):
    x, want = np.array([*SPECIAL[name], (NAN, NAN)]).T
    got = compute(name, dtype, x.astype(dtype.numpy)).astype(np.float64)
    assert _same(got, want).all(), list(zip(x, got, want))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_special_powers(dtype):
    big, odd = np.finfo(dtype.numpy).max, 2.0**24 - 1
    values = [0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, -2.5, INF, -INF, NAN, 1e-45,
              big, -big, odd, -odd]
    x, y = (g.ravel() for g in np.meshgrid(*[np.array(values, dtype.numpy)] * 2))
    got = compute("pow", dtype, x, y)
    with np.errstate(all="ignore"):
        want = np.power(x, y)
        near = np.abs(got - want) <= 2 * np.spacing(np.abs(want))
    bad = ~(_same(got, want) | near)
    assert not bad.any(), list(zip(x[bad], y[bad], got[bad], want[bad]))


ODD = [0.0, -0.0, 1, -1, 2.5, -2.5, INF, -INF, NAN, 1e30, -1e-30]


@pytest.mark.parametrize("dtype", dtypes.FLOATS, ids=str)
@pytest.mark.parametrize("name", ["atan2", "hypot", "logaddexp", "copysign", "nextafter"])
def test_special_pairs(name, dtype):
    """All pairs of awkward numbers, as NumPy has them."""
    x, y = (g.ravel() for g in np.meshgrid(*[np.array(ODD).astype(dtype.numpy)] * 2))
    got = compute(name, dtype, x, y).astype(np.float64)
    with np.errstate(all="ignore"):
        want = getattr(np, {"atan2": "arctan2"}.get(name, name))(x, y).astype(np.float64)
        near = np.abs(got - want) <= 4 * float(ml_dtypes.finfo(dtype.numpy).eps) * np.abs(want)
    near &= (want != 0) | (dtype.bits == 16)  # NumPy's nextafter of halves: -0 next to +0 is -0
    bad = ~(_same(got, want) | near)
    assert not bad.any(), list(zip(x[bad], y[bad], got[bad], want[bad]))


def test_sums_of_exponentials():
    """The error is small against the larger operand, where the logarithm itself may vanish."""
    a, b = np.random.default_rng(0).normal(size=(2, 40_000)).astype(np.float32) * 10
    exact = np.logaddexp(a.astype(np.float64), b.astype(np.float64))
    size = np.spacing(np.maximum(np.maximum(np.abs(a), np.abs(b)), 1))
    assert (np.abs(compute("logaddexp", float32, a, b) - exact) <= 2 * size).all()


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", ["mod", "floordiv"])
def test_quotients_and_remainders(name, dtype):
    """Exact where Python's own are: also next to integers, where a division rounds up."""
    rng, count = np.random.default_rng(0), 4000
    b = (rng.normal(size=count) * 10.0 ** rng.integers(-1, 4, count)).astype(dtype.numpy)
    a = np.where(rng.random(count) < 0.5, b * rng.integers(-99, 99, count).astype(dtype.numpy),
                 (rng.normal(size=count) * 1e4).astype(dtype.numpy))
    f = {"mod": np.remainder, "floordiv": np.floor_divide}[name]
    want = f(a.astype(np.float64), b.astype(np.float64)).astype(dtype.numpy)
    assert np.array_equal(compute(name, dtype, a, b), want)


def test_remainders_of_special_numbers():
    x, y = (g.ravel() for g in np.meshgrid(*[np.array(ODD[:-2])] * 2))
    with np.errstate(all="ignore"):
        assert _same(compute("mod", float64, x, y), np.remainder(x, y)).all()
    assert compute("mod", float64, 1e300, 3.0) == 0  # too far: as the page says
    assert _same(compute("floordiv", float64, [-1.0, 1.0, INF, 5.0], [INF, -INF, 2.0, 0.0]),
                 np.array([-0.0, -0.0, INF, INF])).all()


@pytest.mark.parametrize("dtype", dtypes.INTS, ids=str)
def test_integer_powers(dtype):
    info = np.iinfo(dtype.numpy)
    values = [v for v in (info.min, -7, -2, -1, 0, 1, 2, 3, 7, 100, info.max) if v >= info.min]
    for a in values:
        for b in values:
            if b >= 0:
                want = pow(a, b, 1 << dtype.bits)
                want -= (want > info.max) << dtype.bits
            else:
                want = {1: 1, -1: -1 if b % 2 else 1}.get(a, 0)
            assert int(compute("pow", dtype, a, b)) == want, (a, b)


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sines_stay_within_one(name, dtype):
    top = np.log2(np.finfo(dtype.numpy).max) - 1
    x = 2.0 ** np.random.default_rng(0).uniform(-30, top, 20_000)
    assert (np.abs(compute(name, dtype, x)) <= 1).all()


# ---- where pieces meet --------------------------------------------------------------------------

LN2 = 0.6931471805599453
JOINTS = {"exp": [LN2 / 2, -LN2 / 2, 3 * LN2 / 2, -87.33, -103.2, 88.7],
          "expm1": [LN2 / 2, -LN2 / 2, 3 * LN2 / 2, 2.0**-25, -2.0**-25, -17, 88.7],
          "log": [2 / 3, 1, 4 / 3, 2.0**-126, 8 / 3], "log1p": [1 / 3, -1 / 3, 5 / 3, 1e-30],
          "tanh": [LN2 / 4, -LN2 / 4, 3 * LN2 / 4, 9.0, 30.0],
          "sigmoid": [LN2 / 2, -LN2 / 2, 18.0, -87.3, -103.2], "erf": [1.25, -1.25, 3.9375],
          "exp2": [0.5, -0.5, 127.9, -126.0, -148.9], "log2": [2 / 3, 1, 4 / 3, 2.0**-126],
          "log10": [2 / 3, 1, 4 / 3, 2.0**-126], "asin": [0.5, -0.5, 0.999],
          "atan": [0.4142135, -0.4142135, 2.414213, 1e20], "asinh": [2.0**60, 1.0, 1e-3],
          "acosh": [2.0**60, 1.5], "sinh": [LN2 / 2, 2.0**-13, -2.0**-13, 89.4],
          "atanh": [0.3333333, -0.3333333, 0.999]}


@pytest.mark.parametrize("name,joint", [(n, j) for n, js in JOINTS.items() for j in js])
def test_no_step_back_at_joints(name, joint):
    bits = np.float32(joint).view(np.int32) + np.arange(-2000, 2001, dtype=np.int32)
    x = np.sort(bits.view(np.float32))
    y = compute(name, float32, x)
    with np.errstate(all="ignore"):
        back = np.where(y[1:] >= y[:-1], 0, (y[:-1] - y[1:]) / np.spacing(np.abs(y[1:])))
    assert back.max() <= 1
