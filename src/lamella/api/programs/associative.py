"""Prefix combinations with any associative function, in a logarithmic number of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...base import tree
from ...base.errors import LamellaError, ShapeError
from ...base.extents import Size, upper
from ...ops.pointwise import normal_axis
from ..arrays.array import Array, asarray
from ..arrays.values import error
from ..functions.creation import arange, ones
from ..functions.elementwise import maximum, stop_gradient, where
from ..functions.manipulation import concat, flip, moveaxis, stack, take

__all__ = ["associative_scan"]


def associative_scan(fn: Callable, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """y[i] = fn(y[i-1], elems[i]) along the axis, y[0] = elems[0], for an associative fn.

    fn takes and gives pytrees of elems' structure with any number of elements along the axis, and
    combines them one by one. The combinations are grouped as a balanced tree (Blelloch's), in
    2 log2(n) calls of fn; where n is a symbol, of its upper bound. With `reverse` it begins at the
    end: y[i] = fn(y[i+1], elems[i]). Raises ShapeError where extents differ.
    """
    leaves, structure = tree.flatten(elems)
    arrays = [asarray(a) for a in leaves]
    axes = [normal_axis("associative_scan", axis, a.ndim) for a in arrays]
    arrays = [moveaxis(a, k, 0) for a, k in zip(arrays, axes, strict=True)]
    extents = {a.shape[0] for a in arrays}
    if len(extents) != 1:
        given = ", ".join(map(str, extents)) or "no arrays"
        raise error(ShapeError, f"associative_scan: takes one extent along the axis, got {given}")
    if reverse:
        arrays = [flip(a, axis=0) for a in arrays]

    def combined(a: list[Array], b: list[Array]) -> list[Array]:
        first, second = (tree.unflatten(structure, [
            moveaxis(x, 0, k) for x, k in zip(side, axes, strict=True)]) for side in (a, b))
        out, found = tree.flatten(fn(first, second))
        if found != structure:
            raise error(LamellaError, f"associative_scan: fn gives the structure {found} for "
                                      f"{structure}")
        found_arrays = [moveaxis(asarray(x), k, 0) for x, k in zip(out, axes, strict=True)]
        for x, y in zip(a, found_arrays, strict=True):
            if x.node.type.anywhere != y.node.type.anywhere:
                raise error(ShapeError, f"associative_scan: fn gives {y.node.type} for "
                                        f"{x.node.type}, the axis in front; it must keep the type")
        return found_arrays

    found = _prefixes(combined, arrays)
    if reverse:
        found = [flip(a, axis=0) for a in found]
    return tree.unflatten(structure, [moveaxis(a, 0, k) for a, k in zip(found, axes, strict=True)])


def _prefixes(fn: Callable, elems: list[Array]) -> list[Array]:
    """Pairs are combined, the prefixes of half as many found, and the places between filled."""
    n = elems[0].shape[0]
    if isinstance(n, Size):
        return _open_prefixes(fn, elems, upper(n), ones(n, dtype="bool"))
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


# ---- of an extent that is a symbol --------------------------------------------------------------

def _open_prefixes(fn: Callable, elems: list[Array], most: int, real: Array) -> list[Array]:
    """The same combinations for an extent of up to `most`.

    Whether it is odd is not known. An element without a partner is therefore combined with itself,
    and the first one with whatever is at hand; such results are not `real`: nobody reads them, and
    no derivative passes through them.
    """
    if most < 2:
        return elems
    pairs = arange((elems[0].shape[0] + 1) // 2)
    partner = 2 * pairs + 1
    there = take(arange(elems[0].shape[0]), partner) == partner  # a position beyond is clamped
    paired = there & take(real, partner)
    odd = _open_prefixes(fn, fn(_passing(paired, [a[::2] for a in elems]),
                                _passing(paired, [take(a, partner, axis=0) for a in elems])),
                         (most + 1) // 2, paired)
    later = (pairs > 0) & real[::2]
    more = fn(_passing(later, [take(a, maximum(pairs - 1, 0), axis=0) for a in odd]),
              _passing(later, [a[::2] for a in elems]))
    even = [where(_column(pairs == 0, a), a[::2], b) for a, b in zip(elems, more, strict=True)]
    at = arange(elems[0].shape[0])
    return [where(_column(at % 2 == 0, a), take(a, at // 2, axis=0), take(b, at // 2, axis=0))
            for a, b in zip(even, odd, strict=True)]


def _passing(flags: Array, arrays: list[Array]) -> list[Array]:
    """The arrays, with derivatives through the slices that have a flag alone."""
    return [where(_column(flags, a), a, stop_gradient(a)) for a in arrays]


def _column(flags: Array, like: Array) -> Array:
    return flags.reshape((flags.shape[0], *(1,) * (like.ndim - 1)))
