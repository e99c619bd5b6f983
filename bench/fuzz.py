"""Random programs, run in every way and compared bit for bit (tests/engine/random_programs.py).

    python -m bench.fuzz --count N [--seed S] [--jobs J] [--seconds T]

Program number k has the seed S + k and one of three manners. Prints each difference and each crash
with its seed, then one JSON line. --jobs processes share the work; --seconds ends it early.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MANNERS = ("exact", "wild", "smooth", "wild")


def work(first: int, count: int, step: int, seconds: float) -> dict:
    """Check the programs first, first + step, ...; what was found."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]
    from engine.checks import check
    failed, done, end = [], 0, time.monotonic() + seconds
    for k in range(0, count, step):
        if time.monotonic() > end:
            break
        seed = first + k
        manner = MANNERS[seed % len(MANNERS)]
        done += 1
        print(seed, flush=True)  # what a process that dies was at
        try:
            check(seed, manner)
        except Exception as e:
            text = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"[:300]
            print(f"check({seed}, {manner!r}): {text}", file=sys.stderr, flush=True)
            failed.append([seed, manner, text])
    return {"programs": done, "failed": failed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    o = parser.parse_args()
    begun = time.monotonic()
    if o.part is not None:
        print(json.dumps(work(o.seed + o.part, o.count - o.part, o.jobs, o.seconds)))
        return
    command = [sys.executable, "-m", "bench.fuzz", "--count", str(o.count), "--seed", str(o.seed),
               "--jobs", str(o.jobs), "--seconds", str(o.seconds), "--part"]
    environment = {**os.environ, "LAMELLA_CACHE": "off"}
    parts = [subprocess.Popen([*command, str(p)], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                              env=environment) for p in range(o.jobs)]
    found: list[dict] = []
    for p, process in enumerate(parts):
        lines = process.communicate()[0].splitlines() or [str(o.seed + p)]
        if process.returncode:
            died = [int(lines[-1]), MANNERS[int(lines[-1]) % len(MANNERS)],
                    f"the process ended with {process.returncode}"]
            found.append({"programs": len(lines), "failed": [died]})
        else:
            found.append(json.loads(lines[-1]))
    failed = [f for part in found for f in part["failed"]]
    print(json.dumps({"programs": sum(f["programs"] for f in found), "seed": o.seed,
                      "failed": len(failed), "failures": failed,
                      "seconds": round(time.monotonic() - begun, 1)}))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
