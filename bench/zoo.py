"""The zoo: training steps and inferences of 13 models, float32, on which planning is measured.

    from bench import zoo
    work = zoo.work("gpt")                        # or zoo.work("gpt", batch=4, width=64)
    run = lamella.compile(work.step, donate=work.donate)
    *held, loss = run(*work.held, *work.inputs)

    python -m bench.zoo [--seconds 2] [MODEL ...]     measured times of a step and of an inference

A step is forward, backward and update; model, optimizer state and running statistics are donated.
At the sizes given here it takes some 5 to 300 ms on two cores.
"""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable
from typing import Any

import numpy as np

import lamella
from lamella import nn, optim

from . import models, smaller
from .least import least


class Work:
    """One model at one size.

    `step(model, state, running, *inputs)` gives (model, state, running, loss), `infer(model,
    running, *inputs)` the outputs; `held` are (model, state, running) before the first step.
    """

    donate = ("model", "state", "running")

    def __init__(self, name: str, model: Any, loss: Callable, inputs: tuple, opt: optim.Optimizer,
                 forward: Callable | None = None):
        self.name, self.opt = name, opt
        self.inputs = tuple(map(lamella.asarray, inputs))
        self.held = (model, opt.init(model), model.init_state())
        self._loss, self._forward = loss, forward or (lambda m, running, x, *_: m(x))

    def step(self, model, state, running, *inputs):
        """One step of training."""
        grads, running, loss = self.gradients(model, running, inputs)
        model, state = self.opt.update(model, grads, state)
        return model, state, running, loss

    def gradients(self, model, running, inputs, checkpoint: bool = False):
        """(gradients, running statistics, loss)."""
        def objective(model):
            return self._loss(model, running, *inputs)

        run = lamella.checkpoint(objective) if checkpoint else objective
        (loss, running), grads = lamella.value_and_grad(run, has_aux=True)(model)
        return grads, running, loss

    def stepping(self, checkpoint: bool = False, micro: int = 1) -> Callable:
        """The step whose backward half computes the forward one again, where `checkpoint` says so,
        and whose gradients are the mean of those of so many equal parts of the batch, one after
        the other."""
        batch = max(x.shape[0] for x in self.inputs if x.shape)

        def step(model, state, running, *inputs):
            def part(carry, own):
                running, sums = carry
                taken = [own.get(k, x) for k, x in enumerate(inputs)]
                grads, running, loss = self.gradients(model, running, taken, checkpoint)
                return (running, lamella.tree.map(lambda a, b: a + b, sums, grads)), loss

            if micro == 1:
                grads, running, loss = self.gradients(model, running, inputs, checkpoint)
            else:
                parts = {k: x.reshape(micro, batch // micro, *x.shape[1:])
                         for k, x in enumerate(inputs) if x.shape[:1] == (batch,)}  # no key is one
                zeros = lamella.tree.map(lamella.zeros_like, model)
                (running, sums), losses = lamella.scan(part, (running, zeros), parts)
                grads, loss = lamella.tree.map(lambda g: g / micro, sums), losses.mean()
            model, state = self.opt.update(model, grads, state)
            return model, state, running, loss

        return step

    def infer(self, model, running, *inputs):
        """One forward run."""
        return self._forward(model, running, *inputs)


def work(name: str, **sizes: int) -> Work:
    """The work of that name; batch and widths other than the usual ones by name."""
    make = WORKS[name]
    known = inspect.signature(make).parameters
    if not sizes.keys() <= known.keys():
        raise ValueError(f"{name} takes {', '.join(known)}; got {', '.join(sizes)}")
    return make(**sizes)


def _classes(model, running, x, y):
    return nn.losses.cross_entropy(model(x), y), running


def _stated(model, running, x, y):
    logits, running = model(x, running)
    return nn.losses.cross_entropy(logits, y), running


def _still(model, running, x, *_):
    return model(x, running, train=False)[0]


def _key():
    return lamella.random.key(0)


def _images(batch: int, image: int, classes: int, channels: int = 3) -> tuple:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((batch, image, image, channels), "float32"),
            rng.integers(0, classes, batch).astype("int32"))


def _text(batch: int, length: int, vocabulary: int) -> tuple:
    tokens = np.random.default_rng(0).integers(0, vocabulary, (batch, length + 1)).astype("int32")
    return np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:])


def mlp(batch: int = 1024, width: int = 512, layers: int = 4) -> Work:
    """Linear layers with dropout, AdamW."""
    model = nn.MLP([784, *[width] * layers, 10], key=_key())

    def loss(model, running, x, y, key):
        keys = lamella.random.split(key, layers)
        for layer, k in zip(model.layers, keys, strict=False):
            x = nn.dropout(lamella.relu(layer(x)), 0.1, k)
        return nn.losses.cross_entropy(model.layers[-1](x), y), running

    x, y = _images(batch, 28, 10, 1)
    inputs = x.reshape(batch, -1), y, lamella.random.key(1)
    return Work("mlp", model, loss, inputs, optim.AdamW(1e-3))


def lenet(batch: int = 256, width: int = 8) -> Work:
    """LeNet at 28 x 28, SGD."""
    model = smaller.LeNet(28, width, 10, key=_key())
    return Work("lenet", model, _classes, _images(batch, 28, 10, 1), optim.SGD(0.1))


def resnet18(batch: int = 16, width: int = 32, image: int = 32) -> Work:
    """ResNet-18 for small images, SGD with momentum."""
    model = models.ResNet(18, 10, key=_key(), width=width)
    return Work("resnet18", model, _stated, _images(batch, image, 10),
                optim.SGD(0.1, momentum=0.9), _still)


def resnet50(batch: int = 8, width: int = 32, image: int = 64) -> Work:
    """ResNet-50, SGD with momentum."""
    model = models.ResNet(50, 100, key=_key(), width=width)
    return Work("resnet50", model, _stated, _images(batch, image, 100),
                optim.SGD(0.1, momentum=0.9), _still)


def unet(batch: int = 4, width: int = 16, image: int = 64, levels: int = 3) -> Work:
    """U-Net, a class for each pixel, Adam."""
    model = smaller.UNet(width, levels, 4, key=_key())
    x, _ = _images(batch, image, 4)
    y = np.random.default_rng(1).integers(0, 4, x.shape[:3]).astype("int32")
    return Work("unet", model, _classes, (x, y), optim.Adam(1e-3))


def mobilenet(batch: int = 8, width: int = 16, image: int = 48) -> Work:
    """MobileNet v1, SGD with momentum."""
    model = smaller.MobileNet(width, 100, key=_key())
    return Work("mobilenet", model, _stated, _images(batch, image, 100),
                optim.SGD(0.1, momentum=0.9), _still)


def lstm(batch: int = 32, length: int = 64, width: int = 256, vocabulary: int = 1000) -> Work:
    """A language model of one LSTM layer, AdamW."""
    model = models.LSTM(vocabulary, width, width, key=_key())
    return Work("lstm", model, _classes, _text(batch, length, vocabulary), optim.AdamW(1e-3))


def gpt(batch: int = 8, length: int = 128, layers: int = 4, width: int = 128, heads: int = 4,
        vocabulary: int = 2048) -> Work:
    """A GPT, AdamW."""
    model = nn.GPT(vocabulary=vocabulary, context=length, layers=layers, heads=heads, width=width,
                   key=_key())
    return Work("gpt", model, _classes, _text(batch, length, vocabulary), optim.AdamW(1e-3))


def bert(batch: int = 8, length: int = 128, layers: int = 4, width: int = 192, heads: int = 6,
         vocabulary: int = 2048) -> Work:
    """A text classifier on BERT, AdamW."""
    a, b = lamella.random.split(_key())
    model = nn.Sequential(models.Bert(vocabulary, layers, heads, width, key=a),
                          nn.Linear(width, 10, key=b))
    x, y = _text(batch, length, vocabulary)
    return Work("bert", model, _classes, (x, y[:, 0] % 10), optim.AdamW(1e-3))


def vit(batch: int = 8, image: int = 64, layers: int = 4, width: int = 192, heads: int = 6) -> Work:
    """A vision transformer with patches of 8 x 8, AdamW."""
    model = models.ViT(image, 8, layers, heads, width, 100, key=_key())
    return Work("vit", model, _classes, _images(batch, image, 100), optim.AdamW(1e-3))


def moe(batch: int = 8, length: int = 64, layers: int = 2, width: int = 128, experts: int = 8,
        vocabulary: int = 1000) -> Work:
    """A language model of attention and experts, AdamW."""
    model = smaller.MixtureOfExperts(vocabulary, length, layers, 4, width, experts, key=_key())
    return Work("moe", model, _classes, _text(batch, length, vocabulary), optim.AdamW(1e-3))


def autoencoder(batch: int = 512, width: int = 512) -> Work:
    """A deep autoencoder of digits, Adam."""
    model = smaller.Autoencoder([784, width, width // 2, width // 4, 32], key=_key())

    def loss(model, running, x):
        return nn.losses.mse(model(x), x), running

    x = np.random.default_rng(0).random((batch, 784), "float32")
    return Work("autoencoder", model, loss, (x,), optim.Adam(1e-3))


def dlrm(batch: int = 2048, tables: int = 8, rows: int = 10000, width: int = 16) -> Work:
    """Clicks from embeddings, SGD."""
    model = smaller.DLRM(tables, rows, width, 13, key=_key())

    def loss(model, running, dense, sparse, y):
        return nn.losses.binary_cross_entropy(model(dense, sparse), y), running

    rng = np.random.default_rng(0)
    inputs = (rng.standard_normal((batch, 13), "float32"),
              rng.integers(0, rows, (batch, tables)).astype("int32"),
              rng.integers(0, 2, batch).astype("float32"))
    return Work("dlrm", model, loss, inputs, optim.SGD(0.1),
                lambda model, running, dense, sparse, *_: model(dense, sparse))


WORKS: dict[str, Callable[..., Work]] = {f.__name__: f for f in (
    mlp, lenet, resnet18, resnet50, unet, mobilenet, lstm, gpt, bert, vit, moe, autoencoder, dlrm)}


def evaluated(tree: Any) -> Any:
    """The tree, its arrays no longer lazy."""
    for a in lamella.tree.leaves(tree):
        a.numpy()
    return tree


def measured(name: str, seconds: float = 2.0) -> dict[str, Any]:
    """Milliseconds of a step and of an inference (least of those in so many seconds), and the
    peaks that their plans state."""
    w = work(name)
    held, inputs = evaluated(w.held), w.inputs
    train, infer = lamella.compile(w.step, donate=w.donate), lamella.compile(w.infer)
    line = {"model": name, "step_peak": lamella.plan(train, *held, *inputs).peak,
            "infer_peak": lamella.plan(infer, held[0], held[2], *inputs).peak}
    line["infer_ms"] = least(lambda: infer(held[0], held[2], *inputs), seconds)
    state = list(held)

    def step():
        *state[:], loss = train(*state, *inputs)
        return float(loss)

    return {**line, "step_ms": least(step, seconds)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.zoo")
    parser.add_argument("models", nargs="*", default=list(WORKS))
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    given = parser.parse_args()
    for chosen in given.models:
        print(json.dumps(measured(chosen, given.seconds)), flush=True)
