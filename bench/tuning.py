"""The planner's cuts of products beside the fastest of all that it knows.

    python -m bench.tuning [--only PART] [--threads 1] [--seconds 10] [--drawn COUNT] [--seed 7]

The shapes are those of `bench.matmul`, which what cuts cost was fitted to, or so many that are
drawn: the estimate has not seen them. The ratio is the time of the cut that is chosen by estimate
over that of the fastest one (see `lamella tune`). The last line is JSON: the share of shapes within
5 %, and the geometric mean of the ratios.
"""

from __future__ import annotations

import argparse
import json
import math
import random

import lamella
from lamella.engine.tune import products, tuned
from lamella.engine.tuned import Tuned
from lamella.runtime.walker import set_threads

from .matmul import Shape, operands, shapes

NEAR = 1.05
EXTENTS = (48, 64, 96, 120, 160, 192, 256, 320, 384, 500, 512, 640, 768, 896, 1000, 1200, 1280,
           1536, 2000, 2048)
LEAST, MOST = 3e6, 3e9  # operations of a shape that is drawn


def drawn(count: int, seed: int) -> list[Shape]:
    """So many shapes by chance, a third of them batches."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        shape = Shape(rng.choice((1, 1, 1, 1, 8, 24)), *(rng.choice(EXTENTS) for _ in range(3)),
                      rng.choice(("nn", "nt", "tn", "tt", "nn", "nt", "tn")))
        if LEAST < shape.flops < MOST:
            found.append(shape)
    return found


def searched(shape: Shape, seconds: float) -> Tuned | None:
    """The planner's cut and the fastest, for the product of that shape."""
    turn = [t == "t" for t in shape.layout]
    specs = [lamella.spec(a.shape) for a in operands(shape)]
    program = lamella.trace(
        lambda p, q: (p.mT if turn[0] else p) @ (q.mT if turn[1] else q), *specs)
    found = products(program)
    return tuned(found[0], seconds) if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="shapes whose text contains this")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--drawn", type=int, default=0, help="shapes by chance, so many")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    set_threads(options.threads)
    ratios = []
    for shape in drawn(options.drawn, options.seed) if options.drawn else shapes():
        result = searched(shape, options.seconds) if options.only in str(shape) else None
        if result is not None:
            ratios.append(result.chosen / result.best)
            print(f"{shape!s:<24} {result}", flush=True)
    if ratios:
        logs = sum(map(math.log, ratios)) / len(ratios)
        print(json.dumps({"shapes": len(ratios), "geomean": round(math.exp(logs), 4),
                          "within": round(sum(r <= NEAR for r in ratios) / len(ratios), 3)}))


if __name__ == "__main__":
    main()
