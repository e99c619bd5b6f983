"""What the fixed order costs: plans of `fast` mode beside those that keep the rules, in turns.

    python -m bench.fast [--workloads all|NAME,...] [--rounds 5] [--seconds 1] [--threads 2]

Whole workloads (`bench.ours`; by default those that have convolutions), then products and sums
alone. Both plans of a row run in one process, by turns; times are least ones in ms. `ratio` is the
fixed order's time over `fast` mode's, `differs` the largest difference of the results over the
largest result, where there is one array. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence

WORKLOADS = "resnet18_train,resnet50_infer"


def _products() -> dict[str, tuple[Callable, list[tuple[int, ...]]]]:
    import lamella

    def conv(x, w):
        return lamella.conv2d(x, w, padding=1)

    def turned(x, w):
        return x @ w.T

    found = {f"{n} x {k} x {k} nt": (turned, [(n, k), (k, k)])
             for n, k in ((1, 256), (1, 1024), (1, 4096))}
    found |= {"two vectors of 4096": (lambda x, y: x @ y, [(4096,)] * 2),
              "two vectors of 2^20": (lambda x, y: x @ y, [(1 << 20,)] * 2)}
    found |= {f"3 x 3 taps, {c} channels, {n} of {size} x {size}":
              (conv, [(n, size, size, c), (c, 3, 3, c)])
              for n, size, c in ((1, 56, 64), (1, 28, 128), (32, 16, 128), (32, 8, 256))}
    found |= {f"sum of {rows} rows of {n}": (lambda x: x.sum(axis=1), [(rows, n)])
              for rows, n in ((256, 256), (4096, 4096))}
    found |= {f"sum of {n} columns of {rows}": (lambda x: x.sum(axis=0), [(rows, n)])
              for rows, n in ((256, 256), (4096, 4096))}
    return found


def in_turns(calls: Sequence[Callable], rounds: int, seconds: float) -> list[float]:
    """The least time of each call in ms."""
    found = [math.inf] * len(calls)
    for call in calls:
        call()
        call()
    for _ in range(rounds):
        for k, call in enumerate(calls):
            end = time.perf_counter() + seconds
            while True:
                began = time.perf_counter()
                call()
                found[k] = min(found[k], 1e3 * (time.perf_counter() - began))
                if time.perf_counter() >= end:
                    break
    return found


def workload(name: str, rounds: int, seconds: float) -> dict:
    """A row of a whole workload."""
    from . import ours
    times = in_turns([ours.case(name, fast=fast).step for fast in (False, True)], rounds, seconds)
    return {"what": name, "fixed": times[0], "fast": times[1], "ratio": times[0] / times[1]}


def product(name: str, f: Callable, shapes: Sequence[tuple[int, ...]], rounds: int,
            seconds: float) -> dict:
    """A row of one operation."""
    import numpy as np

    import lamella
    rng = np.random.default_rng(0)
    args = [lamella.asarray(rng.standard_normal(s, "float32")) for s in shapes]
    runs = [lamella.compile(f, fast=fast) for fast in (False, True)]
    a, b = (run(*args).numpy() for run in runs)
    times = in_turns([lambda run=run: run(*args) for run in runs], rounds, seconds / 10)
    return {"what": name, "fixed": times[0], "fast": times[1], "ratio": times[0] / times[1],
            "differs": float(np.abs(a - b).max() / np.abs(a).max())}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m bench.fast", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--workloads", default=WORKLOADS)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--threads", type=int, default=2)
    return p.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    os.environ["THREADS"] = os.environ["LAMELLA_THREADS"] = str(options.threads)
    from . import ours
    names = list(ours.WORK) if options.workloads == "all" else \
        [n for n in options.workloads.split(",") if n]
    rows = []

    def say(row: dict) -> None:
        differs = f"  differs {row['differs']:.1e}" if "differs" in row else ""
        print(f"{row['what']:<44} {row['fixed']:>10.4f} {row['fast']:>10.4f} ms "
              f"x{row['ratio']:.2f}{differs}", flush=True)
        rows.append(row)

    for name in names:
        say(workload(name, options.rounds, options.seconds))
    for name, (f, shapes) in _products().items():
        say(product(name, f, shapes, options.rounds, options.seconds))
    print(json.dumps({"threads": options.threads, "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1:])
