"""Models of sequences and images that are no part of `lamella.nn`: BERT, ViT, LSTM, ResNet."""

from __future__ import annotations

import lamella
from lamella import nn


class EncoderBlock(nn.Module):
    """norm(x + attention(x)), then norm(x + mlp(x)); exact GELU."""

    def __init__(self, width: int, heads: int, *, key):
        a, b, c = lamella.random.split(key, 3)
        self.attention = nn.MultiHeadAttention(width, heads, key=a)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 4 * width, key=b)
        self.output = nn.Linear(4 * width, width, key=c)

    def __call__(self, x):
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.output(lamella.gelu(self.hidden(x))))


class Bert(nn.Module):
    """Token and position embeddings, encoder blocks, the mean over positions."""

    def __init__(self, vocabulary: int, layers: int, heads: int, width: int, *, key):
        a, b, *keys = lamella.random.split(key, 2 + layers)
        self.tokens = nn.Embedding(vocabulary, width, key=a)
        self.positions = nn.Embedding(512, width, key=b)
        self.norm = nn.LayerNorm(width)
        self.blocks = [EncoderBlock(width, heads, key=k) for k in keys]

    def __call__(self, tokens):
        x = self.norm(self.tokens(tokens) + self.positions.weight[:tokens.shape[1]])
        for block in self.blocks:
            x = block(x)
        return x.mean(1)


class ViT(nn.Module):
    """Patches as tokens, pre-normalised blocks, a linear layer on the mean over positions."""

    def __init__(self, image: int, patch: int, layers: int, heads: int, width: int, classes: int,
                 *, key):
        a, b, c, *keys = lamella.random.split(key, 3 + layers)
        self.patches = nn.Conv2d(3, width, patch, stride=patch, key=a)
        self.positions = nn.Embedding((image // patch) ** 2, width, key=b, scale=0.02)
        self.blocks = [nn.Block(width, heads, key=k, causal=False) for k in keys]
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes, key=c)

    def __call__(self, x):
        x = self.patches(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1]) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


class LSTM(nn.Module):
    """An embedding, one LSTM layer, a linear layer."""

    def __init__(self, vocabulary: int, width: int, hidden: int, *, key):
        a, b, c = lamella.random.split(key, 3)
        self.tokens = nn.Embedding(vocabulary, width, key=a)
        self.layer = nn.LSTM(width, hidden, key=b)
        self.output = nn.Linear(hidden, vocabulary, key=c)

    def __call__(self, tokens):
        return self.output(self.layer(self.tokens(tokens))[0])


class Convolved(nn.Module):
    """Convolution without bias, then batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, key):
        self.conv = nn.Conv2d(inputs, outputs, kernel, key=key, stride=stride,
                              padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm(outputs)

    def __call__(self, x, state, train: bool):
        y, norm = self.norm(self.conv(x), state["norm"], train=train)
        return y.astype(x.dtype), {**state, "norm": norm}


class Residual(nn.Module):
    """Convolutions around which the input is added, itself convolved where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, *, key):
        wide = outputs * expansion
        chain = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)] if expansion == 1 else \
            [(inputs, outputs, 1, 1), (outputs, outputs, 3, stride), (outputs, wide, 1, 1)]
        last, *keys = lamella.random.split(key, 1 + len(chain))
        self.chain = [Convolved(*c, key=k) for c, k in zip(chain, keys, strict=True)]
        self.shortcut = Convolved(inputs, wide, 1, stride, key=last) \
            if stride != 1 or inputs != wide else None

    def __call__(self, x, state, train: bool):
        y, states = x, []
        for k, (layer, s) in enumerate(zip(self.chain, state["chain"], strict=True)):
            y, s = layer(y, s, train)
            y = lamella.relu(y) if k + 1 < len(self.chain) else y
            states.append(s)
        new = {"chain": states}
        if self.shortcut is not None:
            x, new["shortcut"] = self.shortcut(x, state["shortcut"], train)
        return lamella.relu(y + x), new


class ResNet(nn.Module):
    """ResNet-18 for small images, ResNet-50 for large ones; channels last."""

    def __init__(self, depth: int, classes: int, *, key, width: int = 64):
        counts, expansion = ([2, 2, 2, 2], 1) if depth == 18 else ([3, 4, 6, 3], 4)
        a, b, *keys = lamella.random.split(key, 2 + sum(counts))
        self.small = depth == 18
        self.stem = Convolved(3, width, 3 if self.small else 7, 1 if self.small else 2, key=a)
        self.blocks, inputs = [], width
        for stage, count in enumerate(counts):
            for k in range(count):
                stride = 2 if stage and not k else 1
                self.blocks.append(Residual(inputs, width << stage, stride, expansion,
                                            key=keys.pop()))
                inputs = (width << stage) * expansion
        self.head = nn.Linear(inputs, classes, key=b)

    def __call__(self, x, state, train: bool = True):
        x, stem = self.stem(x, state["stem"], train)
        x, states = lamella.relu(x), []
        if not self.small:
            x = lamella.max_pool(x, 3, stride=2, padding=1)
        for block, s in zip(self.blocks, state["blocks"], strict=True):
            x, s = block(x, s, train)
            states.append(s)
        return self.head(x.mean((1, 2))), {"stem": stem, "blocks": states}
