"""Axes and shapes as users write them."""

from __future__ import annotations

import operator

from ...base.errors import DTypeError, ShapeError
from ...base.extents import Size, product
from ...ir.op import MOST_RANK, check_extents
from ...ops.pointwise import normal_axis
from .values import error, located


def as_shape(shape, name: str = "shape") -> tuple:
    """An extent or a sequence of extents as a tuple; raises where no array has it."""
    given = shape if isinstance(shape, tuple | list) else (shape,)
    out = tuple(e if isinstance(e, Size) else _integer(name, "an extent", e) for e in given)
    if len(out) > MOST_RANK:
        raise error(ShapeError, f"{name}: at most {MOST_RANK} axes are possible, got {len(out)}")
    located(check_extents)(name, out)
    return out


def _integer(name: str, what: str, value) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise error(DTypeError, f"{name}: {what} is an integer, got {value!r}") from None


@located
def some_axes(name: str, axis, rank: int) -> tuple[int, ...]:
    """`axis` (None, an integer or several) as sorted non-negative axes."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    axes = tuple(sorted(normal_axis(name, _integer(name, "an axis", a), rank) for a in given))
    if len(set(axes)) != len(axes):
        raise error(ShapeError, f"{name}: axis {axis} names one axis twice")
    return axes


def whole_shape(old: tuple, new: tuple) -> tuple:
    """`new` with its -1 resolved."""
    if new.count(-1) > 1:
        raise error(ShapeError, f"reshape: {new} leaves more than one extent open")
    if -1 not in new:
        return as_shape(new, "reshape")
    rest, total = product(e for e in new if e != -1), product(old)
    if rest == 0 or (isinstance(total, int) and isinstance(rest, int) and total % rest):
        raise error(ShapeError, f"reshape: {old} has {total} elements, which {new} cannot hold")
    return as_shape(tuple(total // rest if e == -1 else e for e in new), "reshape")
