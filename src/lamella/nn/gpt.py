"""A GPT in nanoGPT's shape: learned positions, blocks normalised first, tanh GELU, untied head."""

from __future__ import annotations

from ..api import namespace as F
from ..api.arrays.array import Array
from ..api.arrays.values import error
from ..api.randomness import random
from ..base.errors import ShapeError
from .heads import MultiHeadAttention
from .layers import Embedding, Linear, dropout
from .losses import linear_cross_entropy
from .module import Module
from .normalization import LayerNorm


class Block(Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), the hidden layer four times as wide."""

    def __init__(self, width: int, heads: int, *, key: Array, causal: bool = True,
                 rate: float = 0.0, dtype="float32"):
        a, b, c = random.split(key, 3)
        self.norm1, self.norm2 = LayerNorm(width, dtype=dtype), LayerNorm(width, dtype=dtype)
        self.attention = MultiHeadAttention(width, heads, key=a, causal=causal, dtype=dtype)
        self.hidden = Linear(width, 4 * width, key=b, dtype=dtype)
        self.output = Linear(4 * width, width, key=c, dtype=dtype)
        self.rate = rate

    def __call__(self, x: Array, key: Array | None = None) -> Array:
        """x [b, t, width] -> the same shape; a key turns dropout on."""
        first, second = (None, None) if key is None or not self.rate else random.split(key)
        x = x + dropout(self.attention(self.norm1(x)), self.rate, first)
        return x + dropout(self._mlp(x), self.rate, second)

    def decode(self, x: Array, cache: dict[str, Array], position: Array):
        """(y, cache) for positions from `position` on; see MultiHeadAttention.decode."""
        y, cache = self.attention.decode(self.norm1(x), cache, position)
        x = x + y
        return x + self._mlp(x), cache

    def _mlp(self, x: Array) -> Array:
        return self.output(F.gelu(self.hidden(self.norm2(x)), approximate=True))


class GPT(Module):
    """Logits for the next token at each position.

        model = GPT(vocabulary=256, context=128, layers=4, heads=4, width=128, key=key)
        logits = model(tokens)                             # [b, t] -> [b, t, vocabulary]
        logits, cache = model.decode(tokens, cache, 0)     # with cache = model.init_cache(b)
    """

    def __init__(self, *, vocabulary: int, context: int, layers: int, heads: int, width: int,
                 key: Array, rate: float = 0.0, dtype="float32"):
        a, b, c, *keys = random.split(key, 3 + layers)
        self.tokens = Embedding(vocabulary, width, key=a, scale=0.02, dtype=dtype)
        self.positions = Embedding(context, width, key=b, scale=0.02, dtype=dtype)
        self.blocks = [Block(width, heads, key=k, rate=rate, dtype=dtype) for k in keys]
        self.norm = LayerNorm(width, dtype=dtype)
        self.head = Linear(width, vocabulary, key=c, bias=False, dtype=dtype)
        self.context = context

    def __call__(self, tokens: Array, key: Array | None = None) -> Array:
        """Integers [b, t] -> logits [b, t, vocabulary]; a key turns dropout on."""
        return self.head(self._features(tokens, key))

    def loss(self, tokens: Array, targets: Array, key: Array | None = None) -> Array:
        """The mean cross-entropy of the targets [b, t]; the logits of all rows are never stored."""
        return linear_cross_entropy(self._features(tokens, key), self.head.weight, targets)

    def _features(self, tokens, key: Array | None) -> Array:
        """What the head reads: [b, t, width]."""
        tokens = self._checked(tokens)
        keys = [None] * len(self.blocks) if key is None else random.split(key, len(self.blocks))
        x = self.tokens(tokens) + self.positions.weight[:tokens.shape[1]]
        for block, k in zip(self.blocks, keys, strict=True):
            x = block(x, k)
        return self.norm(x)

    def init_cache(self, batch: int, length: int | None = None) -> list[dict[str, Array]]:
        """Room for keys and values of `length` positions (the whole context by default)."""
        return [b.attention.init_cache(batch, length or self.context) for b in self.blocks]

    def decode(self, tokens: Array, cache: list[dict[str, Array]], position):
        """(logits [b, t, vocabulary], cache) for tokens [b, t] from `position` on (a 0-d integer).

        What stands before is read from the cache, which is updated in place where it is donated.
        """
        tokens = self._checked(tokens)
        position = F.asarray(position)
        width = self.positions.weight.shape[1]
        at = F.dynamic_slice(self.positions.weight, (position, 0), (tokens.shape[1], width))
        x = self.tokens(tokens) + at
        new = []
        for block, before in zip(self.blocks, cache, strict=True):
            x, after = block.decode(x, before, position)
            new.append(after)
        return self.head(self.norm(x)), new

    def _checked(self, tokens) -> Array:
        tokens = F.asarray(tokens)
        if tokens.ndim != 2:
            raise error(ShapeError, f"GPT: tokens must be [batch, time], got {tokens.shape}")
        length = tokens.shape[1]
        if isinstance(length, int) and length > self.context:
            raise error(ShapeError, f"GPT: {length} tokens exceed the context of {self.context}")
        return tokens
