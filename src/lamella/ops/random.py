"""Random bits from a key and a counter: the same numbers on every machine, in any order.

Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
1, 2, 3", SC 2011). A key is uint32[2]; element number n of a draw is the first word (or for 64 bits
both words) of threefry(key, (n >> 32, n & 0xffffffff)).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base import dtypes
from ..base.dtypes import DType, uint32, uint64
from ..base.errors import DTypeError
from ..ir.node import Node, make
from ..ir.op import Op, is_shape, one_of
from ..ir.types import TensorType, row_major, tensor
from ..lang import expr, scalar
from ..lang.definition import Definition, axes_for
from .iota import iota
from .move import broadcast, reshape, slice_
from .pointwise import cast

PRECISION = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _rotate(x, r: int):
    return (x << r) | (x >> (32 - r))


def threefry(k0, k1, x0, x1):
    """Both words of the hash; works on expressions and on NumPy arrays of uint32 alike."""
    keys = (k0, k1, k0 ^ k1 ^ _PARITY)
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = _rotate(x1, r) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + (group + 1)
    return x0, x1


def _infer(p: dict, key: TensorType) -> TensorType:
    if key.dtype is not uint32 or key.shape != (2,):
        raise DTypeError(f"random: a key is uint32[2], got {key}; make one with random.key(seed)")
    return tensor(uint32, p["shape"])


def _words(p: dict, count: np.ndarray, key: np.ndarray):
    with np.errstate(over="ignore"):
        as32 = lambda x: np.asarray(x).astype(np.uint32)
        return threefry(as32(key[0]), as32(key[1]), as32(count >> 32), as32(count & 0xFFFFFFFF))


def _reference(p: dict, key: np.ndarray) -> np.ndarray:
    count = np.arange(int(np.prod(p["shape"], dtype=np.int64)), dtype=np.int64).reshape(p["shape"])
    return np.asarray(_words(p, count, key)[p["word"]], np.uint32).reshape(p["shape"])


def _lower(p: dict, key: TensorType) -> Definition:
    axes = axes_for(p["shape"])
    count: expr.Expr = expr.lit(0, dtypes.index)
    for a, s in zip(axes, row_major(p["shape"]), strict=True):
        count = count + a * expr.size(s)
    k = [expr.read(0, (expr.lit(w, dtypes.index),), uint32) for w in (0, 1)]
    return Definition((key,), axes, _word(count, k)[p["word"]])


def _word(count: expr.Expr, key: Sequence[expr.Expr]):
    """Both words of the hash of an element's number."""
    high = scalar.bitcast(count >> 32, uint64)
    low = scalar.bitcast(count & 0xFFFFFFFF, uint64)
    return threefry(key[0], key[1], scalar.cast(high, uint32), scalar.cast(low, uint32))


def unit_array(key: np.ndarray, shape, dtype: DType) -> np.ndarray:
    """`unit` in NumPy."""
    p = PRECISION[dtype.name]
    high, low = (_reference({"shape": shape, "word": w}, key).astype(np.uint64) for w in (0, 1))
    return (((high << np.uint64(32)) | low) >> np.uint64(64 - p)).astype(dtype.numpy) * 2.0 ** -p


def unit_at(count: expr.Expr, key: Sequence[expr.Expr], dtype: DType) -> expr.Expr:
    """Element number `count` of the draw that `unit` gives."""
    words = _word(count, key)
    return _unit(words[0], words[1], scalar.cast, dtype)


def _unit(bits, low, cast_to, dtype: DType):
    """The number in [0, 1) of a word, of two for float64."""
    p = PRECISION[dtype.name]
    if p > 32:
        bits = (cast_to(bits, uint64) << 32) | cast_to(low, uint64)
    return cast_to(bits >> (bits.dtype.bits - p), dtype) * 2.0 ** -p


def _batch(n: Node, inputs, batched):
    """Each key its own draw: the hash stated over a broadcast counter."""
    keys, = inputs
    shape = n.params["shape"]
    ones = (1,) * len(shape)
    k = [reshape(slice_(keys, (0, w), (keys.shape[0], w + 1)), (keys.shape[0], *ones))
         for w in (0, 1)]
    size = tensor(uint32, shape).size
    count = reshape(iota((size,), 0, dtypes.int64), shape)
    words = threefry(k[0], k[1], cast(count >> 32, uint32), cast(count & 0xFFFFFFFF, uint32))
    return broadcast(words[n.params["word"]], (keys.shape[0], *shape))


def random_bits(key: Node, shape, word: int = 0) -> Node:
    """uint32 of the shape: word 0 or 1 of the hash of each element's number."""
    return make(RANDOM_BITS, (key,), {"shape": tuple(shape), "word": word})


def unit(key: Node, shape, dtype: DType) -> Node:
    """Uniform multiples of 2**-p in [0, 1), p the dtype's precision."""
    words = [random_bits(key, shape, word) for word in ((0, 1) if PRECISION[dtype.name] > 32 else
                                                        (0,))]
    return _unit(words[0], words[-1], cast, dtype)


RANDOM_BITS = Op("random_bits", doc="y[n] = word of threefry2x32(key, n), n the row-major number.",
                 arity=1, params={"shape": is_shape, "word": one_of(0, 1)},
                 infer=_infer, reference=_reference, lower=_lower, vjp=lambda n, g: (None,),
                 jvp=lambda n, t: None, batch=_batch,
                 samples=lambda: [({"shape": (3, 20), "word": w}, [np.array([1, 2], np.uint32)])
                                  for w in (0, 1)])
