"""Convolutions and their gradients: which kernel serves them, and that it is right."""

import numpy as np
import pytest
from ops.cases import run

import lamella as L
from lamella.codegen.target import AVX512, AVX512_AMX
from lamella.ir.interpret import interpret
from lamella.ir.node import placeholder
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.ops.contract import contract, parse_index
from lamella.ops.pointwise import apply
from lamella.planner.build import build_plan


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


@pytest.mark.parametrize("shape, filters, kernel, padding, stride, served", [
    ((2, 9, 8, 1), 6, 5, 2, 1, "taps"), ((1, 28, 28, 1), 2, 3, 1, 1, "taps"),
    ((9, 28, 28, 1), 20, 5, 2, 1, "taps"), ((2, 9, 8, 2), 6, 5, 2, 1, "taps"),
    ((2, 11, 30, 3), 16, 3, 1, 1, "taps"), ((1, 23, 40, 3), 33, 7, 3, 2, "taps"),
    ((4, 6, 7, 1), 8, 5, 4, 1, "taps"), ((2, 9, 30, 7), 24, 1, 1, 1, "taps"),
    ((3, 11, 11, 1), 17, 3, 0, 2, "correlate"), ((2, 9, 8, 24), 6, 5, 2, 1, "correlate"),
    ((2, 9, 8, 32), 40, 3, 1, 1, "winograd"), ((2, 9, 8, 32), 40, 3, 1, 2, "correlate"),
    ((2, 9, 8, 24), 40, 1, 0, 2, "contract")])
def test_gradients_for_weights(shape, filters, kernel, padding, stride, served):
    rng = np.random.default_rng(0)
    x = L.asarray(rng.standard_normal(shape, "float32"))
    w = L.asarray(rng.standard_normal((filters, kernel, kernel, shape[-1]), "float32"))
    run = L.compile(lambda x, w: _gradient(x, w, padding, stride)(w))
    found = run(x, w).numpy()
    wanted = _by_hand(x, w, padding, stride)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert found.tobytes() == _gradient(x, w, padding, stride)(w).numpy().tobytes()
    assert served == _kinds(run, x, w)[-1]


def _kinds(run, *args) -> list[str]:
    """The kernels of a plan that multiply, in order."""
    return [s.kernel.name for s in L.plan(run, *args).plan.launches()
            if s.kernel.name in ("contract", "convolve", "correlate", "depthwise", "stem",
                                 "taps", "winograd", "narrow")]


@pytest.mark.parametrize("shape, weights, groups, stride, served", [
    ((2, 9, 8, 32), (40, 3, 3, 32), 1, 1, "winograd"), ((2, 9, 8, 32), (40, 3, 3, 32), 1, 2,
                                                        "convolve"),
    ((2, 9, 8, 3), (40, 3, 3, 3), 1, 1, "stem"), ((2, 9, 8, 24), (24, 3, 3, 1), 24, 1,
                                                      "depthwise"),
    ((2, 9, 8, 24), (40, 1, 1, 24), 1, 1, "contract"), ((2, 9, 8, 24), (7, 3, 3, 24), 1, 1,
                                                        "narrow"),
    ((2, 9, 8, 24), (7, 3, 3, 24), 1, 2, "convolve"), ((2, 9, 7, 24), (7, 3, 3, 24), 1, 1,
                                                       "convolve")])
def test_convolutions(shape, weights, groups, stride, served):
    x, w = L.ones(shape), L.ones(weights)
    run = L.compile(lambda x, w: L.conv2d(x, w, padding=weights[1] // 2, stride=stride,
                                          groups=groups))
    assert _kinds(run, x, w) == [served]


@pytest.mark.parametrize("shape, weights, options", [
    ((2, 11, 9, 16), (3, 3, 3, 16), {"padding": 1}),
    ((1, 40, 37, 24), (1, 5, 5, 24), {"padding": ((4, 0), (2, 3))}),
    ((3, 8, 33, 20), (7, 3, 2, 20), {"padding": 1, "dilation": (2, 3)}),
    ((2, 33, 16, 8), (2, 4, 3, 8), {"stride": (3, 1)}),
    ((2, 20, 14, 16), (8, 5, 5, 16), {"padding": 2}),
    ((2, 20, 16, 32), (8, 3, 3, 8), {"padding": 1, "groups": 4}),
    ((1, 19, 23, 1), (1, 3, 3, 1), {"padding": 1}),
    ((2, 50, 12), (2, 5, 12), {"padding": 2})])
def test_few_results_side_by_side(shape, weights, options):
    """Lanes are pixels; what is outside of the image takes no part, whatever the weights are."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, "float32")
    w = rng.standard_normal(weights, "float32")
    w[0, 0] = np.inf
    conv = L.conv1d if x.ndim == 3 else L.conv2d

    def f(x, w):
        return L.exp(conv(x, w, **options) * 0.01)

    fused = L.compile(f)
    assert _kinds(fused, L.asarray(x), L.asarray(w)) == ["narrow"]
    found = fused(L.asarray(x), L.asarray(w)).numpy()
    assert found.tobytes() == f(L.asarray(x), L.asarray(w)).numpy().tobytes()
    wide = np.concatenate([w] * 8) if options.get("groups", 1) == 1 else w
    served = L.compile(f)(L.asarray(x), L.asarray(wide)).numpy()    # by another kernel
    assert found.tobytes() == served[..., :len(w)].tobytes()


@pytest.mark.parametrize("shape, weights, options", [
    ((1, 9, 64, 16), (3, 3), {"padding": 1}), ((2, 28, 9, 16), (3, 3), {"padding": 1}),
    ((2, 5, 28, 8), (5, 5), {"padding": 2}), ((1, 16, 32, 24), (3, 3), {"padding": 1, "stride": 2}),
    ((1, 7, 32, 8), (3, 4), {"padding": ((4, 0), (2, 4)), "dilation": (1, 3)}),
    ((16, 3, 3, 40), (3, 3), {"padding": 1}), ((1, 3, 16, 120), (3, 3), {"padding": 3}),
    ((3, 48, 16), (5,), {"padding": 2})])
@pytest.mark.parametrize("behind", [lambda y: L.where(y > 0, y, 0), lambda y: L.exp(y * 0.01)])
def test_tiles_of_pixels_in_a_line(shape, weights, options, behind):
    """What is outside of the image takes no part, whatever the weights are and whichever pixels
    are one tile."""
    rng = np.random.default_rng(0)
    x = L.asarray(rng.standard_normal(shape, "float32"))
    w = rng.standard_normal((16, *weights, shape[-1]), "float32")
    w[0, 0], w[1, -1] = np.inf, np.nan
    conv = L.conv1d if x.ndim == 3 else L.conv2d

    def f(x, w):
        return behind(conv(x, w, **options))

    run = L.compile(f)
    assert _kinds(run, x, L.asarray(w)) == ["convolve"]
    found = run(x, L.asarray(w)).numpy()
    assert np.array_equal(found, f(x, L.asarray(w)).numpy(), equal_nan=True)
    for other in (np.concatenate([w] * 3), w[:3]):      # by tiles of other shapes, or lanes
        n = len(other)
        some = run(x, L.asarray(other)).numpy()
        assert np.array_equal(found[..., :n], some[..., :16], equal_nan=True)

    image = L.zeros(shape)
    g = L.asarray(rng.standard_normal(conv(image, L.asarray(w), **options).shape, "float32"))

    def gradient(w, g):
        return behind(L.vjp(lambda x: conv(x, w, **options), image)[1](g)[0])

    found = L.compile(gradient)(L.asarray(w), g).numpy()
    assert np.array_equal(found, gradient(L.asarray(w), g).numpy(), equal_nan=True)


@pytest.mark.parametrize("stride, kernel, size", [(1, 3, 20), (2, 7, 40), (2, 3, 34)])
def test_gradients_for_images_of_few_channels(stride, kernel, size):
    rng = np.random.default_rng(0)
    w = L.asarray(rng.standard_normal((24, kernel, kernel, 3), "float32"))
    x = L.zeros((2, size, size, 3))
    wide = L.asarray(np.concatenate([w.numpy()] * 4, axis=-1))

    def gradient(w, g):
        image = L.zeros((2, size, size, w.shape[-1]))
        return L.vjp(lambda x: L.conv2d(x, w, stride=stride, padding=kernel // 2), image)[1](g)[0]

    g = L.asarray(rng.standard_normal(L.conv2d(x, w, stride=stride, padding=kernel // 2).shape,
                                      "float32"))
    run = L.compile(gradient)
    assert set(_kinds(run, w, g)) - {"contract"} == {"narrow"}
    found = run(w, g).numpy()
    assert found.tobytes() == gradient(w, g).numpy().tobytes()
    assert found.tobytes() == gradient(wide, g).numpy()[..., :3].tobytes()


@pytest.mark.parametrize("shape, weights, options", [
    ((2, 7, 9, 20), (3, 3), {"padding": 1}), ((1, 12, 8, 16), (3, 3), {"padding": 0}),
    ((1, 9, 11, 24), (5, 5), {"padding": 2, "stride": 2}),
    ((1, 11, 10, 17), (3, 2), {"padding": ((2, 0), (1, 3)), "dilation": (2, 1)}),
    ((1, 10, 9, 16), (9, 9), {"padding": 4}), ((3, 1, 7, 16), (3, 3), {"padding": 1}),
    ((1, 9, 8, 64), (3, 3), {"padding": 1}), ((2, 8, 7, 32), (3, 3), {"padding": 1, "stride": 2}),
    ((2, 13, 16), (4,), {"padding": 2}), ((1, 3, 5, 4, 16), (3, 3, 3), {"padding": 1})])
def test_channels_alone(shape, weights, options):
    """Each channel has the bits that it has alone; what is outside of the image takes no part."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, "float32")
    w = rng.standard_normal((shape[-1], *weights, 1), "float32")
    w[1, 0] = np.inf
    conv = {3: L.conv1d, 4: L.conv2d, 5: L.conv3d}[x.ndim]

    def f(x, w):
        y = conv(x, w, groups=x.shape[-1], **options)
        return L.where(y > 0, y, y * 0.1) + y

    run = L.compile(f)
    assert _kinds(run, L.asarray(x), L.asarray(w)) == ["depthwise"]
    found = run(L.asarray(x), L.asarray(w)).numpy()
    assert found.tobytes() == f(L.asarray(x), L.asarray(w)).numpy().tobytes()
    for c in (0, 1, shape[-1] - 1):
        alone = f(L.asarray(x[..., c:c + 1]), L.asarray(w[c:c + 1])).numpy()
        assert found[..., c:c + 1].tobytes() == alone.tobytes()


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_for_weights_of_channels_alone(stride):
    """Two vectors of channels in a tile have the bits that each has in one of its own."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 8, 64), "float32"), np.zeros((64, 3, 3, 1), "float32")
    g = rng.standard_normal((2, -(-9 // stride), -(-8 // stride), 64), "float32")

    def gradient(x, w, g):
        return L.vjp(lambda w: L.conv2d(x, w, stride=stride, padding=1, groups=len(w)), w)[1](g)[0]

    run = L.compile(gradient)
    found = run(*map(L.asarray, (x, w, g))).numpy()
    assert _kinds(run, *map(L.asarray, (x, w, g))) == ["taps"]
    parts = [run(L.asarray(x[..., c:c + 16]), L.asarray(w[c:c + 16]), L.asarray(g[..., c:c + 16]))
             for c in range(0, 64, 16)]
    assert found.tobytes() == np.concatenate([p.numpy() for p in parts]).tobytes()


@pytest.mark.parametrize("shape, filters", [
    ((1, 7, 7, 80), 256), ((2, 13, 14, 64), 144), ((1, 1, 3, 32), 320), ((0, 7, 7, 32), 256)])
def test_weights_transformed_where_they_are_multiplied(shape, filters):
    """Of few tiles each task transforms its own, unless they are constant; the bits are the same.
    """
    rng = np.random.default_rng(0)
    x = L.asarray(rng.standard_normal(shape, "float32"))
    w = L.asarray(rng.standard_normal((filters, 3, 3, shape[-1]), "float32"))
    given, fixed = L.compile(lambda x, w: L.conv2d(x, w, padding=1)), L.compile(
        lambda x: L.conv2d(x, w, padding=1))
    plans = L.plan(given, x, w).plan, L.plan(fixed, x).plan
    assert [[s.kernel.name for s in (*p.prologue, *p.launches())] for p in plans] == [
        ["winograd"], ["pack", "winograd"]] or not shape[0]
    assert given(x, w).numpy().tobytes() == fixed(x).numpy().tobytes()

    def gradient(w, g):
        return L.vjp(lambda x: L.conv2d(x, w, padding=1), x)[1](g)[0]

    g = L.asarray(rng.standard_normal((*shape[:-1], filters), "float32"))
    fixed = L.compile(lambda g: gradient(w, g))
    assert L.compile(gradient)(w, g).numpy().tobytes() == fixed(g).numpy().tobytes()


def test_a_cotangent_that_skips_is_not_the_image():
    """The gradient for the weight of a convolution whose result is sliced: both operands step."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 9, 5, 3), "float32")
    g = rng.standard_normal((9, 5, 5, 4), "float32")

    def f(x, g):
        return L.vjp(lambda w: L.conv2d(x, w, padding=((0, 1), (0, 0)), stride=2),
                     L.zeros((1, 2, 1, 3)))[1](g[1::2, :, ::2, 2:3])[0]

    cut, padded = g[1::2, :, ::2, 2], np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)))
    expected = np.stack([np.einsum("nyz,nyzc->c", cut, padded[:, r:r + 9:2, ::2])
                         for r in range(2)])
    found = [h(L.asarray(x), L.asarray(g)).numpy() for h in (f, L.compile(f))]
    np.testing.assert_allclose(found[0][0, :, 0], expected, rtol=1e-4, atol=1e-5)
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("image, taps, out, more", [
    (("n + 1", "y + r", "x + s", "c"), ("f", "r", "s", "c"), "n", {"n": 2}),
    (("2*n - 1", "y + r", "x + s", "c"), ("f", "r", "s", "c"), "n", {"n": 3}),
    (("y + r", "x + s", "c", "y"), ("f", "r", "s", "c"), "", {}),
    (("y + r", "x + s", "c", "c"), ("f", "r", "s", "c"), "", {}),
    (("y + r", "x + s", "c"), ("f", "r", "s", "c", "r"), "", {}),
    (("y + r", "x + s", "c", "c - 1"), ("f", "r", "s", "c"), "", {}),
    (("y + r", "x + s", "c"), ("f", "r", "s", "c", "n + m"), "nm", {"n": 2, "m": 2})])
def test_what_only_looks_like_a_convolution(image, taps, out, more):
    """Another dimension that moves, or an axis that stands twice, leaves the rule of the tiles."""
    sizes = {"r": 3, "s": 3, "c": 32, "f": 40, "y": 5, "x": 4, **more}
    rng = np.random.default_rng(0)

    def operand(index):
        shape = []
        for text in index:
            constant, terms = parse_index(text)
            shape.append(max(1, constant + 1 + sum(k * (sizes[n] - 1) for n, k in terms)))
        return rng.standard_normal(shape, "float32")

    arrays = [operand(image), operand(taps)]
    nodes = [placeholder(tensor("float32", a.shape)) for a in arrays]
    y = contract(*nodes, image, taps, (*out, "y", "x", "f"), ("r", "s", "c"), sizes)
    program = Program(nodes, [apply("exp", y * 0.01)])
    found, = run(program, arrays)
    assert found.tobytes() == run(program, arrays, fused=False)[0].tobytes()
    np.testing.assert_allclose(found, interpret(program, arrays)[0], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("stride, served", [(1, "winograd"), (2, "convolve")])
def test_weights_from_far_away_are_read_once(stride, served):
    """One task has all pixels for some filters, and calls for the weights that come next, into the
    second cache where the first could not keep them; what is near is not called for that far."""
    specs = L.spec((1, 14, 14, 256)), L.spec((256, 3, 3, 256))
    program = L.trace(lambda x, w: L.conv2d(x, w, padding=1, stride=stride), *specs)

    def launch(target):
        found = build_plan(program, target.with_threads(2), fixed=frozenset([1])).launches()[0]
        assert found.kernel.name == served
        return found

    far, near = launch(AVX512_AMX), launch(AVX512)
    assert far.tasks < near.tasks and far.tasks in (4, 6)
    assert " to the second cache" in str(far.kernel)
