"""A kernel writes its own elements and not one byte beside them."""

import numpy as np
import pytest
from ops.cases import compiled

from lamella.base import dtypes
from lamella.engine.value import Value
from lamella.ir.node import placeholder
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.ops import index
from lamella.ops.pointwise import cast

NAMES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "int16", "uint8", "int8",
         "bool")
GUARD = 64
# LLVM stores the one lane of a truncated vector with the width it had before the truncation.
WIDE = pytest.mark.xfail(strict=True, reason="a row of one 8 or 16 bit number stores 32 bits")


def cases(*found: tuple, wide: tuple) -> list:
    """The cases, those known to store too much among them."""
    return [pytest.param(*c, marks=[WIDE] if c in wide else []) for c in found]


def run_between_guards(program: Program, arrays) -> tuple[np.ndarray, np.ndarray]:
    """(the bytes of the one result, the bytes behind it) after a run into painted memory."""
    made = compiled(program)
    bound, = made.bindings.values()
    fresh, = bound.fresh
    values = [Value.from_numpy(a) for a in arrays]
    memory = np.full(int(fresh.bytes) + GUARD + 64, 0x5A, np.uint8)
    start = -memory.ctypes.data % 64
    temporaries = np.zeros(bound.arena_bytes + 64, np.uint8)
    bound.table.run([temporaries.ctypes.data, *(v.address for v in values),
                     memory.ctypes.data + start])
    end = start + int(fresh.bytes)
    return memory[start:end], memory[end:end + GUARD]


@pytest.mark.parametrize(("name", "extent"), cases(
    *((n, e) for n in NAMES for e in (1, 2, 5, 17)), wide=(("bfloat16", 1),)))
def test_rows_of_any_width_end_where_they_end(name, extent):
    x = placeholder(tensor(name, (15, 17, 40)))
    at = [placeholder(tensor("int32", ())) for _ in range(3)]
    program = Program([x, *at], [index.dynamic_slice(x, at, (3, 4, extent))])
    given = np.arange(15 * 17 * 40).reshape(15, 17, 40).astype(dtypes.by_name(name).numpy)
    found, behind = run_between_guards(program, [given, *(np.int32(k) for k in (2, 5, 3))])
    assert found.tobytes() == np.ascontiguousarray(given[2:5, 5:9, 3:3 + extent]).tobytes()
    assert (behind == 0x5A).all()


@pytest.mark.parametrize(("name", "to"), cases(
    *((n, t) for n in ("int64", "float32") for t in NAMES),
    wide=(("int64", "bfloat16"), ("float32", "bfloat16"), ("float32", "uint8"))))
def test_converted_rows_end_where_they_end(name, to):
    x = placeholder(tensor(name, (15, 17, 3)))
    at = [placeholder(tensor("int32", ())) for _ in range(3)]
    program = Program([x, *at], [cast(index.dynamic_slice(x, at, (3, 4, 1)), dtypes.by_name(to))])
    given = np.ones((15, 17, 3), dtypes.by_name(name).numpy)
    found, behind = run_between_guards(program, [given, *(np.int32(0) for _ in range(3))])
    assert found.tobytes() == np.ones((3, 4, 1), dtypes.by_name(to).numpy).tobytes()
    assert (behind == 0x5A).all()
