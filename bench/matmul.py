"""Matrix products of the shapes that training has, beside NumPy's and PyTorch's libraries.

    python -m bench.matmul [--only PART] [--threads 1,2] [--seconds 0.25]

The systems take turns; a figure is the least time of many calls of the whole product, so packing
and starting of threads count. One thread is timed by the thread's own clock (another process on
the core does not count), two by the wall. `peak` is the fraction of the multiply-adds that
`bench.peak` finds; `ratio` is the best library's time over Lamella's. The last line is JSON.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
from collections.abc import Callable

import numpy as np

import lamella
from lamella.runtime.walker import set_threads

from .peak import Peak
from .product import Shape

ROUNDS = 3              # of turns
PAUSE = 0.05            # seconds between turns of several threads


def shapes() -> list[Shape]:
    """What training and inference multiply."""
    found = [Shape(1, n, n, n) for n in (64, 128, 256, 512, 1024, 2048)]
    found += [Shape(1, n, n, n, layout) for n in (256, 1024) for layout in ("nt", "tn", "tt")]
    found += [Shape(1, n, n, n) for n in (17, 100, 257, 500, 1000, 1023, 1537)]
    for rows, width in ((768, 128), (2048, 384), (128, 384), (2048, 768)):  # layers of transformers
        found += [Shape(1, rows, width, 3 * width), Shape(1, rows, 4 * width, width),
                  Shape(1, rows, width, 4 * width, "nt"), Shape(1, width, rows, 4 * width, "tn")]
    found += [Shape(48, 64, 32, 64, "nt"), Shape(48, 64, 64, 32), Shape(48, 256, 64, 256, "nt"),
              Shape(48, 256, 256, 64), Shape(48, 256, 256, 64, "tn"), Shape(256, 64, 64, 64),
              Shape(12, 128, 32, 128, "nt"), Shape(64, 16, 16, 16), Shape(32, 100, 33, 70)]
    found += [Shape(1, 1000, 784, 256), Shape(1, 784, 1000, 256, "tn"), Shape(1, 1000, 256, 100),
              Shape(1, 256, 1000, 100, "tn"), Shape(1, 1000, 100, 256, "nt")]
    found += [Shape(1, 32, 256, 1024), Shape(1, 32, 1024, 256, "nt"), Shape(1, 256, 32, 1024, "tn"),
              Shape(1, 2048, 256, 1024), Shape(1, 256, 2048, 1024, "tn"),
              Shape(1, 2048, 256, 1000), Shape(1, 2048, 1000, 256, "nt")]
    found += [Shape(1, 1, 1024, 1024), Shape(1, 1, 1024, 1024, "nt"), Shape(1, 1, 4096, 4096),
              Shape(1, 1, 4096, 4096, "nt"), Shape(1, 4, 1024, 4096), Shape(1, 8, 4096, 1024, "nt"),
              Shape(1, 1024, 1024, 1), Shape(1, 4096, 4096, 1)]
    found += [Shape(1, 4096, 64, 64), Shape(1, 64, 4096, 64), Shape(1, 64, 64, 4096),
              Shape(1, 4096, 16, 4096), Shape(1, 100, 4096, 300, "tn"),
              Shape(1, 65, 2048, 384, "tn"), Shape(1, 2048, 384, 65)]
    return found


def operands(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """The two operands as they lie in memory."""
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(s, "float32") for s in shape.operands)  # type: ignore


def calls(shape: Shape) -> dict[str, Callable[[], object]]:
    """A call of the product for each system, checked against NumPy's."""
    x, y = operands(shape)
    turn = [t == "t" for t in shape.layout]

    def swapped(a, yes: bool):
        return a.swapaxes(-1, -2) if yes else a

    a, b = swapped(x, turn[0]), swapped(y, turn[1])
    out = np.empty(np.matmul(a, b).shape, np.float32)
    product = lamella.compile(lambda p, q: (p.mT if turn[0] else p) @ (q.mT if turn[1] else q))
    p, q = lamella.asarray(x), lamella.asarray(y)
    np.testing.assert_allclose(np.asarray(product(p, q)), a @ b, rtol=1e-3, atol=2e-2)
    found: dict[str, Callable[[], object]] = {
        "lamella": lambda: product(p, q), "numpy": lambda: np.matmul(a, b, out=out)}
    if importlib.util.find_spec("torch"):
        import torch

        u, v = (swapped(torch.from_numpy(z), t) for z, t in zip((x, y), turn, strict=True))
        to = torch.from_numpy(out)
        found["torch"] = lambda: torch.matmul(u, v, out=to)
    return found


def limit(threads: int) -> None:
    """Let every system use so many threads."""
    set_threads(threads)
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads)


def least(systems: dict[str, Callable[[], object]], flops: int, threads: int,
          seconds: float) -> dict[str, float]:
    """The least seconds of a call of each system, in turns for `seconds` each. Before a turn of
    several threads there is a pause: idle workers of the library before may spin for a while."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    inner = max(1, int(2e6 / flops))
    found = dict.fromkeys(systems, math.inf)
    for _ in range(ROUNDS):
        for name, call in systems.items():
            time.sleep(PAUSE if threads > 1 else 0.0)
            call()  # its operands into the caches that the system before has used
            end, count = time.perf_counter() + seconds / ROUNDS, 0
            while count < 3 or time.perf_counter() < end:
                began = clock()
                for _ in range(inner):
                    call()
                found[name] = min(found[name], (clock() - began) / inner)
                count += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="shapes whose text contains this")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=0.25)
    options = parser.parse_args()
    chosen = [s for s in shapes() if options.only in str(s)]
    systems = {s: calls(s) for s in chosen}
    result: dict[str, object] = {"shapes": len(chosen)}
    for threads in map(int, options.threads.split(",")):
        limit(threads)
        peak = Peak().multiply_adds(threads, 20)
        print(f"{threads} threads, peak {peak:.0f} GFLOP/s\n{'m x k x n':<24}"
              f"{'lamella us':>11} {'best us':>10} {'library':>8} {'peak':>6} {'theirs':>6} ratio")
        logs = []
        for s in chosen:
            t = least(systems[s], s.flops, threads, options.seconds)
            own = t.pop("lamella")
            best = min(t, key=t.__getitem__)
            logs.append(math.log(t[best] / own))
            print(f"{s!s:<24}{1e6 * own:>11.1f} {1e6 * t[best]:>10.1f} {best:>8} "
                  f"{s.flops / own / peak / 1e9:>6.3f} {s.flops / t[best] / peak / 1e9:>6.3f} "
                  f"{t[best] / own:.2f}", flush=True)
        result |= {f"peak_{threads}": round(peak, 1),
                   f"geomean_{threads}": round(math.exp(sum(logs) / len(logs)), 4)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
