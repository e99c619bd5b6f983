"""Positions of extremes along an axis."""

from __future__ import annotations

import numpy as np

from ..base.dtypes import bool_, int32
from ..base.errors import DTypeError
from ..ir.node import Node, literal
from ..ir.op import is_axis, is_dtype, one_of
from ..ir.types import TensorType
from .composite import batch_axis, composite
from .iota import iota
from .pointwise import apply
from .reduce import keepdims, reduce


def _argextreme(p: dict, x: Node) -> Node:
    """The first position of the extreme; a NaN counts as one."""
    a = p["axis"]
    best = keepdims(reduce(p["monoid"], x, (a,)), x, (a,))
    hit = apply("or", apply("eq", x, best), apply("ne", x, x))
    at = iota(x.shape, a, p["dtype"])
    last = literal(2 ** (p["dtype"].bits - 1) - 1, p["dtype"])
    return reduce("min", apply("where", hit, at, last), (a,))


def _arg_samples():
    x = np.array([[1, 3, 3], [2, np.nan, 5]], np.float32)
    return [({"monoid": m, "axis": 1, "dtype": int32}, [x]) for m in ("max", "min")]


def _check_arg(p: dict, x: TensorType) -> None:
    if x.dtype is bool_ or not p["dtype"].is_int:
        raise DTypeError(f"argreduce: takes numbers and gives integers, got {x} and {p['dtype']}; "
                         f"cast with astype")


ARG = composite("argreduce", "The first position of the maximum or minimum along an axis.",
                _argextreme, params={"monoid": one_of("max", "min"), "axis": is_axis,
                                     "dtype": is_dtype},
                check=_check_arg, batch=batch_axis, samples=_arg_samples)
