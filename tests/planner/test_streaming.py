"""Large results go past the caches where nothing needs them soon, with the same bits."""

import numpy as np
import pytest

import lamella
from lamella.lang.loops import show_kernel
from lamella.planner import build, streaming


def numbers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def kernels(f, *specs, **options) -> list[str]:
    """The kernels of a compiled function, as text."""
    report = lamella.plan(lamella.compile(f, **options), *specs)
    return [show_kernel(s.kernel) for s in report.plan.launches()]


LARGE = lamella.spec((2048, 2048))


@pytest.mark.parametrize("f,past", [(lambda x: x * 2.0, 1), (lamella.softmax, 1),
                                    (lambda x: (x * 2.0, x + 1.0), 2)])
def test_a_large_result_is_stored_past_the_caches(f, past):
    assert "".join(kernels(f, LARGE)).count("past the caches") == past
    assert "past the caches" not in "".join(kernels(f, lamella.spec((1024, 1024))))


def test_what_is_needed_soon_or_written_in_place_is_not():
    soon = kernels(lambda v, w: lamella.broadcast_to(lamella.exp(v), (2048, 2048)) @ w,
                   lamella.spec((2048,)), lamella.spec((2048, 8)))
    assert not any("past the caches" in text for text in soon)
    text, = kernels(lambda x: x * 2.0, LARGE, donate=("x",))
    assert "past the caches" not in text


def test_tiles_of_a_product_are_not():
    text = kernels(lambda u, v: u @ v, lamella.spec((2048, 8)), lamella.spec((8, 2560)))
    assert not any("past the caches" in t for t in text)


def test_a_size_that_may_be_small_is_not():
    n = lamella.base.extents.symbol("N", 1, 1 << 16)
    text, = kernels(lambda x: x * 2.0, lamella.spec((n, 2048)))
    assert "past the caches" not in text


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8"])
@pytest.mark.parametrize("columns", [4096, 4099])
def test_the_bits_are_the_same(dtype, columns, monkeypatch):
    rows = (17 << 20) // np.dtype(dtype).itemsize // columns
    x = (numbers(rows, columns) * 50).astype(dtype)
    y = np.array(lamella.compile(lambda x: (x + x, x[:, ::-1] * x))(x)[1])
    monkeypatch.setattr(build, "stream", lambda plan: None)
    plain = np.array(lamella.compile(lambda x: (x + x, x[:, ::-1] * x), memory="1 GiB")(x)[1])
    assert np.array_equal(y, plain) and np.array_equal(y, x[:, ::-1] * x)


def test_it_is_predicted_to_take_less_time(monkeypatch):
    def f(x):
        return x * 3.0

    past = lamella.plan(f, LARGE).seconds
    monkeypatch.setattr(streaming, "LEAST", 1 << 40)
    assert past < 0.9 * lamella.plan(lambda x: x * 3.0, LARGE).seconds


@pytest.mark.parametrize("dtype,width,lines", [("float32", 2048, 1), ("float64", 2048, 2),
                                               ("float32", 512, 0)])
def test_the_next_row_is_asked_for_while_a_long_one_is_computed(dtype, width, lines):
    text, = kernels(lamella.softmax, lamella.spec((64, width), dtype))
    assert text.count("prefetch") == 2 * lines      # while it sums, and while it stores
    x = numbers(5, 3, width, dtype=dtype).transpose(1, 0, 2)
    e = np.exp(x - x.max(-1, keepdims=True))
    assert np.allclose(np.array(lamella.softmax(x)), e / e.sum(-1, keepdims=True), rtol=1e-5)
