"""What a training run shows on a terminal: a bar, the loss, examples per second, memory."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

from ..base import status


class Progress:
    """A context whose `advance(examples, loss)` draws a line; silent where there is no terminal."""

    def __init__(self, total: int | None, *, shown: bool | None = None, every: float = 0.2):
        self.total, self.every = total, every
        self.shown, self._holds = shown, False
        self.examples, self.began, self.drawn = 0, time.perf_counter(), 0.0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        self._holds = self.shown is not False and status.take()
        if self.shown or self._holds:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                            TimeRemainingColumn(), TextColumn("{task.fields[told]}"),
                            console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("training", total=self.total, told="")
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._holds:
            status.give()

    def advance(self, examples: int, loss, label: str = "training") -> None:
        """One step is done; `loss` is looked at only when the line is drawn."""
        self.examples += examples
        if self._bar is None:
            return
        now = time.perf_counter()
        told = None
        if now - self.drawn >= self.every:
            self.drawn = now
            told = self.line(float(loss), now)
        self._bar.update(self._task, advance=1, description=label,
                         **({} if told is None else {"told": told}))

    def line(self, loss: float, now: float) -> str:
        """The figures as text."""
        rate = self.examples / max(now - self.began, 1e-9)
        return f"loss {loss:.4f}  {rate:,.0f} examples/s  {_resident() / 2**20:,.0f} MiB"


def _resident() -> int:
    """Bytes of memory that the process has used at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
