"""Random programs, run in every way and compared bit for bit (tests/engine/checks.py).

    python -m bench.fuzz --count N [--first K] [--jobs J] [--seconds T] [--contractions]

Program number k has the steps of seed k // 32, in one of three manners, and the extents and numbers
of its variant k % 32: programs of one seed share most of their kernels, whose compilation is what
takes the time. Prints each difference and each crash as a call that repeats it, a line of JSON for
each thousand programs or so, from which a run can go on, and one for all. --jobs processes share
the work; a process that crashes or grows is replaced by a new one. --seconds ends it early. With
--contractions the programs are one contraction each, over random indices.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MANNERS = ("exact", "wild", "smooth", "wild")
VARIANTS = 32
CHUNK = 32 * VARIANTS
MOST_MIB = 2500     # a process that has grown so far ends after its chunk


def named(number: int) -> tuple[int, str, int]:
    """The seed, manner and variant of a program."""
    seed = number // VARIANTS
    return seed, MANNERS[seed % len(MANNERS)], number % VARIANTS


def work(first: int, last: int, contractions: bool) -> None:
    """Check the programs first..last-1; prints their numbers, and what fails."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]
    from engine.checks import check, check_contraction
    for k in range(first, last):
        print(k, flush=True)  # what a process that dies was at
        try:
            check_contraction(k) if contractions else check(*named(k))
        except Exception as e:
            text = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
            print(f"{k} {text[:300]}", flush=True)
        if (k + 1) % CHUNK == 0 and _mib() > MOST_MIB:
            return


def _mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


class Search:
    """The chunks of a run and what was found in them."""

    def __init__(self, first: int, count: int, seconds: float, contractions: bool = False):
        self.contractions = contractions
        self.first, self.last = first, first + count
        self.next, self.end = first, time.monotonic() + seconds
        self.done, self.failures = 0, []  # type: ignore[var-annotated]
        self.lock = threading.Lock()

    def chunk(self) -> range:
        """The next programs to check; empty at the end."""
        with self.lock:
            low = self.next if time.monotonic() < self.end else self.last
            self.next = min((low // CHUNK + 1) * CHUNK, self.last)
            return range(low, self.next)

    def failed(self, number: int, text: str) -> None:
        call = f"check_contraction({number})" if self.contractions else f"check{named(number)}"
        self.failures.append([call, text])
        print(f"{call}: {text}", flush=True)

    def drain(self) -> None:
        """Chunk after chunk, each in a process of its own."""
        while todo := self.chunk():
            before, begun = len(self.failures), time.monotonic()
            at = todo.start
            while at < todo.stop:
                at = self.process(at, todo.stop)
            with self.lock:
                self.done += len(todo)
                print(json.dumps({"first": todo.start, "programs": len(todo),
                                  "failed": len(self.failures) - before, "done": self.done,
                                  "seconds": round(time.monotonic() - begun, 1)}), flush=True)

    def process(self, first: int, last: int) -> int:
        """Run a process over first..last-1; the number after the last that it checked."""
        command = [sys.executable, "-m", "bench.fuzz", "--first", str(first),
                   "--count", str(last - first), "--inside",
                   *["--contractions"] * self.contractions]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                                 env={**os.environ, "LAMELLA_CACHE": "off"})
        at = first
        assert child.stdout is not None
        for line in child.stdout:
            number, _, text = line.strip().partition(" ")
            at = int(number)
            if text:
                self.failed(at, text)
        if child.wait():
            self.failed(at, f"the process ended with {child.returncode}")
        return at + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--contractions", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.inside:
        work(o.first, o.first + o.count, o.contractions)
        return
    begun = time.monotonic()
    search = Search(o.first, o.count, o.seconds, o.contractions)
    threads = [threading.Thread(target=search.drain) for _ in range(o.jobs)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(json.dumps({"programs": search.done, "first": o.first, "failed": len(search.failures),
                      "failures": search.failures,
                      "seconds": round(time.monotonic() - begun, 1)}))
    sys.exit(bool(search.failures))


if __name__ == "__main__":
    main()
