"""A small GPT on text that every Python has: the sources of its standard library.

Trains a character-level model, prints the falling loss, then writes a sample through one compiled
decode step: the key-value cache is donated and updated in place, and one compile serves every
position up to the context.
"""

from __future__ import annotations

import argparse
import sysconfig
import time
from pathlib import Path

import numpy as np

import lamella
from lamella import nn, optim
from lamella.train.progress import Progress

CONTEXT, LAYERS, HEADS, WIDTH, BATCH = 64, 4, 4, 128, 12


def corpus(limit: int = 400_000) -> tuple[np.ndarray, list[str]]:
    """Characters of the standard library's modules as numbers, and the alphabet."""
    folder = Path(sysconfig.get_path("stdlib"))
    names = ("argparse", "ast", "dataclasses", "functools", "inspect", "pathlib", "random",
             "statistics", "textwrap", "threading", "typing", "unittest/case", "logging/__init__")
    files = [folder / f"{n}.py" for n in names if (folder / f"{n}.py").is_file()]
    text = "".join(f.read_text(encoding="utf-8", errors="ignore") for f in files)[:limit]
    alphabet = sorted(set(text))
    lookup = {c: k for k, c in enumerate(alphabet)}
    return np.array([lookup[c] for c in text], np.int32), alphabet


def batches(text: np.ndarray, steps: int, seed: int = 0):
    """(x, y) windows at places drawn from the seed; y is x one character later."""
    places = np.random.Generator(np.random.Philox(seed)).integers(
        0, len(text) - CONTEXT - 1, (steps, BATCH))
    for row in places:
        window = np.stack([text[p:p + CONTEXT + 1] for p in row])
        yield window[:, :-1], window[:, 1:]


def loss_fn(model, x, y):
    """Mean cross-entropy of the next character."""
    return nn.losses.cross_entropy(model(x), y)


def train(text: np.ndarray, vocabulary: int, steps: int):
    """The trained model; prints the loss every tenth of the way."""
    model = nn.GPT(vocabulary=vocabulary, context=CONTEXT, layers=LAYERS, heads=HEADS, width=WIDTH,
                   key=lamella.random.key(1))
    opt = optim.AdamW(2e-3, weight_decay=0.1)
    state = opt.init(model)

    @lamella.compile(donate=("model", "state"))
    def step(model, state, x, y):
        loss, grads = lamella.value_and_grad(loss_fn)(model, x, y)
        model, state = opt.update(model, grads, state)
        return model, state, loss

    print(lamella.plan(step, model, state, lamella.spec((BATCH, CONTEXT), "int32"),
                       lamella.spec((BATCH, CONTEXT), "int32")))
    with Progress(steps) as bar:
        for k, (x, y) in enumerate(batches(text, steps)):
            model, state, loss = step(model, state, x, y)
            bar.advance(BATCH, loss)
            if k % max(1, steps // 10) == 0 or k == steps - 1:
                print(f"step {k:5}  loss {float(loss):.4f}", flush=True)
    return model


def sample(model, alphabet: list[str], prompt: str, length: int, temperature: float = 0.7) -> str:
    """`length` characters after the prompt, drawn one by one through one compiled step."""

    @lamella.compile(donate="cache")
    def decode(model, token, cache, position, key):
        logits, cache = model.decode(token, cache, position)
        drawn = lamella.random.categorical(key, logits[0, -1] / temperature)
        return drawn, cache

    lookup = {c: k for k, c in enumerate(alphabet)}
    known = [lookup.get(c, 0) for c in prompt]
    cache = model.init_cache(1)
    keys = lamella.random.split(lamella.random.key(7), CONTEXT)
    out = list(known)
    moments = [time.perf_counter()]
    for position in range(min(CONTEXT, len(known) + length) - 1):
        token = np.array([[out[position]]], np.int32)
        drawn, cache = decode(model, token, cache, position, keys[position])
        if position + 1 >= len(out):
            out.append(int(drawn))
        moments.append(time.perf_counter())
    first, *rest = (1e3 * np.diff(moments)).tolist()
    print(f"\n{len(out)} characters through {len(decode.entries)} compiled decode step: "
          f"{first:.0f} ms for the first, planned and compiled, then {np.mean(rest):.2f} ms each")
    return "".join(alphabet[k] for k in out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400, help="training steps (default 400)")
    steps = parser.parse_args().steps
    text, alphabet = corpus()
    print(f"{len(text):,} characters, {len(alphabet)} different")
    model = train(text, len(alphabet), steps)
    print(sample(model, alphabet, "def ", CONTEXT))


if __name__ == "__main__":
    main()
