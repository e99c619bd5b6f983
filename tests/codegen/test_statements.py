"""Every kind of statement, at awkward extents, on every target, against the interpreter."""

import numpy as np
import pytest
from codegen.machine import TARGETS, aligned, check, run

from lamella.base import dtypes
from lamella.base.dtypes import float32, index
from lamella.codegen import emit, module
from lamella.codegen.emit import scratch_bytes
from lamella.lang import scalar
from lamella.lang.expr import lit, load, var
from lamella.lang.loops import (
    LANES,
    Buffer,
    Kernel,
    Loop,
    Set,
    Store,
    When,
    index_var,
    lane_index,
    lane_tree,
    trailing_zeros,
)

EXTENTS = [0, 1, 15, 16, 17, 33]
n, m, i, j, k, t = map(index_var, "nmijkt")
X, Y, Z = Buffer("x", float32), Buffer("y", float32), Buffer("z", float32, True)


def zero(dtype=float32):
    return lit(0, dtype)


def nat(value):
    return lit(value, index)


def vector_loop(body, high=n, low=0, variable=i):
    return Loop(variable, nat(low) if isinstance(low, int) else low, high, body, "vector")


def serial(variable, high, body, low=0, step=1):
    low, high = (nat(e) if isinstance(e, int) else e for e in (low, high))
    return Loop(variable, low, high, body, "serial", step)


def tasks(body):
    return Loop(t, nat(0), nat(0), body, "parallel")


def kernel(body, buffers=(X, Y, Z), sizes=(n,)):
    return Kernel("k", buffers, sizes, body)


def random(count, seed=0):
    return np.random.default_rng(seed).standard_normal(max(count, 1)).astype(np.float32)


def x_(offset, **kw):
    return load("x", offset, float32, **kw)


def y_(offset, **kw):
    return load("y", offset, float32, **kw)


@pytest.mark.parametrize("begin", [0, 3 * 2**31 - 20, 2**53 - 70])
@pytest.mark.parametrize("extent", [0, 1, 3, 7, 64, 2**31 - 1, 2**40])
def test_tasks_are_divided_exactly(extent, begin):
    """Counts by extents: quotients and remainders, nested, next to multiples too."""
    out = Buffer("z", index, True)
    low = begin // extent * extent if extent and begin > extent else begin
    low = max(0, low - 3)
    body = [tasks([Store("z", (t - m) * 4, t // n), Store("z", (t - m) * 4 + 1, t % n),
                   Store("z", (t - m) * 4 + 2, t // n % n), Store("z", (t - m) * 4 + 3, t // 5)])]
    check(kernel(body, (out,), (n, m)), {"z": np.zeros(4 * 64, np.int64)}, [extent, low], low,
          low + 64)


@pytest.mark.parametrize("extent", EXTENTS)
def test_a_vector_loop_runs_full_blocks_and_a_masked_one(extent):
    body = [vector_loop([Store("z", i, x_(i) * y_(i) + 1.0)])]
    arrays = {"x": random(extent), "y": random(extent, 1), "z": random(extent, 2)}
    check(kernel(body), arrays, [extent])


@pytest.mark.parametrize("extent", EXTENTS)
def test_a_literal_extent_needs_no_tests(extent):
    k1 = kernel([vector_loop([Store("z", i, x_(i) + 1.0)], nat(extent))], (X, Z), ())
    check(k1, {"x": random(extent), "z": random(extent, 2)})
    assert ("masked" in emit(k1, TARGETS[0]).text) == bool(extent % LANES)


def test_a_multiple_of_the_lanes_has_no_masked_block():
    k1 = kernel([vector_loop([Store("z", i, x_(i) + 1.0)], n * 16)], (X, Z))
    check(k1, {"x": random(48), "z": random(48)}, [3])
    assert "masked" not in emit(k1, TARGETS[0]).text


@pytest.mark.parametrize("low,high", [(0, 17), (3, 3), (5, 40), (7, 6), (2, 18)])
def test_a_vector_loop_starts_anywhere(low, high):
    body = [vector_loop([Store("z", i, x_(i) - 2.0)], n, m)]
    check(kernel(body, (X, Z), (n, m)), {"x": random(40), "z": random(40, 1)}, [high, low])


@pytest.mark.parametrize("begin,end", [(0, 3), (1, 3), (2, 2), (0, 1)])
def test_the_parallel_loop_runs_its_tasks(begin, end):
    body = [tasks([vector_loop([Store("z", t * n + i, x_(t * n + i) + y_(i))])])]
    check(kernel(body), {"x": random(51), "y": random(17), "z": random(51, 1)}, [17], begin, end)


def test_a_kernel_without_tasks_runs_once_unless_empty():
    body = [Store("z", nat(0), x_(nat(0)))]
    for begin, end in ((0, 1), (0, 5), (1, 1)):
        check(kernel(body, (X, Z), ()), {"x": random(1), "z": random(1, 1)}, (), begin, end)


@pytest.mark.parametrize("extent", EXTENTS)
def test_a_register_carries_lanes_through_a_vector_loop(extent):
    s = var("s", float32, LANES)
    top = var("top", float32, LANES)
    body = [Set(s, zero()), Set(top, lit(-np.inf, float32)),
            vector_loop([Set(s, scalar.fma(x_(i), y_(i), s)),
                         Set(top, scalar.maximum(top, x_(i, fill=-np.inf)))]),
            Store("z", nat(0), lane_tree("sum", s)), Store("z", nat(1), lane_tree("max", top))]
    arrays = {"x": random(extent), "y": np.ones(max(extent, 1), np.float32), "z": random(2)}
    check(kernel(body), arrays, [extent])


@pytest.mark.parametrize("extent", EXTENTS)
def test_registers_are_set_again_and_read_between(extent):
    a, b = var("a", float32), var("b", float32)
    body = [vector_loop([Set(a, x_(i)), Set(b, a * a), Set(a, a + b), Set(b, a * a),
                         Store("z", i, a * 3.0 + b)])]
    check(kernel(body, (X, Z)), {"x": random(extent), "z": random(extent)}, [extent])


@pytest.mark.parametrize("extent", EXTENTS)
def test_serial_loops_nest_in_vector_loops(extent):
    """Column sums: the register's lanes are columns."""
    s = var("s", float32, LANES)
    body = [vector_loop([Set(s, zero()), serial(j, m, [Set(s, s + x_(j * n + i))]),
                         Store("z", i, s)])]
    for rows in (0, 1, 5):
        check(kernel(body, (X, Z), (n, m)), {"x": random(rows * extent), "z": random(extent)},
              [extent, rows])


def test_a_one_lane_register_may_become_a_vector_inside_a_vector_loop():
    s, c = var("s", float32), var("c", index)
    body = [vector_loop([Set(s, zero()), Set(c, nat(0)),
                         serial(j, m, [Set(s, s * 0.5 + x_(j * n + i)), Set(c, c + 2)]),
                         When(scalar.lt(nat(2), c), [Set(s, s + scalar.cast(c, float32))]),
                         Store("z", i, s)])]
    for rows in (0, 1, 3):
        check(kernel(body, (X, Z), (n, m)), {"x": random(rows * 21), "z": random(21)}, [21, rows])


@pytest.mark.parametrize("extent", [0, 1, 2, 7])
def test_serial_loops_step_and_carry(extent):
    a, b = var("a", float32), var("b", float32)
    body = [Set(a, zero()), Set(b, lit(1, float32)),
            serial(j, n, [Set(a, a + x_(j)), serial(k, j, [Set(b, b * 0.5 + a)])], 0, 2),
            Store("z", nat(0), a), Store("z", nat(1), b)]
    check(kernel(body, (X, Z)), {"x": random(extent), "z": random(2)}, [extent])


def test_serial_loops_with_literal_bounds():
    a = var("a", float32)
    for low, high in ((0, 4), (2, 2), (3, 1)):
        body = [Set(a, zero()), serial(j, high, [Set(a, a + x_(j))], low), Store("z", nat(0), a)]
        check(kernel(body, (X, Z), ()), {"x": random(4), "z": random(1)})


def test_unrolled_loops_bind_their_variable():
    a = var("a", float32)
    body = [Set(a, zero()),
            Loop(j, nat(1), nat(6), [Set(a, a * 2.0 + x_(j * n + j)), Store("z", j, a + x_(j))],
                 "unroll", 2),
            Loop(j, nat(0), nat(2), [Store("z", j * 2, scalar.cast(j, float32))], "unroll")]
    check(kernel(body, (X, Z)), {"x": random(60), "z": random(6)}, [7])


def test_the_same_variable_serves_loops_of_different_kinds():
    body = [vector_loop([Store("z", i, x_(i))]), serial(i, n, [Store("z", i * 2, x_(i) + 5.0)]),
            vector_loop([Store("z", i, load("z", i, float32) + x_(i))]),
            vector_loop([Store("z", i, load("z", i, float32) * 2.0)], nat(19)),
            vector_loop([Store("z", i, load("z", i, float32) * 3.0)], nat(21), 3)]
    check(kernel(body, (X, Z)), {"x": random(19), "z": random(40)}, [19])


@pytest.mark.parametrize("flag", [0, 1])
def test_when_joins_registers(flag):
    a, v, c = var("a", float32), var("v", float32, LANES), var("c", float32)
    body = [Set(a, x_(nat(0))), Set(v, x_(nat(1), lanes=LANES)),
            When(scalar.lt(nat(0), n), [Set(c, a + 1.0), Set(a, c * c), Set(v, a),
                                        Store("z", nat(40), c)]),
            Set(a, a + 1.0), Store("z", nat(0), a), Store("z", nat(1), v * a)]
    check(kernel(body, (X, Z)), {"x": random(20), "z": random(41)}, [flag])


def test_when_guards_loads_and_nests_in_loops():
    """The load of x[j] happens only where j < n: x ends there, at the end of a page."""
    a = var("a", float32)
    body = [Set(a, zero()), serial(j, m, [
        When(scalar.lt(j, n), [Set(a, a + x_(j) * x_(n * 1000000)),
                               serial(k, 2, [Set(a, a + y_(nat(0)))])]),
        Store("z", j, a)])]
    got = kernel(body, (X, Y, Z), (n, m))
    check(got, {"x": random(1), "y": random(1), "z": random(4)}, [0, 4])


@pytest.mark.parametrize("extent", EXTENTS)
def test_strided_and_indexed_loads_and_stores(extent):
    index_buffer = Buffer("q", dtypes.int64)
    q = load("q", i, index)
    body = [vector_loop([Store("z", i * 3 + 1, x_(q * 2) + x_(i * n) + x_(nat(4) - i + n)),
                         Store("z", q * 3, y_(i * 2))])]
    order = np.random.default_rng(1).permutation(max(extent, 1)).astype(np.int64)
    arrays = {"x": random(extent * extent + 2 * extent + 8), "y": random(2 * extent), "q": order,
                  "z": random(3 * extent)}
    check(kernel(body, (X, Y, index_buffer, Z)), arrays, [extent])


@pytest.mark.parametrize("dtype", dtypes.NATIVE, ids=str)
def test_strided_access_of_every_dtype(dtype):
    a, b = Buffer("a", dtype), Buffer("b", dtype, True)
    body = [vector_loop([Store("b", i * 2, load("a", i, dtype)),
                         Store("b", i * 2 + 1, load("a", i * 3, dtype))])]
    data = (np.arange(60) % 2 if dtype is dtypes.bool_ else np.arange(60)).astype(dtype.numpy)
    check(kernel(body, (a, b)), {"a": data, "b": np.zeros(40, dtype.numpy)}, [20])


@pytest.mark.parametrize("extent", EXTENTS)
def test_division_and_remainder_in_offsets(extent):
    body = [vector_loop([Store("z", (i % 5) * 20 + i // 5, x_(i // 3 + i % 2))])]
    check(kernel(body, (X, Z)), {"x": random(extent + 2), "z": random(100)}, [extent])


@pytest.mark.parametrize("extent", EXTENTS)
def test_conditional_loads_and_stores(extent):
    inside = scalar.le(nat(2), i) & scalar.lt(i, n - 1)
    body = [vector_loop([Store("z", i, x_(i - 2, cond=inside, fill=7)
                               + x_((i - 2) * 2, cond=inside, fill=-1),
                               inside | scalar.lt(i, nat(1))),
                         Store("z", i * 2 + n, y_(i), scalar.lt(y_(i), zero()))])]
    arrays = {"x": random(2 * extent), "y": random(extent), "z": random(3 * extent)}
    check(kernel(body), arrays, [extent])


@pytest.mark.parametrize("size", [0, 1, 3])
def test_one_lane_conditional_loads_and_stores(size):
    cond = scalar.lt(j, n)
    body = [serial(j, 4, [Store("z", j, x_(j, cond=cond, fill=-0.0) + 1.0),
                          Store("z", j + 4, x_(j * 100000000, cond=cond & scalar.lt(j, nat(1))),
                                cond)])]
    check(kernel(body, (X, Z)), {"x": random(size), "z": random(8)}, [size])


@pytest.mark.parametrize("extent", EXTENTS)
def test_one_lane_conditions_in_vector_loops(extent):
    body = [serial(j, 3, [vector_loop([Store("z", i, x_(i, cond=scalar.lt(nat(0), j), fill=2)
                                             + x_(j, cond=scalar.lt(j, n), fill=3) + y_(j),
                                             scalar.lt(j, nat(2)))])])]
    check(kernel(body), {"x": random(extent), "y": random(3), "z": random(extent)}, [extent])


def test_uniform_values_in_vector_loops():
    body = [vector_loop([Store("z", nat(20), x_(nat(3))), Store("z", nat(21), x_(i)),
                         Store("z", i, x_(nat(0)))])]
    check(kernel(body, (X, Z)), {"x": random(19), "z": random(22)}, [19])


def test_explicit_vectors_outside_of_vector_loops():
    v, w = var("v", float32, LANES), var("w", float32, LANES)
    body = [Set(v, x_(nat(3), lanes=LANES)), Set(w, lit(2, float32)),
            serial(j, n, [Set(w, w + v * x_(j)), Set(v, v * 0.5)]),
            Store("z", nat(1), w), Store("z", nat(17), v, scalar.lt(n, nat(3))),
            Store("z", lane_index() * 2 + 40, v),
            Store("z", nat(80), x_(lane_index() * 3, cond=scalar.lt(lane_index(), n))),
            Store("z", nat(100), w, scalar.lt(lane_index(), n)),
            Store("z", nat(120), scalar.cast(lane_index(), float32) * x_(nat(1)))]
    for size in (0, 2, 5):
        check(kernel(body, (X, Z)), {"x": random(60), "z": random(136)}, [size])


def test_memory_that_is_written_is_read_again():
    z = load("z", nat(0), float32)
    body = [Store("z", nat(0), z + 1.0), Store("z", nat(1), z), Store("z", nat(0), z * z),
            serial(j, 3, [Store("z", nat(0), z + load("z", nat(1), float32))]),
            vector_loop([Store("z", i + 2, load("z", i + 2, float32) + z)])]
    check(kernel(body, (X, Z)), {"x": random(1), "z": random(21)}, [19])


def test_scratch_is_carved_in_order_and_aligned():
    s = Buffer("s", float32, True, "scratch", n + 1)
    q = Buffer("q", dtypes.int8, True, "scratch", m)
    r = Buffer("r", dtypes.float64, True, "scratch", nat(5))
    body = [vector_loop([Store("s", i, x_(i) * 2.0),
                         Store("q", i, scalar.cast(x_(i), dtypes.int8))]),
            serial(j, 5, [Store("r", j, scalar.cast(x_(j), dtypes.float64))]),
            vector_loop([Store("z", i, load("s", n - 1 - i, float32)
                               + scalar.cast(load("q", i, dtypes.int8), float32)
                               + scalar.cast(load("r", i % 5, dtypes.float64), float32))])]
    both = kernel(body, (X, s, q, r, Z), (n, m))
    check(both, {"x": random(33) * 5, "z": random(33)}, [33, 40])
    assert scratch_bytes(both, [33, 40]) == 192 + 64 + 64
    assert scratch_bytes(both, [15, 65]) == 64 + 128 + 64


def test_stores_past_the_caches_where_aligned():
    body = [vector_loop([Store("z", i + m, x_(i) + 1.0, stream=True)])]
    both = kernel(body, (X, Z), (n, m))
    assert "!nontemporal" in emit(both, TARGETS[0]).text
    for start in (0, 1, 16):
        for target in TARGETS:
            z, x = aligned(80, np.float32), random(40)
            run(both, target, {"x": x, "z": z}, [40, start])
            assert (z[start:start + 40] == x + 1).all()
            assert not z[:start].any() and not z[start + 40:].any()


def test_trailing_zeros():
    body = [serial(j, 9, [Store("z", j, scalar.cast(trailing_zeros(j + 1), float32))])]
    got = check(kernel(body, (Z,), ()), {"z": random(9)})
    assert got["z"].tolist() == [0, 1, 0, 2, 0, 1, 0, 3, 0]


def test_binary_tree_of_chunks():
    """A stack of partial sums in scratch, combined as the trailing zeros of the count say."""
    s = Buffer("s", float32, True, "scratch", nat(8))
    a = var("a", float32)
    level = var("level", index)
    body = [serial(j, n, [Set(a, x_(j)), Set(level, nat(0)),
                          serial(k, trailing_zeros(j + 1), [Set(a, load("s", k, float32) + a),
                                                            Set(level, level + 1)]),
                          Store("s", level, a)]),
            Store("z", nat(0), load("s", trailing_zeros(n), float32))]
    data = random(8)
    got = check(kernel(body, (X, s, Z)), {"x": data, "z": random(1)}, [8])["z"][0]
    pairs = data[0::2] + data[1::2]
    pairs = pairs[0::2] + pairs[1::2]
    assert got == pairs[0] + pairs[1]


def test_equal_kernels_have_equal_names():
    def one(name, buffer):
        return Kernel(name, [Buffer(buffer, float32), Z], [n],
                      [vector_loop([Store("z", i, load(buffer, i, float32) + 1.0)])])
    a, b = emit(one("f", "x"), TARGETS[0]), emit(one("g", "y"), TARGETS[0])
    assert a.text == b.text and a.name == b.name
    other = emit(kernel([Store("z", nat(0), x_(nat(0)))], (X, Z)), TARGETS[0])
    assert module([a, b, other]).count("define") == 2
    assert emit(one("f", "x"), TARGETS[0], name="given").name == "given"


def test_invariant_loads_leave_loops_and_stay_behind_guards():
    a = var("a", float32)
    body = [tasks([Set(a, zero()), serial(j, n, [Set(a, a + x_(j) * y_(t))]), Store("z", t, a)])]
    lines = emit(kernel(body), TARGETS[0]).text.splitlines()
    loads = [k for k, line in enumerate(lines) if "load float" in line]
    inner = max(k for k, line in enumerate(lines) if "phi" in line and "%r" in line)
    assert len(loads) == 2 and loads[0] < inner < loads[1]
    check(kernel(body), {"x": random(3), "y": random(2), "z": random(2)}, [3], 0, 2)
