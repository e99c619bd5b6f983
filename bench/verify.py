"""Claims that are kept, beside PyTorch and JAX under the same limit.

    python -m bench.verify [--peers FILE] [--workloads a,b] [--memory BYTES] [--systems torch,jax]
                           [--claims FILE] [--steps 10] [--table]

For each workload the plan's claim is written to a file first. Then a fresh process runs the step
under a limit of the claim and SLACK above what it has before (see `bench.limited`); so does each
peer of FILE (see `bench.compare`), which is also run without a limit, so that its need can be seen.
One JSON line for each run: `grown`, resident bytes at their most, less those before; `ms`, the
least of a step; `faults`, pages that the system handed out for a step, from the second one on;
`mappings` that came and stayed, `heap`; or `failed`, what the process said at its end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SLACK = 16 << 20
WORKLOADS = "gpt_nano_train,gpt_mid_train,gpt_words_train,lstm_train,resnet18_train,mlp_train"


def ran(*arguments: object) -> dict[str, Any]:
    """What `bench.limited` prints in a process of its own, or {"failed": its last words}."""
    inside = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-m", "bench.limited", *map(str, arguments)], cwd=ROOT,
                          capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": inside.rstrip(os.pathsep)})
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = done.stderr.strip().splitlines()
    return {"failed": said[-1] if said and done.returncode > 0 else
            f"ended by signal {-done.returncode}"}


def cells(work: str, o: argparse.Namespace) -> list[dict]:
    """The claim, which is written first, and all runs of one workload."""
    within = ["--memory", o.memory] if o.memory else []
    claim = {"work": work, **ran("lamella", work, "--plan", *within)}
    if "failed" in claim:
        return [{**claim, "system": "lamella"}]
    with Path(o.claims).open("a") as f:
        f.write(json.dumps(claim) + "\n")
    limit = claim["peak"] + SLACK
    same = ["--steps", o.steps, "--limit", limit]
    runs = [("lamella", limit, ran("lamella", work, *within, *same))]
    for system in o.systems.split(",") if o.peers else ():
        theirs = ["--peers", o.peers]
        runs.append((system, None, ran(system, work, *theirs, *same[:2])))
        runs.append((system, limit, ran(system, work, *theirs, *same)))
    return [{"work": work, "claim": claim["peak"], "system": system, "limit": most,
             **_figures(found, o.steps)} for system, most, found in runs]


def _figures(found: dict, steps: int) -> dict[str, Any]:
    if "failed" in found:
        return found
    return {"grown": found["grown"], "ms": round(1e3 * min(found["seconds"][-(steps - 1):]), 2),
            "faults": round(found["faults"] / (steps - 1)), "mappings": found["mappings"],
            "heap": found["heap"]}


def table(lines: list[dict]) -> str:
    """The runs as Markdown, bytes in MiB."""
    out = ["| workload | claim | system | grown | a step: ms | pages | under the claim |",
           "|---" * 7 + "|"]
    for line in lines:
        if line["system"] != "lamella" and line["limit"] is not None:
            continue    # told in the line of the run without a limit
        tried = next(x for x in lines if x["limit"] is not None and
                     (x["work"], x["system"]) == (line["work"], line["system"]))
        end = "out of memory" if "failed" in tried else f"runs, {tried['ms']} ms"
        grown, ms, faults = (line.get(k) for k in ("grown", "ms", "faults"))
        out.append(f"| {line['work']} | {_mib(line['claim'])} | {line['system']} | "
                   f"{_mib(grown)} | {ms} | {faults} | {end} |")
    return "\n".join(out)


def _mib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2 ** 20:.1f}"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--workloads", default=WORKLOADS)
    p.add_argument("--peers", default=os.environ.get("LAMELLA_BENCH_PEERS", ""))
    p.add_argument("--systems", default="torch,torch.compile,jax")
    p.add_argument("--memory", type=int, help="a budget in bytes")
    p.add_argument("--claims", default="claims.jsonl", help="where claims are written")
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--table", action="store_true", help="print the runs as Markdown, too")
    o = p.parse_args()
    found = []
    for work in o.workloads.split(","):
        for line in cells(work, o):
            found.append(line)
            print(json.dumps(line), flush=True)
    if o.table:
        print(table(found))


if __name__ == "__main__":
    main()
