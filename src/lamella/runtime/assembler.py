"""Several texts of LLVM IR to objects at once: the first in this process, the others in children.

LLVM holds one lock for a process, so its threads gain nothing. A child is a Python of its own that
reads a text, writes the object and ends; where none can be started, or one fails, this process does
its work.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from . import llvm

_CHILD = """
import sys, json
job = json.loads(sys.stdin.buffer.readline())
sys.path[:] = job["path"]
from lamella.runtime.assembler import answer
answer(job)
"""


def assemble_all(texts: Sequence[str], *, cpu: str, features: frozenset[str],
                 level: int) -> list[bytes]:
    """Object bytes of each text, for `cpu` with `features` at codegen's `level`."""
    if not texts:
        return []
    job = {"cpu": cpu, "features": sorted(features), "level": level}
    children = [_Child(text, job) for text in texts[1:]]
    try:
        codes = [llvm.assemble(texts[0], cpu=cpu, features=features, level=level)]
        for text, child in zip(texts[1:], children, strict=True):
            codes.append(child.code() or llvm.assemble(text, cpu=cpu, features=features,
                                                       level=level))
        return codes
    finally:
        for child in children:
            child.end()


class _Child:
    """A process that assembles one text."""

    def __init__(self, text: str, job: dict):
        self._code = b""
        self._process = None
        root = str(Path(__file__).parents[2])
        data = json.dumps({**job, "path": [root, *sys.path]}).encode() + b"\n" + text.encode()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", _CHILD], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except (OSError, ValueError, TypeError):
            return
        self._talk = threading.Thread(target=self._run, args=(data,), daemon=True)
        self._talk.start()

    def _run(self, data: bytes) -> None:
        assert self._process is not None
        try:
            code, _ = self._process.communicate(data)
        except (OSError, ValueError):
            return
        if self._process.returncode == 0:
            self._code = code

    def code(self) -> bytes:
        """The object, or nothing where the child failed."""
        if self._process is not None:
            self._talk.join()
        return self._code

    def end(self) -> None:
        """Leaves no child behind, also when this process was interrupted."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._talk.join()


def answer(job: dict) -> None:
    """The child's side: the text on standard input, its object to standard output."""
    text = sys.stdin.buffer.read().decode()
    code = llvm.assemble(text, cpu=job["cpu"], features=frozenset(job["features"]),
                         level=job["level"])
    sys.stdout.buffer.write(code)
