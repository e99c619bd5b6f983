"""A kernel writes its own elements and not one byte beside them."""

import numpy as np
import pytest
from codegen.machine import check
from ops.cases import compiled

from lamella.base import dtypes
from lamella.engine.value import Value
from lamella.ir.node import placeholder
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.lang import scalar
from lamella.lang.expr import lit, load
from lamella.lang.loops import Buffer, Kernel, Loop, Store, index_var
from lamella.ops import window
from lamella.ops.pointwise import cast

NAMES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "uint8", "int8",
         "bool")
GUARD = 64


def run_between_guards(program: Program, arrays) -> tuple[np.ndarray, np.ndarray]:
    """(the bytes of the one result, the bytes behind it) after a run into painted memory."""
    made = compiled(program)
    bound = made.only
    fresh, = bound.fresh
    values = [Value.from_numpy(a) for a in arrays]
    memory = np.full(int(fresh.bytes) + GUARD + 64, 0x5A, np.uint8)
    start = -memory.ctypes.data % 64
    temporaries = np.zeros(bound.arena_bytes + 64, np.uint8)
    bound.table.run([temporaries.ctypes.data, *(v.address for v in values),
                     memory.ctypes.data + start])
    end = start + int(fresh.bytes)
    return memory[start:end], memory[end:end + GUARD]


@pytest.mark.parametrize("extent", (1, 2, 5, 17))
@pytest.mark.parametrize("name", NAMES)
def test_rows_of_any_width_end_where_they_end(name, extent):
    x = placeholder(tensor(name, (15, 17, 40)))
    at = [placeholder(tensor("int32", ())) for _ in range(3)]
    program = Program([x, *at], [window.dynamic_slice(x, at, (3, 4, extent))])
    given = np.arange(15 * 17 * 40).reshape(15, 17, 40).astype(dtypes.by_name(name).numpy)
    found, behind = run_between_guards(program, [given, *(np.int32(k) for k in (2, 5, 3))])
    assert found.tobytes() == np.ascontiguousarray(given[2:5, 5:9, 3:3 + extent]).tobytes()
    assert (behind == 0x5A).all()


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize("name", ("int64", "float32"))
def test_converted_rows_end_where_they_end(name, to):
    x = placeholder(tensor(name, (15, 17, 3)))
    at = [placeholder(tensor("int32", ())) for _ in range(3)]
    program = Program([x, *at], [cast(window.dynamic_slice(x, at, (3, 4, 1)), dtypes.by_name(to))])
    given = np.ones((15, 17, 3), dtypes.by_name(name).numpy)
    found, behind = run_between_guards(program, [given, *(np.int32(0) for _ in range(3))])
    assert found.tobytes() == np.ones((3, 4, 1), dtypes.by_name(to).numpy).tobytes()
    assert (behind == 0x5A).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_loop_of_one_trip_stores_one_element(name):
    """Rows of one element: the last store must not reach behind the array."""
    dtype, row, j = dtypes.by_name(name), index_var("row"), index_var("j")
    source = dtype if name in ("bool", "bfloat16") else dtypes.float32
    element = scalar.cast(load("x", row + j, source), dtype)
    one = Loop(j, lit(0, dtypes.index), lit(1, dtypes.index), [Store("z", row + j, element)],
               "vector")
    rows = Loop(row, lit(0, dtypes.index), lit(5, dtypes.index), [one], "serial")
    buffers = [Buffer("x", source), Buffer("z", dtype, True)]
    check(Kernel("one", buffers, [], [rows]),
          {"x": np.ones(5, source.numpy), "z": np.zeros(5, dtype.numpy)})
