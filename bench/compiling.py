"""What planning and compiling take: first calls without a cache and with one, and each more layer.

    python -m bench.compiling [--workloads gpt_mid_train,resnet18_train] [--layers 12,48,192]

A figure is the first call's seconds less those of a later one, in a process of its own; `cold` has
an empty object cache, `warm` the one that the cold process has left. The layers are those of a GPT
in training, whose kernels are the same in each layer. The last line of output is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence

from .compare import ROOT, measured

WORKLOADS = "gpt_mid_train,resnet18_train,resnet50_infer"


def figures(name: str) -> dict:
    """The seconds of the first call and of the least of some later ones, of this process."""
    from . import ours

    if name.isdigit():
        ours.WORK["gpt_layers"] = {"L": int(name), "H": 2, "D": 64, "T": 32, "B": 2, "V": 65}
    case = ours.case("gpt_layers" if name.isdigit() else name)
    times = []
    for _ in range(4):
        began = time.perf_counter()
        case.step()
        times.append(time.perf_counter() - began)
    return {"seconds": round(times[0] - min(times[1:]), 4)}


def both(name: str) -> dict:
    """Cold and warm, in processes of their own."""
    inside = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        own = {**os.environ, "PYTHONPATH": inside.rstrip(os.pathsep), "LAMELLA_CACHE": folder}
        command = [sys.executable, "-m", "bench.compiling", "--one", name]
        runs = [measured(command, own, 900.0) for _ in range(3)]
    cold, *warm = (r.get("seconds", float("nan")) for r in runs)
    return {"name": name, "cold": cold, "warm": min(warm)}


def main(arguments: Sequence[str]) -> None:
    p = argparse.ArgumentParser(prog="python -m bench.compiling", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--workloads", default=WORKLOADS)
    p.add_argument("--layers", default="12,48,192")
    p.add_argument("--one", default="", help=argparse.SUPPRESS)
    options = p.parse_args(arguments)
    if options.one:
        print(json.dumps(figures(options.one)))
        return
    results = []
    for name in filter(None, (*options.workloads.split(","), *options.layers.split(","))):
        r = both(name)
        if name.isdigit() and results and results[-1]["name"].isdigit():
            before = results[-1]
            more = int(name) - int(before["name"])
            r |= {f"{k}_ms_a_layer": round(1e3 * (r[k] - before[k]) / more, 2)
                  for k in ("cold", "warm")}
        results.append(r)
        print("  ".join(f"{k} {v}" for k, v in r.items()), flush=True)
    print(json.dumps({"results": results}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
