"""Products by matrices in registers: bfloat16 in fast mode, in the order that is stated, what LLVM
makes of them, and that the system is asked. Bytes are tested in test_quads.py."""

import json
import re

import numpy as np
import pytest

import lamella
from lamella.codegen import AVX512_AMX, AVX512_VNNI
from lamella.codegen.emit import emit
from lamella.engine import kernels
from lamella.planner.build import build_plan
from lamella.planner.kernels import worded
from lamella.planner.kernels.tiling import BEFORE, TASK, choose_tiling
from lamella.planner.pricing.profile import DEFAULTS, Profile
from lamella.planner.report import Report
from lamella.runtime import llvm, walker

needs_matrices = pytest.mark.skipif(not kernels.target().matrices,
                                    reason="the processor has no registers for matrices")
SHAPES = [(37, 33, 70, "nn"), (16, 32, 16, "nn"), (40, 100, 50, "nt"), (40, 101, 50, "tn"),
          (64, 1025, 48, "tt"), (20, 5000, 33, "nn"), (9, 7, 1, "nn"), (600, 40, 300, "nn")]


def product(layout):
    return lambda p, q: (p.mT if layout[0] == "t" else p) @ (q.mT if layout[1] == "t" else q)


def laid(x, turned):
    return lamella.asarray(np.ascontiguousarray(x.swapaxes(-1, -2) if turned == "t" else x))


def drawn(m, k, n, layout, scale=1.0):
    rng = np.random.default_rng(m)
    a, b = (lamella.asarray(rng.standard_normal(s, "float32") * np.float32(scale))
            .astype("bfloat16").astype("float32").numpy().copy() for s in ((m, k), (k, n)))
    return a, b, [laid(x, t).astype("bfloat16") for x, t in zip((a, b), layout, strict=True)]


def chained(products):
    """Sums of exact products along the first axis, each rounded once."""
    total = np.zeros(products.shape[1:], np.float32)
    for x in products:
        total = (total.astype(np.longdouble) + x).astype(np.float32)
    return total


def in_order(a, b):
    """As the processor adds: pairs' earlier and later positions apart, 32 positions at a time."""
    short = -a.shape[1] % 32
    a, b = np.pad(a, ((0, 0), (0, short))), np.pad(b, ((0, short), (0, 0)))
    exact = a.T[:, :, None].astype(np.longdouble) * b[:, None, :]
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(0, a.shape[1], 32):
        total = total + (chained(exact[k:k + 32:2]) + chained(exact[k + 1:k + 32:2]))
    return total


@needs_matrices
@pytest.mark.parametrize("way", [TASK, BEFORE])
@pytest.mark.parametrize("m,k,n,layout", SHAPES)
def test_bfloat16_in_fast_mode_is_summed_in_the_stated_order(m, k, n, layout, way, monkeypatch):
    monkeypatch.setattr(worded, "choose_tiling",
                        lambda p, target: choose_tiling(p._replace(ways=(way,)), target))
    a, b, given = drawn(m, k, n, layout)
    got = lamella.compile(product(layout), fast=True)(*given)
    want = lamella.asarray(in_order(a, b)).astype("bfloat16")
    np.testing.assert_array_equal(got.astype("float32").numpy(), want.astype("float32").numpy())


@needs_matrices
def test_one_thread_or_two_and_again_give_the_same_bits():
    _, _, given = drawn(300, 700, 260, "nn")
    f, before, seen = lamella.compile(product("nn"), fast=True), walker.threads(), set()
    try:
        for threads in (1, 2, 1):
            walker.set_threads(threads)
            seen.add(f(*given).astype("float32").numpy().tobytes())
    finally:
        walker.set_threads(before)
    assert len(seen) == 1


@needs_matrices
def test_nan_and_infinity_stay_in_their_rows_and_columns():
    a, b, _ = drawn(40, 50, 35, "nn")
    a[3, 7], b[9, 5] = np.nan, np.inf
    given = [lamella.asarray(x).astype("bfloat16") for x in (a, b)]
    got = lamella.compile(product("nn"), fast=True)(*given).astype("float32").numpy()
    special = ~np.isfinite(got)
    assert special[3].all() and special[:, 5].all()
    assert not np.delete(np.delete(special, 3, 0), 5, 1).any()


@needs_matrices
def test_maps_behind_it_and_gradients():
    a, b, given = drawn(48, 64, 40, "nn")

    def f(p, q):
        return lamella.relu(p @ q).astype("float32").sum()

    fast = lamella.compile(lambda p, q: lamella.grad(f, argnums=(0, 1))(p, q), fast=True)(*given)
    mask = (a.astype(np.float64) @ b > 0)
    for got, want in zip(fast, (mask @ b.T.astype(np.float64), a.T.astype(np.float64) @ mask)):
        error = np.abs(got.astype("float32").numpy() - want).max() / np.abs(want).max()
        assert error < 2 ** -7


def kernel_of(dtype, fast):
    wide = "int32" if dtype == "int8" else dtype
    p = lamella.trace(lambda a, b: a.astype(wide) @ b.astype(wide),
                      lamella.spec((256, 512), dtype), lamella.spec((512, 256), dtype))
    plan = build_plan(p, AVX512_AMX, fast=fast)
    return plan, plan.launches()[-1].kernel


@pytest.mark.parametrize("dtype,name", [("int8", "tdpbssd"), ("bfloat16", "tdpbf16ps")])
def test_matrices_stay_in_registers(dtype, name):
    source = emit(kernel_of(dtype, True)[1], AVX512_AMX)
    text = llvm.assembly(source.text, cpu=AVX512_AMX.cpu, features=AVX512_AMX.features)
    assert "tilerelease" in text
    loop, = (x for x in re.split(r"^\.L\w+:", text, flags=re.M) if name in x)
    assert loop.count(name) == loop.count("tileloadd") == 4
    assert "tilestored" not in loop.split("\tj")[0]


def test_bfloat16_keeps_the_rules_order_where_fast_mode_is_not_asked_for():
    assert "matrix" not in str(kernel_of("bfloat16", False)[1])


def test_its_time_and_bytes_are_known():
    plan, _ = kernel_of("int8", False)
    apart = build_plan(plan.program, AVX512_VNNI)
    fast, slow = (Report(p, DEFAULTS["avx512amx"]) for p in (plan, apart))
    assert fast.seconds < slow.seconds / 2      # eight times the products in a cycle
    assert fast.flops == slow.flops and fast.traffic == slow.traffic


def test_a_profile_from_before_matrices_were_timed_can_be_read():
    own = DEFAULTS["avx512amx"]
    old = json.loads(own.to_json())
    del old["units"]["matrix"]
    assert Profile.read(json.dumps(old)).units == own.units


@pytest.mark.parametrize("granted", [True, False])
def test_the_registers_are_used_only_where_the_system_grants_them(granted, monkeypatch):
    present = llvm.host.__wrapped__().features
    monkeypatch.setattr(llvm, "matrices_granted", lambda: granted)
    found = llvm.host.__wrapped__().features
    assert found == (present if granted else
                     frozenset(x for x in present if not x.startswith("amx")))
