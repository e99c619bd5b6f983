"""What this machine can do: fused multiply-adds and memory, on one core and on all of the team's.

    python -m bench.peak

Multiply-adds: independent chains in registers, as many as the target has room for. Memory: a
streaming copy of arrays far larger than the caches, counting what is read and what is written.
The last line is JSON. Other benchmarks state their results as fractions of these figures.
"""

from __future__ import annotations

import ctypes
import json
import threading
import time

import numpy as np

from lamella.codegen import target
from lamella.runtime import llvm

CHAINS, ROUNDS = 24, 400_000
COPY_BYTES = 256 << 20


def loop(name: str, sums: str, words: str, count: int, attributes: str,
         sum_first: bool = False) -> str:
    """LLVM text of `chains`: so many independent chains of an instruction that adds the product of
    two words to sums, which are its first operand or its last."""
    order = (sums, words, words) if sum_first else (words, words, sums)

    def call(k: int) -> str:
        given = (f"%a{k}", "%x", "%x") if sum_first else ("%x", "%x", f"%a{k}")
        return ", ".join(f"{t} {x}" for t, x in zip(order, given, strict=True))

    phis = "\n".join(f"  %a{k} = phi {sums} [zeroinitializer, %entry], [%b{k}, %body]"
                     for k in range(count))
    steps = "\n".join(f"  %b{k} = call {sums} {name}({call(k)})" for k in range(count))
    stores = "\n".join(f"  %p{k} = getelementptr {sums}, ptr %out, i64 {k}\n"
                       f"  store {sums} %b{k}, ptr %p{k}, align 4" for k in range(count))
    return f"""
declare {sums} {name}({", ".join(order)})
define void @chains(ptr %out, i64 %n) #0 {{
entry:
  %x = load {words}, ptr %out, align 4
  br label %body
body:
  %i = phi i64 [0, %entry], [%i1, %body]
{phis}
{steps}
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i1, %n
  br i1 %more, label %body, label %end
end:
{stores}
  ret void
}}
attributes #0 = {{ {attributes} }}
"""


class Peak:
    """Measures the rates; every call is a fresh measurement of a few milliseconds."""

    def __init__(self):
        kind = target.detect(llvm.host().features)
        lanes, count = kind.vector_bits // 32, CHAINS if kind.registers == 32 else 12
        self.flops = 2 * lanes * count
        vector = f"<{lanes} x float>"
        text = loop(f"@llvm.fma.v{lanes}f32", vector, vector, count, kind.attributes)
        code = llvm.assemble(text, cpu=kind.cpu, features=kind.features)
        address = llvm.load(code, ["chains"])["chains"]
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)
        self._copy = np.ones(COPY_BYTES // 4, np.float32), np.zeros(COPY_BYTES // 4, np.float32)

    def multiply_adds(self, threads: int = 1, times: int = 5) -> float:
        """GFLOP/s of that many threads at once, the best of `times`."""
        out = [np.zeros(16 * 64, np.float32) for _ in range(threads)]
        seconds = best(lambda k: self._run(out[k].ctypes.data, ROUNDS), threads, times)
        return threads * ROUNDS * self.flops / seconds / 1e9

    def bandwidth(self, threads: int = 1, times: int = 5) -> float:
        """GB/s read plus written by a copy in that many parts at once, the best of `times`."""
        source, to = (np.array_split(a, threads) for a in self._copy)
        seconds = best(lambda k: np.copyto(to[k], source[k]), threads, times)
        return 2 * COPY_BYTES / seconds / 1e9


def best(work, threads: int, times: int) -> float:
    """Seconds from the first start of work(0), work(1), ... to the last one's end, the least."""
    found = float("inf")
    for _ in range(times):
        gate = threading.Barrier(threads)
        begins, ends = [0.0] * threads, [0.0] * threads

        def one(k: int, gate=gate, begins=begins, ends=ends) -> None:
            gate.wait()
            begins[k] = time.perf_counter()
            work(k)
            ends[k] = time.perf_counter()

        crew = [threading.Thread(target=one, args=(k,)) for k in range(threads)]
        for t in crew:
            t.start()
        for t in crew:
            t.join()
        found = min(found, max(ends) - min(begins))
    return found


def main() -> None:
    peak = Peak()
    figures = {f"{what}_{t}": round(f(t, 15), 2) for t in (1, 2) for what, f in
               (("gflops", peak.multiply_adds), ("copy_gb_s", peak.bandwidth))}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
