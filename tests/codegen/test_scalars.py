"""Each scalar with an instruction, for each dtype, on awkward values, as vectors and as numbers."""

import itertools

import numpy as np
import pytest
from codegen.machine import TARGETS, check, run

from lamella.base import dtypes
from lamella.base.dtypes import index
from lamella.base.errors import UnsupportedError
from lamella.codegen import AVX512, emit
from lamella.codegen.scalars import TABLE
from lamella.lang import scalar
from lamella.lang.expr import lit, load, var
from lamella.lang.loops import LANES, Buffer, Kernel, Loop, Set, Store, index_var, lane_tree

i, n = index_var("i"), index_var("n")
CASES = [(name, d) for (name, kind) in TABLE for d in dtypes.NATIVE
         if d.kind == kind and name != "fma"]


def awkward(dtype) -> np.ndarray:
    """The numbers at which operations go wrong."""
    if dtype is dtypes.bool_:
        return np.array([False, True])
    if dtype.is_int:
        info = np.iinfo(dtype.numpy)
        wide = [info.min, info.min + 1, -17, -7, -1, 0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 100,
                info.max - 1, info.max]
        return np.array([v for v in wide if info.min <= v <= info.max], dtype.numpy)
    big = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": 3.4028235e38,
           "float64": 1.7976931348623157e308}[dtype.name]
    small = {"float16": 6e-8, "bfloat16": 9.2e-41, "float32": 1.4e-45,
             "float64": 5e-324}[dtype.name]
    with np.errstate(all="ignore"):
        return np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.1, -3.7, 1000.3, np.inf,
                         -np.inf, np.nan, big, -big, small, -small, small * 100, 8388609.0, 1e-3,
                         127.5, 255.9, 65535.7, 2147483648.0, -2147483904.0, 4294967296.0, 9.3e18,
                         -9.3e18, 1.9e19, 1.00390625, 1.01171875]).astype(dtype.numpy)


def operands(name, dtype):
    arity = scalar.ALL[name].arity
    values = awkward(dtype)
    if name == "where":
        grid = [g.ravel() for g in np.meshgrid(values, values)]
        return [np.arange(len(grid[0])) % 3 == 0, *grid]
    return [g.ravel().copy() for g in np.meshgrid(*[values] * arity)]


def apply_kernel(make, given, result) -> tuple[Kernel, dict]:
    """out[i] = make(inputs[i]) as vectors in the first half of out and as numbers in the second."""
    names = [f"a{k}" for k in range(len(given))]
    buffers = [Buffer(name, d) for name, (d, _) in zip(names, given)]
    e = make(*(load(name, i, d) for name, (d, _) in zip(names, given)))
    zero = lit(0, index)
    body = [Loop(i, zero, n, [Store("out", i, e)], "vector"),
            Loop(i, zero, n, [Store("out", i + n, e)], "serial")]
    arrays = {name: x for name, (_, x) in zip(names, given)}
    count = len(given[0][1])
    arrays["out"] = np.zeros(2 * count, result.numpy)
    return Kernel("k", [*buffers, Buffer("out", result, True)], [n], body), arrays


@pytest.mark.parametrize("name,dtype", CASES, ids=lambda v: str(v))
def test_scalars_equal_their_reference(name, dtype):
    given = operands(name, dtype)
    kinds = [dtype] * len(given)
    if name == "where":
        kinds[0] = dtypes.bool_
    f = scalar.ALL[name]
    result = dtypes.bool_ if f.result == "bool" else dtype
    kernel, arrays = apply_kernel(f, list(zip(kinds, given)), result)
    check(kernel, arrays, [len(given[0])])


@pytest.mark.parametrize("dtype", dtypes.FLOATS, ids=str)
def test_fma_rounds_once(dtype):
    if dtype.bits == 16:
        a = np.array([1.5, 3.0, 1.25, np.nan, 0.1]).astype(dtype.numpy)
    else:
        step = np.array(1, dtype.numpy) + np.finfo(dtype.numpy).eps
        a = np.array([step, 1.5, np.inf, 3.0, -0.0], dtype.numpy)
    c = -(a * a)
    kernel, arrays = apply_kernel(scalar.fma, [(dtype, a), (dtype, a), (dtype, c)], dtype)
    got = check(kernel, arrays, [5])["out"]
    assert dtype.bits == 16 or got[0] == np.finfo(dtype.numpy).eps ** 2


def test_products_and_sums_are_not_contracted():
    d = dtypes.float32
    a = np.full(20, 1 + 2.0 ** -23, np.float32)
    kernel, arrays = apply_kernel(lambda x, y: x * x - y, [(d, a), (d, a * a)], d)
    assert not check(kernel, arrays, [20])["out"].any()


@pytest.mark.parametrize("dtype", (dtypes.float16, dtypes.bfloat16), ids=str)
def test_narrow_floats_round_after_each_operation(dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(200).astype(dtype.numpy) for _ in range(2))
    kernel, arrays = apply_kernel(
        lambda x, y: scalar.sqrt(abs(x * y + x)) / (y * y - 0.5) + scalar.maximum(x, y) * 3.0,
        [(dtype, a), (dtype, b)], dtype)
    check(kernel, arrays, [200])


CASTS = [(a, b) for a, b in itertools.product(dtypes.NATIVE, dtypes.NATIVE) if a is not b]


@pytest.mark.parametrize("source,target", CASTS, ids=lambda v: str(v))
def test_casts(source, target):
    x = awkward(source)
    if source.is_float and not target.is_float:
        rng = np.random.default_rng(0)
        x = np.concatenate([x, (rng.standard_normal(50) * 300).astype(source.numpy)])
    kernel, arrays = apply_kernel(lambda a: scalar.cast(a, target), [(source, x)], target)
    check(kernel, arrays, [len(x)])


@pytest.mark.parametrize("target", (dtypes.float16, dtypes.bfloat16), ids=str)
def test_float64_is_rounded_once_to_narrow_floats(target):
    one, eps = 1.0, float(2.0 ** (-11 if target is dtypes.float16 else -8))
    x = np.array([one + eps, one + eps + 2.0 ** -40, one + eps - 2.0 ** -40, one + 3 * eps,
                  one + 3 * eps - 2.0 ** -40, -one - eps - 2.0 ** -50, 1e300, -1e300, 2.0 ** -26])
    kernel, arrays = apply_kernel(lambda a: scalar.cast(a, target), [(dtypes.float64, x)], target)
    for machine in TARGETS:
        run(kernel, machine, arrays, [len(x)])
        got = arrays["out"][:5].astype(np.float64)
        assert got.tolist() == [one, one + 2 * eps, one, one + 4 * eps, one + 2 * eps]
        assert float(arrays["out"][5]) == -one - 2 * eps and np.isinf(float(arrays["out"][6]))


@pytest.mark.parametrize("source,target", [
    (a, b) for a, b in CASTS if a.bits == b.bits and dtypes.bool_ not in (a, b)],
    ids=lambda v: str(v))
def test_bitcasts(source, target):
    kernel, arrays = apply_kernel(lambda a: scalar.bitcast(a, target), [(source, awkward(source))],
                                  target)
    check(kernel, arrays, [len(awkward(source))])


@pytest.mark.parametrize("dtype", dtypes.INTS, ids=str)
@pytest.mark.parametrize("by", [1, 2, 3, 7, 64])
def test_division_by_literals(dtype, by):
    x = awkward(dtype)
    for f in (scalar.floordiv, scalar.mod):
        kernel, arrays = apply_kernel(lambda a, f=f: f(a, by), [(dtype, x)], dtype)
        check(kernel, arrays, [len(x)])


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("bound", [0.0, -0.0, 1.0, -6.0, float("inf"), float("nan")])
def test_extremes_with_literals(name, bound):
    for dtype in dtypes.FLOATS:
        x = awkward(dtype)
        for f in (lambda a: scalar.ALL[name](a, bound), lambda a: scalar.ALL[name](bound, a)):
            kernel, arrays = apply_kernel(f, [(dtype, x)], dtype)
            check(kernel, arrays, [len(x)])


@pytest.mark.parametrize("name", ["shl", "shr"])
@pytest.mark.parametrize("by", [0, 1, 7, 8, 31, 32, 63, 64, -1])
def test_shifts_by_literals(name, by):
    for dtype in (dtypes.int8, dtypes.int32, dtypes.uint32, dtypes.int64, dtypes.uint64):
        if by < 0 and dtype.kind == "uint":
            continue
        x = awkward(dtype)
        kernel, arrays = apply_kernel(lambda a: scalar.ALL[name](a, by), [(dtype, x)], dtype)
        check(kernel, arrays, [len(x)])


TREES = [("sum", d) for d in (*dtypes.FLOATS, dtypes.int32, dtypes.uint8)]
TREES += [(m, d) for m in ("max", "min") for d in dtypes.NATIVE]
TREES += [("prod", dtypes.float32), ("prod", dtypes.int64), ("any", dtypes.bool_),
          ("all", dtypes.bool_)]


@pytest.mark.parametrize("monoid,dtype", TREES, ids=lambda v: str(v))
def test_lane_trees_combine_in_the_stated_order(monoid, dtype):
    v = var("v", dtype, LANES)
    kernel = Kernel("k", [Buffer("a", dtype), Buffer("out", dtype, True)], [], [
        Set(v, load("a", lit(0, index), dtype, LANES)),
        Store("out", lit(0, index), lane_tree(monoid, v))])
    for seed in range(5):
        x = np.random.default_rng(seed).standard_normal(16) * 3
        if dtype.kind in ("bool", "uint"):
            x = x > seed / 3 - 2 if dtype is dtypes.bool_ else np.abs(x)
        check(kernel, {"a": x.astype(dtype.numpy), "out": np.zeros(1, dtype.numpy)})


@pytest.mark.parametrize("dtype", dtypes.FLOATS + dtypes.INTS, ids=str)
def test_scalars_without_an_instruction_are_expanded(dtype):
    x = awkward(dtype)
    f = scalar.rsqrt if dtype.is_float else scalar.sign
    kernel, arrays = apply_kernel(f, [(dtype, x)], dtype)
    check(kernel, arrays, [len(x)])


def test_a_scalar_that_has_neither_is_named():
    d = dtypes.float32
    kernel, _ = apply_kernel(scalar.erf, [(d, awkward(d))], d)
    expand, scalar.erf.expand = scalar.erf.expand, None
    try:
        with pytest.raises(UnsupportedError, match="erf of float32"):
            emit(kernel, AVX512)
    finally:
        scalar.erf.expand = expand


def test_long_chains_need_no_recursion():
    d = dtypes.float32
    x = load("a", i, d)
    e = x
    for step in range(3000):
        e = e * 0.5 + x if step % 2 else abs(e)
    kernel = Kernel("k", [Buffer("a", d), Buffer("out", d, True)], [n],
                    [Loop(i, lit(0, index), n, [Store("out", i, e)], "vector")])
    assert emit(kernel, AVX512).text.count("fmul") == 3000


@pytest.mark.parametrize("dtype", dtypes.FLOATS, ids=str)
def test_float_literals_are_rounded_to_their_dtype(dtype):
    zeros = np.zeros(1, dtype.numpy)
    for value in (0.1, -0.0, np.inf, 1e-45, 65504.0, 1 / 3, 1e39):
        kernel, arrays = apply_kernel(lambda a, v=value: scalar.where(
            scalar.eq(a, a), lit(v, dtype), a), [(dtype, zeros)], dtype)
        check(kernel, arrays, [1])
