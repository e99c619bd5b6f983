"""Prefix combinations with any associative function, in a logarithmic number of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...base import tree
from ...base.errors import LamellaError, ShapeError
from ...ops.pointwise import normal_axis
from ..arrays.array import Array, asarray
from ..arrays.values import error
from ..functions.manipulation import concat, flip, moveaxis, stack

__all__ = ["associative_scan"]


def associative_scan(fn: Callable, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """y[i] = fn(y[i-1], elems[i]) along the axis, y[0] = elems[0], for an associative fn.

    fn takes and gives pytrees of elems' structure with any number of elements along the axis, and
    combines them one by one. The combinations are grouped as a balanced tree (Blelloch's), in
    2 log2(n) calls of fn. With `reverse` it begins at the end: y[i] = fn(y[i+1], elems[i]). The
    extent must be known; for a symbol use `scan`. Raises ShapeError where extents differ.
    """
    leaves, structure = tree.flatten(elems)
    arrays = [asarray(a) for a in leaves]
    axes = [normal_axis("associative_scan", axis, a.ndim) for a in arrays]
    arrays = [moveaxis(a, k, 0) for a, k in zip(arrays, axes, strict=True)]
    extents = {a.shape[0] for a in arrays}
    if len(extents) != 1 or not isinstance(next(iter(extents)), int):
        given = ", ".join(map(str, extents)) or "no arrays"
        raise error(ShapeError, f"associative_scan: takes one known extent along the axis, got "
                                f"{given}; scan takes symbols")
    if reverse:
        arrays = [flip(a, axis=0) for a in arrays]

    def combined(a: list[Array], b: list[Array]) -> list[Array]:
        first, second = (tree.unflatten(structure, [
            moveaxis(x, 0, k) for x, k in zip(side, axes, strict=True)]) for side in (a, b))
        out, found = tree.flatten(fn(first, second))
        if found != structure:
            raise error(LamellaError, f"associative_scan: fn gives the structure {found} for "
                                      f"{structure}")
        return [moveaxis(asarray(x), k, 0) for x, k in zip(out, axes, strict=True)]

    found = _prefixes(combined, arrays)
    if reverse:
        found = [flip(a, axis=0) for a in found]
    return tree.unflatten(structure, [moveaxis(a, 0, k) for a, k in zip(found, axes, strict=True)])


def _prefixes(fn: Callable, elems: list[Array]) -> list[Array]:
    """Pairs are combined, the prefixes of half as many found, and the places between filled."""
    n = elems[0].shape[0]
    if n < 2:
        return elems
    odd = _prefixes(fn, fn([a[0:n - 1:2] for a in elems], [a[1::2] for a in elems]))
    count = (n - 1) // 2    # even places after the first
    even = [a[:1] for a in elems]
    if count:
        more = fn([a[:count] for a in odd], [a[2::2] for a in elems])
        even = [concat([a, b]) for a, b in zip(even, more, strict=True)]
    return [_interleaved(a, b) for a, b in zip(even, odd, strict=True)]


def _interleaved(even: Array, odd: Array) -> Array:
    pairs = odd.shape[0]
    both = stack([even[:pairs], odd], axis=1).reshape((2 * pairs, *odd.shape[1:]))
    return both if even.shape[0] == pairs else concat([both, even[pairs:]])
