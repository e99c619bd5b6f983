"""`fast` mode: what it may change, what stays, and how exact it is."""

import numpy as np
import pytest

import lamella as L
from lamella.base.devices import Device
from lamella.base.errors import LamellaError, UnsupportedError
from lamella.engine import plans
from lamella.engine.kernels import target
from lamella.planner.build import build_plan
from lamella.planner.memory.budget import Budget
from lamella.planner.saved import from_bytes, to_bytes
from lamella.runtime import walker

SHAPES = [((2, 30, 29), 32, 32, 1), ((2, 31, 35), 48, 48, 0), ((3, 26, 22), 64, 32, 2),
          ((1, 5, 410), 32, 64, 1), ((9, 12, 12), 96, 80, 1)]


def arrays(images, channels, filters, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((*images, channels), "float32"),
            rng.standard_normal((filters, 3, 3, channels), "float32"))


def what(kind, padding):
    """A function of image, weights and cotangent: the convolution or one of its gradients."""
    def conv(x, w):
        return L.conv2d(x, w, padding=padding)

    return {"forward": lambda x, w, g: conv(x, w),
            "input": lambda x, w, g: L.vjp(lambda x: conv(x, w), x)[1](g)[0],
            "weight": lambda x, w, g: L.vjp(lambda w: conv(x, w), w)[1](g)[0]}[kind]


def exact(kind, x, w, g, padding):
    """The same in float64, from shifted slices."""
    x, w, g = (a.astype(np.float64) for a in (x, w, g))
    high, wide = g.shape[1:3]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    taps = [(r, s, (slice(None), slice(r, r + high), slice(s, s + wide)))
            for r in range(3) for s in range(3)]
    if kind == "forward":
        return sum(np.einsum("nyxc,fc->nyxf", x[at], w[:, r, s]) for r, s, at in taps)
    if kind == "weight":
        found = np.zeros_like(w)
        for r, s, at in taps:
            found[:, r, s] = np.einsum("nyxf,nyxc->fc", g, x[at])
        return found
    found = np.zeros_like(x)
    for r, s, at in taps:
        found[at] += np.einsum("nyxf,fc->nyxc", g, w[:, r, s])
    edge = slice(padding, -padding or None)
    return found[:, edge, edge]


def on_threads(count, f, *args):
    before = walker.threads()
    walker.set_threads(count)
    try:
        return f(*args).numpy().tobytes()
    finally:
        walker.set_threads(before)


@pytest.mark.parametrize("kind", ["forward", "input", "weight"])
@pytest.mark.parametrize("images, channels, filters, padding", SHAPES)
def test_convolutions_are_near_and_the_same_on_any_threads(images, channels, filters, padding,
                                                           kind):
    x, w = arrays(images, channels, filters)
    high, wide = (e + 2 * padding - 2 for e in images[1:])
    g = np.random.default_rng(1).standard_normal((images[0], high, wide, filters), "float32")
    f = what(kind, padding)
    plain, fast = L.compile(f), L.compile(f, fast=True)
    found, wanted = fast(x, w, g).numpy(), exact(kind, x, w, g, padding)
    error = np.abs(found - wanted).max() / np.abs(wanted).max()
    assert error < 4e-6
    assert np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()) < 2e-6
    assert found.tobytes() != plain(x, w, g).numpy().tobytes()
    again = [on_threads(count, L.compile(f, fast=True), x, w, g) for count in (1, 2)]
    assert again == [found.tobytes()] * 2
    flops = [max(s.flops for s in L.plan(c, x, w, g).plan.launches()) for c in (plain, fast)]
    assert flops[1] < 0.8 * flops[0]


LINES = {
    "a row by a transposed matrix": (lambda x, w: x @ w.T, (1, 300), (77, 300)),
    "a matrix by a column": (lambda a, v: a @ v, (50, 100), (100,)),
    "a part of one by a part": (lambda a, v: a[3:9, 2:80] @ v[20:98], (50, 100), (100,)),
    "two vectors": (lambda x, y: x @ y, (5001,), (5001,)),
    "a batch": (lambda x, w: L.einsum("bk,bnk->bn", x, w), (6, 130), (6, 20, 130)),
    "two axes": (lambda a, v: L.einsum("ijk,jk->i", a, v), (30, 20, 33), (20, 33)),
    "with maps behind": (lambda x, w: L.softmax(x @ w.T + 1.0), (1, 300), (77, 300)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LINES)
def test_lines_of_a_matrix_are_summed_in_lanes(name, dtype):
    f, *shapes = LINES[name]
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(dtype) for s in shapes)
    fast = L.compile(f, fast=True)
    found = fast(a, b).numpy()
    exactly = L.compile(f)(a.astype("float64"), b.astype("float64")).numpy()
    most = 4 * np.sqrt(b.size) if dtype == "float32" else b.size    # float64 is as far off itself
    assert found.dtype == dtype and np.abs(found - exactly).max() < most * np.finfo(dtype).eps
    assert [on_threads(count, fast, a, b) for count in (1, 2)] == [found.tobytes()] * 2
    assert not any(s.kernel.name == "contract" for s in L.plan(fast, a, b).plan.launches())


@pytest.mark.parametrize("f, shapes, dtype", [
    (lambda x, w: x @ w, ((1, 300), (300, 77)), "float32"),         # lanes are columns as it is
    (lambda x, w: x @ w.T, ((2, 300), (77, 300)), "float32"),       # rows share the matrix
    (lambda x, w: x @ w.T, ((1, 300), (77, 300)), "bfloat16"),      # products would be rounded
    (lambda x, w: x @ w.T, ((1, 20), (77, 20)), "float32"),         # too short
    (lambda x, w: x[:, ::2] @ w[:, ::2].T, ((1, 300), (77, 300)), "float32")])
def test_other_products_are_chains_as_ever(f, shapes, dtype):
    rng = np.random.default_rng(0)
    a, b = (L.asarray(rng.standard_normal(s, "float32")).astype(dtype) for s in shapes)
    assert L.compile(f, fast=True)(a, b).numpy().tobytes() == f(a, b).numpy().tobytes()


def test_the_maps_behind_a_convolution_and_its_gradient_go_with_it():
    x, w = arrays((2, 29, 30), 32, 48)
    bias = np.linspace(-1, 1, 48, dtype="float32")

    def loss(x, w, bias):
        return L.relu(L.conv2d(x, w, padding=1) + bias).mean()

    step = L.value_and_grad(loss, argnums=(0, 1, 2))
    fast = L.compile(step, fast=True)
    assert [s.kernel.name for s in L.plan(fast, x, w, bias).plan.launches()].count("winograd") >= 3
    for a, b in zip(*(L.tree.leaves(f(x, w, bias)) for f in (fast, L.compile(step))), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-4,
                                   atol=1e-5 * np.abs(b.numpy()).max())


def test_few_tiles_and_steps_stay_as_they_are():
    """Where laying out the weights would cost more than products are saved, and where no tiles are
    in the meaning, a fast plan has the bits of any other."""
    for shape, options in (((1, 14, 14, 64), {}), ((1, 56, 56, 64), {"stride": 2}),
                           ((1, 56, 56, 24), {})):
        x, w = arrays(shape[:3], shape[3], 64)

        def f(x, w, *, options=options):
            return L.conv2d(x, w, padding=1, **options)

        assert f(L.asarray(x), L.asarray(w)).numpy().tobytes() == \
            L.compile(f, fast=True)(x, w).numpy().tobytes()


def test_small_images_are_summed_tap_by_tap_where_weights_move():
    """Laying out 9 products' weights takes less time than 16's."""
    x, w = arrays((1, 7, 7), 64, 48)
    fast = L.compile(lambda x, w: L.conv2d(x, w, padding=1), fast=True)
    assert [s.kernel.name for s in L.plan(fast, x, w).plan.launches()][-1] == "convolve"
    found, wanted = fast(x, w).numpy(), exact("forward", x, w, np.empty((1, 7, 7, 48)), 1)
    assert np.abs(found - wanted).max() < 2e-6 * np.abs(wanted).max()


def test_a_size_that_varies_is_decided_by_its_bound():
    x, w = arrays((4, 24, 24), 32, 32)
    f = what("forward", 1)
    run = L.compile(lambda x, w: f(x, w, None), fast=True,
                    sizes={"x": (L.symbol("N", 1, 8), None, None, None)})
    whole = run(x, w).numpy()
    assert run(x[:1], w).numpy().tobytes() == whole[:1].tobytes()   # a row's bits, by any batch
    assert len(run.entries) == 1


def test_a_batch_of_weights_is_laid_out_for_each():
    """Images that share no weights do not count together."""
    x, w = arrays((8, 14, 14), 32, 32)
    ws = np.broadcast_to(w, (8, *w.shape))
    f = L.vmap(lambda x, w: L.conv2d(x[None], w, padding=1)[0])
    assert f(L.asarray(x), L.asarray(ws)).numpy().tobytes() == \
        L.compile(f, fast=True)(x, ws).numpy().tobytes()


def test_inside_of_loops_and_within_a_budget():
    x, w = arrays((1, 28, 28), 32, 32)

    def f(x, w):
        return L.fori_loop(0, 3, lambda k, x: L.tanh(L.conv2d(x, w, padding=1)), x)

    fast = L.compile(f, fast=True)
    found = fast(x, w).numpy()
    np.testing.assert_allclose(found, L.compile(f)(x, w).numpy(), atol=1e-3)
    peak = L.plan(fast, x, w).peak
    kept = L.compile(f, fast=True, memory=peak)
    assert kept(x, w).numpy().tobytes() == found.tobytes()
    assert kept.within(peak).options.fast and L.plan(fast, x, w, memory=peak).plan.fast


def test_only_the_outer_function_says_so():
    x, w = arrays((1, 30, 30), 32, 32)
    held, plain = L.asarray(w), L.conv2d(L.asarray(x), L.asarray(w), padding=1).numpy()
    inner = L.compile(lambda x: L.conv2d(x, held, padding=1), fast=True)
    assert inner(x).numpy().tobytes() != plain.tobytes()
    assert L.compile(lambda x: inner(x))(x).numpy().tobytes() == plain.tobytes()


def test_plans_say_it_and_are_kept_apart():
    x, w = arrays((1, 36, 36), 32, 32)
    f = what("forward", 1)
    fast = L.compile(lambda x, w: f(x, w, None), fast=True)
    report = L.plan(fast, x, w)
    assert ", fast" in str(report).splitlines()[0] and ", fast" not in str(L.plan(fast.f, x, w))
    program = report.plan.program
    for flag in (True, False):
        plan = build_plan(program, target(), fast=flag)
        assert from_bytes(to_bytes(plan), program).fast is flag
    keys = [plans._key(program, frozenset(), budget=Budget(1 << 30, 1), fast=k)
            for k in (True, False)]
    assert keys[0] != keys[1]
    assert [p.peak for p in L.memory_curve(fast, x, w)][0] == report.peak


def test_what_cannot_be_fast_is_refused(monkeypatch):
    with pytest.raises(LamellaError, match="compile: fast is True or False, got 'yes'"):
        L.compile(lambda x: x, fast="yes")
    monkeypatch.setattr("lamella.api.programs.options.compute_device",
                        lambda op, given: Device("cuda"))
    with pytest.raises(UnsupportedError, match="no fast mode; leave fast or device out"):
        L.compile(lambda x: x, fast=True, device="cuda:0")
