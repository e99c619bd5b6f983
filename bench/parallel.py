"""Launches in parallel: the same programs planned one launch after another and side by side.

    python -m bench.parallel [WORKLOAD ...]

A line for each workload: how many steps run several launches in parallel, the least time of both
plans (by turns in one process, two threads), predicted and measured, and both peaks. Blocks are
inference; names of `bench/zoo.py` are training steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

import lamella
from lamella.engine.executable import Executable
from lamella.engine.kernels import target
from lamella.engine.measure import measure
from lamella.engine.profile import profile
from lamella.engine.value import Value
from lamella.planner.build import build_plan
from lamella.planner.plan import Parallel, inner_steps
from lamella.planner.report import Report

from . import zoo

ROUNDS, THREADS = 8, 2
MODELS = ("dlrm", "lenet", "unet", "mobilenet", "moe", "gpt")


def some(*shape: int):
    return lamella.asarray(np.random.default_rng(sum(shape)).standard_normal(shape, np.float32) / 8)


def convolved(x, w):
    return lamella.relu(lamella.conv2d(x, w, padding=w.shape[1] // 2))


def inception():
    """A block of GoogLeNet (3a): four branches of 28 x 28 pixels, joined by channels."""
    weights = [some(64, 1, 1, 192), some(96, 1, 1, 192), some(128, 3, 3, 96), some(16, 1, 1, 192),
               some(32, 5, 5, 16), some(32, 1, 1, 192)]

    def block(x, a, b, bb, c, cc, d):
        pooled = lamella.max_pool(x, 3, stride=1, padding=1)
        return lamella.concat([convolved(x, a), convolved(convolved(x, b), bb),
                               convolved(convolved(x, c), cc), convolved(pooled, d)], axis=-1)

    return block, [some(1, 28, 28, 192), *weights]


def experts():
    """Eight experts of 24 rows each, as separate products."""
    weights = [some(256, 128) for _ in range(8)] + [some(128, 256) for _ in range(8)]

    def mixture(x, *w):
        return lamella.stack([lamella.relu(x[k] @ w[k]) @ w[8 + k] for k in range(8)])

    return mixture, [some(8, 24, 256), *weights]


def heads():
    """Eight heads of 40 positions, each written for itself."""
    def attention(q, k, v):
        return lamella.concat([lamella.softmax(q[h] @ k[h].T, axis=-1) @ v[h] for h in range(8)],
                              axis=-1)

    return attention, [some(8, 40, 64) for _ in range(3)]


BLOCKS: dict[str, Callable] = {"inception": inception, "experts": experts, "heads": heads}


def case(name: str):
    """(the function, its arguments, what is donated)"""
    if name in BLOCKS:
        return *BLOCKS[name](), ()
    work = zoo.work(name)
    zoo.evaluated(work.held)
    return work.step, [*work.held, *work.inputs], work.donate


def parallel_steps(steps) -> int:
    return sum(isinstance(s, Parallel) + sum(map(parallel_steps, inner_steps(s))) for s in steps)


def line(name: str) -> str:
    f, arguments, donate = case(name)
    traced, _, donated = lamella.compile(f, donate=donate)._traced(tuple(arguments), {})
    plans = [build_plan(traced.program, target(), donated, frozenset(traced.fixed()), threads=n)
             for n in (1, THREADS)]
    claims = [Report(p, profile(), THREADS) for p in plans]
    runs = [Executable(p, THREADS, traced.fixed()) for p in plans]
    values = [Value.from_numpy(a.numpy()) for a in lamella.tree.leaves(arguments)]
    least = [float("inf")] * 2
    for _ in range(ROUNDS):
        for k, run in enumerate(runs):
            found = measure(run, values, 10)
            assert found.peak == claims[k].peak
            least[k] = min(least[k], found.seconds)
    apart, beside = least
    return (f"| {name} | {parallel_steps(plans[1].steps)} | "
            f"{claims[0].seconds * 1e3:.3f}, {claims[1].seconds * 1e3:.3f} | "
            f"{apart * 1e3:.3f}, {beside * 1e3:.3f} | {apart / beside:.2f} | "
            f"{claims[0].peak / 2**20:.2f}, {claims[1].peak / 2**20:.2f} |")


def main() -> None:
    print("| workload | parallel steps | predicted ms | measured ms | ratio | peak MiB |\n"
          "|---|---|---|---|---|---|")
    for name in sys.argv[1:] or [*BLOCKS, *MODELS]:
        print(line(name), flush=True)


if __name__ == "__main__":
    main()
