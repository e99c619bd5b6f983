"""The planner's cuts of products beside the fastest of all that it knows.

    python -m bench.tuning [--only PART] [--threads 1] [--seconds 10]

The shapes are those of `bench.matmul`. The ratio is the time of the cut that is chosen by estimate
over that of the fastest one (see `lamella tune`). The last line is JSON: the share of shapes within
5 %, and the geometric mean of the ratios.
"""

from __future__ import annotations

import argparse
import json
import math

import lamella
from lamella.engine.tune import products, tuned
from lamella.engine.tuned import Tuned
from lamella.runtime.walker import set_threads

from .matmul import Shape, operands, shapes

NEAR = 1.05


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
    options = parser.parse_args()
    set_threads(options.threads)
    ratios = []
    for shape in shapes():
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
