"""Devices and memory spaces, as data."""

from __future__ import annotations


class Device:
    """A place that computes: `cpu`, `cuda:0`. Identity is equality: there is one object of each."""

    __slots__ = ("index", "kind")

    def __init__(self, kind: str, index: int = 0):
        self.kind, self.index = kind, index

    @property
    def space(self) -> str:
        """The memory space that arrays of this device live in."""
        return "host" if self.kind == "cpu" else str(self)

    def __reduce__(self):
        return named, (repr(self),)

    def __repr__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


cpu = Device("cpu")
beside: dict[str, Device] = {}     # the devices beside the processor that were ever named


def named(text: str) -> Device | None:
    """The device called "cpu", "cuda" or "cuda:1"; None where that is the name of none."""
    kind, colon, number = text.partition(":")
    if kind == "cpu" and not colon:
        return cpu
    if kind != "cuda" or (colon and not (number.isascii() and number.isdigit())):
        return None
    index = int(number or 0)
    return beside.setdefault(f"cuda:{index}", Device("cuda", index))
