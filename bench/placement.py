"""Placement of buffers: instances as CSV (id, lower, upper, size), held against what is alive.

    python -m bench.placement FILE.csv ...

The files of github.com/google/minimalloc are of this form; a number in a file's name is the
capacity that it is to be placed in, by search where the planner's rules need more. One JSON line
for each file.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

from lamella.base.dtypes import uint8
from lamella.planner.memory.pack import pack
from lamella.planner.memory.place import Interval, lower_bound, settle
from lamella.planner.plan import Buffer

NODES = 300_000     # of the search, for each file


def intervals(path: Path) -> list[Interval]:
    """The buffers of a file; they live from `lower` to before `upper`."""
    with path.open() as f:
        return [Interval(Buffer(uint8, int(r["size"]), "temporary", r["id"]), int(r["size"]),
                         int(r["lower"]), int(r["upper"]) - 1) for r in csv.DictReader(f)]


def main(paths: list[str]) -> None:
    """One line for each file."""
    for path in map(Path, paths):
        found = intervals(path)
        began = time.perf_counter()
        reached = settle(found)
        bound = lower_bound(found)
        capacity = next((int(p) for p in path.name.split(".") if p.isdigit()), None)
        if capacity is not None and reached > capacity:
            packed = pack([i.size for i in found], [i.first for i in found],
                          [i.last for i in found], capacity, NODES)
            reached = reached if packed is None else max(
                at + i.size for at, i in zip(packed, found, strict=True))
        print(json.dumps({"file": path.name, "buffers": len(found), "bound": bound,
                          "reached": reached, "over_bound": round(reached / bound - 1, 4),
                          "fits": None if capacity is None else reached <= capacity,
                          "seconds": round(time.perf_counter() - began, 3)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
