"""Computations whose result bits are kept in `golden_bits.json`, as SHA-256.

`python tests/engine/golden_bits.py` writes the file. It is written again only together with a new
numerics version (lang/order.py): a change of these bits breaks "today and tomorrow".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

import lamella
from lamella import nn, optim
from lamella.lang.order import VERSION

FILE = Path(__file__).with_name("golden_bits.json")
FLOATS = ("float32", "float64", "float16", "bfloat16")
POINTWISE = ("exp", "log", "tanh", "sin", "cos", "erf", "sqrt", "rsqrt", "sigmoid", "log1p",
             "expm1", "gelu", "silu")


def array(shape: tuple[int, ...], seed: int = 1, dtype: str = "float32") -> lamella.Array:
    """Numbers in -2..2 of a formula that no library's random numbers take part in."""
    steps = np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(1000003 * seed)
    mixed = (steps * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    x = (mixed.astype(np.float64) / (1 << 22) - 2).reshape(shape)
    return lamella.asarray(x).astype(dtype)


def positive(shape: tuple[int, ...], dtype: str) -> lamella.Array:
    return lamella.abs(array(shape, 2, dtype)) + 0.125


def cases() -> dict[str, Callable]:
    """Each a function without arguments that returns a pytree of arrays."""
    found: dict[str, Callable] = {}
    for d in FLOATS:
        for name in POINTWISE:
            f = getattr(lamella, name)
            found[f"{name} {d}"] = lambda f=f, d=d: f(positive((1037,), d))
        for axis in (0, 1):
            found[f"sum over axis {axis} {d}"] = lambda a=axis, d=d: array((2111, 19), 3, d).sum(a)
        found[f"matmul {d}"] = lambda d=d: array((37, 4211), 4, d) @ array((4211, 21), 5, d)
        found[f"softmax {d}"] = lambda d=d: lamella.softmax(array((17, 1290), 6, d), axis=1)
    found["layer_norm"] = lambda: lamella.layer_norm(array((9, 260), 7), array((260,), 8),
                                                     array((260,), 9))
    found["attention"] = lambda: lamella.attention(
        *(array((2, 3, 33, 16), k) for k in (10, 11, 12)), causal=True)
    found["conv2d and its gradients"] = lambda: lamella.value_and_grad(
        lambda x, w: lamella.square(lamella.conv2d(x, w, padding=1)).sum(), (0, 1))(
            array((2, 9, 11, 5), 13), array((7, 3, 3, 5), 14))
    found["conv2d by Winograd's algorithm"] = lambda: lamella.value_and_grad(
        lambda x, w: lamella.square(lamella.conv2d(x, w, padding=1)).sum(), (0, 1))(
            array((2, 9, 11, 32), 13), array((40, 3, 3, 32), 14))
    found["random"] = lambda: [lamella.random.normal(lamella.random.key(5), (1001,)),
                               lamella.random.uniform(lamella.random.key(6), (77, 3))]
    found["training a small GPT"] = training
    return found


def training() -> list:
    """Three AdamW steps of a GPT with weights of a formula."""
    model = nn.GPT(vocabulary=29, context=12, layers=2, heads=2, width=24,
                   key=lamella.random.key(3))
    opt = optim.AdamW(1e-2)
    state = opt.init(model)
    tokens = lamella.asarray((np.arange(48).reshape(4, 12) * 7 % 29).astype(np.int32))

    def loss_fn(model):
        return nn.losses.cross_entropy(model(tokens), tokens)

    @lamella.compile
    def step(model, state):
        loss, grads = lamella.value_and_grad(loss_fn)(model)
        model, state = opt.update(model, grads, state)
        return model, state, loss

    for _ in range(3):
        model, state, loss = step(model, state)
    return [loss, *lamella.tree.leaves(model)]


def digest(case: Callable) -> str:
    """The hash of the bits of all results; NaNs count as equal."""
    h = hashlib.sha256()
    for leaf in lamella.tree.leaves(case()):
        found = np.array(leaf.numpy())
        if leaf.dtype.is_float:
            found[found != found] = np.nan
        h.update(str((leaf.dtype, leaf.shape)).encode())
        h.update(found.tobytes())
    return h.hexdigest()[:24]


if __name__ == "__main__":
    FILE.write_text(json.dumps({"numerics": VERSION,
                                "bits": {n: digest(c) for n, c in cases().items()}}, indent=1))
