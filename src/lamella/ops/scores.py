"""Scores and weights of attention: of all queries and keys, or of some rows or columns of them."""

from __future__ import annotations

import math
from functools import cached_property

from ..base.dtypes import bool_
from ..base.extents import Extent
from ..ir.node import Node, literal, make
from ..ir.types import TensorType
from ..transform import vjp
from .contract import matmul
from .iota import iota
from .move import reshape, transpose
from .pointwise import apply
from .random import unit
from .reduce import extent_value, keepdims, reduce
from .softmax import SOFTMAX, peak

Stats = tuple[Node, Node, Node]


class Scores:
    """q k' * scale, masked: rows from the query `row`, columns from the key `column` of a matrix
    of the extents `whole`. The elements are the same whatever part they are computed in."""

    def __init__(self, p: dict, q: Node, k: Node, v: Node, mask: Node | None = None,
                 key: Node | None = None, *, whole: tuple[Extent, Extent] | None = None,
                 row: Node | None = None, column: Node | None = None):
        self.p, self.q, self.k, self.v, self.mask, self.key = p, q, k, v, mask, key
        self.whole = whole or (q.shape[-2], k.shape[-2])
        self.row, self.column = row, column
        self.folded = grouped(q.type, k.type)

    @cached_property
    def values(self) -> Node:
        """The scores, -inf where a query does not see a key."""
        found = matmul(_fold(self.q, self.k, self.folded), _mT(self.k))
        scores = _unfold(found, self.q, self.folded) * self.p["scale"]
        if self.mask is not None and self.mask.dtype is not bool_:
            scores = scores + self.mask
        if self.seen is not None:
            scores = apply("where", self.seen, scores, literal(-math.inf, scores.dtype))
        return scores

    @cached_property
    def seen(self) -> Node | None:
        """Where a query sees a key; None where everywhere."""
        seen = self.mask if self.mask is not None and self.mask.dtype is bool_ else None
        if self.p["causal"]:
            rows, columns = self._numbers()
            t, s = self.whole
            past = columns <= rows + extent_value(s - t, rows)
            seen = past if seen is None else apply("and", seen, past)
        return seen

    def _numbers(self) -> tuple[Node, Node]:
        """The numbers of the queries [t, 1] and of the keys [1, s]."""
        rows, columns = iota((self.q.shape[-2], 1), 0), iota((1, self.k.shape[-2]), 1)
        return (rows if self.row is None else rows + self.row,
                columns if self.column is None else columns + self.column)

    def attend(self) -> Node:
        """softmax of the scores, times v; needs all keys."""
        axis = self.values.type.rank - 1
        return self.product(make(SOFTMAX, (self.values,), {"axis": axis}))

    def product(self, weights: Node) -> Node:
        """The weights, some of them dropped out, times v."""
        zero = literal(0, weights.dtype)
        if self.seen is not None and _may_be_blind(self.p, self.whole):
            weights = apply("where", self.seen, weights, zero)
        if self.key is not None:
            rate = self.p["dropout"]
            kept = self._units(weights) < 1.0 - rate
            weights = apply("where", kept, weights / (1.0 - rate), zero)
        return _unfold(matmul(_fold(weights, self.v, self.folded), self.v), weights, self.folded)

    def _units(self, weights: Node) -> Node:
        """A draw of the whole matrix's shape, of which these are the elements at hand."""
        assert self.key is not None
        start = [None] * (weights.type.rank - 2) + [self.row, self.column]
        whole = (*weights.shape[:-2], *self.whole)
        return unit(self.key, whole, weights.dtype, weights.shape, start)

    def pull(self, g: Node, known: Stats | None = None) -> tuple[dict[str, Node | None], Stats]:
        """(the cotangents of q, k, v and mask for that of the product, what each row's softmax
        and its gradient know of all keys). With some keys only, the latter must be given."""
        axes = (self.values.type.rank - 1,)
        top = known[0] if known else peak(self.values, axes[0])
        e = apply("exp", self.values - top)
        total = known[1] if known else keepdims(reduce("sum", e, axes), e, axes)
        weights = e / total
        given, = vjp.propagate([self.product(weights)], [weights], [g])
        of_v, = vjp.propagate([self.product(weights)], [self.v], [g])
        assert given is not None
        inner = known[2] if known else keepdims(reduce("sum", given * weights, axes), e, axes)
        found = {"v": of_v}
        for name in ("mask", "q", "k"):
            x = getattr(self, name)
            if x is not None and x.dtype.is_inexact:
                found[name], = vjp.propagate([self.values], [x], [(given - inner) * weights])
        return found, (top, total, inner)


def _mT(k: Node) -> Node:
    n = k.type.rank
    return transpose(k, (*range(n - 2), n - 1, n - 2))


def grouped(q: TensorType, k: TensorType) -> bool:
    """Whether several heads of queries share one of keys."""
    return min(q.rank, k.rank) > 2 and q.shape[-3] != k.shape[-3] and 1 not in (
        q.shape[-3], k.shape[-3])


def _fold(q: Node, k: Node, folded: bool) -> Node:
    """q with the heads of a group as more rows: [..., k's heads, group * t, d]."""
    if not folded:
        return q
    *lead, heads, t, d = q.shape
    return reshape(q, (*lead, k.shape[-3], heads // k.shape[-3] * t, d))


def _unfold(y: Node, q: Node, folded: bool) -> Node:
    """y with q's heads and rows again."""
    return reshape(y, (*y.shape[:-3], *q.shape[-3:-1], y.shape[-1])) if folded else y


def _may_be_blind(p: dict, whole: tuple[Extent, Extent]) -> bool:
    """Whether a query may see no key at all: its result is 0."""
    t, s = whole
    return p["mask"] or not (t == s or (isinstance(t, int) and isinstance(s, int) and t < s))
