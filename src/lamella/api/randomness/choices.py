"""Random orders and choices."""

from __future__ import annotations

import math
import operator

from ...base import dtypes
from ...base.errors import ShapeError
from ...base.extents import Size
from ...ops.pointwise import cast, normal_axis
from ...ops.random import random_bits
from ..arrays.array import Array, asarray, wrap
from ..arrays.shapes import as_shape
from ..arrays.values import error
from ..functions.creation import zeros
from ..functions.elementwise import log
from ..functions.manipulation import take
from ..functions.scatters import scatter
from ..functions.sorting import argsort, top_k
from .draws import categorical, gumbel, randint
from .keys import use

__all__ = ["choice", "multinomial", "permutation", "shuffle"]


def permutation(k, n) -> Array:
    """The numbers 0..n - 1 in random order, int32: the order that sorts 64 random bits each. Of an
    array n, its slices along the first axis, as `shuffle` gives them."""
    if not isinstance(n, Size):
        try:
            n = operator.index(n)
        except TypeError:
            return shuffle(k, n)
    node = use("permutation", k)
    words = [cast(random_bits(node, (n,), w), dtypes.uint64) for w in (0, 1)]
    return argsort(wrap((words[0] << 32) | words[1]))


def shuffle(k, x, *, axis: int = 0) -> Array:
    """x's slices along the axis in random order."""
    x = asarray(x)
    a = normal_axis("shuffle", axis, x.ndim)
    return take(x, permutation(k, x.shape[a]), axis=a)


def choice(k, a, shape=(), *, replace: bool = True, p=None) -> Array:
    """Elements of a (an array's first axis, or 0..a - 1 for an integer), each as likely as p says.

    p: probabilities, which are divided by their sum; all alike where None. Without replacement
    none comes twice (with p, those of the largest log p plus Gumbel noise).
    """
    shape = as_shape(shape)
    count = operator.index(a if isinstance(a, int) else asarray(a).shape[0])
    size = math.prod(shape)
    if (not replace and size > count) or (count == 0 and size):
        raise error(ShapeError, f"choice: {count} elements are not enough for {shape} without "
                                "replacement")
    if p is None:
        at = randint(k, shape, 0, count) if replace else permutation(k, count)[:size]
    else:
        logits = log(asarray(p))
        if logits.shape != (count,):
            raise error(ShapeError, f"choice: {count} elements need as many probabilities, got "
                                    f"shape {logits.shape}")
        if replace:
            rows = wrap(logits.node) + zeros((*shape, count), dtype=logits.dtype)
            at = categorical(k, rows)
        else:
            at = top_k(logits + gumbel(k, (count,), dtype=logits.dtype), size)[1]
    at = at.reshape(shape)
    return at if isinstance(a, int) else take(asarray(a), at, axis=0)


def multinomial(k, n: int, p) -> Array:
    """How often each of the classes comes in n draws of probabilities p [..., classes], int32."""
    p = asarray(p)
    *lead, classes = p.shape
    drawn = categorical(k, log(p).reshape(-1, 1, classes) + zeros((1, n, 1), dtype=p.dtype))
    rows = math.prod(lead)
    first = asarray([r * classes for r in range(rows)], dtype="int32").reshape(rows, 1)
    at = (drawn + first).reshape(-1)
    ones = zeros(at.shape, dtype="int32") + 1
    return scatter(zeros((rows * classes,), dtype="int32"), at, ones, mode="add").reshape(p.shape)
