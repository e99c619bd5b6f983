"""Lamella on a GPU beside PyTorch and JAX, in one run on one card.

    python -m bench.gpu --list
    python -m bench.gpu --peers bench/gpu/peers.py [--python PATH] [--cells gpt2,memory]
                        [--systems torch,torch.compile,jax] [--rounds 2] [--seconds 0.5]
                        [--limit 240] [--rows TEXT] [--small] [--out FILE]

Each (cell, system, round) is a process of its own; systems take turns within a cell. PATH is the
interpreter that has the peers. A process has --limit seconds to begin rows, then half as many again
until it is ended; what fails is reported with its error, and the run goes on. A JSON line for each
cell and system, at the end one for the whole: for each cell the ratios (the best peer's time over
Lamella's: above 1 Lamella is faster), their geometric mean, the fractions of the card's ceilings
that Lamella and the best peer reach, and bytes, touched and planned. The ceilings are what was
measured in the same run: the fastest copy of the cell `memory`, the highest rate of the cell
`products`, by whatever system. --out appends the lines to a file as well.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..compare import ROOT
from . import cells
from .cells import CELLS, OURS, PEERS

Found = dict[tuple[str, str], dict[str, dict]]      # (cell, system) -> row -> line
LOWER = ("ms", "us", "median_us", "first_s")        # of several rounds the least is kept


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    comma = lambda text: [t for t in text.split(",") if t]
    p.add_argument("--list", action="store_true", help="print cells and rows; needs no GPU")
    p.add_argument("--cells", type=comma, default=list(CELLS))
    p.add_argument("--systems", type=comma, default=list(PEERS))
    p.add_argument("--peers", default="", help="the peers' file; without it Lamella alone is run")
    p.add_argument("--python", default=sys.executable, help="the interpreter that has the peers")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--seconds", type=float, default=0.5, help="of each row's timed runs")
    p.add_argument("--limit", type=float, default=240.0, help="of each process")
    p.add_argument("--rows", default="", help="rows whose name contains this")
    p.add_argument("--small", action="store_true", help="sizes of a test")
    p.add_argument("--out", default="", help="a file to which the lines are appended")
    options = p.parse_args(arguments)
    for given, known in ((options.cells, CELLS), (options.systems, PEERS)):
        if unknown := set(given) - set(known):
            p.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    if options.peers and not Path(options.peers).is_file():
        p.error(f"--peers {options.peers}: no such file")
    return options


# ---- running -------------------------------------------------------------------------------------

def lines(command: Sequence[str], environment: dict, limit: float) -> dict[str, dict]:
    """The rows that a process prints; of one that fails or is ended, the rows until then, and an
    error under the name ""."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    late = False
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        late = True
    found: dict[str, dict] = {}
    for text in out.splitlines():
        try:
            line = json.loads(text)
            found[line.pop("row")] = line
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    if late:
        found[""] = {"error": f"ended after {limit:.0f} s"}
    elif process.returncode:
        last = (err.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        found[""] = {"error": last[:400]}
    return found


def command_of(system: str, cell: str, options: argparse.Namespace) -> list[str]:
    own = [sys.executable, "-m", "bench.gpu.ours", cell] if system == OURS else \
        [options.python, str(Path(options.peers).resolve()), system, cell]
    return [*own, "--seconds", str(options.seconds), "--limit", str(options.limit),
            *(["--rows", options.rows] if options.rows else []), *["--small"] * options.small]


def better(old: dict, new: dict) -> dict:
    """Of two rounds of a row: what went well, and the lesser time of each kind."""
    if "error" in new or "error" in old:
        return old if "error" in new else new
    return {**new, **{k: min(old[k], new[k]) for k in LOWER if k in old and k in new}}


def run(options: argparse.Namespace, say) -> Found:
    inside = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    everyone = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    found: Found = {}
    for cell in options.cells:
        peers = options.systems if options.peers and CELLS[cell][1] else ()
        for _ in range(options.rounds if CELLS[cell][1] else 1):
            for system in (OURS, *peers):
                own = {"PYTHONPATH": inside} if system == OURS else {}
                rows = found.setdefault((cell, system), {})
                for name, line in lines(command_of(system, cell, options), everyone | own,
                                        1.5 * options.limit).items():
                    rows[name] = better(rows[name], line) if name in rows else line
        for (own_cell, system), rows in found.items():
            if own_cell == cell:
                say({"cell": cell, "system": system, "rows": rows})
    return found


# ---- what was found ------------------------------------------------------------------------------

def rate(line: dict, amount: float) -> float | None:
    """Of an amount of work, for each second."""
    return amount / line["ms"] * 1e3 if line.get("ms") and amount else None


def ceilings(found: Found, small: bool) -> dict[str, float | None]:
    """The highest rates of this run: operations of products, bytes of copies."""
    def highest(cell: str, names: Iterable[str], amount: str) -> float | None:
        works = cells.rows(cell, small)
        rates = [rate(rows[n], getattr(works[n], amount)) for (c, _), rows in found.items()
                 if c == cell for n in names if n in rows]
        return max((r for r in rates if r), default=None)

    return {"flops": highest("products", cells.rows("products", small), "flops"),
            "bytes": highest("memory", ("copy",), "bytes")}


def cell_summary(cell: str, found: Found, top: dict, small: bool) -> dict:
    """Ratios, fractions of the ceilings, and errors of one cell."""
    works, ours = cells.rows(cell, small), found.get((cell, OURS), {})
    rows: dict[str, dict] = {}
    for name, line in ours.items():
        row = {k: v for k, v in line.items() if k != "row"}
        times = {s: r[name]["ms"] for (c, s), r in found.items()
                 if c == cell and s != OURS and r.get(name, {}).get("ms")}
        best = min(times, key=times.__getitem__) if times else None
        if best and line.get("ms"):
            row |= {"peer": best, "ratio": times[best] / line["ms"]}
        for amount, most in top.items():
            work = getattr(works.get(name, cells.Work()), amount)
            for who, taken in (("fraction", line), ("peer_fraction", {"ms": times.get(best)})):
                if most and (reached := rate(taken, work)):
                    row[who] = reached / most
        if name == "bytes":
            row["peers"] = {s: r[name].get("touched") for (c, s), r in found.items()
                            if c == cell and s != OURS and name in r}
        rows[name] = row
    logs = [math.log(r["ratio"]) for r in rows.values() if "ratio" in r]
    return {"rows": rows, "geomean": math.exp(sum(logs) / len(logs)) if logs else None,
            "missing": [n for n in works if "error" in ours.get(n, {"error": ""})]}


def summary(found: Found, options: argparse.Namespace) -> dict:
    top = ceilings(found, options.small)
    return {"summary": {c: cell_summary(c, found, top, options.small) for c in options.cells},
            "ceilings": top}


def main(arguments: Sequence[str]) -> None:
    options = options_of(arguments)
    if options.list:
        for cell in options.cells:
            print(f"{cell}: {CELLS[cell][0]}")
            for name in cells.rows(cell, options.small):
                print(f"    {name}")
        return

    def say(line: dict) -> None:
        text = json.dumps(line)
        print(text, flush=True)
        if options.out:
            with open(options.out, "a") as file:
                file.write(text + "\n")

    say(summary(run(options, say), options))


if __name__ == "__main__":
    main(sys.argv[1:])
