"""Products of bytes added in int32: exact modulo 2^32 over all layouts, signs, cuts and targets."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from planner.targets import HERE, agree

import lamella
from lamella.codegen import AVX512_AMX, AVX512_VNNI
from lamella.engine.value import Value
from lamella.planner.build import build_plan
from lamella.planner.kernels import worded
from lamella.planner.kernels.tiling import BEFORE, TASK, choose_tiling

BYTES = ("int8", "uint8")


def drawn(rng, shape, dtype):
    low = -128 if dtype == "int8" else 0
    return rng.integers(low, low + 256, shape).astype(dtype)


def product(layout):
    def f(p, q):
        p, q = p.astype("int32"), q.astype("int32")
        return (p.mT if layout[0] == "t" else p) @ (q.mT if layout[1] == "t" else q)
    return f


def laid(x, turned):
    return lamella.asarray(np.ascontiguousarray(x.swapaxes(-1, -2) if turned == "t" else x))


def check(m, k, n, layout, left, right, batch=(), seed=0):
    rng = np.random.default_rng(seed)
    a, b = drawn(rng, (*batch, m, k), left), drawn(rng, (*batch, k, n), right)
    got = lamella.compile(product(layout))(laid(a, layout[0]), laid(b, layout[1]))
    assert got.dtype == lamella.int32
    np.testing.assert_array_equal(got.numpy(), (a.astype(np.int64) @ b).astype(np.int32))


@pytest.mark.parametrize("left", BYTES)
@pytest.mark.parametrize("right", BYTES)
@pytest.mark.parametrize("m,k,n,layout", [
    (64, 100, 48, "nn"), (37, 33, 70, "nt"), (17, 101, 50, "tn"), (64, 1025, 48, "tt"),
    (20, 9001, 33, "nn"), (5, 70, 90, "nn"), (1, 33, 70, "nt"), (16, 3, 5, "nn"),
    (300, 40, 300, "tn"), (8, 1, 1, "nn"), (40, 64, 1, "nn")])
def test_every_sign_and_layout(m, k, n, layout, left, right):
    check(m, k, n, layout, left, right)


@given(st.integers(1, 90), st.integers(1, 300), st.integers(1, 90),
       st.sampled_from(["nn", "nt", "tn", "tt"]), st.sampled_from(BYTES), st.sampled_from(BYTES),
       st.sampled_from([(), (3,), (2, 2)]), st.sampled_from([TASK, BEFORE]))
@settings(max_examples=40, deadline=None)
def test_awkward_shapes(m, k, n, layout, left, right, batch, way):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worded, "choose_tiling",
                      lambda p, target: choose_tiling(p._replace(ways=(way,)), target))
        check(m, k, n, layout, left, right, batch)


def test_sums_leave_32_bits_as_the_generic_product_does():
    k = 140_000     # of 2^14 each, more than 2^31
    a, b = np.full((8, k), -128, np.int8), np.full((k, 16), -128, np.int8)
    got = lamella.compile(product("nn"))(lamella.asarray(a), lamella.asarray(b)).numpy()
    assert (got == np.int64(k << 14).astype(np.int32)).all()


def test_scales_behind_it_and_other_readers_of_the_casts():
    rng = np.random.default_rng(3)
    a, b = drawn(rng, (50, 77), "int8"), drawn(rng, (77, 60), "int8")
    scale = np.float32(rng.random(60))

    def f(p, q, s):
        p, q = p.astype("int32"), q.astype("int32")
        return lamella.maximum((p @ q).astype("float32") * s, 0.0), p.sum(axis=1), q + 1

    y, rows, more = lamella.compile(f)(*map(lamella.asarray, (a, b, scale)))
    want = (a.astype(np.int32) @ b.astype(np.int32)).astype(np.float32) * scale
    np.testing.assert_array_equal(y.numpy(), np.maximum(want, 0))
    np.testing.assert_array_equal(rows.numpy(), a.sum(axis=1, dtype=np.int32))
    np.testing.assert_array_equal(more.numpy(), b.astype(np.int32) + 1)


def test_rows_and_columns_that_are_skipped():
    rng = np.random.default_rng(6)
    a, b = drawn(rng, (60, 200), "int8"), drawn(rng, (150, 80), "int8")

    def f(p, q):
        return p[3:50:2, 10:160].astype("int32") @ q[:, ::2].astype("int32")

    want = a[3:50:2, 10:160].astype(np.int32) @ b[:, ::2].astype(np.int32)
    np.testing.assert_array_equal(lamella.compile(f)(*map(lamella.asarray, (a, b))).numpy(), want)


def test_sizes_that_are_symbols():
    rng = np.random.default_rng(7)
    m, k = lamella.symbol("m", 1, 90), lamella.symbol("k", 1, 5000)
    f = lamella.compile(product("nn"), sizes={"p": (m, k), "q": (k, None)})
    for rows, deep in ((1, 3), (8, 64), (33, 100), (70, 4100), (9, 1)):
        a, b = drawn(rng, (rows, deep), "int8"), drawn(rng, (deep, 45), "int8")
        want = a.astype(np.int32) @ b.astype(np.int32)
        np.testing.assert_array_equal(f(*map(lamella.asarray, (a, b))).numpy(), want)


@pytest.mark.parametrize("spec", ["abk,kc->abc", "akb,kc->abc", "akl,lkc->ac", "kla,lkc->ca",
                                  "bhik,bhjk->bhij", "bki,bkj->ij", "aibk,kbj->iaj"])
@pytest.mark.parametrize("extents", [(3, 5, 17, 2, 9), (2, 1, 40, 7, 1)], ids=str)
def test_products_of_several_axes(spec, extents):
    letters = sorted(set(spec) - set(",->"))
    sizes, rng = dict(zip(letters, extents, strict=False)), np.random.default_rng(8)
    a, b = (drawn(rng, [sizes[c] for c in s], "int8") for s in spec.split("->")[0].split(","))

    def f(p, q):
        return lamella.einsum(spec, p.astype("int32"), q.astype("int32"))

    want = np.einsum(spec, a.astype(np.int32), b.astype(np.int32))
    np.testing.assert_array_equal(lamella.compile(f)(*map(lamella.asarray, (a, b))).numpy(), want)


def test_captured_weights_are_laid_out_once_and_uncompiled_is_the_same():
    rng = np.random.default_rng(4)
    a, w = drawn(rng, (64, 130), "int8"), lamella.asarray(drawn(rng, (130, 70), "int8"))

    def f(p):
        return p.astype("int32") @ w.astype("int32")

    want = a.astype(np.int32) @ w.numpy().astype(np.int32)
    np.testing.assert_array_equal(lamella.compile(f)(lamella.asarray(a)).numpy(), want)
    np.testing.assert_array_equal(f(lamella.asarray(a)).numpy(), want)


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_layers_that_repeat_have_panels_and_notes_of_their_own(dtype):
    rng = np.random.default_rng(5)
    x = drawn(rng, (90, 100), "int8")
    weights = [drawn(rng, (100, 100), "int8") for _ in range(3)]

    def f(x, *weights):
        wide = "int32" if dtype == "int8" else dtype
        for w in weights:
            x = (x.astype(wide) @ w.astype(wide)).astype("float32") * (1 / 4096)
            x = lamella.floor(x).astype(dtype)
        return x.astype("float32")

    given = [lamella.asarray(v).astype(dtype) for v in (x, *weights)]
    np.testing.assert_array_equal(lamella.compile(f)(*given).numpy(), f(*given).numpy())


@pytest.mark.parametrize("target,word", [(AVX512_VNNI, "quad"), (AVX512_AMX, "matrix")], ids=str)
def test_the_instruction_serves_it_and_casts_are_not_stored(target, word):
    p = lamella.trace(product("nt"), lamella.spec((64, 96), "int8"), lamella.spec((80, 96), "int8"))
    plan = build_plan(p, target)
    text = "".join(str(s.kernel) for s in plan.launches())
    assert word in text
    assert "map" not in [s.kernel.name for s in plan.launches()]


@pytest.mark.skipif(len(HERE) < 2, reason="one target here")
@pytest.mark.parametrize("right", BYTES)
def test_targets_agree(right):
    p = lamella.trace(lambda x, w: (x.astype("int32") @ w.astype("int32")).astype("float32") * 0.5,
                      lamella.spec((48, 70), "int8"), lamella.spec((70, 48), right))
    rng = np.random.default_rng(1)
    operands = [Value.from_numpy(drawn(rng, s, d)) for s, d in (((48, 70), "int8"),
                                                               ((70, 48), right))]
    assert agree(p, operands)
