"""Multi-head attention, over whole sequences and step by step with a cache."""

from __future__ import annotations

import math

from ..api import namespace as F
from ..api.arrays.array import Array
from ..api.arrays.values import error
from ..api.randomness import random
from ..base.errors import ShapeError
from .layers import Linear
from .module import Module


class MultiHeadAttention(Module):
    """Self-attention of `heads` heads: one projection to queries, keys and values, one back.

    Vaswani et al., "Attention is all you need", NeurIPS 2017. Causal: each position sees itself and
    what stands before it.
    """

    def __init__(self, width: int, heads: int, *, key: Array, causal: bool = False,
                 dtype="float32"):
        if width % heads:
            raise error(ShapeError, f"MultiHeadAttention: {heads} heads do not divide {width}")
        first, second = random.split(key)
        self.qkv = Linear(width, 3 * width, key=first, dtype=dtype)
        self.projection = Linear(width, width, key=second, dtype=dtype)
        self.heads, self.causal = heads, causal

    def __call__(self, x: Array) -> Array:
        """x [b, t, width] -> [b, t, width]."""
        q, k, v = self._split(x)
        return self._merge(F.attention(q, k, v, causal=self.causal))

    def init_cache(self, batch: int, length: int) -> dict[str, Array]:
        """Room for keys and values of `length` positions, [batch, heads, length, width/heads]."""
        width = self.projection.weight.shape[0]
        shape = (batch, self.heads, length, width // self.heads)
        dtype = self.projection.weight.dtype
        return {"k": F.zeros(shape, dtype=dtype), "v": F.zeros(shape, dtype=dtype)}

    def decode(self, x: Array, cache: dict[str, Array], position: Array):
        """(y, cache) for x [b, t, width] that stands at `position`, a 0-d integer array.

        Keys and values are written into the cache, in place where it is donated; query i sees the
        positions up to position + i.
        """
        q, k, v = self._split(x)
        k = F.update_slice(cache["k"], k, (0, 0, position, 0))
        v = F.update_slice(cache["v"], v, (0, 0, position, 0))
        scores = (q @ k.mT) * (1 / math.sqrt(q.shape[-1]))
        rows = F.arange(x.shape[1]).reshape(-1, 1) + position
        seen = F.arange(k.shape[2]) <= rows
        weights = F.softmax(F.where(seen, scores, -math.inf), axis=-1)
        return self._merge(weights @ v), {"k": k, "v": v}

    def _split(self, x: Array) -> tuple[Array, ...]:
        """Queries, keys and values, each [b, heads, t, width/heads]."""
        b, t, width = x.shape
        parts = self.qkv(x).reshape(b, t, 3, self.heads, width // self.heads)
        return F.unstack(parts.transpose(2, 0, 3, 1, 4))

    def _merge(self, y: Array) -> Array:
        b, heads, t, d = y.shape
        return self.projection(y.transpose(0, 2, 1, 3).reshape(b, t, heads * d))
