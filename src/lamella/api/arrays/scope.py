"""Which transforms are active on this thread, in what dtype products are computed, and which arrays
wait to be evaluated."""

from __future__ import annotations

import threading

from ...base.dtypes import DType
from ...ir.node import Node

SEEN_THROUGH = ("grad", "autocast")     # kinds of scopes in which values are known


class _State(threading.local):
    """Per thread: the active scopes, the dtype of products of float32 where it is another, weak
    references to pending arrays, the bytes they may hold, at how many others was looked while some
    waited."""

    def __init__(self):
        self.scopes: list[Scope] = []
        self.products: DType | None = None
        self.pending: list = []
        self.held_bytes = 0
        self.looks = 0


state = _State()


class Scope:
    """While entered, the function of a transform runs: `kind` is "compile", "vmap", "grad",
    "autocast", or the loop or choice whose body it is. `start` and `order`: of its prints and
    checks (see `effects`).
    """

    __slots__ = ("kind", "name", "order", "start")

    def __init__(self, kind: str, name: str = ""):
        self.kind, self.name = kind, name
        self.start: Node | None = None
        self.order: Node | None = None

    def __enter__(self) -> Scope:
        state.scopes.append(self)
        return self

    def __exit__(self, *_):
        state.scopes.pop()

    def __repr__(self) -> str:
        return f"{self.kind} of {self.name}" if self.name else self.kind


def active() -> bool:
    """Whether the function of any transform is running on this thread."""
    return bool(state.scopes)


def blocking() -> Scope | None:
    """The innermost scope in which values are not known, or None."""
    return next((s for s in reversed(state.scopes) if s.kind not in SEEN_THROUGH), None)
