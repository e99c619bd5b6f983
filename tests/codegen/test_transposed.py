"""Squares of vectors transposed in registers, and stores in some lanes."""

import numpy as np
import pytest
from codegen.machine import check

from lamella.base.dtypes import float32, index, int8
from lamella.lang.expr import lit, load
from lamella.lang.loops import (
    LANES,
    Buffer,
    Kernel,
    Loop,
    Prefetch,
    Store,
    When,
    index_var,
    lane_index,
    transposed,
)

n, t = map(index_var, "nt")


def nat(k):
    return lit(k, index)


@pytest.mark.parametrize("dtype", [float32, int8], ids=str)
def test_a_square_turns(dtype):
    rows = [load("x", nat(r * LANES), dtype, LANES) for r in range(LANES)]
    body = [Store("y", nat(c * LANES), transposed(rows, c)) for c in range(LANES)]
    kernel = Kernel("turn", [Buffer("x", dtype), Buffer("y", dtype, True)], [],
                    [Loop(t, nat(0), nat(0), body, "parallel")])
    x = (np.arange(LANES * LANES) % 251 - 125).astype(dtype.numpy)
    check(kernel, {"x": x, "y": np.zeros_like(x)}, [])


@pytest.mark.parametrize("count", [0, 1, 7, 15, 16, 40])
def test_a_condition_with_lanes_keeps_others_from_loading_and_storing(count):
    lanes = lane_index() < n
    body = [Prefetch("y", nat(1 << 40)),
            When(lanes, [Store("y", lane_index(), load("x", lane_index(), float32) + 1.0)])]
    kernel = Kernel("some", [Buffer("x", float32), Buffer("y", float32, True)], [n],
                    [Loop(t, nat(0), nat(0), body, "parallel")])
    x = np.arange(max(1, min(count, LANES)), dtype=np.float32)
    check(kernel, {"x": x, "y": np.zeros(max(1, min(count, LANES)), np.float32)}, [count])
