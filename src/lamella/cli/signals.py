"""Ctrl-C and SIGTERM: raised at once, and noted, as Python drops what is raised inside a weak
reference's callback; `check` raises it again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_noted = 0      # the signal's number


@contextmanager
def caught() -> Iterator[None]:
    """Take both signals while this is entered."""
    global _noted
    _noted = 0
    before = {n: signal.signal(n, _note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Raise KeyboardInterrupt or SystemExit if a signal came."""
    if _noted == signal.SIGINT:
        raise KeyboardInterrupt
    if _noted:
        raise SystemExit(128 + _noted)


def _note(number: int, _) -> None:
    global _noted
    _noted = number
    check()
