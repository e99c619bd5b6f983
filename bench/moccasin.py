"""The search for a memory budget on public graphs, beside the best published costs.

    python -m bench.moccasin FILE.json ...
    python -m bench.moccasin --chain 8000       the rules alone, on a chain of so many nodes

Files are those of github.com/haoming-codes/moccasin (data/): nodes with a time and a size, in the
order in which they run. A budget is a part of the peak of that order. One JSON line for each file
and budget: the time added, in percent, what no plan can do without (`least`), and the least that
was published (MOCCASIN, ICML'23, and FastSA, NeurIPS'23). The chain is one forward and one
backward, each backward node reading what the forward nodes of its place made; its line has the
least CPU time of four searches at half its peak.
"""

from __future__ import annotations

import json
import random
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from lamella.planner.memory.anneal import Annealing
from lamella.planner.memory.occupancy import Occupancy, Unit, Work
from lamella.planner.memory.search import Search

PARTS = (0.9, 0.8, 0.7)
SECONDS = 120.0     # of a core, for each budget
MOVES = 600         # of each annealing, for each node
HEATS = (1.0, 0.3)
WORTHS = (0.003, 0.01, 0.03, 0.06)
PUBLISHED = {"fcn_8_vgg": (0.0, 0.1, 3.0), "ResNet50": (0.2, 0.3, 0.8), "n100_": (0.0, 0.3, 2.2),
             "n250_": (0.0, 0.0, 2.6), "n500_": (0.03, 2.3, None), "n1000_": (0.4, 2.5, 7.4)}


def work_of(graph: dict[str, Any]) -> Work:
    """Each node a unit with one value; a node that nobody reads keeps its own to its end."""
    nodes = {n["id"] if "id" in n else n["name"]: n for n in graph["nodes"]}
    before: dict[Any, list] = {k: [] for k in nodes}
    behind: dict[Any, list] = {k: [] for k in nodes}
    for link in graph["links"]:
        a, b = (link[k] for k in (("source", "target") if "source" in link else ("0", "1")))
        before[b].append(a)
        behind[a].append(b)
    order = graph["graph"].get("order") or _order(before, behind)
    place = {k: n for n, k in enumerate(order)}
    units = [Unit(sorted(place[b] for b in before[k]), (place[k],), _of(
        nodes[k], "cost_cpu", "duration"), since=place[k] + 1) for k in order]
    return Work(units, [int(_of(nodes[k], "cost_ram", "out_cost")) for k in order])


def _of(node: dict, *names: str) -> float:
    return float(next(node[n] for n in names if n in node))


def _order(before: dict, behind: dict) -> list:
    missing = {k: len(b) for k, b in before.items()}
    out = [k for k, m in missing.items() if not m]
    for k in out:
        for b in behind[k]:
            missing[b] -= 1
            if not missing[b]:
                out.append(b)
    return out


def least(work: Work, limit: int) -> float:
    """Seconds that every plan within the limit adds, of units with one value each.

    When a unit runs for the first time, all that it follows from has run, and nothing that follows
    from it has. Of the values that go from the ones to the others, each is alive then or is made
    once more later. So those that are not alive leave room for the rest, and no such set costs less
    than the cheapest one. Of all units the one counts for which that is most.
    """
    before: list[set[int]] = []     # of each unit, those that it follows from, and itself
    for k, u in enumerate(work.units):
        before.append({k}.union(*(before[work.makers[v]] for v in u.reads)))
    most = 0.0
    for k, u in enumerate(work.units):
        touched = {*u.reads, *u.writes}
        across = [v for v in before[k] - touched if any(k in before[r] for r in work.readers[v])]
        over = sum(work.sizes[v] for v in touched.union(across)) - limit
        if over > 0:
            most = max(most, _cheapest(
                [(work.sizes[v], work.units[v].seconds) for v in across], over))
    return most


def _cheapest(values: list[tuple[int, float]], size: int) -> float:
    """The least seconds of values with so many bytes in all: sets that are built up value by value,
    of which those go on that no cheaper one is as large as."""
    sets = [(0.0, 0)]
    for more, seconds in sorted(values, key=lambda v: v[1] / max(v[0], 1)):
        kept: list[tuple[float, int]] = []
        for s in sorted(sets + [(a + seconds, min(b + more, size)) for a, b in sets],
                        key=lambda s: (s[0], -s[1])):
            if not kept or s[1] > kept[-1][1]:
                kept.append(s)
        sets = kept
    return sets[-1][0] if sets[-1][1] >= size else float("inf")


def solved(work: Work, limit: int, enough: float) -> tuple[float | None, float]:
    """(seconds that are added, CPU seconds of search) within the limit: the best of two ways by
    rule (at once, and by small steps) and of annealing, anew and anew for a minute or two, until no
    more than `enough` is added.
    """
    began = time.thread_time()
    found = [f for sink in (1.0, 0.04) if (f := _by_rule(work, limit, sink))]
    for seed in count():
        if time.thread_time() - began > SECONDS or (found and min(found)[0] <= enough):
            break
        heat, worth = HEATS[seed % len(HEATS)], WORTHS[seed // len(HEATS) % len(WORTHS)]
        warm = seed % 4 == 3 and found
        annealed = Annealing(work, sequence=min(found)[1] if warm else None, seed=seed).below(
            limit, MOVES * len(work.units), heat=0.1 if warm else heat, worth=worth)
        found += [annealed] if annealed else []
    return (min(found)[0] if found else None), time.thread_time() - began


def _by_rule(work: Work, limit: int, sink: float) -> tuple[float, list[int]] | None:
    o = Occupancy(work)
    search = Search(o)
    while o.peak > limit and search.below(max(limit, int(o.peak * (1 - sink)))):
        pass
    return (o.seconds, o.sequence) if o.peak <= limit else None


def chain(nodes: int) -> Work:
    """Half of the nodes forward, reading the one before and some near; half backward."""
    rng, half = random.Random(0), nodes // 2
    units: list[Unit] = []
    sizes: list[int] = []
    for k in range(half):
        near = [rng.randrange(max(0, k - 8), k)] if k and rng.random() < 0.4 else []
        sizes.append(rng.choice([1, 2, 4, 8]) << 16)
        units.append(Unit(sorted({k - 1, *near} - {-1}), (k,), rng.choice([1.0, 2.0, 5.0, 10.0]),
                          since=k + 1))
    for k in range(half, 2 * half):
        forward = 2 * half - 1 - k
        sizes.append(sizes[forward])
        units.append(Unit(sorted({k - 1, forward, max(0, forward - 1)}), (k,),
                          2 * units[forward].seconds, since=k + 1))
    return Work(units, sizes)


def by_rules(work: Work) -> dict[str, Any]:
    """The rules' search at half of the peak."""
    least = float("inf")
    for _ in range(4):
        began = time.thread_time()
        o = Occupancy(work)
        found = Search(o).below(o.peak // 2)
        least = min(least, time.thread_time() - began)
    total = sum(u.seconds for u in work.units)
    return {"nodes": len(work.units), "kept": found, "cpu_seconds": round(least, 2),
            "added_percent": round(100 * o.seconds / total, 2), "again": len(o.repeats)}


def main(paths: list[str]) -> None:
    """One line for each file and budget."""
    if paths[:1] == ["--chain"]:
        print(json.dumps(by_rules(chain(int(paths[1])))))
        return
    for path in map(Path, paths):
        work = work_of(json.loads(path.read_text()))
        known = next((v for k, v in PUBLISHED.items() if k in path.name), (None,) * len(PARTS))
        percent = 100 / sum(u.seconds for u in work.units)
        for part, best in zip(PARTS, known, strict=True):
            limit = int(Occupancy(work).peak * part)
            bound = least(work, limit)
            added, seconds = solved(work, limit, bound * (1 + 1e-9))
            print(json.dumps({"graph": path.stem, "nodes": len(work.units), "budget": part,
                              "added_percent": None if added is None else
                              round(percent * added, 3), "least_percent": round(percent * bound, 3),
                              "published_percent": best, "seconds": round(seconds, 2)}),
                  flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
