"""Complex numbers at their awkward values, against NumPy, and float8 at all of theirs."""

import cmath
import itertools

import ml_dtypes
import numpy as np
import pytest

import lamella
from lamella.base.dtypes import COMPLEX, as_dtype
from lamella.base.errors import DTypeError

AWKWARD = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -700.0, 1e-30, np.inf, -np.inf, np.nan)
ALL = np.array([complex(a, b) for a, b in itertools.product(AWKWARD, AWKWARD)])
PLAIN = ALL[np.isfinite(ALL.real) & np.isfinite(ALL.imag)]


def agrees(found, exact, rtol) -> np.ndarray:
    """Where two complex arrays agree: both parts to within rtol of the larger, or not finite as
    the standard says of the part (a sign of zero or of an unspecified infinity does not count)."""
    size = rtol * np.fmax(abs(exact.real), abs(exact.imag)) + 1e-300
    with np.errstate(all="ignore"):
        def part(a, b):
            near = abs(a - b) <= size
            return near | (a == b) | (np.isnan(a) & np.isnan(b)) | (np.isinf(a) & np.isinf(b))
        return part(found.real, exact.real) & part(found.imag, exact.imag)


FUNCTIONS = ("exp", "log", "sqrt", "abs", "angle", "conj", "real", "imag", "sin", "cos", "tanh",
             "log2", "log10", "tan", "sinh", "cosh")
ARCS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh",
        "acosh": "arccosh", "atanh": "arctanh"}


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_at_awkward_finite_values_are_numpy_s(name, dtype):
    z = PLAIN.astype(dtype.numpy)
    if name in ("sin", "cos", "tan"):
        z = z[abs(z.imag) < 100]
    if name in ("sinh", "cosh"):
        z = z[abs(z.real) < 100]
    if name in ("log2", "log10"):
        z = z[z != 0]  # NumPy's imaginary part is then NaN
    with np.errstate(all="ignore"):
        exact = np.asarray(getattr(np, name)(z.astype(np.complex128)), np.complex128)
    found = np.asarray(getattr(lamella, name)(lamella.asarray(z)), np.complex128)
    tight = 4 * np.finfo(dtype.real.numpy).eps
    wrong = ~agrees(found, exact, tight)
    assert not wrong.any(), list(zip(z[wrong], found[wrong], exact[wrong], strict=True))[:5]


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "abs", "angle"])
def test_functions_at_infinities_and_nans_are_c99_s(name):
    z = ALL[~(np.isfinite(ALL.real) & np.isfinite(ALL.imag))]
    with np.errstate(all="ignore"):
        exact = np.asarray(getattr(np, name)(z), np.complex128)
    found = np.asarray(getattr(lamella, name)(lamella.asarray(z)), np.complex128)
    wrong = ~agrees(found, exact, 1e-12)
    assert not wrong.any(), list(zip(z[wrong], found[wrong], exact[wrong], strict=True))[:5]


@pytest.mark.parametrize("dtype", COMPLEX, ids=str)
@pytest.mark.parametrize("name", ARCS)
def test_inverses_are_numpy_s(name, dtype):
    """At ordinary numbers of all sizes, on both sides of the cuts, at infinities and NaNs."""
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.uniform(-6, 6, 500)
    z = size * (rng.standard_normal(500) + 1j * rng.standard_normal(500))
    z = np.concatenate([z, ALL[~np.isin(abs(ALL.real), [700])]]).astype(dtype.numpy)
    with np.errstate(all="ignore"):
        exact = getattr(np, ARCS[name])(z.astype(np.complex128))
    found = np.asarray(getattr(lamella, name)(lamella.asarray(z)), np.complex128)
    wrong = ~agrees(found, exact, 8 * np.finfo(dtype.real.numpy).eps)
    signs = (np.signbit(found.imag) != np.signbit(exact.imag)) & ~np.isnan(exact.imag)
    wrong |= signs & np.isfinite(z) & (z.imag == 0) & (name != "atan")
    assert not wrong.any(), list(zip(z[wrong], found[wrong], exact[wrong], strict=True))[:5]


def test_the_sign_of_zero_decides_the_side_of_a_cut():
    z = np.array([complex(-4, 0.0), complex(-4, -0.0)])
    for f in ("sqrt", "log"):
        found = np.asarray(getattr(lamella, f)(lamella.asarray(z)))
        assert np.allclose(found, [getattr(cmath, f)(v) for v in z], rtol=1e-14)


def test_division_does_not_overflow_and_by_zero_is_infinite():
    a = np.array([1e300 + 1e300j, 1 + 0j, 0j, 2 + 3j])
    b = np.array([1e300 - 1e300j, 0j, 0j, -1e-310 + 0j])
    found = np.asarray(lamella.asarray(a) / lamella.asarray(b))
    assert found[0] == 1j and np.isinf(found[1].real)
    assert np.isnan(found[2].real) and np.isinf(found[3].real)


def test_sums_and_products_of_long_axes():
    rng = np.random.default_rng(0)
    z = (rng.standard_normal((3, 2500)) + 1j * rng.standard_normal((3, 2500))).astype(np.complex64)
    x = lamella.asarray(z)
    for axis in (0, 1):
        for f in ("sum", "mean"):
            assert np.allclose(getattr(x, f)(axis), getattr(z, f)(axis), atol=1e-4)
    unit = z / abs(z)
    assert np.allclose(lamella.asarray(unit).prod(1), unit.prod(1), rtol=1e-3)


def test_numbers_mix_and_dtypes_promote():
    x = lamella.asarray(np.array([1.0, 2.0]))
    assert (x * 1j).dtype is lamella.complex128
    assert (lamella.asarray([1, 2]) + 1j).dtype is lamella.complex64
    assert lamella.asarray(1j).dtype is lamella.complex64
    assert lamella.asarray([1, 2j]).dtype is lamella.complex64
    assert lamella.result_type(lamella.complex64, lamella.float64) is lamella.complex128
    assert lamella.isdtype(lamella.complex64, "complex floating")
    assert complex(lamella.asarray(2 + 3j)) == 2 + 3j
    assert lamella.finfo(lamella.complex64).bits == 32


@pytest.mark.parametrize("wrong", [
    lambda z: z < z, lambda z: z.max(), lambda z: lamella.floor(z), lambda z: z.astype("float32"),
    lambda z: z // z, lambda z: lamella.grad(lambda x: (x * x).sum())(z)])
def test_what_complex_numbers_do_not_have_raises(wrong):
    with pytest.raises(DTypeError):
        wrong(lamella.asarray([1j, 2.0]))


def test_functions_that_are_not_holomorphic():
    z = np.array([3 + 4j, 0j, -2j, np.nan], np.complex64)
    x = lamella.asarray(z)
    assert np.allclose(lamella.sign(x), [0.6 + 0.8j, 0, -1j, np.nan], equal_nan=True)
    assert np.array_equal(lamella.round(x * 1.3), np.round(z * np.complex64(1.3)), equal_nan=True)
    assert lamella.var(x[:3]).dtype is lamella.float32
    assert np.allclose(lamella.std(x[:3]), z[:3].std())
    g = lamella.grad(lambda v: lamella.real(lamella.sign(v) * (1 - 2j)).sum())(x[:3])
    assert np.isfinite(np.asarray(g)).all()


def test_optimizers_refuse_complex_parameters():
    with pytest.raises(DTypeError, match="real"):
        lamella.optim.AdamW(0.1).init(lamella.asarray([1j]))


# ---- gradients ----------------------------------------------------------------------------------

LOSSES = {
    "holomorphic": lambda m, z: m.abs(m.exp(z) * m.sin(z) / (z + 2j)),
    "squares": lambda m, z: m.real(z * m.conj(z)),
    "angle": lambda m, z: m.angle(z * z),
    "imag": lambda m, z: m.imag(m.sqrt(z) * m.log(z)),
    "power": lambda m, z: m.abs(z ** (0.5 + 1j)),
    "tangents": lambda m, z: m.abs(m.tan(z) + m.sinh(z) * m.cosh(z)),
    "arcs": lambda m, z: m.abs(m.asin(z) * m.acos(z) + m.atan(z)),
    "hyperbolic arcs": lambda m, z: m.abs(m.asinh(z) * m.acosh(z) + m.atanh(z)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_descends(name):
    """dL/da + i dL/db: the slope along any direction d is the real part of conj(gradient) d."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal(7) + 1j * rng.standard_normal(7)
    f = LOSSES[name]

    def loss(x):
        return f(lamella, x).sum()

    g = np.asarray(lamella.compile(lamella.grad(loss))(lamella.asarray(z)))
    for d in (1.0, 1j):
        for k in range(7):
            step = np.zeros(7, np.complex128)
            step[k] = 1e-6 * d
            rise = float(loss(lamella.asarray(z + step))) - float(loss(lamella.asarray(z - step)))
            assert rise / 2e-6 == pytest.approx((np.conj(g[k]) * d).real, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_is_pytorch_s(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    z = rng.standard_normal(5) + 1j * rng.standard_normal(5)
    t = torch.from_numpy(z).requires_grad_()
    LOSSES[name](torch, t).sum().backward()
    g = lamella.grad(lambda x: LOSSES[name](lamella, x).sum())(lamella.asarray(z))
    assert np.allclose(np.asarray(g), t.grad.numpy(), rtol=1e-9)


def test_a_product_s_gradients_are_pytorch_s():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    a, b = ((rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(np.complex64)
            for s in ((5, 7), (7, 3)))
    ta, tb = (torch.from_numpy(x).requires_grad_() for x in (a, b))
    ((ta @ tb).abs() ** 2).sum().backward()
    g = lamella.compile(lamella.grad(lambda x, y: (lamella.abs(x @ y) ** 2).sum(), (0, 1)))(
        lamella.asarray(a), lamella.asarray(b))
    for ours, theirs in zip(g, (ta, tb), strict=True):
        assert np.allclose(np.asarray(ours), theirs.grad.numpy(), rtol=1e-4, atol=1e-4)


# ---- float8 -------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_every_float8_and_every_halfway_case_converts_as_ml_dtypes_does(name):
    dtype = as_dtype(name)
    every = np.arange(256, dtype=np.uint8).view(dtype.numpy)
    wide = every.astype(np.float32)
    assert np.array_equal(np.asarray(lamella.asarray(every).astype("float32")), wide,
                          equal_nan=True)
    finite = np.unique(wide[np.isfinite(wide)])
    middle = (finite[1:] + finite[:-1]) / 2
    for given in (np.float32, np.float64, np.float16, ml_dtypes.bfloat16):
        x = np.concatenate([finite, middle, np.nextafter(middle, np.float32(np.inf)),
                            np.nextafter(middle, np.float32(-np.inf)),
                            [np.inf, -np.inf, np.nan, 463.9, 464.0, 465, 61439, 61440, 1e-9]])
        with np.errstate(all="ignore"):
            x = x.astype(given)
            exact = x.astype(np.float64).astype(np.float32).astype(dtype.numpy)
        found = np.asarray(lamella.asarray(x).astype(name))
        assert np.array_equal(found.astype(np.float32), exact.astype(np.float32), equal_nan=True)


def test_a_float64_is_rounded_to_float8_once():
    x = np.array([1 + 2.0**-4 + 2.0**-40, 1 + 2.0**-4 - 2.0**-40, 1 + 3 * 2.0**-4 - 2.0**-40])
    found = np.asarray(lamella.asarray(x).astype("float8_e4m3fn")).astype(np.float64)
    assert found.tolist() == [1.125, 1.0, 1.125]


def test_float8_moves_as_any_dtype_does():
    x = lamella.asarray([1.0, 2.0, 3.0]).astype("float8_e5m2")

    def f(x):
        y = lamella.concat([x, x[:1]])
        return lamella.take(y.reshape(2, 2).mT, lamella.asarray([1, 0]), axis=0)

    for found in (f(x), lamella.compile(f)(x)):
        assert np.asarray(found).astype(np.float32).tolist() == [[2, 1], [1, 3]]
    x[1] = 5.0
    assert np.asarray(x.astype("float32")).tolist() == [1, 5, 3]


@pytest.mark.parametrize("wrong", [lambda x: x + x, lambda x: lamella.exp(x), lambda x: x.sum(),
                                   lambda x: x @ x, lambda x: x < x])
def test_float8_arithmetic_says_to_cast(wrong):
    with pytest.raises(DTypeError, match="cast"):
        wrong(lamella.asarray([1.0, 2.0]).astype("float8_e4m3fn"))
