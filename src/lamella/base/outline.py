"""Outline: a tree whose parts that flatten themselves are not opened.

A training step takes a model and its optimizer's moments and returns them anew: hundreds of modules
that nobody looks at between two steps. What has `__flatten__` gives its leaves itself, remembered
where it can; what has `__unflatten__` is made of leaves, and may open them later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

from . import tree


class Outline:
    """The structure of Python's own containers around parts with structures of their own."""

    __slots__ = ("inner", "num_leaves", "outer")

    def __init__(self, outer: Any, inner: list):
        self.outer, self.inner = outer, inner
        self.num_leaves = sum(s.num_leaves for s in inner)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Outline) and self.outer == other.outer and
                                 self.inner == other.inner)

    def __hash__(self) -> int:
        return hash((self.outer, *self.inner))

    def unflatten(self, leaves: list) -> Any:
        """The tree of this outline with these leaves."""
        parts, at = [], 0
        for s in self.inner:
            parts.append(leaves[at] if s is tree.LEAF else
                         unflatten(s, leaves[at:at + s.num_leaves]))
            at += s.num_leaves
        return tree.unflatten(self.outer, parts)


_outlines: dict[tuple, Outline] = {}


def flatten(value: Any) -> tuple[list, Any]:
    """(leaves, structure); equal structures of parts that flatten themselves are one object."""
    if type(value) in tree.leaf_classes:
        return [value], tree.LEAF
    own = getattr(value, "__flatten__", None)
    if own is not None:
        return own()
    parts, outer = optree.tree_flatten(value)       # opens what Python itself has
    if tree.registered.isdisjoint(map(type, parts)):
        return parts, outer  # type: ignore[return-value]
    leaves: list = []
    inner = []
    for p in parts:
        found, s = _part(p)
        leaves += found
        inner.append(s)
    return leaves, _shared(outer, inner)


def unflatten(structure: Any, leaves: list) -> Any:
    """The tree of that structure, as `flatten` gives it, with these leaves."""
    if type(structure) is Outline:
        return structure.unflatten(leaves)
    own: Callable | None = getattr(structure.type, "__unflatten__", None)
    return tree.unflatten(structure, leaves) if own is None else own(leaves, structure)


def flatten_arguments(args: tuple) -> tuple[list, tuple]:
    """(leaves, one structure for each argument)."""
    leaves: list = []
    structures = []
    for a in args:
        if type(a) in tree.leaf_classes:
            leaves.append(a)
            structures.append(tree.LEAF)
        else:
            found, structure = flatten(a)
            leaves += found
            structures.append(structure)
    return leaves, tuple(structures)


def is_shared(structure: Any) -> bool:
    """Whether there is one object for all structures equal to this one, so that its id may stand
    for it."""
    return structure is tree.LEAF or type(structure) is Outline or \
        structure is tree.shared(structure)


def _part(part: Any) -> tuple[list, Any]:
    own = getattr(part, "__flatten__", None)
    if own is not None:
        return own()
    if type(part) not in tree.registered:
        return [part], tree.LEAF
    leaves, structure = tree.flatten(part)
    return leaves, tree.shared(structure)


def _shared(outer: Any, inner: list) -> Outline:
    """The one outline of these structures, which it keeps alive, so that their ids stay theirs."""
    key = (outer, *map(id, inner))
    found = _outlines.get(key)
    if found is None:
        if len(_outlines) > 4096:
            _outlines.clear()
        found = _outlines[key] = Outline(outer, inner)
    return found
