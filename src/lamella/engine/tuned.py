"""What `lamella tune` finds: the fastest ways of products, in files beside the object cache.

A product is a key of the planner (`Product` of planner/kernels/tiling.py; on a device `Shape` of
tiles/contraction.py), a way one of its cuts or tiles. Both are named tuples, so a file has rows of
two lists.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..base.atomic import replace_text
from ..base.errors import LamellaError
from ..runtime.cache import default_folder

SECONDS = 10.0          # for a product
CLOSE = 1.02            # a way replaces the planner's only where it is so much faster


class Tuned:
    """What was found for one product: the seconds of the planner's way and of the fastest, which
    `words` says for people."""

    __slots__ = ("best", "chosen", "found", "product", "tried", "words")

    def __init__(self, product: Any, chosen: Any, times: dict[Any, float],
                 words: Callable[[Any], str]):
        self.product, self.tried, self.words = product, len(times), words
        self.found = min(times, key=times.__getitem__)
        self.chosen, self.best = times[chosen], times[self.found]

    @property
    def better(self) -> bool:
        """Whether the fastest is worth remembering."""
        return self.chosen > CLOSE * self.best

    def __str__(self) -> str:
        p, ratio = self.product, self.chosen / self.best if self.best else 1.0
        return (f"{f'{p.batch}x{p.m}x{p.k}x{p.n}':<24} {1e6 * self.chosen:>10.1f} us "
                f"{1e6 * self.best:>10.1f} us {ratio:>6.3f}  {self.words(self.found)}")


class Asked(dict):
    """A table of ways that is empty, and notes the products that were looked up."""

    def __init__(self):
        super().__init__()
        self.products: dict[Any, None] = {}

    def get(self, key, default=None):
        self.products[key] = None
        return default


def path(name: str) -> Path | None:
    """Where the ways for the target or device of that name are kept; None where the cache is
    off."""
    folder = default_folder()
    return None if folder is None else folder / f"tuned-{name}.json"


def read(name: str, entry: Callable[[list], tuple[Any, Any]]) -> dict:
    """What was found before, a row by `entry`; nothing where there is no file that can be read."""
    file = path(name)
    try:
        rows = [] if file is None else json.loads(file.read_text())
        return dict(map(entry, rows))
    except (OSError, ValueError, TypeError):
        return {}


def write(name: str, found: dict) -> None:
    """Write the file, for the processes to come."""
    file = path(name)
    assert file is not None, "asked for only where there is a folder"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_text(file, json.dumps([[list(p), list(t)] for p, t in found.items()]))


def fastest(name: str, known: dict, products: Iterable, timed: Callable[[Any], Tuned | None],
            say: Callable[[str], None]) -> list[Tuned]:
    """Time each product once, and write the ways that are worth remembering over those that are
    `known`. LamellaError where there is no folder to remember them in."""
    if path(name) is None:
        raise LamellaError("tune: there is no folder to keep what is found in; set LAMELLA_CACHE "
                           "to a folder")
    results = []
    for product in dict.fromkeys(products):
        result = timed(product)
        if result is None:
            continue
        results.append(result)
        say(str(result))
        known.pop(product, None)
        if result.better:
            known[product] = result.found
    write(name, known)
    return results
