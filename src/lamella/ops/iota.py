"""Counting: an array of the positions along one of its axes."""

from __future__ import annotations

import numpy as np

from ..base import dtypes
from ..base.errors import DTypeError
from ..base.extents import upper
from ..ir.node import Node, make
from ..ir.op import Op, in_range, is_dtype, is_int, is_shape
from ..ir.types import TensorType, tensor
from ..lang import scalar
from ..lang.definition import Definition, axes_for


def _iota_lower(p: dict) -> Definition:
    axes = axes_for(p["shape"])
    return Definition((), axes, scalar.cast(axes[p["axis"]], p["dtype"]))


def _iota_infer(p: dict) -> TensorType:
    last = upper(p["shape"][p["axis"]]) - 1
    if not in_range(max(last, 0), p["dtype"]):
        raise DTypeError(f"iota: {p['dtype']} has not all of the positions 0..{last} along axis "
                         f"{p['axis']} of {p['shape']}; choose a wider integer dtype")
    return tensor(p["dtype"], p["shape"])


def _is_axis_of_shape(v, p, types) -> bool:
    """an axis of the shape"""
    return is_int(v) and 0 <= v < len(p["shape"])


def iota(shape, axis: int, dtype=dtypes.int32) -> Node:
    """0, 1, 2, ... along an axis."""
    return make(IOTA, (), {"shape": tuple(shape), "axis": axis, "dtype": dtype})


IOTA = Op("iota", doc="y[i...] = i[axis].", arity=0, infer=_iota_infer,
          params={"shape": is_shape, "axis": _is_axis_of_shape, "dtype": is_dtype},
          reference=lambda p: np.broadcast_to(
              np.arange(p["shape"][p["axis"]]).astype(p["dtype"].numpy).reshape(
                  [-1 if d == p["axis"] else 1 for d in range(len(p["shape"]))]),
              p["shape"]).copy(),
          lower=_iota_lower, vjp=lambda n, g: (), jvp=lambda n, t: None,
          samples=lambda: [({"shape": (3, 20), "axis": 1, "dtype": dtypes.int32}, []),
                           ({"shape": (5,), "axis": 0, "dtype": dtypes.float32}, [])])
