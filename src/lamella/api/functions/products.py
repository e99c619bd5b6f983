"""Products: matmul, tensordot, vecdot, outer, einsum and convolution, all of them contractions."""

from __future__ import annotations

import string

from ...base.errors import ShapeError
from ...ir.node import Node, literal
from ...ops import contract, move
from ...ops import reduce as red
from ...ops.iota import iota
from ...ops.pointwise import apply, normal_axis
from ..arrays.array import Array, asarray, matmul, operands, product, wrap
from ..arrays.values import error, located
from .elementwise import conj

__all__ = ["einsum", "matmul", "outer", "tensordot", "vecdot"]


def vecdot(a, b, /, *, axis: int = -1) -> Array:
    """The sum of conj(a) * b along an axis counted from the end, in their common dtype."""
    a, b = map(wrap, operands("vecdot", (a, b)))
    if not -min(a.ndim, b.ndim) <= axis < 0:
        raise error(ShapeError, f"vecdot: axis {axis} of shapes {a.shape} and {b.shape}; it counts "
                                "from the end, where both have it")
    if not a.shape[axis] == b.shape[axis]:
        raise error(ShapeError, f"vecdot: axis {axis} is {a.shape[axis]} in one operand and "
                                f"{b.shape[axis]} in the other")
    y = (conj(a) * b).node
    return wrap(red.reduce("sum", y, (y.type.rank + axis,)))


def outer(a, b, /) -> Array:
    """a[i] * b[j] of two vectors."""
    return einsum("i,j->ij", a, b)


@located
def tensordot(a, b, /, *, axes=2) -> Array:
    """The product summed over axes: the last n of a with the first n of b, or the given pairs."""
    a, b = asarray(a), asarray(b)
    if isinstance(axes, int):
        if axes > min(a.ndim, b.ndim):
            raise error(ShapeError, f"tensordot: {axes} axes of {a.shape} and {b.shape}")
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    pairs = [(normal_axis("tensordot", p, a.ndim), normal_axis("tensordot", q, b.ndim))
             for p, q in zip(*axes, strict=True)]
    left = list(string.ascii_letters[:a.ndim])
    right = list(string.ascii_letters[a.ndim:a.ndim + b.ndim])
    for p, q in pairs:
        right[q] = left[p]
    out = [n for n in left if n not in right] + [n for n in right if n not in left]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(out)}", a, b)


def einsum(spec: str, *arrays) -> Array:
    """Einstein's notation, `"bij,bjk->bik"`: letters name axes, those not in the result are summed.

    `...` stands for leading axes that broadcast. Without `->` the result has the letters that occur
    once, in alphabetical order. Three and more operands are multiplied from left to right.
    """
    nodes = list(operands("einsum", arrays))
    names, out = _einsum_axes(spec.replace(" ", ""), nodes)
    _check_extents(spec, nodes, names)
    terms = [_diagonal(n, axes) for n, axes in zip(nodes, names, strict=True)]
    while len(terms) > 1:
        (a, left), (b, right), *rest = terms
        later = {n for _, axes in rest for n in axes} | set(out)
        terms = [_product(a, left, b, right, later, out if not rest else None), *rest]
    x, axes = _summed(*terms[0], set(out))
    missing = [n for n in out if n not in axes]
    if missing:
        raise error(ShapeError, f"einsum: {spec!r}: the result has {missing}, which no operand has")
    return wrap(move.transpose(x, tuple(axes.index(n) for n in out)))


def _check_extents(spec: str, nodes, names) -> None:
    """Raise where a letter names two extents; leading axes of `...` broadcast."""
    found: dict = {}
    for node, axes in zip(nodes, names, strict=True):
        for name, extent in zip(axes, node.shape, strict=True):
            if name in spec and found.setdefault(name, extent) != extent:
                raise error(ShapeError, f"einsum: {spec!r}: axis {name} is {found[name]} in one "
                                        f"operand and {extent} in another, of shapes "
                                        f"{', '.join(str(n.shape) for n in nodes)}")


def _einsum_axes(spec: str, nodes) -> tuple[list[list[str]], list[str]]:
    left, arrow, right = spec.partition("->")
    parts = left.split(",")
    if len(parts) != len(nodes):
        raise error(ShapeError, f"einsum: {spec!r} names {len(parts)} operands, got {len(nodes)}")
    dots = max((n.type.rank - len(p.replace("...", "")) for p, n in zip(parts, nodes, strict=True)
                if "..." in p), default=0)
    lead = [c for c in string.ascii_uppercase if c not in spec][:dots]
    names = []
    for part, n in zip(parts, nodes, strict=True):
        own = n.type.rank - len(part.replace("...", ""))
        axes = _spelled(part, lead[len(lead) - own:] if own > 0 else [])
        if len(axes) != n.type.rank:
            raise error(ShapeError, f"einsum: {part!r} does not name the axes of shape {n.shape}")
        names.append(axes)
    if arrow:
        return names, _spelled(right, lead)
    flat = [a for axes in names for a in axes if a not in lead]
    return names, lead + sorted({a for a in flat if flat.count(a) == 1})


def _spelled(part: str, lead: list[str]) -> list[str]:
    before, dots, after = part.partition("...")
    return list(before) + (lead if dots else []) + list(after)


def _diagonal(x: Node, axes: list[str]) -> tuple[Node, list[str]]:
    """x with an axis that is named twice read on the diagonal."""
    for name in dict.fromkeys(axes):
        while axes.count(name) > 1:
            first = axes.index(name)
            second = axes.index(name, first + 1)
            x = _on_diagonal(x, first, second)
            axes = axes[:second] + axes[second + 1:]
    return x, axes


def _on_diagonal(x: Node, first: int, second: int) -> Node:
    """x[..., i, ..., i, ...] without the second axis."""
    at = [iota(tuple(e if d == a else 1 for d, e in enumerate(x.shape)), a)
          for a in (first, second)]
    kept = apply("where", apply("eq", *at), x, literal(0, x.dtype))
    return red.reduce("sum", kept, (second,))


def _summed(x: Node, axes: list[str], kept: set[str]) -> tuple[Node, list[str]]:
    """x summed over the axes that are not kept."""
    gone = tuple(d for d, n in enumerate(axes) if n not in kept)
    return red.reduce("sum", x, gone), [n for n in axes if n in kept]


def _product(a: Node, left, b: Node, right, later: set[str], out) -> tuple[Node, list[str]]:
    a, left = _summed(a, left, later | set(right))
    b, right = _summed(b, right, later | set(left))
    a, left = _unrepeated(a, left, b, right)
    b, right = _unrepeated(b, right, a, left)
    both = list(dict.fromkeys([*left, *right]))
    kept = [n for n in (both if out is None else out) if n in both and n in later]
    summed = [n for n in left if n in right and n not in later]
    return product(lambda a, b: contract.contract(a, b, left, right, kept, summed), a, b), kept


def _unrepeated(x: Node, axes: list[str], other: Node, theirs) -> tuple[Node, list[str]]:
    """x without axes of extent 1 that repeat against the other operand's."""
    kept = [d for d, n in enumerate(axes) if not (
        x.shape[d] == 1 and n in theirs and other.shape[theirs.index(n)] != 1)]
    return move.reshape(x, tuple(x.shape[d] for d in kept)), [axes[d] for d in kept]
