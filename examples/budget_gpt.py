"""A small GPT trained twice: with all the memory that its plan asks for, and with a third of it.

Trains the same steps with both, compares the weights bit by bit and the times,
and writes a page with the memory map and the timeline of the smaller one.
"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import numpy as np

import lamella
from lamella import nn, optim
from lamella.planner.memory.peak import bytes_text

CONTEXT, LAYERS, HEADS, WIDTH, BATCH, VOCABULARY = 128, 6, 2, 64, 8, 64
STEPS, SHARE = 20, 3


def loss_fn(model, x, y):
    """Mean cross-entropy of the next token."""
    return nn.losses.cross_entropy(model(x), y)


class Training:
    """A GPT, and its step within `memory` bytes (None: without a budget)."""

    def __init__(self, memory: int | None, batch: np.ndarray):
        self.model = nn.GPT(vocabulary=VOCABULARY, context=CONTEXT, layers=LAYERS, heads=HEADS,
                            width=WIDTH, key=lamella.random.key(1))
        opt = optim.AdamW(1e-3)
        self.state = opt.init(self.model)

        @lamella.compile(donate=("model", "state"), memory=memory)
        def gpt_step(model, state, x, y):
            loss, grads = lamella.value_and_grad(loss_fn)(model, x, y)
            model, state = opt.update(model, grads, state)
            return model, state, loss

        self.run = gpt_step
        self.report = gpt_step.measure(self.model, self.state, batch[:, :-1], batch[:, 1:]).report
        self.seconds = float("inf")

    def step(self, batch: np.ndarray) -> None:
        """One step; `seconds` is the least that one took."""
        began = time.perf_counter()
        self.model, self.state, loss = self.run(self.model, self.state, batch[:, :-1], batch[:, 1:])
        float(loss)
        self.seconds = min(self.seconds, time.perf_counter() - began)

    @property
    def weights(self) -> str:
        """A hash of the weights."""
        digest = hashlib.sha256()
        for leaf in lamella.tree.leaves(self.model):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()[:16]


def main(path: Path) -> None:
    tokens = np.random.default_rng(0).integers(
        0, VOCABULARY, (STEPS, BATCH, CONTEXT + 1)).astype(np.int32)
    print("\n== a small GPT, trained with all the memory it asks for, and with a third of it ==")
    whole = Training(None, tokens[0])
    small = Training(whole.report.peak // SHARE, tokens[0])
    for batch in tokens:        # in turns, so that what slows the machine slows both
        whole.step(batch)
        small.step(batch)
    for name, one in (("all it asks for", whole), ("a third of it", small)):
        print(f"{name:<16} peak {bytes_text(one.report.peak):>10}   {one.seconds * 1e3:7.2f} ms a "
              f"step (predicted {one.report.seconds * 1e3:.2f})   weights {one.weights}")
    same = "the same weights" if whole.weights == small.weights else "DIFFERENT weights"
    print(f"{same} after {STEPS} steps; time {small.seconds / whole.seconds:.3f} of the unbudgeted")
    report = small.report
    parts = ", ".join(f"{len(loop.body)} steps in {loop.parts} parts" for loop in report.in_parts)
    print(f"steps: {len(report.plan.steps)}, of which loops over parts of the batch: "
          f"{parts or 'none'}; computed again: {len(report.recomputed)}")
    from lamella.engine.explain import write_page
    write_page(report, path)
    print(f"memory map, timeline, predicted against measured: {path}")
    if whole.weights != small.weights:
        sys.exit("the budget changed the weights")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "gpt_plan.html"))
