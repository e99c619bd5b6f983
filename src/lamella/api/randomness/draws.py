"""Random numbers from explicit keys: the same bits on every machine, in any order of calls.

A key is uint32[2]; every draw hashes it with each element's number (Threefry-2x32). There is no
hidden generator: `split` makes new keys, and a key that is used twice at top level raises, because
the second draw would repeat the first.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from ...base import dtypes
from ...base.dtypes import as_dtype, uint32, uint64
from ...base.errors import DTypeError, LamellaError
from ...ir.node import literal
from ...ops import move
from ...ops.pointwise import apply, cast
from ...ops.random import random_bits, threefry, unit
from ..arrays.array import Array, asarray, from_numpy, wrap
from ..arrays.shapes import as_shape
from ..arrays.values import error
from ..functions.reductions import argmax
from .keys import checked, use

__all__ = ["bernoulli", "categorical", "fold_in", "gumbel", "key", "normal", "randint", "split",
           "uniform"]

_FOLD = 1 << 31  # the counter's high word in fold_in: no draw's counter reaches it


def key(seed: int) -> Array:
    """The key of a seed, an integer from 0 to 2**64 - 1."""
    try:
        seed = operator.index(seed)
    except TypeError:
        raise error(DTypeError, f"key: a seed is an integer, got {type(seed).__name__}") from None
    if not 0 <= seed < 1 << 64:
        raise error(LamellaError, f"key: the seed {seed} is outside of 0..2**64 - 1")
    return from_numpy(np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32))


def split(k, n: int = 2) -> Array:
    """n new keys, uint32[n, 2]; unpack them: `a, b = split(key)`. The old one is used up."""
    node = use("split", k)
    words = [move.reshape(random_bits(node, (n,), w), (n, 1)) for w in (0, 1)]
    return wrap(move.concat(words, 1))


def fold_in(k, data) -> Array:
    """The key that belongs to an integer (0-d, such as a step number) under this key.

    The old key is not used up: fold in as many different integers as there are.
    """
    node = checked("fold_in", k)
    data = cast(asarray(data).node, uint32)
    k0, k1 = (move.reshape(move.slice_(node, (w,), (w + 1,)), ()) for w in (0, 1))
    words = threefry(k0, k1, literal(_FOLD, uint32), data)
    return wrap(move.concat([move.reshape(w, (1,)) for w in words], 0))


# ---- draws --------------------------------------------------------------------------------------

def _dtype(name: str, dtype):
    dtype = as_dtype(dtype)
    if not dtype.is_float:
        raise error(DTypeError, f"{name}: takes a floating dtype, got {dtype}")
    return dtype


def uniform(k, shape=(), *, low=0.0, high=1.0, dtype="float32") -> Array:
    """Uniform over [low, high): multiples of 2**-24 in float32, scaled."""
    dtype = _dtype("uniform", dtype)
    x = wrap(unit(use("uniform", k), as_shape(shape), dtype))
    return x if (low, high) == (0.0, 1.0) else x * (high - low) + low


def normal(k, shape=(), *, dtype="float32") -> Array:
    """Standard normal, by Box and Muller: sqrt(-2 log u) cos(2 pi v), u and v the two words of one
    hash (24 bits each in float32, so that |x| <= 5.77)."""
    dtype, node, shape = _dtype("normal", dtype), use("normal", k), as_shape(shape)
    wide = dtypes.float64 if dtype.bits == 64 else dtypes.float32
    p = 32 if dtype.bits == 64 else 24
    u, v = (cast(random_bits(node, shape, w) >> (32 - p), wide) for w in (0, 1))
    radius = apply("sqrt", apply("log", (u + 1.0) * 2.0 ** -p) * -2.0)
    return wrap(cast(radius * apply("cos", v * (2.0 ** (1 - p) * math.pi)), dtype))


def bernoulli(k, p=0.5, shape=None) -> Array:
    """True with probability p, bool; the shape is p's by default."""
    p = asarray(p, dtype=None if isinstance(p, Array) else "float32")
    shape = p.shape if shape is None else as_shape(shape)
    return wrap(unit(use("bernoulli", k), shape, dtypes.float32)) < p


def randint(k, shape, low: int, high: int, *, dtype="int32") -> Array:
    """Integers in [low, high), each by the high word of 32 bits times the count (for counts above
    2**32 by 64 bits modulo the count), so that probabilities differ by at most count / 2**32."""
    dtype, shape = as_dtype(dtype), as_shape(shape)
    count = operator.index(high) - operator.index(low)
    if count <= 0 or not dtype.is_int:
        raise error(DTypeError, f"randint: {low}..{high} of {dtype} holds no integer")
    node = use("randint", k)
    bits = cast(random_bits(node, shape), uint64)
    if count <= 1 << 32:
        x = (bits * count) >> 32
    else:
        x = ((bits << 32) | cast(random_bits(node, shape, 1), uint64)) % count
    wide = dtypes.int64 if dtype.kind == "int" else uint64
    return wrap(cast(cast(x, wide) + low, dtype))


def gumbel(k, shape=(), *, dtype="float32") -> Array:
    """Standard Gumbel, -log(-log(u)), u of 23 bits, never 0 or 1; computed in float32."""
    dtype = _dtype("gumbel", dtype)
    u = cast(random_bits(use("gumbel", k), as_shape(shape)) >> 9, dtypes.float32)
    u = (u + 0.5) * 2.0 ** -23
    return wrap(cast(-apply("log", -apply("log", u)), dtype))


def categorical(k, logits, *, axis: int = -1) -> Array:
    """A class for each row of logits along the axis, int32, with probability softmax(logits): the
    largest of logits plus Gumbel noise."""
    logits = asarray(logits)
    return argmax(logits + gumbel(k, logits.shape), axis=axis)
