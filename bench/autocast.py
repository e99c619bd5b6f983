"""A GPT's training step with products in bfloat16, beside float32 and PyTorch's autocast.

    python -m bench.autocast [--width 384] [--rounds 4]

Eight texts of 256 tokens, four blocks of four heads, 8192 words, AdamW; two threads. The steps take
turns, a figure is the least of all rounds (milliseconds); the losses of the first step stand beside
them. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

import lamella
from lamella import nn, optim
from lamella.runtime import walker
from lamella.train import Trainer

BATCH, LENGTH, LAYERS, HEADS, WORDS, THREADS = 8, 256, 4, 4, 8192, 2
MODES = {"float32": {}, "bfloat16": {"autocast": "bfloat16"},
         "bfloat16 fast": {"autocast": "bfloat16", "fast": True}}
Step = Callable[[], float]


def ours(x: np.ndarray, y: np.ndarray, width: int) -> dict[str, Step]:
    """A step in each of the modes."""
    def loss(model, x, y):
        return nn.losses.cross_entropy(model(x), y)

    def step(options: dict) -> Step:
        model = nn.GPT(vocabulary=WORDS, context=LENGTH, layers=LAYERS, heads=HEADS, width=width,
                       key=lamella.random.key(0))
        trainer = Trainer(model, optim.AdamW(1e-3), loss, **options)
        return lambda: float(trainer.step(x, y))

    return {f"lamella {name}": step(options) for name, options in MODES.items()}


def theirs(x: np.ndarray, y: np.ndarray, width: int) -> dict[str, Step]:
    """PyTorch's step in float32 and with autocast; none without PyTorch."""
    try:
        import torch
    except ImportError:
        return {}
    from .torch_zoo import GPT, adamw, words_of

    torch.set_num_threads(THREADS)
    tokens, targets = (torch.from_numpy(v).long() for v in (x, y))

    def step(few: bool) -> Step:
        model = GPT(WORDS, LENGTH, width)
        update = adamw(model.parameters())

        def run() -> float:
            update.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=few):
                found = words_of(model, tokens, targets)
            found.backward()
            update.step()
            return found.item()

        return run

    return {f"torch {name}": step(few) for name, few in (("float32", False), ("autocast", True))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    walker.set_threads(THREADS)
    words = np.random.default_rng(0).integers(0, WORDS, (BATCH, LENGTH + 1)).astype("int32")
    x, y = words[:, :-1], words[:, 1:]
    steps = ours(x, y, options.width) | theirs(x, y, options.width)
    losses = {name: step() for name, step in steps.items()}
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(options.rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - began))
    for name, spent in best.items():
        print(f"{name:<22} {spent:8.1f} ms   first loss {losses[name]:.4f}")
    print(json.dumps({name: round(spent, 1) for name, spent in best.items()}))


if __name__ == "__main__":
    main()
