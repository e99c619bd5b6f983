"""A device whose kernels Triton's interpreter runs, in host memory, without PyTorch or a GPU.

It checks what the null device checks. Sums along a tile go through NumPy, as the interpreter's own
way of calling a function for each pair takes seconds; bfloat16 through ml_dtypes, as it truncates;
fma through the reference, as Triton before 3.9 rounds twice.
"""

import ctypes

import numpy as np
import triton.language as tl
from ml_dtypes import bfloat16, float8_e4m3fn, float8_e5m2
from triton.runtime import interpreter

from lamella.lang.evaluate import fma_array
from lamella.runtime import triton
from lamella.runtime.device import NullDevice

_JOINS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum,
          "any": np.bitwise_or, "all": np.bitwise_and}
_own_reduce = interpreter.ReduceOps.apply_impl


def _reduce(self, operands):
    monoid, found, _ = getattr(self.combine_fn, "__name__", "").partition("_of_")
    if not found:
        return _own_reduce(self, operands)
    x, = operands
    data = x.handle.data
    joined = _JOINS[monoid].reduce(data, axis=self.axis, dtype=data.dtype)
    return self.to_tensor(np.asarray(joined), x.dtype)


def _splat(self, type, x):
    """A number as a tile of its own NumPy dtype: a comparison's handle names its operands'."""
    data = np.full(type.shape, x.data.reshape(-1)[0], dtype=x.data.dtype)
    return interpreter.TensorHandle(data, x.dtype.scalar)


def _cast(self, x, to):
    """Between float32 and bfloat16 by ml_dtypes, which rounds to nearest."""
    pair = (x.dtype.scalar, to.scalar)
    if pair == (tl.float32, tl.bfloat16):
        return interpreter.TensorHandle(x.data.astype(bfloat16).view(np.uint16), tl.bfloat16)
    if pair == (tl.bfloat16, tl.float32):
        return interpreter.TensorHandle(_wide(x), tl.float32)
    return _own_cast(self, x, to)


_HELD = {tl.bfloat16: bfloat16, tl.float8e4nv: float8_e4m3fn, tl.float8e5: float8_e5m2}


def _wide(x):
    """The numbers of a tile; of dtypes whose bits the interpreter holds, as float32."""
    held = _HELD.get(x.dtype.scalar)
    return x.data if held is None else x.data.view(held).astype(np.float32)


def _dot(self, a, b, start, precision, imprecise):
    total = np.matmul(_wide(a), _wide(b), dtype=start.data.dtype) + start.data
    return interpreter.TensorHandle(total, start.dtype.scalar)


def _fma(self, x, y, z):
    return interpreter.TensorHandle(fma_array(x.data, y.data, z.data), z.dtype.scalar)


def _patch_tensor(tensor, scope):
    """A scalar is an array of one element, which NumPy 2.4 takes for no index in Triton 3.6."""
    _own_patch_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))


_own_patch_tensor = interpreter._patch_lang_tensor
interpreter._patch_lang_tensor = _patch_tensor
interpreter.InterpreterBuilder.create_fma = _fma
_own_cast = interpreter.InterpreterBuilder.cast_impl
interpreter.InterpreterBuilder.cast_impl = _cast
interpreter.InterpreterBuilder.create_dot = _dot
interpreter.ReduceOps.apply_impl = _reduce
interpreter.InterpreterBuilder.create_splat = _splat


class Interpreted(NullDevice):
    """The null device with memory and arithmetic."""

    def __init__(self, arch: int = 90):
        super().__init__(arch)
        self.held: dict[int, np.ndarray] = {}

    def allocate(self, size):
        raw = np.full(size + 512, 0xA5, np.uint8)
        address = raw.ctypes.data + -raw.ctypes.data % 256
        self.held[address] = raw
        self.memory.add(address, size)
        return address

    def free(self, address):
        super().free(address)
        del self.held[address]

    def load(self, codes):
        return [(code, interpreter.InterpretedFunction(triton.function(code.text, code.name).fn))
                for code in codes]

    def launch(self, kernel, programs, spans, sizes):
        code, function = kernel
        super().launch(code, programs, spans, sizes)
        words = [*(s.address for s in spans), *sizes]
        given = [_argument(kind, w) for (_, kind), w in zip(code.types, words)]
        with np.errstate(all="ignore"):
            function.run(*given, grid=(programs,), warmup=False)

    def copy(self, to, source, size):
        super().copy(to, source, size)
        _bytes(to, size)[...] = _bytes(source, size).copy()

    def pin(self, size):
        raw = np.full(size + 512, 0xA5, np.uint8)
        address = raw.ctypes.data + -raw.ctypes.data % 256
        self.held[address] = raw
        self.pinned.add(address, size)
        return address

    def unpin(self, address):
        super().unpin(address)
        del self.held[address]

    def send(self, to, source, size):
        ticket = super().send(to, source, size)
        _bytes(to, size)[...] = _bytes(source, size)
        return ticket

    def fetch(self, to, source, size):
        ticket = super().fetch(to, source, size)
        _bytes(to, size)[...] = _bytes(source, size)
        return ticket

    def upload(self, to, data):
        super().upload(to, data)
        _bytes(to, data.nbytes)[...] = data

    def download(self, data, source):
        super().download(data, source)
        data[...] = _bytes(source, data.nbytes)


def _argument(kind: str, word: int) -> tl.tensor:
    """A parameter's value as the interpreter holds it."""
    ty = tl.str_to_ty(kind, None)
    data = np.array([word], np.uint64 if kind.startswith("*") else f"i{int(kind[1:]) // 8}")
    return tl.tensor(interpreter.TensorHandle(data, ty), ty)


def _bytes(address: int, size: int) -> np.ndarray:
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)
