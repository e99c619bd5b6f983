"""Functions whose result's extent depends on the values: distinct elements, positions, counts.

Each looks at the values, unless `size` says how many results there are: then it can be compiled and
batched; what is missing is filled with `fill_value`, and what is too much is left out.
"""

from __future__ import annotations

from typing import NamedTuple

from ...base import dtypes
from ...base.errors import DTypeError, LamellaError, ShapeError
from ...ir.node import Node, literal
from ...ops import cumulative as scan
from ...ops import index as ix
from ...ops import move
from ...ops import sort as order
from ...ops.pointwise import apply, cast
from ..arrays.array import Array, asarray, wrap
from ..arrays.kinds import floating
from ..arrays.positions import compacted, known, places
from ..arrays.values import error, located, unknown
from .creation import arange
from .elementwise import where
from .reductions import max as largest
from .reductions import min as smallest
from .sorting import searchsorted

__all__ = ["argwhere", "bincount", "histogram", "nonzero", "unique_all", "unique_counts",
           "unique_inverse", "unique_values"]


class UniqueAll(NamedTuple):
    """The distinct elements, where each occurs first, which one each element is, how often."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCounts(NamedTuple):
    """The distinct elements, and how often each occurs."""

    values: Array
    counts: Array


class UniqueInverse(NamedTuple):
    """The distinct elements, and which of them each element is."""

    values: Array
    inverse_indices: Array


def _number(n, like: Node) -> Node:
    return cast(asarray(n).node, like.dtype)


# ---- distinct elements --------------------------------------------------------------------------

def _unique(name: str, x: Array, size, fill_value) -> UniqueAll:
    flat = move.reshape(x.node, (x.size,))
    n = flat.shape[0]
    if isinstance(n, int) and n == 0:
        return _unique_of_nothing(x, size or 0, fill_value)
    perm = _order(flat)
    s = ix.take(flat, perm, 0)
    rest = apply("ne", move.slice_(s, (1,), (n,), (1,)), move.slice_(s, (0,), (n - 1,), (1,)))
    new = move.concat([literal(True, dtypes.bool_, (1,)), rest], 0)
    ones = literal(1, perm.dtype, (n,))
    rank = scan.cumulative(apply("where", new, ones, literal(0, perm.dtype)), 0, "sum") - 1
    last = move.reshape(move.slice_(rank, (n - 1,), (n,), (1,)), ())
    size = known(name, last + 1, size)
    values, indices = compacted(size, rank, [(s, _number(fill_value, s)),
                                              (perm, literal(0, perm.dtype))], new)
    zeros = literal(0, perm.dtype, (size + 1,))
    place = apply("min", rank, literal(size, perm.dtype))
    counts = move.slice_(ix.scatter(zeros, place, ones, 0, "sum"), (0,), (size,), (1,))
    inverse = ix.scatter(literal(0, perm.dtype, (n,)), perm, rank, 0, "set")
    return UniqueAll(wrap(values), wrap(indices), wrap(move.reshape(inverse, x.shape)),
                     wrap(counts))


def _order(row: Node) -> Node:
    """The positions that sort a row; complex numbers by their real, then their imaginary part."""
    if not row.dtype.is_complex:
        return located(order.argsort)(row, 0)
    by_imag = order.argsort(apply("imag", row), 0)
    return ix.take(by_imag, order.argsort(ix.take(apply("real", row), by_imag, 0), 0), 0)


def _unique_of_nothing(x: Array, size: int, fill_value) -> UniqueAll:
    none = literal(0, dtypes.int32, (size,))
    values = move.broadcast(_number(fill_value, x.node), (size,))
    return UniqueAll(wrap(values), wrap(none), wrap(literal(0, dtypes.int32, x.shape)), wrap(none))


def unique_all(x, /, *, size: int | None = None, fill_value=0) -> UniqueAll:
    """The distinct elements in order, each one's first position (in row-major order), for each
    element the number of its value, and counts. Every NaN is distinct; -0 and +0 are equal."""
    return _unique("unique_all", asarray(x), size, fill_value)


def unique_counts(x, /, *, size: int | None = None, fill_value=0) -> UniqueCounts:
    """The distinct elements in order, and how often each occurs; see `unique_all`."""
    found = _unique("unique_counts", asarray(x), size, fill_value)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x, /, *, size: int | None = None, fill_value=0) -> UniqueInverse:
    """The distinct elements in order, and for each element the number of its value."""
    found = _unique("unique_inverse", asarray(x), size, fill_value)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x, /, *, size: int | None = None, fill_value=0) -> Array:
    """The distinct elements in order; see `unique_all`."""
    return _unique("unique_values", asarray(x), size, fill_value).values


# ---- positions ----------------------------------------------------------------------------------

def nonzero(x, /, *, size: int | None = None, fill_value: int = 0) -> tuple[Array, ...]:
    """The positions of elements that are not 0 in row-major order, one array for each axis."""
    x = asarray(x)
    if x.ndim == 0:
        raise error(ShapeError, "nonzero: a scalar has no positions; reshape it to (1,)")
    hit = x.node if x.dtype is dtypes.bool_ else (x != 0).node
    return tuple(map(wrap, places("nonzero", hit, size, fill_value)))


def argwhere(x, *, size: int | None = None, fill_value: int = 0) -> Array:
    """The positions of elements that are not 0, [count, axes]."""
    parts = [move.reshape(p.node, (*p.shape, 1)) for p in nonzero(x, size=size,
                                                                  fill_value=fill_value)]
    return wrap(move.concat(parts, 1))


# ---- counts -------------------------------------------------------------------------------------

def bincount(x, *, weights=None, minlength: int = 0, size: int | None = None) -> Array:
    """How often (with `weights`: with which sum, added in ascending position) each integer from 0
    on occurs in the row x. Negative ones are an error where the values are looked at, else counted
    as 0; with `size`, larger ones are left out."""
    x = asarray(x)
    if x.ndim != 1 or not x.dtype.is_int:
        raise error(DTypeError if x.ndim == 1 else ShapeError,
                    f"bincount: takes a row of integers, got {x.node.type}")
    if size is None and x.shape[0] != 0:
        if not unknown([x.node]) and x.dtype.kind == "int" and int(smallest(x)) < 0:
            raise error(LamellaError, "bincount: there are negative integers")
        size = max(minlength, known("bincount", largest(x).node, None) + 1)
    size = max(size or 0, minlength)
    at = apply("min", cast(x.node, dtypes.int64), literal(size, dtypes.int64))
    u = literal(1, dtypes.int32, x.shape) if weights is None else \
        move.reshape(asarray(weights).node, x.shape)
    total = ix.scatter_add(at, u, 0, size + 1)
    return wrap(move.slice_(total, (0,), (size,), (1,)))


class Histogram(NamedTuple):
    """Counts in each bin, and the edges of the bins."""

    counts: Array
    edges: Array


def histogram(x, bins=10, *, range=None, weights=None, density: bool = False) -> Histogram:
    """Counts (or sums of `weights`, or densities) of x's elements between edges.

    bins: how many of equal width over `range` (by default least to largest), or the ascending edges
    themselves. A bin has its left edge, the last one both; elements outside count nowhere.
    """
    x = asarray(x)
    flat = wrap(floating(move.reshape(x.node, (x.size,))))
    edges = _edges(flat, bins, range) if isinstance(bins, int) else asarray(bins).astype(flat.dtype)
    count = edges.shape[0] - 1
    at = searchsorted(edges, flat, side="right") - 1
    at = where(flat == edges[-1], count - 1, at)
    at = where((at < 0) | (at >= count), count, at)  # a slot behind the bins
    u = literal(1, dtypes.int32, flat.shape) if weights is None else \
        move.reshape(asarray(weights).node, flat.shape)
    total = wrap(ix.scatter_add(at.node, u, 0, count + 1))[:-1]
    if density:
        total = total.astype(edges.dtype)
        total = total / ((edges[1:] - edges[:-1]) * total.sum())
    return Histogram(total, edges)


def _edges(x: Array, bins: int, span) -> Array:
    if bins < 1:
        raise error(ShapeError, f"histogram: needs one bin at least, got {bins}")
    if span is None and x.shape[0] == 0:
        span = (0.0, 1.0)
    low, high = (smallest(x), largest(x)) if span is None else map(asarray, span)
    low, high = low.astype(x.dtype), high.astype(x.dtype)
    flat = low == high
    low, high = where(flat, low - 0.5, low), where(flat, high + 0.5, high)
    steps = arange(bins + 1, dtype=x.dtype)
    edges = low + (high - low) * (steps / bins)
    return where(steps == bins, high, edges)
