"""Lamella and the peers in turn, in one run on one machine, as a table of ratios.

    python -m bench.compare --peers FILE [--workloads a,b] [--systems torch,jax] [--budget 12]
                            [--rounds 1] [--python PATH] [--uncompiled]

FILE (or LAMELLA_BENCH_PEERS) is a script that prints one JSON line for `FILE PEER WORKLOAD`. Each
measurement is a process of its own; the systems take turns within a workload, so that a slow hour
of the machine strikes all. The ratio is a peer's least step time over Lamella's: above 1 Lamella is
faster. Without FILE only Lamella is measured. `--picture FILE.svg` draws ratios and roofline. The
last line of output is JSON: all results, for each workload the ratio to the best peer, and the
geometric mean of those.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = ("torch", "torch.compile", "jax", "onnxruntime", "openvino")
OURS = ("lamella", "uncompiled")
INFERENCE_ONLY = ("onnxruntime", "openvino")
WORKLOADS = ("mlp_train", "gpt_nano_train", "gpt_mid_train", "resnet18_train", "lstm_train",
             "resnet50_infer", "bert_infer", "bert_infer_b16", "softmax_16m", "layernorm_gelu")


def measured(command: Sequence[str], environment: dict, limit: float) -> dict:
    """The JSON of the last line that the command prints, or {"error": ...}."""
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True,
                              timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {limit:.0f} s"}
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if done.returncode == 0 and lines:
        try:
            return json.loads(lines[-1])
        except ValueError:
            pass
    return {"error": lines[-1][:120] if lines else f"exit status {done.returncode}"}


def compare(options: argparse.Namespace) -> list[dict]:
    """A result for each (workload, system): the round with the least `min_ms`."""
    environment = {**os.environ, "BUDGET_S": str(options.budget), "THREADS": str(options.threads)}
    inside = os.pathsep.join([str(ROOT / "src"), environment.get("PYTHONPATH", "")])
    found: dict[tuple[str, str], dict] = {}
    for work in options.workloads:
        commands = {"lamella": [sys.executable, "-m", "bench.ours", work]}
        if options.uncompiled and work.endswith("_train"):
            commands["uncompiled"] = [sys.executable, "-m", "bench.ours", work, "uncompiled"]
        for peer in options.systems if options.peers else ():
            if not (work.endswith("_train") and peer in INFERENCE_ONLY):
                commands[peer] = [options.python, options.peers, peer, work]
        for _ in range(options.rounds):
            for name, command in commands.items():
                own = {"PYTHONPATH": inside.rstrip(os.pathsep)} if name in OURS else {}
                result = measured(command, environment | own, options.limit)
                best = found.get((work, name), {})
                if "min_ms" not in best or result.get("min_ms", 1e99) < best["min_ms"]:
                    found[work, name] = {**result, "peer": name, "work": work}
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return list(found.values())


def table(results: Sequence[dict]) -> str:
    """Step times in ms, least and median, first step, memory, and the ratio of the least times."""
    ours = {r["work"]: r.get("min_ms") for r in results if r["peer"] == "lamella"}
    lines = [f"{'workload':<16} {'system':<14} {'min ms':>10} {'median ms':>10} {'first s':>8} "
             f"{'RSS MB':>7} {'ratio':>6}"]
    for r in results:
        if "error" in r:
            lines.append(f"{r['work']:<16} {r['peer']:<14} {r['error']}")
            continue
        own = ours.get(r["work"])
        ratio = f"{r['min_ms'] / own:.2f}" if own and r["peer"] != "lamella" else ""
        lines.append(f"{r['work']:<16} {r['peer']:<14} {r['min_ms']:>10.3f} "
                     f"{r['median_ms']:>10.3f} {r['first_s']:>8.3f} "
                     f"{r['peak_rss_mb']:>7} {ratio:>6}".rstrip())
    return "\n".join(lines)


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    comma = lambda text: [t for t in text.split(",") if t]
    p.add_argument("--workloads", type=comma, default=list(WORKLOADS))
    p.add_argument("--peers", default=os.environ.get("LAMELLA_BENCH_PEERS", ""))
    p.add_argument("--systems", type=comma, default=list(SYSTEMS))
    p.add_argument("--python", default=sys.executable, help="the interpreter that has the peers")
    p.add_argument("--uncompiled", action="store_true", help="training without compile too")
    p.add_argument("--budget", type=float, default=12.0, help="seconds of timed steps")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--picture", default="", help="draw ratios and roofline into this SVG file")
    p.add_argument("--limit", type=float, default=900.0, help="seconds until a process is ended")
    options = p.parse_args(arguments)
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        p.error(f"no such workload: {', '.join(sorted(unknown))}; known: {', '.join(WORKLOADS)}")
    if options.peers and not Path(options.peers).is_file():
        p.error(f"--peers {options.peers}: no such file")
    return options


def summary(results: Sequence[dict]) -> dict:
    """For each workload the best peer and its time over ours, and the geometric mean of those."""
    best: dict[str, tuple[float, str]] = {}
    ours = {r["work"]: r["min_ms"] for r in results if r["peer"] == "lamella" and "min_ms" in r}
    for r in results:
        if r["peer"] not in OURS and "min_ms" in r and r["work"] in ours:
            found = r["min_ms"] / ours[r["work"]], r["peer"]
            best[r["work"]] = min(best.get(r["work"], found), found)
    logs = [math.log(ratio) for ratio, _ in best.values()]
    return {"ratios": {w: {"peer": peer, "ratio": round(x, 3)} for w, (x, peer) in best.items()},
            "geomean": round(math.exp(sum(logs) / len(logs)), 3) if logs else None}


def main(arguments: Sequence[str]) -> None:
    options = options_of(arguments)
    results = compare(options)
    print(table(results))
    if options.picture:
        from .peak import Peak
        from .picture import picture
        peak = Peak()
        Path(options.picture).write_text(picture(
            results, peak.multiply_adds(options.threads), peak.bandwidth(options.threads)))
    print(json.dumps({"results": results, **summary(results)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
