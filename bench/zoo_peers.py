"""The zoo's training steps and inferences beside PyTorch's, eager and compiled, in turns.

    python -m bench.zoo_peers [--peers-python PATH] [--rounds 2] [--seconds 1.0]
                              [--ways eager,compile] [MODEL ...]

Each measurement is a process of its own, two threads, float32, the sizes of bench/zoo.py; PATH is
an interpreter that has PyTorch (this one by default). Times are least ones of all rounds in ms; the
ratio is the best of PyTorch's over Lamella's: above 1 Lamella is faster. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence

from . import zoo
from .compare import ROOT, measured

TIMES = ("step_ms", "infer_ms")
THREADS = {"LAMELLA_THREADS": "2", "OMP_NUM_THREADS": "2"}


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m bench.zoo_peers", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", default=list(zoo.WORKS))
    p.add_argument("--peers-python", default=sys.executable)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--seconds", type=float, default=1.0)
    p.add_argument("--ways", default="eager,compile", help="of PyTorch: eager, compile or both")
    options = p.parse_args(arguments)
    unknown = set(options.models) - set(zoo.WORKS)
    if unknown:
        p.error(f"no such model: {', '.join(sorted(unknown))}; known: {', '.join(zoo.WORKS)}")
    return options


def compare(model: str, options: argparse.Namespace) -> dict:
    """The least times of the model by each system: {"lamella": {"step_ms": ...}, "eager": ...}."""
    seconds = str(options.seconds)
    commands = {"lamella": [sys.executable, "-m", "bench.zoo", "--seconds", seconds, model]}
    for way in filter(None, options.ways.split(",")):
        commands[way] = [options.peers_python, "-m", "bench.torch_zoo", way, seconds, model]
    inside = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    found: dict[str, dict] = {}
    for _ in range(options.rounds):
        for name, command in commands.items():
            own = {"PYTHONPATH": inside.rstrip(os.pathsep)} if name == "lamella" else {}
            line = measured(command, {**os.environ, **THREADS, **own}, 600)
            best = found.setdefault(name, {})
            for k in (*TIMES, "error"):
                if k in line:
                    best[k] = min(line[k], best.get(k, line[k]))
    return found


def ratio(found: dict, time: str) -> float | None:
    """The best peer's time over Lamella's; None without both."""
    peers = [t[time] for name, t in found.items() if name != "lamella" and time in t]
    own = found["lamella"].get(time)
    return min(peers) / own if peers and own else None


def line_of(model: str, found: dict) -> str:
    cells = [f"{model:<12}"]
    for time in TIMES:
        cells += [f"{name} {t[time]:.2f}" if time in t else f"{name} {t.get('error', '-')}"
                  for name, t in found.items()]
        x = ratio(found, time)
        cells.append(f"x{x:.2f}  |" if x else "|")
    return "  ".join(cells)


def main(arguments: Sequence[str]) -> None:
    options, rows = options_of(arguments), {}
    print("model: a training step  |  an inference, ms")
    for model in options.models:
        rows[model] = compare(model, options)
        print(line_of(model, rows[model]), flush=True)
    means = {}
    for time in TIMES:
        found = [x for r in rows.values() if (x := ratio(r, time))]
        means[time] = math.exp(sum(map(math.log, found)) / len(found)) if found else None
    print(json.dumps({"rows": rows, "geomean": means}))


if __name__ == "__main__":
    main(sys.argv[1:])
