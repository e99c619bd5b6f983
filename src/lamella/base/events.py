"""What happens when, for a trace that Chrome's and Perfetto's viewers open (Trace Event Format).

Nothing is recorded, and nothing costs time, outside of `recording`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .atomic import replace_text

now: list[Recorder] = []    # those that record


class Recorder:
    """Spans of time, in nanoseconds since `began`, each on a track."""

    def __init__(self) -> None:
        self.began = time.perf_counter_ns()
        self.events: list[dict[str, Any]] = []
        self.tracks: dict[str, int] = {}

    def add(self, name: str, began: int, spent: int, track: str,
            about: Mapping[str, Any] | None = None) -> None:
        """A span from `began` (of time.perf_counter_ns) for `spent` nanoseconds."""
        number = self.tracks.setdefault(track, len(self.tracks))
        self.events.append({"name": name, "ph": "X", "pid": 1, "tid": number,
                            "ts": (began - self.began) / 1e3, "dur": spent / 1e3,
                            "args": dict(about or {})})

    def to_json(self) -> str:
        names = [{"name": "thread_name", "ph": "M", "pid": 1, "tid": k, "args": {"name": t}}
                 for t, k in self.tracks.items()]
        return json.dumps({"traceEvents": names + self.events, "displayTimeUnit": "ms"})


@contextmanager
def span(name: str, **about: Any) -> Iterator[None]:
    """Record what runs inside, on this thread's track."""
    if not now:
        yield
        return
    began = time.perf_counter_ns()
    try:
        yield
    finally:
        spent, track = time.perf_counter_ns() - began, threading.current_thread().name
        for recorder in now:
            recorder.add(name, began, spent, track, about)


@contextmanager
def recording(path: str | os.PathLike) -> Iterator[Recorder]:
    """Record what runs inside, and write it to a file at the end."""
    recorder = Recorder()
    now.append(recorder)
    try:
        yield recorder
    finally:
        now.remove(recorder)
        replace_text(path, recorder.to_json())
