"""Extents of axes from the indices they stand in, and reads proved to be in range.

The rules are in `notation`, which is what users write; an axis whose extent is still to be found
has a `Hole` for its extent. Operands come as their names and types.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..base import dtypes
from ..base.errors import NotationError
from ..base.extents import Extent, upper
from ..ir.types import TensorType
from . import expr, scalar
from .expr import Expr, affine, free_axes
from .interpret import fresh_axis, in_range, interval, nonnegative


class Hole:
    """The extent of an axis while it is not known."""

    __slots__ = ("extent", "name")

    def __init__(self, name: str, extent: Extent | None):
        self.name, self.extent = name, extent

    def __repr__(self) -> str:
        return "?" if self.extent is None else str(self.extent)


class Named:
    """An operand's name and type, as errors show it."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type: TensorType):
        self.name, self.type = name, type

    def __repr__(self) -> str:
        return f"{self.name}: {self.type}"


def infer_extents(operands: Sequence[Named], axes: tuple[Expr, ...], body: Expr) -> None:
    """Fill in the extent of every axis from the indices; see the module's docstring."""
    nodes = expr.walk(body)
    known = dict.fromkeys(axes)
    known.update(dict.fromkeys(a for e in nodes if e.op == "reduce" for a in e.attr[1]))
    indices = [(operands[e.attr[0]], d, i) for e in nodes if e.op == "read"
               for d, i in enumerate(e.args) if free_axes(i)]
    _from_bare(indices)
    while unknown := [a for a in known if a.attr[1].extent is None]:
        found = {a: [_window(*x, a) for x in indices if a in free_axes(x[2])] for a in unknown}
        ready = [a for a in unknown if found[a] and None not in found[a]]
        solvable = ready or [a for a in unknown if any(c is not None for c in found[a])]
        if not solvable:
            name = unknown[0].attr[0]
            raise NotationError(f"axis {name}: no index tells its extent; "
                                f"declare it: `lambda {name}=8: ...`")
        for a in solvable:
            a.attr[1].extent = _least(a.attr[0], [c for c in found[a] if c is not None])


def _from_bare(indices: list) -> None:
    first: dict[Expr, tuple[Named, int]] = {}
    for operand, d, i in indices:
        if i.op != "axis" or (i.attr[1].extent is not None and i not in first):
            continue
        n = operand.type.shape[d]
        if i in first and i.attr[1].extent != n:
            other, k = first[i]
            raise NotationError(
                f"axis {i.attr[0]}: {i.attr[1].extent} along dimension {k} of {other}, but {n} "
                f"along dimension {d} of {operand}; declare its extent or use two axes")
        i.attr[1].extent = n
        first.setdefault(i, (operand, d))


def _window(operand: Named, d: int, index: Expr, axis: Expr) -> Extent | None:
    """The extent of `axis` that keeps an affine index in range, padding counted; None: unknown."""
    terms = affine(index)
    c = terms.pop(axis, 0)
    others = frozenset().union(*(free_axes(t) for t in terms if t is not None))
    if c == 0 or axis in others or any(a.attr[1].extent is None for a in others):
        return None
    filled = {a: fresh_axis(a.attr[0], a.attr[1].extent) for a in others}
    low, high = interval(expr.substitute(_rest(index, axis), filled))
    if low is None or high is None:
        return None
    if c < 0:
        return low // -c + 1 if not isinstance(high, int) or high >= 0 else None
    n = operand.type.shape[d]
    pad = -low if isinstance(low, int) and low < 0 else 0
    extent = (n - 1 + pad - high) // c + 1
    if upper(extent) <= 0 and (n != 0 or upper(extent) < 0):
        raise NotationError(f"axis {axis.attr[0]}: the index {index} spans {high - low + 1} "
                            f"elements, more than the {n} along dimension {d} of {operand}"
                            + (f" padded by {pad}" if pad else "") + "; use a smaller window")
    return extent


def _rest(index: Expr, axis: Expr) -> Expr:
    return expr.substitute(index, {axis: expr.lit(0, dtypes.index)})


def _least(name: str, extents: list[Extent]) -> Extent:
    best = extents[0]
    for e in extents[1:]:
        if nonnegative(best - e):
            best = e
        elif not nonnegative(e - best):
            raise NotationError(f"axis {name}: its indices allow {best} and {e}, and which is less "
                                "depends on their sizes; declare its extent")
    return best


# ---- reads --------------------------------------------------------------------------------------

_QUASI_AFFINE = ("add", "sub", "mul", "neg", "floordiv", "mod")


def checked(operands: Sequence[Named], e: Expr) -> Expr:
    """A read proved in range, padded, clamped where data tells the index, or refused."""
    if e.op != "read" or e.attr[1] is not None:
        return e
    operand = operands[e.attr[0]]
    indices, fill = [], None
    for d, (i, n) in enumerate(zip(e.args, operand.type.shape)):
        if in_range(i, n):
            pass
        elif not _is_quasi_affine(i):
            last = scalar.minimum(i, expr.size(n - 1))
            i = scalar.maximum(last, expr.lit(0, dtypes.index))
        elif _is_padded(i, n):
            fill = 0
        else:
            raise _out_of_range(operand, d, i)
        indices.append(i)
    return expr.read(e.attr[0], tuple(indices), e.dtype, fill)


def _is_quasi_affine(e: Expr) -> bool:
    return e.op in ("axis", "size", "lit") or (
        e.kind == "apply" and e.op.name in _QUASI_AFFINE
        and all(map(_is_quasi_affine, e.args)))


def _is_padded(i: Expr, n: Extent) -> bool:
    low, high = interval(i)
    return (isinstance(low, int) and low < 0 and bool(free_axes(i)) and high is not None
            and nonnegative(n - 1 - low - high))


def _out_of_range(operand: Named, d: int, i: Expr) -> NotationError:
    low, high = interval(i)
    n = operand.type.shape[d]
    names = sorted(a.attr[0] for a in free_axes(i))
    if not names:
        return NotationError(f"the index {i} is outside of the {n} elements along dimension {d} of "
                             f"{operand}; the last is {operand.name}.shape[{d}] - 1")
    axes = f"axis {names[0]}" if len(names) == 1 else f"axes {', '.join(names)}"
    return NotationError(f"{axes}: the index {i} runs from {low} to {high}, outside of the {n} "
                         f"elements along dimension {d} of {operand}; declare a smaller extent "
                         f"(`lambda {names[0]}=...`) or read {operand.name}.get(..., fill=0)")
