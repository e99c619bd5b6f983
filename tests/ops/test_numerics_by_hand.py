"""docs/numerics.md rebuilt in NumPy from the page alone: the same bits.

Nothing of the project computes the expected values; its own functions only give the found ones.
"""

from functools import partial

import numpy as np
import pytest

import lamella
from lamella import optim
from lamella.api import namespace as F

f32 = np.float32


def number(text: str) -> np.float32:
    return f32(float.fromhex(text))


LOG2E, LN2H, LN2L, MAGIC = map(number, ("0x1.715476p0", "0x1.62e43p-1", "-0x1.05c61p-29",
                                        "0x1.8p23"))
EXPM1 = [number(t) for t in ("0x1p-1", "0x1.5554bp-3", "0x1.5554d8p-5", "0x1.1227cp-7",
                             "0x1.6d6018p-10")]
LOG = [number(t) for t in ("0x1.55550cp-2", "-0x1.fffe5ep-3", "0x1.99ce36p-3", "-0x1.55b7eep-3",
                           "0x1.1ef236p-3", "-0x1.f03b8cp-4", "0x1.1df0c6p-3", "-0x1.0e2b98p-3")]


# ---- the page's operations ----------------------------------------------------------------------

def fma(a, b, c):
    """a * b + c rounded once: the product is exact in float64, the sum is rounded to odd there."""
    p, c = np.multiply(a, b, dtype=np.float64), np.asarray(c, np.float64)
    s = np.asarray(p + c)
    t = s - p
    rest = (p - (s - t)) + (c - t)
    word = s.view(np.int64)
    inexact = np.isfinite(s) & (rest != 0) & (word % 2 == 0)
    outwards = np.where((rest > 0) == (s > 0), 1, -1)
    return np.where(inexact, word + outwards, word).view(np.float64).astype(f32)


def tree(parts: list, join=np.add):
    while len(parts) > 1:
        parts = [join(parts[i], parts[i + 1]) if i + 1 < len(parts) else parts[i]
                 for i in range(0, len(parts), 2)]
    return parts[0]


def rule_r(x: np.ndarray, join=np.add, none=0) -> np.ndarray:
    """The sum (or what else `join` makes) over axis 0."""
    def chunk(part):
        lanes = [np.full(x.shape[1:], none, x.dtype) for _ in range(16)]
        for k in range(0, len(part), 16):
            for n, element in enumerate(part[k:k + 16]):
                lanes[n] = join(lanes[n], element)
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [join(a, b) for a, b in zip(lanes[:half], lanes[half:], strict=True)]
        return lanes[0]

    if len(x) == 0:
        return np.full(x.shape[1:], none, x.dtype)
    return tree([chunk(x[c:c + 1024]) for c in range(0, len(x), 1024)], join)


def rule_c(x: np.ndarray, join, none) -> np.ndarray:
    """Running totals along axis 0."""
    out, before = np.empty_like(x), np.full(x.shape[1:], none, f32)
    for c in range(0, len(x), 1024):
        inside = np.full(x.shape[1:], none, f32)
        for k in range(c, min(c + 1024, len(x))):
            inside = join(inside, x[k])
            out[k] = join(before, inside)
        before = join(before, inside)
    return out


def rule_g(pairs, shape) -> np.ndarray:
    """The chain over pairs (a[k], b[k]) of arrays that broadcast to the result's shape; a third
    one says where they take part."""
    def chunk(part):
        acc = np.zeros(shape, f32)
        for a, b, *there in part:
            acc = np.where(there[0], fma(a, b, acc), acc) if there else fma(a, b, acc)
        return acc

    pairs = list(pairs)
    parts = [chunk(pairs[c:c + 4096]) for c in range(0, len(pairs), 4096)]
    return tree(parts) if parts else np.zeros(shape, f32)


def poly(x, coefficients):
    *rest, y = coefficients
    for c in reversed(rest):
        y = fma(y, x, c)
    return y


def bits(x) -> np.ndarray:
    return np.ascontiguousarray(x, f32).view(np.int32)


def from_bits(word) -> np.ndarray:
    return np.ascontiguousarray(word, np.int32).view(f32)


def pow2(word):
    return from_bits((word << np.int32(23)) + np.int32(0x3F800000))


def reduced(x):
    b = fma(x, LOG2E, MAGIC)
    n = b - MAGIC
    return fma(n, -LN2L, fma(n, -LN2H, x)), b


def p(r):
    return fma(r * r, poly(r, EXPM1), r)


def scale(y, b):
    half = bits(b) >> np.int32(1)
    return (y * pow2(half)) * pow2(bits(b) - half)


def exp(x):
    x = np.where(x > f32(89), f32(89), x)
    r, b = reduced(np.where(x < f32(-104.5), f32(-104.5), x))
    return scale(p(r) + f32(1), b)


def expm1(x):
    low = np.where(x > f32(89), f32(89), x)
    r, b = reduced(np.where(low < f32(-60), f32(-60), low))
    h = from_bits((bits(b) << np.int32(23)) + np.int32(0x3F000000))
    y = fma(p(r), h, h - f32(0.5))
    return np.where(np.abs(x) < f32(2.0 ** -25), x, y + y)


def log(x):
    """Of positive numbers."""
    small = x < f32(2.0 ** -126)
    y = np.where(small, x, f32(0)) * f32(2.0 ** 24) + np.where(small, f32(0), x)
    e = (bits(y) - np.int32(0x3F2AAAAA)) & np.int32(-1 << 23)
    f = from_bits(bits(y) - e) - f32(1)
    k = (e >> np.int32(23)).astype(f32) - np.where(small, f32(24), f32(0))
    tail = (f * f) * fma(poly(f, LOG), f, f32(-0.5))
    found = fma(k, LN2H, f + fma(k, LN2L, tail))
    return np.where(x < np.inf, found, x)


def rsqrt(x):
    return f32(1) / np.sqrt(x)


# ---- comparisons --------------------------------------------------------------------------------

def normal(*shape, seed=0, spread=1.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * spread).astype(f32)


def assert_bits(found, expected) -> None:
    found, expected = np.asarray(found), np.asarray(expected, f32)
    assert found.shape == expected.shape and found.dtype == f32
    assert found.tobytes() == expected.tobytes()


def both(f, *arrays) -> list:
    """The function's results uncompiled and compiled."""
    given = [lamella.asarray(a) for a in arrays]
    return [f(*given), lamella.compile(f)(*given)]


@pytest.mark.parametrize("size", (0, 1, 15, 16, 17, 255, 1023, 1024, 1025, 2049, 5000))
def test_a_sum_over_the_last_and_the_first_axis(size):
    x = normal(3, size, seed=size, spread=100.0)
    for found in both(lambda a: a.sum(axis=1), x):
        assert_bits(found, rule_r(x.T))
    for found in both(lambda a: a.sum(axis=0), np.ascontiguousarray(x.T)):
        assert_bits(found, rule_r(x.T))


def test_a_sum_over_two_axes_counts_the_last_fastest():
    x = normal(40, 3, 61, spread=10.0)
    for found in both(lambda a: a.sum(axis=(0, 2)), x):
        assert_bits(found, rule_r(x.transpose(0, 2, 1).reshape(-1, 3)))


@pytest.mark.parametrize("size", (1, 17, 1024, 1025, 3000))
def test_a_running_sum_over_the_last_and_the_first_axis(size):
    x = normal(5, size, spread=10.0)
    for join, none, f in ((np.add, 0, F.cumulative_sum), (np.multiply, 1, F.cumulative_prod)):
        for found in both(partial(f, axis=1), x):
            assert_bits(found, rule_c(x.T, join, none).T)
        for found in both(partial(f, axis=0, reverse=True), np.ascontiguousarray(x.T)):
            assert_bits(found, rule_c(x.T[::-1], join, none)[::-1])


@pytest.mark.parametrize("k", (0, 1, 33, 4096, 4097, 9000))
@pytest.mark.parametrize("rows", (1, 40))
def test_a_matrix_product(k, rows):
    a, b = normal(rows, k, seed=1), normal(k, 19, seed=2)
    expected = rule_g(((a[:, i, None], b[i]) for i in range(k)), (rows, 19))
    for found in both(lambda a, b: a @ b, a, b):
        assert_bits(found, expected)


def test_products_that_underflow_keep_their_sign():
    a, b = np.full((1, 3), -1e-30, f32), np.full((3, 2), 1e-30, f32)
    expected = rule_g(((a[:, i, None], b[i]) for i in range(3)), (1, 2))
    assert np.signbit(expected).all()
    for found in both(lambda a, b: a @ b, a, b):
        assert_bits(found, expected)


def windows(x, w, stride, padding):
    """(x at a tap's windows, where these are inside of x) for each tap of w."""
    edge = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded, there = np.pad(x, edge), np.pad(np.ones(x.shape, bool), edge)
    height, width = ((e + 2 * padding - k) // stride + 1
                     for e, k in zip(x.shape[1:3], w.shape[1:3], strict=True))
    for r, s in np.ndindex(w.shape[1:3]):
        cut = (slice(None), slice(r, r + (height - 1) * stride + 1, stride),
               slice(s, s + (width - 1) * stride + 1, stride))
        yield (r, s), padded[cut], there[cut]


@pytest.mark.parametrize(("stride", "padding"), ((1, 1), (2, 0), (1, 2)))
@pytest.mark.parametrize(("width", "channels"), ((6, 700), (21, 3)))
def test_a_convolution(stride, padding, width, channels):
    x, w = normal(2, 7, width, channels, seed=3), normal(4, 3, 2, channels, seed=4)
    triples = [(part[..., c, None], w[:, r, s, c], there[..., c, None])
               for (r, s), part, there in windows(x, w, stride, padding) for c in range(channels)]
    shape = (*triples[0][0].shape[:-1], 4)
    expected = rule_g(triples, shape)
    for found in both(lambda x, w: F.conv2d(x, w, stride=stride, padding=padding), x, w):
        assert_bits(found, expected)


def transformed(x, along, axes):
    """x under `along` of each of the axes, the first one first."""
    for axis in axes:
        x = np.stack(along(*np.moveaxis(x, axis, 0)), axis)
    return x


def rule_w(x, w, low) -> np.ndarray:
    """Rule W: the image x [n, y, z, c], weights [f, 3, 3, c], the padding `low` on all sides."""
    n, height, width, depth = x.shape
    height, width = height + 2 * low - 2, width + 2 * low - 2
    padded = np.pad(x, ((0, 0), (low, low + 1), (low, low + 1), (0, 0)))
    down, across = range(0, height, 2), range(0, width, 2)
    d = np.stack([[padded[:, y:y + 4, z:z + 4] for z in across] for y in down])
    v = transformed(d, lambda a, b, c, d: (a - c, b + c, c - b, b - d), (3, 4))
    u = transformed(w, lambda a, b, c: (a, ((a + c) + b) * f32(0.5), ((a + c) - b) * f32(0.5), c),
                    (1, 2))
    m = rule_g(((v[..., c, None], np.moveaxis(u[..., c], 0, -1)) for c in range(depth)),
               (*v.shape[:-1], len(w)))
    o = transformed(m, lambda a, b, c, d: ((a + b) + c, (b - c) - d), (3, 4))
    o = o.transpose(2, 0, 3, 1, 4, 5).reshape(n, 2 * len(down), 2 * len(across), len(w))
    return o[:, :height, :width]


@pytest.mark.parametrize(("shape", "filters", "padding"), (
    ((2, 7, 6, 32), 40, 1), ((1, 1, 1, 48), 32, 1), ((3, 8, 130, 32), 32, 0)))
def test_a_convolution_by_winograds_algorithm(shape, filters, padding):
    x, w = normal(*shape, seed=3), normal(filters, 3, 3, shape[-1], seed=4)
    for found in both(lambda x, w: F.conv2d(x, w, padding=padding), x, w):
        assert_bits(found, rule_w(x, w, padding))


def test_the_gradient_for_the_input_by_winograds_algorithm():
    x, w, g = normal(2, 5, 4, 32, seed=5), normal(48, 3, 3, 32, seed=6), normal(2, 5, 4, 48, seed=7)

    def gradient(x, w, g):
        return lamella.vjp(lambda x: F.conv2d(x, w, padding=1), x)[1](g)[0]

    for found in both(gradient, x, w, g):
        assert_bits(found, rule_w(g, w[:, ::-1, ::-1].transpose(3, 1, 2, 0), 1))


@pytest.mark.parametrize(("shape", "filters"), (((2, 7, 6, 32), 40), ((33, 9, 8, 48), 32)))
def test_the_gradient_for_the_weight_by_winograds_algorithm(shape, filters):
    x, g, w = normal(*shape, seed=5), normal(*shape[:3], filters, seed=6), normal(filters, 3, 3,
                                                                                  shape[-1])
    n, height, width, _ = shape
    down, across = range(0, height, 2), range(0, width, 2)
    x_padded = np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))
    g_padded = np.pad(g, ((0, 0), (0, 1), (0, 1), (0, 0)))
    tiles = [(i, y, z) for i in range(n) for y in down for z in across]
    v = transformed(np.stack([x_padded[i, y:y + 4, z:z + 4] for i, y, z in tiles]),
                    lambda a, b, c, d: (a - c, b + c, c - b, b - d), (1, 2))
    e = transformed(np.stack([g_padded[i, y:y + 2, z:z + 2] for i, y, z in tiles]),
                    lambda a, b: (a, a + b, a - b, -b), (1, 2))
    chunks = [rule_g(((e[k, :, :, :, None], v[k, :, :, None]) for k in
                      range(low, min(low + 512, len(tiles)))), (4, 4, filters, shape[-1]))
              for low in range(0, len(tiles), 512)]

    def taps(a, b, c, d):
        both = (b + c) * f32(0.5)
        return a + both, (b - c) * f32(0.5), both + d

    expected = transformed(tree(chunks), taps, (0, 1)).transpose(2, 0, 1, 3)

    def gradient(x, w, g):
        return lamella.vjp(lambda w: F.conv2d(x, w, padding=1), w)[1](g)[0]

    for found in both(gradient, x, w, g):
        assert_bits(found, expected)


def test_what_is_outside_of_an_image_takes_no_part():
    x, w = np.full((1, 2, 2, 1), -1e-30, f32), np.full((1, 3, 3, 1), 1e-30, f32)
    w[0, 0] = np.nan
    for array in both(lambda x, w: F.conv2d(x, w, padding=1), x, w):
        found = array.numpy()
        assert np.isnan(found[0, 1]).all() and not np.isnan(found[0, 0]).any()
        assert np.signbit(found[0, 0]).all()


@pytest.mark.parametrize("stride", (1, 2))
@pytest.mark.parametrize("channels", (3, 9))
def test_the_gradient_of_a_convolution_for_its_weight(stride, channels):
    x, w = normal(70, 8, 8, channels, seed=5), normal(4, 3, 3, channels, seed=6)
    size = (8 + 2 - 3) // stride + 1
    g = normal(70, size, size, 4, seed=7)
    expected = np.zeros((4, 3, 3, channels), f32)
    for (r, s), part, there in windows(x, w, stride, 1):
        triples = ((part[n, y, z], g[n, y, z, :, None], there[n, y, z])
                   for n, y, z in np.ndindex(70, size, size))
        expected[:, r, s] = rule_g(triples, (4, channels))

    def gradient(x, w, g):
        return lamella.vjp(lambda w: F.conv2d(x, w, stride=stride, padding=1), w)[1](g)[0]

    for found in both(gradient, x, w, g):
        assert_bits(found, expected)


@pytest.mark.parametrize(("shape", "stride"), (((70, 9, 8, 20), 1), ((2, 7, 10, 33), 2)))
def test_a_convolution_of_each_channel_alone_and_its_gradient_for_the_weight(shape, stride):
    channels = shape[-1]
    x, w = normal(*shape, seed=5), normal(channels, 3, 3, 1, seed=6)
    found = list(windows(x, w, stride, 1))
    size = found[0][1].shape
    g = normal(*size, seed=7)
    out = rule_g([(part, w[:, r, s, 0], there) for (r, s), part, there in found], size)
    gradient = np.zeros(w.shape, f32)
    for (r, s), part, there in found:
        gradient[:, r, s, 0] = rule_g([(part[i], g[i], there[i]) for i in np.ndindex(size[:3])],
                                      (channels,))

    def both_results(x, w, g):
        y, pull = lamella.vjp(lambda w: F.conv2d(x, w, stride=stride, padding=1, groups=channels),
                              w)
        return y, pull(g)[0]

    def results(f):
        return f(*map(lamella.asarray, (x, w, g)))

    for y, dw in (results(both_results), results(lamella.compile(both_results))):
        assert_bits(y, out)
        assert_bits(dw, gradient)


@pytest.mark.parametrize("spread", (1.0, 60.0))
def test_the_exponential_and_the_logarithm(spread):
    x = normal(3000, spread=spread)
    positive = np.concatenate([np.abs(x), f32([1e-40, 1e-45, 1.0, 3e38])])
    with np.errstate(over="ignore"):
        for found in both(F.exp, x):
            assert_bits(found, exp(x))
        for found in both(F.expm1, x):
            assert_bits(found, expm1(x))
    for found in both(F.log, positive):
        assert_bits(found, log(positive))


@pytest.mark.parametrize("width", (1, 10, 33, 1500))
def test_softmax_and_cross_entropy(width):
    x = normal(4, width, seed=width, spread=5.0)
    labels = (np.arange(4) * 7 % width).astype(np.int32)
    s = x - x.max(axis=1, keepdims=True)
    e = exp(s)
    total = rule_r(e.T)[:, None]
    for found in both(lambda a: F.softmax(a, axis=1), x):
        assert_bits(found, e / total)
    losses = -(f32(0) + (s - log(total))[np.arange(4), labels])
    for found in both(lambda a, b: F.cross_entropy(a, b), x, labels):
        assert_bits(found, losses)


@pytest.mark.parametrize("width", (7, 64, 1100))
def test_layer_norm(width):
    x, weight, bias = normal(5, width), normal(width, seed=1), normal(width, seed=2)
    count = f32(width)
    c = x - (rule_r(x.T) / count)[:, None]
    v = (rule_r((c * c).T) / count)[:, None]
    expected = ((c * rsqrt(v + f32(1e-5))) * weight) + bias
    for found in both(lambda *a: F.layer_norm(*a, eps=1e-5), x, weight, bias):
        assert_bits(found, expected)


def test_two_steps_of_adamw():
    rate, (b1, b2), eps, decay = 1e-3, (0.9, 0.999), 1e-8, 0.01
    found, opt = lamella.asarray(normal(9, 7)), optim.AdamW(rate, betas=(b1, b2), eps=eps,
                                                            weight_decay=decay)
    state, step = opt.init(found), lamella.compile(opt.update)
    q, m, v = normal(9, 7), np.zeros((9, 7), f32), np.zeros((9, 7), f32)
    for t in (1, 2):
        g = normal(9, 7, seed=t)
        found, state = step(found, lamella.asarray(g), state)
        first = -expm1(f32(t) * f32(np.log(b1)))
        second = rsqrt(-expm1(f32(t) * f32(np.log(b2))))
        m = (m * f32(b1)) + (g * f32(1 - b1))
        v = (v * f32(b2)) + ((g * g) * f32(1 - b2))
        q = q * f32(1 - rate * decay)
        q = q - (m / ((np.sqrt(v) * second) + f32(eps))) * (f32(rate) / first)
        assert_bits(found, q)
        assert_bits(state["m"], m)
        assert_bits(state["v"], v)
