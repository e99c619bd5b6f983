"""The least time of a call; imports nothing of Lamella, as its peers' programs use it too."""

from __future__ import annotations

import time
from collections.abc import Callable

WARM = 3        # calls that are not timed


def least(run: Callable, seconds: float) -> float:
    """The least milliseconds of a call, over so many seconds of calls."""
    for _ in range(WARM):
        run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return round(1e3 * best, 3)
