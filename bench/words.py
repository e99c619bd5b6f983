"""Products of few bits beside PyTorch's, ONNX Runtime's and the peak of the dot instructions.

    python -m bench.words [--sizes 256,1024] [--layouts nn,nt] [--only int8]

One thread, by the thread's own clock: the systems and the peak take turns, a figure is the best of
many calls of the whole product, packing included. `peak` is the fraction of independent chains of
the instruction in registers. Where the processor has registers for matrices, that is theirs, and
bfloat16 is multiplied in fast mode. The last line is JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import lamella
from lamella.base import dtypes
from lamella.codegen import emit, target
from lamella.engine import kernels
from lamella.lang import expr, loops
from lamella.lang.loops import LANES, MATRIX
from lamella.runtime import llvm

from .matmul import limit
from .peak import CHAINS, loop

ROUNDS, TRIPS, MATRICES = 3, 100_000, 4


class Kind(NamedTuple):
    """A dtype's instruction: what it adds to, what words hold, multiply-adds of a word."""

    name: str
    sums: str
    words: str
    intrinsic: str
    feature: str
    per: int


KINDS = [Kind("bfloat16", "<16 x float>", "<32 x bfloat>", "@llvm.x86.avx512bf16.dpbf16ps.512",
              "avx512bf16", 2),
         Kind("int8", "<16 x i32>", "<64 x i8>", "@llvm.x86.avx512.vpdpbusd.512", "avx512vnni", 4)]


class Chains:
    """Independent chains of an instruction, in registers."""

    def __init__(self, kind: Kind):
        features = (*target.AVX512.features, kind.feature)
        own = target.Target(kind.name, target.AVX512.cpu, features, 512, 32, (), 0)
        text = loop(kind.intrinsic, kind.sums, kind.words, CHAINS, own.attributes, sum_first=True)
        code = llvm.assemble(text, cpu=target.AVX512.cpu, features=features)
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(
            llvm.load(code, ["chains"])["chains"])
        self._out = np.zeros(16 * CHAINS, np.float32)
        self._operations = 2 * 16 * kind.per * CHAINS * TRIPS

    def peak(self, times: int = 10) -> float:
        """Operations a second / 1e9, the best of `times`."""
        found = 0.0
        for _ in range(times):
            began = time.thread_time()
            self._run(self._out.ctypes.data, TRIPS)
            found = max(found, self._operations / (time.thread_time() - began) / 1e9)
        return found


class MatrixChains(Chains):
    """Independent chains of products of matrices, in registers."""

    def __init__(self, kind: Kind):
        own, task, k = kernels.target(), loops.index_var("task"), loops.index_var("k")
        dtype, acc = dtypes.by_name(kind.name), "int32" if kind.name == "int8" else "float32"
        sums = [expr.var(f"c{n}", dtypes.by_name(acc), MATRIX) for n in range(MATRICES)]
        zero, row = expr.lit(0, dtypes.index), expr.lit(LANES, dtypes.index)
        x, y = (loops.matrix_load("x", zero + n * MATRIX, row, dtypes.int32) for n in range(2))
        added = [loops.Set(c, loops.matrix_product(x, y, c, (dtype, dtype))) for c in sums]
        body = [*(loops.Set(c, expr.lit(0, c.dtype)) for c in sums),
                loops.Loop(k, zero, loops.index_var("n"), added),
                *(loops.Store("out", zero, loops.rows_apart(c, row)) for c in sums)]
        buffers = [loops.Buffer("x", dtypes.int32), loops.Buffer("out", sums[0].dtype, True)]
        source = emit(loops.Kernel("chains", buffers, [loops.index_var("n")],
                             [loops.Loop(task, zero, zero, body, "parallel")]), own)
        code = llvm.assemble(source.text, cpu=own.cpu, features=own.features)
        call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                                ctypes.c_void_p)(llvm.load(code, [source.name])[source.name])
        self._x, self._out = np.zeros(2 * MATRIX, np.int32), np.zeros(MATRIX, np.int32)
        words = np.array([self._x.ctypes.data, self._out.ctypes.data, TRIPS], np.int64)
        self._run = lambda out, trips: call(words.ctypes.data, 0, 1, None)
        self._operations = 2 * LANES ** 3 * kind.per * MATRICES * TRIPS


def calls(kind: Kind, n: int, layout: str) -> dict[str, Callable[[], object]]:
    """A call of the product of n x n by n x n for each system; `layout` tells which lie turned."""
    if kind.name == "int8":
        return _of_bytes(n, layout)
    rng, turn = np.random.default_rng(0), [t == "t" for t in layout]
    x, y = (np.float32(rng.standard_normal((n, n))) for _ in range(2))
    p, q = (lamella.asarray(z).astype(kind.name) for z in (x, y))
    product = lamella.compile(lambda a, b: (a.mT if turn[0] else a) @ (b.mT if turn[1] else b),
                              fast=kernels.target().matrices)
    found: dict[str, Callable[[], object]] = {"lamella": lambda: product(p, q)}
    if importlib.util.find_spec("torch"):
        import torch

        u, v = (torch.from_numpy(z).bfloat16() for z in (x, y))
        u, v = u.mT if turn[0] else u, v.mT if turn[1] else v
        found["torch"] = lambda: torch.mm(u, v)
    return found


def _of_bytes(n: int, layout: str) -> dict[str, Callable[[], object]]:
    """Signed bytes added in int32; results are checked, as they are exact."""
    rng, turn = np.random.default_rng(0), [t == "t" for t in layout]
    x, y = (rng.integers(-128, 128, (n, n), np.int8) for _ in range(2))
    a, b = x.T if turn[0] else x, y.T if turn[1] else y
    p, q = lamella.asarray(x), lamella.asarray(y)
    product = lamella.compile(lambda a, b: (a.mT if turn[0] else a).astype("int32") @
                              (b.mT if turn[1] else b).astype("int32"))
    want = np.int32(np.float64(a) @ np.float64(b))
    assert np.array_equal(np.asarray(product(p, q)), want), "the product is exact"
    found: dict[str, Callable[[], object]] = {"lamella": lambda: product(p, q)}
    if importlib.util.find_spec("torch"):
        import torch

        u, v = (torch.from_numpy(z) for z in (x, y))
        u, v = u.mT if turn[0] else u, v.mT if turn[1] else v
        found["torch"] = lambda: torch._int_mm(u, v)
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        found["onnxruntime"] = _onnx(a, b)
    return found


def _onnx(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    """MatMulInteger of one thread, its weights a constant that is laid out before; the left operand
    without a sign and with 128 for zero, which is its fast case."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    byte, word = onnx.TensorProto.UINT8, onnx.TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b", "z"], ["y"])], "product",
        [helper.make_tensor_value_info("a", byte, a.shape)],
        [helper.make_tensor_value_info("y", word, (a.shape[0], b.shape[1]))],
        [numpy_helper.from_array(np.ascontiguousarray(b), "b"),
         numpy_helper.from_array(np.uint8(128), "z")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    given = {"a": np.ascontiguousarray(a.view(np.uint8) ^ np.uint8(128))}
    return lambda: session.run(None, given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="256,512,1024,2048,4096")
    parser.add_argument("--layouts", default="nn")
    parser.add_argument("--only", default="", help="of these dtypes, by commas")
    parser.add_argument("--seconds", type=float, default=0.25, help="of each system and product")
    options = parser.parse_args()
    limit(1)
    result: dict[str, dict[str, float]] = {}
    chosen = options.only.split(",") if options.only else [k.name for k in KINDS]
    for kind in [k for k in KINDS if k.name in chosen]:
        if kind.feature not in llvm.host().features:
            print(f"{kind.name}: this processor has no {kind.feature}")
            continue
        chains = (MatrixChains if kernels.target().matrices else Chains)(kind)
        for n in map(int, options.sizes.split(",")):
            for layout in options.layouts.split(","):
                line = _line(kind, chains, n, layout, options.seconds)
                result[f"{kind.name} {n} {layout}"] = line
                print(f"{kind.name} {n:5} {layout} " + "  ".join(
                    f"{k} {v:8.3f}" for k, v in line.items()), flush=True)
    print(json.dumps(result))


def _line(kind: Kind, chains: Chains, n: int, layout: str, seconds: float) -> dict[str, float]:
    systems, peak = calls(kind, n, layout), 0.0
    best = dict.fromkeys(systems, 0.0)
    for _ in range(ROUNDS):
        peak = max(peak, chains.peak())
        for name, call in systems.items():
            call()
            end, count = time.perf_counter() + seconds / ROUNDS, 0
            while count < 2 or time.perf_counter() < end:
                began = time.thread_time()
                call()
                best[name] = max(best[name], 2e-9 * n ** 3 / (time.thread_time() - began))
                count += 1
    own = best.pop("lamella")
    line = {"gop/s": round(own, 1), "peak": round(own / peak, 3)}
    line |= {name: round(rate / peak, 3) for name, rate in best.items()}
    return line | ({"ratio": round(own / max(best.values()), 3)} if best else {})


if __name__ == "__main__":
    main()
