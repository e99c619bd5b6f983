"""Kernels compile to machine code with no GPU at hand, without spills, on tensor cores."""

from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("triton")

from gpu.cases import EVERY, TAKEN, plan_of

import lamella
from lamella.codegen.gpu import SM80, SM90
from lamella.engine.device import codes_of
from lamella.runtime import triton

COMPILED = TAKEN if EVERY else TAKEN[::2]


def binaries(program, target=SM90):
    return triton.assemble_all(codes_of(plan_of(program, target), {}), target.arch)


@pytest.mark.parametrize("case", COMPILED, ids=[c.name for c in COMPILED])
def test_every_op_compiles_for_sm_90(case):
    for binary in binaries(case.program()):
        assert binary.image[:4] == b"\x7fELF"
        assert binary.shared <= SM90.shared_bytes


@pytest.mark.parametrize("case", COMPILED[::8], ids=[c.name for c in COMPILED[::8]])
def test_and_for_sm_80(case):
    for binary in binaries(case.program(), SM80):
        assert binary.image[:4] == b"\x7fELF"


def test_kernels_compiled_side_by_side_are_the_same(monkeypatch, tmp_path):
    def f(x, w):
        y = lamella.softmax(lamella.rms_norm(x @ w, lamella.ones(128)).sum(axis=0))
        return lamella.cumulative_sum(y) + lamella.sort(x[0])

    program = lamella.trace(f, lamella.spec((64, 128)), lamella.spec((128, 128)))
    codes = codes_of(plan_of(program), {})
    assert len(codes) > 3
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "one"))
    alone = [triton.assemble(*code, arch=90) for code in codes]
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "many"))
    monkeypatch.setattr(triton, "cores", lambda: 4)
    together = triton.assemble_all(codes, 90)
    assert [b.function for b in together] == [code.name for code in codes]
    assert [b.image for b in together] == [b.image for b in alone]
    assert (tmp_path / "many").exists() and triton.assemble_all([], 90) == []
    wrong = codes[0]._replace(text=codes[0].text.replace("tl.load", "tl.lode"))
    with pytest.raises(Exception, match="lode"):
        triton.assemble_all([codes[1], wrong], 90)


def test_where_syntax_trees_share_a_count_kernels_are_compiled_one_by_one(monkeypatch):
    """CPython 3.11.7 raised "AST constructor recursion depth mismatch" now and then."""
    versions = [(3, 11, 7), (3, 11, 8), (3, 12, 1), (3, 12, 2), (3, 13, 0), (3, 14, 1)]
    assert [triton.parses_abreast(v) for v in versions] == [False, True, False, True, True, True]
    asked = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads):
            asked.append(threads)
            super().__init__(threads)

    monkeypatch.setattr(triton, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(triton, "cores", lambda: 4)
    monkeypatch.setattr(triton, "assemble", lambda *code, arch: code)
    code = codes_of(plan_of(_matmul("float16")), {})[0]
    for safe in (False, True):
        monkeypatch.setattr(triton, "parses_abreast", lambda safe=safe: safe)
        triton.assemble_all([code] * 9, 90)
    assert asked == [1, 4]


def _matmul(dtype, m=512, k=256, n=512):
    def f(a, b, c):
        return lamella.relu(a @ b + c)
    return lamella.trace(f, lamella.spec((m, k), dtype), lamella.spec((k, n), dtype),
                         lamella.spec((n,), dtype))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_products_of_16_bits_are_on_tensor_cores(dtype):
    binary, = binaries(_matmul(dtype))
    assert "wgmma.mma_async" in binary.ptx and "cp.async" in binary.ptx
    older, = binaries(_matmul(dtype), SM80)
    assert "mma.sync" in older.ptx and "wgmma" not in older.ptx


@pytest.mark.parametrize("left, right, word", [
    ("float8_e4m3fn", "float8_e4m3fn", "e4m3.e4m3"), ("float8_e5m2", "float8_e4m3fn", "e5m2.e4m3")])
def test_products_of_float8_are_on_tensor_cores(left, right, word):
    def f(a, b):
        return a.astype("float32") @ b.mT.astype("float32")
    program = lamella.trace(f, lamella.spec((1024, 512), left), lamella.spec((1024, 512), right))
    binary, = binaries(program)
    assert "wgmma.mma_async" in binary.ptx and word in binary.ptx
    assert triton.usage(binary).spilled == 0
    assert all(word not in b.ptx for b in binaries(program, SM80))


@pytest.mark.parametrize("target", [SM90, SM80], ids=str)
def test_products_in_parts_are_on_tensor_cores_too(target):
    def f(a, b):
        return lamella.relu(a @ b)
    program = lamella.trace(f, lamella.spec((128, 8192), "bfloat16"),
                            lamella.spec((8192, 128), "bfloat16"))
    parts, joined = binaries(program, target)
    assert ("wgmma.mma_async" if target is SM90 else "mma.sync") in parts.ptx
    assert "mma" not in joined.ptx
    for binary in (parts, joined):
        assert triton.usage(binary).spilled == 0 and "atom" not in binary.ptx


def test_products_of_float32_are_not_rounded_to_tf32():
    binary, = binaries(_matmul("float32"))
    assert "tf32" not in binary.ptx and "fma.rn.f32" in binary.ptx


@pytest.mark.parametrize("f, shape", [
    (lamella.softmax, (4096, 1024)), (lamella.gelu, (4096, 1024)),
    (lambda x: x.sum(axis=0), (4096, 1024)), (lambda x: x.T * 2.0, (4096, 1024)),
    (lambda x: x @ x, (4096, 4096)),
], ids=["softmax", "gelu", "columns", "transpose", "matmul"])
def test_registers_and_spills_are_bounded(f, shape):
    for binary in binaries(lamella.trace(f, lamella.spec(shape, "bfloat16"))):
        usage = triton.usage(binary)
        assert usage.registers <= 255 and usage.spilled == 0
        assert usage.registers * binary.threads <= 65536


def _attention(dtype: str):
    specs = [lamella.spec(s, dtype) for s in ((2, 8, 512, 64), (2, 4, 512, 64), (2, 4, 512, 64))]
    return lamella.trace(lambda q, k, v: lamella.attention(q, k, v, causal=True), *specs)


@pytest.mark.parametrize("dtype, words", [("bfloat16", "wgmma.mma_async"),
                                          ("float32", "fma.rn.f32")])
def test_attention_stays_in_registers(dtype, words):
    binary = next(b for b in binaries(_attention(dtype)) if words in b.ptx and b.shared)
    assert triton.usage(binary).spilled == 0


@pytest.mark.parametrize("width", [64, 128])
def test_attention_s_gradient_is_on_tensor_cores_and_stays_in_registers(width):
    x = lamella.spec((2, 512, 4, width), "bfloat16")

    def gradients(q, k, v, g, key):
        def loss(q, k, v):
            return (lamella.attention(q, k, v, causal=True, dropout=0.1, key=key) * g).sum()
        return lamella.grad(loss, argnums=(0, 1, 2))(q, k, v)

    program = lamella.trace(gradients, x, x, x, x, lamella.spec((2,), "uint32"))
    found = [b for b in binaries(program) if b.shared]
    assert len(found) == 4      # forward, sums, of queries, of keys
    for binary in found:
        assert "wgmma.mma_async" in binary.ptx and triton.usage(binary).spilled == 0


def test_maps_read_and_write_whole_vectors():
    binary, = binaries(lamella.trace(lambda x: x * 2.0, lamella.spec((1024, 1024))))
    assert "ld.global.v4" in binary.ptx and "st.global.v4" in binary.ptx


@pytest.mark.parametrize("target", [SM90, SM80], ids=str)
def test_a_product_that_computes_a_factor_is_on_tensor_cores(target):
    def f(x, s, w):
        return (x * s[:, None]).astype("bfloat16") @ w
    program = lamella.trace(f, lamella.spec((4096, 1024)), lamella.spec((4096,)),
                            lamella.spec((1024, 256), "bfloat16"))
    binary, = binaries(program, target)
    assert ("wgmma.mma_async" if target is SM90 else "mma.sync") in binary.ptx
    assert triton.usage(binary).spilled == 0
