"""A line on the terminal that says what a long wait is for.

It is drawn on standard error once something took a second, only where that is a terminal, and is
gone at the end, however that comes. Of several that would draw at once, the first one does.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

AFTER = 1.0     # seconds until the line is drawn

_terminal = threading.Lock()    # held by whoever draws
_here = threading.local()       # `line`: that of this thread


def take() -> bool:
    """Whether there is a terminal and nobody draws on it: then it is taken until `give`."""
    return _is_terminal() and _terminal.acquire(blocking=False)


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):    # there is none, or it is closed
        return False


def give() -> None:
    """Let others draw."""
    _terminal.release()


@contextmanager
def doing(what: str) -> Iterator[None]:
    """What is done inside, of which `say` says how far it has come; within another, a part of its
    line."""
    line = getattr(_here, "line", None)
    if line is not None:
        with line.part(what):
            yield
    elif take():
        try:
            with _drawn() as line, line.part(what):
                yield
        finally:
            give()
    else:
        yield


def say(how_far: str) -> None:
    """How far that has come which this thread is doing."""
    line = getattr(_here, "line", None)
    if line is not None:
        line.say(how_far)


@contextmanager
def _drawn() -> Iterator[_Line]:
    line = _here.line = _Line()
    try:
        yield line
    finally:
        _here.line = None
        line.end()


class _Line:
    def __init__(self) -> None:
        self.began = time.monotonic()
        self.parts: list[tuple[str, str]] = []
        self.bar: Any = None

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        self.parts.append((what, ""))
        try:
            yield
        finally:
            self.parts.pop()

    def say(self, how_far: str) -> None:
        self.parts[-1] = self.parts[-1][0], how_far
        with suppress(OSError):     # the terminal may be gone by now
            if self.bar is None and time.monotonic() - self.began >= AFTER:
                self._begin()
            if self.bar is not None:
                self.bar.update(self.bar.task_ids[0], description=self._text())

    def end(self) -> None:
        with suppress(OSError):
            if self.bar is not None:
                self.bar.stop()

    def _text(self) -> str:
        return ", ".join(": ".join(filter(None, part)) for part in self.parts)

    def _begin(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        if not console.is_interactive:
            return      # it can only be written on, line after line
        self.bar = Progress(SpinnerColumn(), TimeElapsedColumn(),
                            TextColumn("{task.description}", markup=False), console=console,
                            transient=True, redirect_stdout=False, redirect_stderr=False,
                            refresh_per_second=5)
        self.bar.add_task(self._text())
        self.bar.tasks[0].start_time = self.began
        self.bar.start()
