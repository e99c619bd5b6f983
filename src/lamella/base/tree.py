"""Pytrees: nested containers of leaves, flattened and rebuilt by optree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

NAMESPACE = "lamella"
registered: set[type] = set()     # classes made containers here
leaf_classes: set[type] = set()   # classes whose instances are leaves: they need not be asked


def flatten(tree: Any) -> tuple[list, Any]:
    """(leaves, structure); `None` is an empty container."""
    return optree.tree_flatten(tree, namespace=NAMESPACE)  # type: ignore[return-value]


_structures: dict[Any, Any] = {}


def shared(structure: Any) -> Any:
    """One object for all equal structures, so that its id may stand for it."""
    if len(_structures) > 4096:
        _structures.clear()
    return _structures.setdefault(structure, structure)


LEAF: Any = flatten(0)[1]


def unflatten(structure: Any, leaves) -> Any:
    """The tree of that structure with these leaves."""
    return optree.tree_unflatten(structure, leaves)


def leaves(tree: Any) -> list:
    return optree.tree_leaves(tree, namespace=NAMESPACE)


def map(f: Callable, tree: Any, *rest: Any) -> Any:
    """The tree of f(leaf, *leaves of rest)."""
    return optree.tree_map(f, tree, *rest, namespace=NAMESPACE)


def paths(tree: Any) -> list[str]:
    """A dotted path for each leaf, in flattening order: `layers.0.weight`."""
    found, _, _ = optree.tree_flatten_with_path(tree, namespace=NAMESPACE)
    return [".".join(str(p) for p in path) for path in found]


def register(cls: type, flatten_fn: Callable, unflatten_fn: Callable) -> None:
    """Make instances of `cls` containers; flatten_fn(x) -> (children, metadata, entries)."""
    registered.add(cls)
    optree.register_pytree_node(cls, flatten_fn, unflatten_fn, namespace=NAMESPACE)
