"""Devices and memory spaces, as data."""

from __future__ import annotations


class Device:
    """A place that computes: `cpu`, `cuda:0`. Identity is equality."""

    __slots__ = ("index", "kind")

    def __init__(self, kind: str, index: int = 0):
        self.kind, self.index = kind, index

    @property
    def space(self) -> str:
        """The memory space that arrays of this device live in."""
        return "host" if self.kind == "cpu" else str(self)

    def __repr__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


cpu = Device("cpu")
