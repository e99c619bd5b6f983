"""Weight gradients of convolutions: which kernel serves them, and that it is right."""

import numpy as np
import pytest

import lamella as L


def _gradient(x, w, padding: int, stride: int):
    def loss(w):
        return (L.conv2d(x, w, padding=padding, stride=stride) ** 2).sum()
    return L.grad(loss)


def _by_hand(x, w, padding: int, stride: int) -> np.ndarray:
    """The same from shifted slices, in float64; w is [filters, r, s, channels]."""
    x = np.pad(np.asarray(x, np.float64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    w = np.asarray(w, np.float64)
    _, r, s, _ = w.shape
    high, wide = ((x.shape[k] - e) // stride + 1 for k, e in ((1, r), (2, s)))

    def window(a: int, b: int) -> np.ndarray:
        return x[:, a:a + stride * high:stride, b:b + stride * wide:stride][:, :high, :wide]

    y = sum(np.einsum("nyxc,fc->nyxf", window(a, b), w[:, a, b])
            for a in range(r) for b in range(s))
    return np.stack([np.stack([np.einsum("nyxf,nyxc->fc", 2 * y, window(a, b))
                               for b in range(s)], 1) for a in range(r)], 1)


@pytest.mark.parametrize("shape, filters, kernel, padding, stride", [
    ((2, 9, 8, 1), 6, 5, 2, 1), ((1, 28, 28, 1), 2, 3, 1, 1), ((3, 11, 11, 1), 17, 3, 0, 2),
    ((9, 28, 28, 1), 20, 5, 2, 1), ((2, 9, 8, 2), 6, 5, 2, 1)])
def test_weight_gradients_are_correlations(shape, filters, kernel, padding, stride):
    rng = np.random.default_rng(0)
    x = L.asarray(rng.standard_normal(shape, "float32"))
    w = L.asarray(rng.standard_normal((filters, kernel, kernel, shape[-1]), "float32"))
    run = L.compile(lambda x, w: _gradient(x, w, padding, stride)(w))
    found = run(x, w).numpy()
    wanted = _by_hand(x, w, padding, stride)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert found.tobytes() == _gradient(x, w, padding, stride)(w).numpy().tobytes()
    kinds = [s.kernel.name for s in L.plan(run, x, w).plan.launches()]
    assert "correlate" in kinds, "one channel is served by the kernel of many, not pixel by pixel"
