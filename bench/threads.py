"""What a second thread brings, what a neighbour costs, and what an idle team burns.

    python -m bench.threads [--workloads a,b] [--peers FILE] [--systems torch,jax] [--budget 2]

Each figure is a process of its own (see `bench.compare` for FILE): the workload with one thread,
with all cores, and with all cores beside a process that works half of the time, in turns; the
round with the least counts. `scaling` is the least time of one thread over that of all; `beside`
the median time beside the neighbour over the median without; `ideal` is that over
cores / (cores - 1/2), what the missing half core explains. `idle` is the share of a core that a
process uses after a step, while it waits. The last line of output is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lamella.runtime.cores import cores

from .compare import ROOT, measured

WORKLOADS = ("mlp_train", "gpt_nano_train", "bert_infer_b16", "resnet50_infer")
TURN = 0.005            # seconds of the neighbour's work, and of its rest
_NEIGHBOUR = f"""
import time
while True:
    end = time.perf_counter() + {TURN}
    while time.perf_counter() < end:
        pass
    time.sleep({TURN})
"""


@contextmanager
def neighbour() -> Iterator[None]:
    """A process beside us that keeps one core busy half of the time."""
    other = subprocess.Popen([sys.executable, "-c", _NEIGHBOUR])
    try:
        time.sleep(0.1)
        yield
    finally:
        other.kill()
        other.wait()


def figures(command: Sequence[str], budget: float, rounds: int, environment: dict) -> dict:
    """What one system does with one workload."""
    def run(threads: int) -> dict:
        own = {"BUDGET_S": str(budget), "THREADS": str(threads)}
        return measured(command, environment | own, 900.0)

    one, every, crowded = [], [], []
    for _ in range(rounds):
        one.append(run(1))
        every.append(run(cores()))
        with neighbour():
            crowded.append(run(cores()))
    for r in (*one, *every, *crowded):
        if "error" in r:
            return r

    def least(results: list[dict], key: str) -> float:
        return min(r[key] for r in results)

    beside = least(crowded, "median_ms") / least(every, "median_ms")
    first, all_ = least(one, "min_ms"), least(every, "min_ms")
    return {"one_ms": first, "all_ms": all_, "scaling": round(first / all_, 3),
            "beside": round(beside, 3),
            "ideal": round(beside * (cores() - 0.5) / cores(), 3)}


def idle(seconds: float = 1.0) -> float:
    """The share of a core that this process uses while its team has nothing to do."""
    import lamella

    x = lamella.ones((512, 512))
    (x @ x).numpy()
    time.sleep(0.05)
    began = time.process_time()
    time.sleep(seconds)
    return (time.process_time() - began) / seconds


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m bench.threads", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    comma = lambda text: [t for t in text.split(",") if t]
    p.add_argument("--workloads", type=comma, default=list(WORKLOADS))
    p.add_argument("--peers", default=os.environ.get("LAMELLA_BENCH_PEERS", ""))
    p.add_argument("--systems", type=comma, default=["torch", "jax"])
    p.add_argument("--python", default=sys.executable, help="the interpreter that has the peers")
    p.add_argument("--budget", type=float, default=2.0, help="seconds of timed steps")
    p.add_argument("--rounds", type=int, default=3)
    return p.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = options_of(arguments)
    inside = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    own = {**os.environ, "PYTHONPATH": inside.rstrip(os.pathsep)}
    results = []
    print(f"{'workload':<16} {'system':<10} {'1 thread':>9} {'all':>9} {'scaling':>8} "
          f"{'beside':>7} {'ideal':>6}")
    for work in options.workloads:
        commands = {"lamella": ([sys.executable, "-m", "bench.ours", work], own)}
        for peer in options.systems if options.peers else ():
            commands[peer] = ([options.python, options.peers, peer, work], dict(os.environ))
        for name, (command, environment) in commands.items():
            r = figures(command, options.budget, options.rounds, environment)
            results.append({"work": work, "system": name, **r})
            print(f"{work:<16} {name:<10} " + (r["error"] if "error" in r else
                  f"{r['one_ms']:>9.2f} {r['all_ms']:>9.2f} {r['scaling']:>8.2f} "
                  f"{r['beside']:>7.2f} {r['ideal']:>6.2f}"), flush=True)
    burnt = idle()
    print(f"idle: {burnt:.4f} of a core")
    print(json.dumps({"results": results, "idle": round(burnt, 4)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
