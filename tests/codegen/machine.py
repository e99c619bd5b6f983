"""Runs kernels on both targets and compares with the interpreter, bit for bit (NaN equals NaN)."""

import ctypes
from functools import lru_cache

import numpy as np
from codegen.loop_interpreter import interpret

from lamella.codegen import AVX2, AVX512, emit
from lamella.codegen.emit import scratch_bytes
from lamella.runtime import llvm

TARGETS = [t for t in (AVX512, AVX2) if llvm.host().features.issuperset(t.features)]
_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                              ctypes.c_void_p)


@lru_cache(None)
def address(text: str, name: str, cpu: str, features: tuple) -> int:
    return llvm.load(llvm.assemble(text, cpu=cpu, features=features), [name])[name]


def aligned(count: int, dtype, align: int = 64) -> np.ndarray:
    """Zeros that start on a cache line."""
    raw = np.zeros(count * np.dtype(dtype).itemsize + align, np.uint8)
    start = -raw.ctypes.data % align
    return raw[start:start + count * np.dtype(dtype).itemsize].view(dtype)


def run(kernel, target, arrays, sizes=(), begin=0, end=1) -> None:
    """Run generated code on flat arrays, which it changes."""
    source = emit(kernel, target)
    words = np.array([arrays[b.name].ctypes.data for b in kernel.operands] + list(sizes), np.int64)
    scratch = aligned(scratch_bytes(kernel, sizes) + 64, np.uint8)
    function = _SIGNATURE(address(source.text, source.name, target.cpu, target.features))
    function(words.ctypes.data, begin, end, scratch.ctypes.data)


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether arrays are equal bit for bit, all NaNs being equal."""
    word = np.dtype(f"u{a.dtype.itemsize}")
    equal = a.view(word) == b.view(word)
    if a.dtype.kind in "fV":
        with np.errstate(all="ignore"):
            equal |= (a != a) & (b != b)
    return bool(equal.all())


def check(kernel, arrays, sizes=(), begin=0, end=1) -> dict[str, np.ndarray]:
    """The arrays after the kernel, having compared both targets with the interpreter.

    Arrays are run between guard elements, so that a store out of bounds shows.
    """
    expected = {k: v.copy() for k, v in arrays.items()}
    interpret(kernel, expected, list(sizes), begin, end)
    for target in TARGETS:
        padded = {k: _padded(v) for k, v in arrays.items()}
        run(kernel, target, {k: v[_GUARD:] for k, v in padded.items()}, sizes, begin, end)
        for name, want in expected.items():
            got = padded[name][_GUARD:_GUARD + len(want)]
            assert same_bits(got, want), (
                f"{target}, {name}:\n{kernel}\ngot  {got}\nwant {want}\n"
                f"{emit(kernel, target).text}")
            for edge in (padded[name][:_GUARD], padded[name][_GUARD + len(want):]):
                assert (edge.view(np.uint8) == 0x55).all(), f"{target}: stored outside of {name}"
    return expected


_GUARD = 64


def _padded(x: np.ndarray) -> np.ndarray:
    out = np.full((len(x) + 2 * _GUARD) * x.itemsize, 0x55, np.uint8).view(x.dtype)
    out[_GUARD:_GUARD + len(x)] = x
    return out
