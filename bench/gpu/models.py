"""The models that the GPU benchmark trains, as Lamella writes them.

Parameters and what is added up from block to block are float32; products read and give bfloat16,
as PyTorch's autocast does it. A loss over many words is computed for some rows at a time.
"""

from __future__ import annotations

import math

import lamella
from lamella import nn

from .. import models
from .cells import Images, Transformer

ROWS = 8192     # of logits that exist at the same time


def half(x):
    return x.astype("bfloat16")


def dense(layer: nn.Linear, x):
    """The layer's product of bfloat16."""
    y = half(x) @ half(layer.weight)
    return y if layer.bias is None else y + half(layer.bias)


def word_loss(x, weight, words):
    """The mean cross-entropy of x [rows, width] by weight [width, words], logits in bfloat16."""
    x, weight = half(x), half(weight)
    if x.shape[0] <= ROWS:
        return nn.losses.cross_entropy((x @ weight).astype("float32"), words)

    def block(carry, given):
        part, own = given
        return carry, nn.losses.cross_entropy((part @ weight).astype("float32"), own)

    parts = x.reshape(-1, ROWS, x.shape[1]), words.reshape(-1, ROWS)
    return lamella.scan(block, None, parts)[1].mean()


def heads_of(x, heads: int):
    """[b, t, width] -> [b, heads, t, width / heads]."""
    b, t, width = x.shape
    return x.reshape(b, t, heads, width // heads).transpose(0, 2, 1, 3)


def merged(y):
    b, heads, t, d = y.shape
    return y.transpose(0, 2, 1, 3).reshape(b, t, heads * d)


class Block(nn.Module):
    """GPT-2's: normalised first, tanh GELU."""

    def __init__(self, size: Transformer, key):
        keys = lamella.random.split(key, 4)
        w = size.width
        self.norm1, self.norm2, self.heads = nn.LayerNorm(w), nn.LayerNorm(w), size.heads
        self.qkv, self.project, self.hidden, self.output = (
            nn.Linear(a, b, key=k) for (a, b), k in zip(
                ((w, 3 * w), (w, w), (w, size.inner), (size.inner, w)), keys, strict=True))

    def __call__(self, x):
        b, t, width = x.shape
        parts = dense(self.qkv, self.norm1(x)).reshape(b, t, 3, self.heads, width // self.heads)
        q, k, v = lamella.unstack(parts.transpose(2, 0, 3, 1, 4))
        x = x + dense(self.project, merged(lamella.attention(q, k, v, causal=True)))
        y = lamella.gelu(dense(self.hidden, self.norm2(x)), approximate=True)
        return x + dense(self.output, y)


class GPT2(nn.Module):
    """GPT-2, the words' rows also those of the head."""

    def __init__(self, size: Transformer, *, key):
        a, b, *keys = lamella.random.split(key, 2 + size.layers)
        self.words = nn.Embedding(size.words, size.width, key=a, scale=0.02)
        self.places = nn.Embedding(size.length, size.width, key=b, scale=0.02)
        self.blocks = [Block(size, k) for k in keys]
        self.norm = nn.LayerNorm(size.width)

    def loss(self, tokens, targets):
        x = self.words(tokens) + self.places.weight
        for block in self.blocks:
            x = block(x)
        x = self.norm(x).reshape(-1, x.shape[-1])
        return word_loss(x, self.words.weight.mT, targets.reshape(-1))


def turned(x, cos, sin):
    """Rotary positions: pairs (i, i + half) of a head's values, turned."""
    a, b = x[..., :x.shape[-1] // 2], x[..., x.shape[-1] // 2:]
    return lamella.concat([a * cos - b * sin, b * cos + a * sin], axis=-1)


class LlamaBlock(nn.Module):
    """Root mean squares, rotary positions, gated hidden layer."""

    def __init__(self, size: Transformer, key):
        keys, w = lamella.random.split(key, 5), size.width
        self.norm1, self.norm2, self.heads = nn.RMSNorm(w), nn.RMSNorm(w), size.heads
        self.qkv, self.project, self.gate, self.up, self.down = (
            nn.Linear(a, b, key=k, bias=False) for (a, b), k in zip(
                ((w, 3 * w), (w, w), (w, size.inner), (w, size.inner), (size.inner, w)), keys,
                strict=True))

    def __call__(self, x, cos, sin):
        b, t, width = x.shape
        parts = dense(self.qkv, self.norm1(x)).reshape(b, t, 3, self.heads, width // self.heads)
        q, k, v = lamella.unstack(parts.transpose(2, 0, 3, 1, 4))
        y = lamella.attention(turned(q, cos, sin), turned(k, cos, sin), v, causal=True)
        x = x + dense(self.project, merged(y))
        y = half(self.norm2(x))
        return x + dense(self.down, lamella.silu(dense(self.gate, y)) * dense(self.up, y))


class Llama(nn.Module):
    def __init__(self, size: Transformer, *, key):
        a, b, *keys = lamella.random.split(key, 2 + size.layers)
        self.words = nn.Embedding(size.words, size.width, key=a, scale=0.02)
        self.blocks = [LlamaBlock(size, k) for k in keys]
        self.norm = nn.RMSNorm(size.width)
        self.head = nn.Linear(size.width, size.words, key=b, bias=False)
        self.width = size.width // size.heads

    def loss(self, tokens, targets):
        x, pairs = self.words(tokens), self.width // 2
        rates = lamella.exp(lamella.arange(pairs, dtype="float32") * (-math.log(1e4) / pairs))
        angles = lamella.arange(x.shape[1], dtype="float32").reshape(-1, 1) * rates
        cos, sin = half(lamella.cos(angles)), half(lamella.sin(angles))
        for block in self.blocks:
            x = block(x, cos, sin)
        x = self.norm(x).reshape(-1, x.shape[-1])
        return word_loss(x, self.head.weight, targets.reshape(-1))


def resnet(size: Images, *, key) -> models.ResNet:
    return models.ResNet(50, size.classes, key=key, width=size.width)


def images_loss(model, running, x, y):
    """(loss, running statistics) of images of bfloat16: filters are read as such, too."""
    narrow = lamella.tree.map(lambda a: half(a) if a.ndim == 4 else a, model)
    logits, running = narrow(x, running)
    return nn.losses.cross_entropy(logits.astype("float32"), y), running
