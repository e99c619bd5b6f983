"""Texts of LLVM IR to objects, in children while the caller does something else.

LLVM holds one lock for a process, so its threads gain nothing. A child is a Python of its own that
reads a text, answers with the object, and goes on until there are no more. They take the texts from
the front; who waits for the objects takes some from the back meanwhile. Where no child can be
started, or one fails, this process does its work.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from . import llvm
from .cores import cores

WORTH = 200_000         # characters that wait for which another child is started

_CHILD = """
import sys, json
job = json.loads(sys.stdin.buffer.readline())
sys.path[:] = job["path"]
from lamella.runtime.assembler import answer
answer(job, sys.stdin.buffer, sys.stdout.buffer)
"""


def assemble_all(texts: Sequence[str], *, cpu: str, features: Iterable[str],
                 level: int) -> list[bytes]:
    """Object bytes of each text, for `cpu` with `features` at codegen's `level`."""
    with Assembly(cpu=cpu, features=features, level=level) as work:
        for text in texts:
            work.add(text)
        return work.finish()


class Assembly:
    """Texts on their way to objects, for `cpu` with `features` at codegen's `level`. As a context
    it leaves no child behind, also when this process was interrupted."""

    def __init__(self, *, cpu: str, features: Iterable[str], level: int):
        self._cpu, self._features, self._level = cpu, frozenset(features), level
        self._texts: list[str] = []
        self._codes: dict[int, bytes] = {}
        self._waiting: deque[int] = deque()
        self._length = 0                    # of the texts that wait
        self._children: list[_Child] = []
        self._most = cores() - 1

    def __enter__(self) -> Assembly:
        return self

    def __exit__(self, *error) -> None:
        for child in self._children:
            child.end()

    def add(self, text: str) -> None:
        """One text more; a child may begin with it at once."""
        self._texts.append(text)
        self._waiting.append(len(self._texts) - 1)
        self._length += len(text)
        if self._length > WORTH and len(self._children) < self._most:
            self._length = 0
            job = {"cpu": self._cpu, "features": sorted(self._features), "level": self._level}
            self._children.append(_Child(job, self._next, self._codes))
        for child in self._children:
            child.wake()

    def finish(self) -> list[bytes]:
        """The object of each text, in order; LamellaError where one is not valid."""
        for child in self._children:
            child.close()
        while (k := self._taken(self._waiting.pop)) is not None:
            self._codes[k] = self._assembled(k)
        for child in self._children:
            child.wait()
        return [self._codes[k] if k in self._codes else self._assembled(k)
                for k in range(len(self._texts))]

    def _assembled(self, k: int) -> bytes:
        return llvm.assemble(self._texts[k], cpu=self._cpu, features=self._features,
                             level=self._level)

    def _next(self) -> tuple[int, str] | None:
        """The first text that waits, with its number."""
        k = self._taken(self._waiting.popleft)
        return None if k is None else (k, self._texts[k])

    @staticmethod
    def _taken(pop) -> int | None:
        try:
            return pop()
        except IndexError:
            return None


class _Child:
    """A process that assembles the texts that `take` gives, and the thread that talks to it."""

    def __init__(self, job: dict, take, codes: dict[int, bytes]):
        self._take, self._codes = take, codes
        self._more, self._closed = threading.Event(), False
        self._process = None
        root = str(Path(__file__).parents[2])
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", _CHILD], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except (OSError, ValueError, TypeError):
            return
        head = json.dumps({**job, "path": [root, *sys.path]}).encode() + b"\n"
        self._talk = threading.Thread(target=self._run, args=(head,), daemon=True)
        self._talk.start()

    def _run(self, head: bytes) -> None:
        assert self._process is not None and self._process.stdin and self._process.stdout
        to, back = self._process.stdin, self._process.stdout
        try:
            to.write(head)
            while True:
                self._more.clear()
                closed, found = self._closed, self._take()
                if found is not None:
                    number, text = found
                    send(to, text.encode())
                    code = receive(back)
                    if not code:
                        return
                    self._codes[number] = code
                elif closed:
                    return
                else:
                    self._more.wait()
        except (OSError, ValueError):
            return

    def wake(self) -> None:
        """There is more to take."""
        self._more.set()

    def close(self) -> None:
        """There will be no more than what waits."""
        self._closed = True
        self._more.set()

    def wait(self) -> None:
        """Until nothing that it took is still to be done."""
        if self._process is not None:
            self._talk.join()

    def end(self) -> None:
        """Leaves no process behind."""
        if self._process is not None:
            self._process.kill()
            self.close()
            self._talk.join()
            self._process.communicate()


def send(file: IO[bytes], data: bytes) -> None:
    """Bytes after their number."""
    file.write(len(data).to_bytes(8, "little") + data)
    file.flush()


def receive(file: IO[bytes]) -> bytes:
    """What `send` wrote; nothing where the file ends before."""
    size = int.from_bytes(file.read(8), "little")
    data = file.read(size)
    return data if len(data) == size else b""


def answer(job: dict, texts: IO[bytes], objects: IO[bytes]) -> None:
    """The child's side: the object of each text, until there are no more."""
    while text := receive(texts):
        code = llvm.assemble(text.decode(), cpu=job["cpu"], features=frozenset(job["features"]),
                             level=job["level"])
        send(objects, code)
