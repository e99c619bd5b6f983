"""Smaller models of the zoo: LeNet, U-Net, MobileNet, mixture of experts, autoencoder, DLRM."""

from __future__ import annotations

import lamella
from lamella import nn

from .models import Convolved


class LeNet(nn.Module):
    """Two convolutions with pooling, three linear layers (LeCun et al., 1998); channels last."""

    def __init__(self, image: int, width: int, classes: int, *, key):
        a, b, c = lamella.random.split(key, 3)
        self.first = nn.Conv2d(1, width, 5, padding=2, key=a)
        self.second = nn.Conv2d(width, 2 * width, 5, padding=2, key=b)
        flat = (image // 4) ** 2 * 2 * width
        self.head = nn.MLP([flat, 20 * width, 14 * width, classes], key=c)

    def __call__(self, x):
        for conv in (self.first, self.second):
            x = lamella.max_pool(lamella.relu(conv(x)), 2)
        return self.head(x.reshape(x.shape[0], -1))


class UNet(nn.Module):
    """Pairs of convolutions down and up again, each level joined with its mirror image
    (Ronneberger et al., 2015); logits for each pixel."""

    def __init__(self, width: int, levels: int, classes: int, *, key):
        a, *keys = lamella.random.split(key, 2 + 3 * levels)
        wide = [width << k for k in range(levels + 1)]
        self.down = [self._pair(i, o, keys.pop()) for i, o in zip([3, *wide], wide, strict=False)]
        self.rise = [nn.ConvTranspose2d(2 * w, w, 2, stride=2, key=keys.pop()) for w in wide[:-1]]
        self.up = [self._pair(2 * w, w, keys.pop()) for w in wide[:-1]]
        self.head = nn.Conv2d(width, classes, 1, key=a)

    @staticmethod
    def _pair(inputs: int, outputs: int, key):
        a, b = lamella.random.split(key)
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, key=a), lamella.relu,
                             nn.Conv2d(outputs, outputs, 3, padding=1, key=b), lamella.relu)

    def __call__(self, x):
        kept = []
        for pair in self.down[:-1]:
            x = pair(x)
            kept.append(x)
            x = lamella.max_pool(x, 2)
        x = self.down[-1](x)
        for skip, rise, pair in reversed(list(zip(kept, self.rise, self.up, strict=True))):
            x = pair(lamella.concat((skip, rise(x)), axis=3))
        return self.head(x)


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, each normalised, with ReLU6."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, key):
        a, b = lamella.random.split(key)
        self.depth = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs,
                               bias=False, key=a)
        self.norm = nn.BatchNorm(inputs)
        self.point = Convolved(inputs, outputs, 1, 1, key=b)

    def __call__(self, x, state, train: bool):
        x, norm = self.norm(self.depth(x), state["norm"], train=train)
        x, point = self.point(lamella.relu6(x), state["point"], train)
        return lamella.relu6(x), {"norm": norm, "point": point}


class MobileNet(nn.Module):
    """MobileNet v1 (Howard et al., 2017), its first layer `width` channels wide."""

    shape = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))

    def __init__(self, width: int, classes: int, *, key):
        a, b, *keys = lamella.random.split(key, 2 + len(self.shape))
        wide = [1, *(w for w, _ in self.shape)]
        self.stem = Convolved(3, width, 3, 2, key=a)
        self.layers = [Separable(i * width, o * width, stride, key=k) for i, (o, stride), k
                       in zip(wide, self.shape, keys, strict=False)]
        self.head = nn.Linear(wide[-1] * width, classes, key=b)

    def __call__(self, x, state, train: bool = True):
        x, stem = self.stem(x, state["stem"], train)
        x, states = lamella.relu6(x), []
        for layer, s in zip(self.layers, state["layers"], strict=True):
            x, s = layer(x, s, train)
            states.append(s)
        return self.head(x.mean((1, 2))), {"stem": stem, "layers": states}


class Experts(nn.Module):
    """A hidden layer of several experts, each token by the one that its gate likes best, at most
    `capacity` tokens for each (Fedus et al., "Switch Transformers", 2021)."""

    def __init__(self, width: int, experts: int, capacity: float, *, key):
        a, b, c = lamella.random.split(key, 3)
        self.gate = nn.Linear(width, experts, bias=False, key=a)
        self.hidden = lamella.random.normal(b, (experts, width, 4 * width)) * width ** -0.5
        self.output = lamella.random.normal(c, (experts, 4 * width, width)) * width ** -0.5 / 2
        self.capacity = capacity

    def __call__(self, x):
        tokens = x.reshape(-1, x.shape[-1])
        gates = lamella.softmax(self.gate(tokens))
        count, experts = gates.shape
        room = int(self.capacity * count / experts)
        chosen = lamella.one_hot(lamella.argmax(gates, axis=1), experts)
        place = (lamella.cumulative_sum(chosen, axis=0) - 1) * chosen
        slot = lamella.one_hot(place.sum(1).astype("int32"), room)
        send = lamella.stop_gradient(chosen[:, :, None] * slot[:, None, :])
        inside = lamella.einsum("nec,nd->ecd", send, tokens)
        outside = lamella.gelu(inside @ self.hidden, approximate=True) @ self.output
        y = lamella.einsum("nec,ecd->nd", send, outside) * (gates * chosen).sum(1, keepdims=True)
        return x + y.reshape(x.shape)


class MixtureOfExperts(nn.Module):
    """Causal attention and experts in turns; logits for the next token."""

    def __init__(self, vocabulary: int, context: int, layers: int, heads: int, width: int,
                 experts: int, *, key):
        a, b, c, *keys = lamella.random.split(key, 3 + 2 * layers)
        self.tokens = nn.Embedding(vocabulary, width, key=a, scale=0.02)
        self.positions = nn.Embedding(context, width, key=b, scale=0.02)
        self.head = nn.Linear(width, vocabulary, bias=False, key=c)
        self.attention = [nn.MultiHeadAttention(width, heads, causal=True, key=k)
                          for k in keys[:layers]]
        self.experts = [Experts(width, experts, 1.25, key=k) for k in keys[layers:]]
        self.norms = [nn.LayerNorm(width) for _ in range(layers + 1)]

    def __call__(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[:tokens.shape[1]]
        for norm, attention, experts in zip(self.norms, self.attention, self.experts,
                                            strict=False):
            x = experts(x + attention(norm(x)))
        return self.head(self.norms[-1](x))


class Autoencoder(nn.Module):
    """Linear layers to a narrow code and back, the output in 0..1."""

    def __init__(self, sizes, *, key):
        a, b = lamella.random.split(key)
        self.encoder, self.decoder = nn.MLP(sizes, key=a), nn.MLP(sizes[::-1], key=b)

    def __call__(self, x):
        return lamella.sigmoid(self.decoder(self.encoder(x)))


class DLRM(nn.Module):
    """Embeddings and a dense part, their products in pairs, a click's logit (Naumov et al., 2019).
    """

    def __init__(self, tables: int, rows: int, width: int, dense: int, *, key):
        a, b, *keys = lamella.random.split(key, 2 + tables)
        self.tables = [nn.Embedding(rows, width, key=k, scale=0.1) for k in keys]
        self.bottom = nn.MLP([dense, 8 * width, width], key=a)
        pairs = (tables + 1) ** 2
        self.top = nn.MLP([width + pairs, 16 * width, 8 * width, 1], key=b)

    def __call__(self, dense, sparse):
        x = self.bottom(dense)
        parts = [x, *(t(sparse[:, k]) for k, t in enumerate(self.tables))]
        every = lamella.stack(parts, axis=1)
        pairs = every @ lamella.matrix_transpose(every)
        return self.top(lamella.concat((x, pairs.reshape(x.shape[0], -1)), axis=1))[:, 0]
