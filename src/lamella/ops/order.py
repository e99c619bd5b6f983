"""The order of elements as unsigned numbers: NaN last, -0 equal to +0, either way round."""

from __future__ import annotations

import numpy as np

from ..base import dtypes
from ..base.dtypes import DType
from ..base.errors import DTypeError
from ..lang import scalar
from ..lang.expr import Expr, lit


def require_order(name: str, d: DType) -> None:
    """Raise for a dtype whose numbers have no order."""
    if d.kind in ("complex", "float8"):
        raise DTypeError(f"{name}: {d} has no order; cast with astype")


def raw_dtype(d: DType) -> DType:
    """The unsigned dtype of an element's bits."""
    return dtypes.by_name(f"uint{d.bits if d is not dtypes.bool_ else 8}")


def raw(x: Expr) -> Expr:
    """An element's bits."""
    if x.dtype is dtypes.bool_:
        return scalar.cast(x, dtypes.uint8)
    return scalar.bitcast(x, raw_dtype(x.dtype))


def cooked(x: Expr, d: DType) -> Expr:
    """The element of those bits."""
    return scalar.cast(x, d) if d is dtypes.bool_ else scalar.bitcast(x, d)


def key_dtype(d: DType) -> DType:
    """The dtype of keys of elements."""
    return dtypes.uint64 if d.bits == 64 else dtypes.uint32


def order_key(bits: Expr, d: DType, descending: bool) -> Expr:
    """An unsigned number for an element's bits, below 2^(bits of d), that grows in its order."""
    wide = key_dtype(d)
    u = scalar.cast(bits, wide)
    width = bits.dtype.bits
    top, full = lit(1 << (width - 1), wide), lit((1 << width) - 1, wide)
    if not d.is_float:
        if d.kind == "int":
            u = u ^ top
        return full - u if descending else u
    size = u & (full ^ top)
    negative = scalar.eq(u, size)  # of positive numbers
    up, down = (size + top, top - size) if not descending else (top - size, size + top)
    key = scalar.where(negative, up, down)
    return scalar.where(lit(_bits(np.inf, d), wide) < size, full, key)


def total_key(x: Expr, descending: bool) -> Expr:
    """An unsigned number from which the element can be had again (but NaNs are one): its order is
    that of `key_of`, with -0 before +0 (descending: behind)."""
    d, bits = x.dtype, raw(x)
    if not d.is_float:
        return order_key(bits, d, descending)
    wide, width = key_dtype(d), d.bits
    u, top, full = scalar.cast(bits, wide), lit(1 << (width - 1), wide), lit((1 << width) - 1, wide)
    key = u ^ scalar.where(u < top, top, full)
    key = full - key if descending else key
    return scalar.where(lit(_bits(np.inf, d), wide) < (u & (full ^ top)), full, key)


def of_total_key(key: Expr, d: DType, descending: bool) -> Expr:
    """The element of that key."""
    wide = key.dtype
    width = raw_dtype(d).bits
    top, full = lit(1 << (width - 1), wide), lit((1 << width) - 1, wide)
    u = full - key if descending else key
    if d.is_float:
        u = u ^ scalar.where(u < top, full, top)
        u = scalar.where(scalar.eq(key, full), lit(_bits(np.nan, d), wide), u)
    elif d.kind == "int":
        u = u ^ top
    return cooked(scalar.cast(u, raw_dtype(d)), d)


def _bits(x: float, d: DType) -> int:
    """The bits of a number."""
    return int(np.array(x, d.numpy).view(raw_dtype(d).numpy))


def key_of(x: Expr, descending: bool = False) -> Expr:
    """The key of an element."""
    return order_key(raw(x), x.dtype, descending)
