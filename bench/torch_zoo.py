"""The models of bench/zoo.py in PyTorch, at the same sizes, for bench/zoo_peers.py.

    python -m bench.torch_zoo eager|compile SECONDS MODEL

prints a line of JSON: the least milliseconds of a training step (forward, backward, update, the
loss read) and of an inference. Images are channels last, optimizers fused where PyTorch has that.
"""

from __future__ import annotations

import json
import sys

import torch
from torch import nn
from torch.nn import functional as F

from .least import least

CLASSES, WORDS = 100, 1000


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with relu between them."""
    layers: list[nn.Module] = []
    for a, b in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, 512) for a in (784, 512, 512, 512))
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        for layer in self.layers:
            x = F.dropout(F.relu(layer(x)), 0.1, self.training)
        return self.head(x)


class LeNet(nn.Module):
    def __init__(self, w: int = 8):
        super().__init__()
        self.first = nn.Conv2d(1, w, 5, padding=2)
        self.second = nn.Conv2d(w, 2 * w, 5, padding=2)
        self.head = mlp(49 * 2 * w, 20 * w, 14 * w, 10)

    def forward(self, x):
        for conv in (self.first, self.second):
            x = F.max_pool2d(F.relu(conv(x)), 2)
        return self.head(x.flatten(1))


class UNet(nn.Module):
    def __init__(self, w: int = 16, levels: int = 3, classes: int = 4):
        super().__init__()
        wide = [w << k for k in range(levels + 1)]

        def pair(i: int, o: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(),
                                 nn.Conv2d(o, o, 3, padding=1), nn.ReLU())

        self.down = nn.ModuleList(pair(i, o) for i, o in zip([3, *wide], wide, strict=False))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(2 * a, a, 2, stride=2) for a in wide[:-1])
        self.up = nn.ModuleList(pair(2 * a, a) for a in wide[:-1])
        self.head = nn.Conv2d(w, classes, 1)

    def forward(self, x):
        kept = []
        for pair in self.down[:-1]:
            x = pair(x)
            kept.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for skip, rise, pair in reversed(list(zip(kept, self.rise, self.up, strict=True))):
            x = pair(torch.cat((skip, rise(x)), 1))
        return self.head(x)


def convolved(i: int, o: int, taps: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution without bias, then batch normalisation."""
    return nn.Sequential(nn.Conv2d(i, o, taps, stride, taps // 2, groups=groups, bias=False),
                         nn.BatchNorm2d(o))


class MobileNet(nn.Module):
    shape = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))

    def __init__(self, w: int = 16):
        super().__init__()
        layers, inputs = [convolved(3, w, 3, 2), nn.ReLU6()], w
        for wide, stride in self.shape:
            layers += [convolved(inputs, inputs, 3, stride, inputs), nn.ReLU6(),
                       convolved(inputs, wide * w, 1), nn.ReLU6()]
            inputs = wide * w
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(inputs, CLASSES)

    def forward(self, x):
        return self.head(self.layers(x).mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, i: int, o: int, stride: int, expansion: int):
        super().__init__()
        wide = o * expansion
        chain = [(i, o, 3, stride), (o, o, 3, 1)] if expansion == 1 else \
            [(i, o, 1, 1), (o, o, 3, stride), (o, wide, 1, 1)]
        self.chain = nn.ModuleList(convolved(*c) for c in chain)
        self.shortcut = convolved(i, wide, 1, stride) if stride != 1 or i != wide else nn.Identity()

    def forward(self, x):
        y = x
        for k, layer in enumerate(self.chain):
            y = F.relu(layer(y)) if k + 1 < len(self.chain) else layer(y)
        return F.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, depth: int, classes: int, w: int = 32):
        super().__init__()
        small = depth == 18
        counts, expansion = ((2, 2, 2, 2), 1) if small else ((3, 4, 6, 3), 4)
        layers, inputs = [convolved(3, w, 3 if small else 7, 1 if small else 2), nn.ReLU()], w
        if not small:
            layers.append(nn.MaxPool2d(3, 2, 1))
        for stage, count in enumerate(counts):
            for k in range(count):
                layers.append(Residual(inputs, w << stage, 2 if stage and not k else 1, expansion))
                inputs = (w << stage) * expansion
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(inputs, classes)

    def forward(self, x):
        return self.head(self.layers(x).mean((2, 3)))


class LSTM(nn.Module):
    def __init__(self, width: int = 256):
        super().__init__()
        self.tokens = nn.Embedding(WORDS, width)
        self.layer = nn.LSTM(width, width, batch_first=True)
        self.output = nn.Linear(width, WORDS)

    def forward(self, x):
        return self.output(self.layer(self.tokens(x))[0])


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.inputs, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = self.inputs(x).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.output(y.transpose(1, 2).reshape(n, length, width))


class Block(nn.Module):
    """Normalised before its parts, or (`after`) behind them."""

    def __init__(self, width: int, heads: int, causal: bool, after: bool = False):
        super().__init__()
        self.attention, self.after = Attention(width, heads, causal), after
        self.hidden, self.output = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        if self.after:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.output(F.gelu(self.hidden(x))))
        x = x + self.attention(self.norm1(x))
        return x + self.output(F.gelu(self.hidden(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, words: int = 2048, length: int = 128, width: int = 128):
        super().__init__()
        self.tokens = nn.Embedding(words, width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, 4, True) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.tokens(x) + self.positions[:x.shape[1]])))


class Bert(nn.Module):
    def __init__(self, words: int = 2048, width: int = 192):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(words, width), nn.Embedding(512, width)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)
        self.blocks = nn.Sequential(*(Block(width, 6, False, after=True) for _ in range(4)))

    def forward(self, x):
        x = self.norm(self.tokens(x) + self.positions.weight[:x.shape[1]])
        return self.head(self.blocks(x).mean(1))


class ViT(nn.Module):
    def __init__(self, width: int = 192):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.positions = nn.Parameter(torch.randn(64, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, 6, False) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(x)).mean(1))


class Experts(nn.Module):
    def __init__(self, width: int, experts: int, capacity: float = 1.25):
        super().__init__()
        self.gate, self.capacity = nn.Linear(width, experts, bias=False), capacity
        self.hidden = nn.Parameter(torch.randn(experts, width, 4 * width) * width ** -0.5)
        self.output = nn.Parameter(torch.randn(experts, 4 * width, width) * width ** -0.5 / 2)

    def forward(self, x):
        tokens = x.reshape(-1, x.shape[-1])
        gates = F.softmax(self.gate(tokens), -1)
        count, experts = gates.shape
        room = int(self.capacity * count / experts)
        chosen = F.one_hot(gates.argmax(1), experts).float()
        at = ((chosen.cumsum(0) - 1) * chosen).sum(1).long()
        slot = F.one_hot(at.clamp(max=room), room + 1)[:, :room].float()
        send = (chosen[:, :, None] * slot[:, None, :]).detach()
        inside = torch.einsum("nec,nd->ecd", send, tokens)
        outside = F.gelu(inside @ self.hidden, approximate="tanh") @ self.output
        y = torch.einsum("nec,ecd->nd", send, outside) * (gates * chosen).sum(1, keepdim=True)
        return x + y.view(x.shape)


class MixtureOfExperts(nn.Module):
    def __init__(self, width: int = 128, layers: int = 2, length: int = 64):
        super().__init__()
        self.tokens = nn.Embedding(WORDS, width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.attention = nn.ModuleList(Attention(width, 4, True) for _ in range(layers))
        self.experts = nn.ModuleList(Experts(width, 8) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers + 1))
        self.output = nn.Linear(width, WORDS, bias=False)

    def forward(self, x):
        x = self.tokens(x) + self.positions
        for norm, attention, experts in zip(self.norms, self.attention, self.experts, strict=False):
            x = experts(x + attention(norm(x)))
        return self.output(self.norms[-1](x))


class Autoencoder(nn.Module):
    def __init__(self, width: int = 512):
        super().__init__()
        sizes = [784, width, width // 2, width // 4, 32]
        self.layers = nn.Sequential(mlp(*sizes), mlp(*sizes[::-1]))

    def forward(self, x):
        return torch.sigmoid(self.layers(x))


class DLRM(nn.Module):
    def __init__(self, tables: int = 8, rows: int = 10000, width: int = 16):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, width) for _ in range(tables))
        self.bottom = mlp(13, 8 * width, width)
        self.top = mlp(width + (tables + 1) ** 2, 16 * width, 8 * width, 1)

    def forward(self, dense, sparse):
        x = self.bottom(dense)
        rows = torch.stack([x, *(t(sparse[:, k]) for k, t in enumerate(self.tables))], 1)
        return self.top(torch.cat((x, (rows @ rows.mT).flatten(1)), 1))[:, 0]


def images(n: int, size: int, classes: int, channels: int = 3) -> tuple:
    """Images channels last, and their classes."""
    x = torch.randn(n, channels, size, size).to(memory_format=torch.channels_last)
    return x, torch.randint(0, classes, (n,))


def text(n: int, length: int, words: int) -> tuple:
    """Tokens and those that follow them."""
    return torch.randint(0, words, (n, length)), torch.randint(0, words, (n, length))


def classes_of(model, x, y):
    """The loss of logits [n, class, ...]."""
    return F.cross_entropy(model(x), y)


def words_of(model, x, y):
    """The loss of logits [n, place, word]."""
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def sgd(momentum: float = 0.0, rate: float = 0.1):
    return lambda p: torch.optim.SGD(p, rate, momentum=momentum)


def adam(p):
    return torch.optim.Adam(p, 1e-3, fused=True)


def adamw(p):
    return torch.optim.AdamW(p, 1e-3, fused=True)


WORKS = {   # (model, loss, inputs, optimizer)
    "mlp": lambda: (Dropped(), classes_of, (torch.randn(1024, 784), torch.randint(0, 10, (1024,))),
                    adamw),
    "lenet": lambda: (LeNet(), classes_of, images(256, 28, 10, 1), sgd()),
    "resnet18": lambda: (ResNet(18, 10), classes_of, images(16, 32, 10), sgd(0.9)),
    "resnet50": lambda: (ResNet(50, CLASSES), classes_of, images(8, 64, CLASSES), sgd(0.9)),
    "unet": lambda: (UNet(), classes_of,
                     (images(4, 64, 4)[0], torch.randint(0, 4, (4, 64, 64))), adam),
    "mobilenet": lambda: (MobileNet(), classes_of, images(8, 48, CLASSES), sgd(0.9)),
    "lstm": lambda: (LSTM(), words_of, text(32, 64, WORDS), adamw),
    "gpt": lambda: (GPT(), words_of, text(8, 128, 2048), adamw),
    "bert": lambda: (Bert(), classes_of, (text(8, 128, 2048)[0], torch.randint(0, 10, (8,))),
                     adamw),
    "vit": lambda: (ViT(), classes_of, images(8, 64, CLASSES), adamw),
    "moe": lambda: (MixtureOfExperts(), words_of, text(8, 64, WORDS), adamw),
    "autoencoder": lambda: (Autoencoder(), lambda m, x: F.mse_loss(m(x), x),
                            (torch.rand(512, 784),), adam),
    "dlrm": lambda: (DLRM(), lambda m, d, s, y: F.binary_cross_entropy_with_logits(m(d, s), y),
                     (torch.randn(2048, 13), torch.randint(0, 10000, (2048, 8)),
                      torch.randint(0, 2, (2048,)).float()), sgd())}


def measured(name: str, compiled: bool, seconds: float, threads: int = 2) -> dict:
    """The times of a model's training step and inference."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, loss, inputs, optimizer = WORKS[name]()
    if inputs[0].dim() == 4:
        model = model.to(memory_format=torch.channels_last)
    run = torch.compile(model) if compiled else model
    update = optimizer(model.parameters())

    def step():
        update.zero_grad(set_to_none=True)
        found = loss(run, *inputs)
        found.backward()
        update.step()
        return found.item()

    def infer():
        with torch.inference_mode():
            run(*inputs[:max(1, len(inputs) - 1)])

    found = {"model": name, "step_ms": least(step, seconds)}
    model.eval()
    return {**found, "infer_ms": least(infer, seconds)}


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[3], sys.argv[1] == "compile", float(sys.argv[2]))))
