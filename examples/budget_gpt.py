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
STEPS, SHARE = 12, 3


def loss_fn(model, x, y):
    """Mean cross-entropy of the next token."""
    return nn.losses.cross_entropy(model(x), y)


def trained(memory: int | None, tokens: np.ndarray):
    """(report of a measured step, hash of the weights after STEPS steps, seconds of each step)."""
    model = nn.GPT(vocabulary=VOCABULARY, context=CONTEXT, layers=LAYERS, heads=HEADS, width=WIDTH,
                   key=lamella.random.key(1))
    opt = optim.AdamW(1e-3)
    state = opt.init(model)

    @lamella.compile(donate=("model", "state"), memory=memory)
    def gpt_step(model, state, x, y):
        loss, grads = lamella.value_and_grad(loss_fn)(model, x, y)
        model, state = opt.update(model, grads, state)
        return model, state, loss

    report = gpt_step.measure(model, state, tokens[0, :, :-1], tokens[0, :, 1:]).report
    spent = []
    for batch in tokens:
        began = time.perf_counter()
        model, state, loss = gpt_step(model, state, batch[:, :-1], batch[:, 1:])
        float(loss)
        spent.append(time.perf_counter() - began)
    digest = hashlib.sha256()
    for leaf in lamella.tree.leaves(model):
        digest.update(np.asarray(leaf).tobytes())
    return report, digest.hexdigest()[:16], min(spent)


def main(path: Path) -> None:
    tokens = np.random.default_rng(0).integers(
        0, VOCABULARY, (STEPS, BATCH, CONTEXT + 1)).astype(np.int32)
    print("\n== a small GPT, trained with all the memory it asks for, and with a third of it ==")
    whole, weights, seconds = trained(None, tokens)
    small, again, longer = trained(whole.peak // SHARE, tokens)
    for name, report, digest, spent in (("all it asks for", whole, weights, seconds),
                                        ("a third of it", small, again, longer)):
        print(f"{name:<16} peak {bytes_text(report.peak):>10}   {spent * 1e3:7.2f} ms a step "
              f"(predicted {report.seconds * 1e3:.2f})   weights {digest}")
    same = "the same weights" if weights == again else "DIFFERENT weights"
    print(f"{same} after {STEPS} steps; time {longer / seconds:.3f} of the unbudgeted")
    parts = ", ".join(f"{len(loop.body)} steps in {loop.parts} parts" for loop in small.in_parts)
    print(f"steps: {len(small.plan.steps)}, of which loops over parts of the batch: "
          f"{parts or 'none'}; computed again: {len(small.recomputed)}")
    from lamella.engine.explain import write_page
    write_page(small, path)
    print(f"memory map, timeline, predicted against measured: {path}")
    if weights != again:
        sys.exit("the budget changed the weights")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "gpt_plan.html"))
