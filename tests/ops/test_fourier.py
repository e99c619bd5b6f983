"""Transforms against NumPy's, and their gradients against slopes and PyTorch's."""

import numpy as np
import pytest

import lamella
from lamella import fft
from lamella.base.errors import DTypeError, LamellaError, ShapeError

RNG = np.random.default_rng(0)
REAL = RNG.standard_normal((3, 6, 5))
COMPLEX = RNG.standard_normal((3, 6, 5)) + 1j * RNG.standard_normal((3, 6, 5))

CALLS = [("fft", COMPLEX, {}), ("fft", COMPLEX, {"n": 4, "axis": 1}),
         ("fft", COMPLEX, {"n": 9, "axis": 0, "norm": "ortho"}), ("fft", REAL, {}),
         ("ifft", COMPLEX, {"norm": "forward"}), ("ifft", COMPLEX, {"n": 2}),
         ("fftn", COMPLEX, {}), ("fftn", COMPLEX, {"axes": (0, -1), "norm": "ortho"}),
         ("fftn", COMPLEX, {"s": (4, 7), "axes": (1, 2)}),
         ("ifftn", COMPLEX, {"axes": (1,)}),
         ("rfft", REAL, {}), ("rfft", REAL, {"n": 8, "axis": 1, "norm": "forward"}),
         ("rfft", REAL, {"n": 1}), ("irfft", COMPLEX, {}), ("irfft", COMPLEX, {"n": 9}),
         ("irfft", COMPLEX, {"n": 7, "axis": 1, "norm": "ortho"}), ("irfft", COMPLEX, {"n": 1}),
         ("rfftn", REAL, {}), ("rfftn", REAL, {"s": (4, 3), "axes": (0, 1)}),
         ("irfftn", COMPLEX, {}), ("irfftn", COMPLEX, {"s": (4, 7), "axes": (0, 2)}),
         ("hfft", COMPLEX, {}), ("hfft", COMPLEX, {"n": 7, "norm": "ortho"}),
         ("ihfft", REAL, {}), ("ihfft", REAL, {"n": 4, "axis": 0, "norm": "forward"}),
         ("fftshift", REAL, {}), ("fftshift", REAL, {"axes": (1, 2)}),
         ("ifftshift", REAL, {"axes": 2})]
each = pytest.mark.parametrize(("name", "x", "options"), CALLS,
                               ids=[f"{c[0]}-{k}" for k, c in enumerate(CALLS)])


@each
def test_a_transform_is_numpy_s(name, x, options):
    def call(a):
        return getattr(fft, name)(a, **options)

    for kind in (np.float64, np.float32):
        given = x.astype(np.result_type(kind, np.complex64) if x.dtype.kind == "c" else kind)
        exact = getattr(np.fft, name)(given, **options)
        for found in (call(lamella.asarray(given)), lamella.compile(call)(lamella.asarray(given))):
            assert found.numpy().dtype == exact.dtype and found.shape == exact.shape
            assert np.allclose(found, exact, atol=1e-5 if kind is np.float32 else 1e-12)


@each
def test_a_gradient_is_a_slope(name, x, options):
    def loss(a):
        y = getattr(fft, name)(a, **options)
        w = lamella.asarray(np.random.default_rng(1).standard_normal(y.shape))
        return (lamella.real(y) * w).sum() + (lamella.imag(y) * w * 0.5).sum()

    g = np.asarray(lamella.compile(lamella.grad(loss))(lamella.asarray(x)))
    rng = np.random.default_rng(2)
    way = rng.standard_normal(x.shape)
    way = way + 1j * rng.standard_normal(x.shape) if x.dtype.kind == "c" else way
    rise = float(loss(lamella.asarray(x + way))) - float(loss(lamella.asarray(x - way)))
    assert np.sum(np.conj(g) * way).real == pytest.approx(rise / 2, rel=1e-9, abs=1e-9)
    _, tangent = lamella.jvp(loss, (lamella.asarray(x),), (lamella.asarray(way),))
    assert float(tangent) == pytest.approx(rise / 2, rel=1e-9, abs=1e-9)


@each
def test_a_batch_is_its_members(name, x, options):
    def call(a):
        return getattr(fft, name)(a, **options)

    both = lamella.vmap(call)(lamella.asarray(np.stack([x, 2 * x])))
    assert np.allclose(both[0], call(lamella.asarray(x))) and np.allclose(both[1], 2 * both[0])


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_frequencies_are_numpy_s(n):
    for d in (1.0, 0.25):
        assert np.allclose(fft.fftfreq(n, d=d), np.fft.fftfreq(n, d))
        assert np.allclose(fft.rfftfreq(n, d=d), np.fft.rfftfreq(n, d))
    assert fft.fftfreq(n, dtype="float64").dtype is lamella.float64


@pytest.mark.parametrize(("call", "kind"), [
    (lambda x: fft.rfft(x * 1j), DTypeError), (lambda x: fft.fft(x, axis=3), ShapeError),
    (lambda x: fft.fft(x, n=0), ShapeError), (lambda x: fft.fft(x, norm="both"), LamellaError),
    (lambda x: fft.fftn(x, s=(1, 2), axes=(0,)), ShapeError)])
def test_errors(call, kind):
    with pytest.raises(kind):
        call(lamella.asarray(REAL))
