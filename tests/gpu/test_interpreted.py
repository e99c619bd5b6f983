"""Law: what a device's kernels compute is what the processor computes, op by op.

Triton's interpreter runs them. Where nothing is summed along a tile the bits are the processor's;
sums and products are in the device's order, and within the errors of `test_reference`.
"""

import numpy as np
import pytest
from ml_dtypes import bfloat16, float8_e4m3fn, float8_e5m2

pytest.importorskip("triton")

from gpu.cases import each_case, in_the_processor_s_order, plan_of
from gpu.interpreted import Interpreted
from ops.cases import CASES, compiled, execute, is_float, same_bits
from ops.test_reference import SUMMED, epsilon, errors

import lamella
from lamella.engine.device import DeviceExecutable


def agree(program, arrays) -> None:
    """Whether a device's results are the processor's, to the bit where no tile is summed."""
    plan = plan_of(program)
    found = DeviceExecutable(plan, Interpreted())(arrays)
    exact = in_the_processor_s_order(plan)
    for x, y in zip(found, execute(compiled(program), arrays), strict=True):
        if exact or not is_float(y):
            assert same_bits(x, y)
        else:
            assert errors(x, y, epsilon(y, y.dtype)).max(initial=0.0) <= SUMMED


@pytest.mark.parametrize("case", **each_case)
def test_a_device_computes_what_the_processor_does(case):
    agree(case.program(), case.arrays)


def _normal(*shape, dtype=np.float32):
    return np.random.default_rng(3).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (3, 1000), (130, 33)])
def test_rows_of_awkward_lengths(shape):
    agree(lamella.trace(lamella.softmax, lamella.spec(shape)), [_normal(*shape)])


def test_a_row_longer_than_a_program_holds_is_swept():
    agree(lamella.trace(lamella.softmax, lamella.spec((2, 20000))), [_normal(2, 20000)])


@pytest.mark.parametrize("m, k, n", [(1, 1, 1), (5, 0, 3), (17, 33, 65), (64, 128, 64)])
def test_products_of_awkward_sizes(m, k, n):
    def f(a, b, c):
        return lamella.relu(a @ b + c)
    arrays = [_normal(m, k), _normal(k, n), _normal(n)]
    agree(lamella.trace(f, *(lamella.spec(a.shape) for a in arrays)), arrays)


def test_products_of_bfloat16_are_summed_in_float32():
    a, b = _normal(40, 70, dtype=bfloat16), _normal(70, 24, dtype=bfloat16)
    program = lamella.trace(lambda x, y: x @ y + 1.0, lamella.spec(a.shape, "bfloat16"),
                            lamella.spec(b.shape, "bfloat16"))
    found, = DeviceExecutable(plan_of(program), Interpreted())([a, b])
    exact = a.astype(np.float64) @ b.astype(np.float64)
    rounded = (exact.astype(bfloat16) + bfloat16(1.0)).astype(np.float64)
    assert np.abs(found.astype(np.float64) - rounded).max() <= 0.5 ** 7 * np.abs(exact).max()


@pytest.mark.parametrize("turned", [False, True])
def test_a_factor_of_float32_is_narrowed_where_it_is_loaded(turned):
    def f(x, w):
        return x @ (w.mT if turned else w).astype("bfloat16")

    x, w = _normal(24, 64, dtype=bfloat16), _normal(*((32, 64) if turned else (64, 32)))
    program = lamella.trace(f, lamella.spec(x.shape, "bfloat16"), lamella.spec(w.shape))
    plan = plan_of(program)
    assert len(plan.launches()) == 1
    found, = DeviceExecutable(plan, Interpreted())([x, w])
    exact = x.astype(np.float64) @ (w.T if turned else w).astype(bfloat16).astype(np.float64)
    assert np.abs(found.astype(np.float64) - exact).max() <= 0.5 ** 8 * np.abs(exact).max()


def float8s(m, k, n, left, right, wide, lead=()):
    """(a scaled product of widened float8s, its operands: any bytes but infinities and NaN)."""
    def f(a, b, s):
        return (a.astype(wide) @ b.astype(wide)).astype("float32") * s
    rng = np.random.default_rng(m * k + n)
    arrays = [np.where(np.isfinite(x), x, 0).astype(d) for x, d in (
        (rng.integers(0, 256, (*lead, *shape)).astype("uint8").view(d).astype("float32"), d)
        for shape, d in (((m, k), left), ((k, n), right)))]
    specs = [lamella.spec(a.shape, a.dtype) for a in arrays]
    return lamella.trace(f, *specs, lamella.spec((n,))), [*arrays, _normal(n)]


@pytest.mark.parametrize("left, right, wide", [
    (float8_e4m3fn, float8_e4m3fn, "float32"), (float8_e5m2, float8_e5m2, "float32"),
    (float8_e4m3fn, float8_e5m2, "float32"), (float8_e4m3fn, float8_e4m3fn, "bfloat16")],
    ids=lambda x: x if isinstance(x, str) else np.dtype(x).name)
@pytest.mark.parametrize("m, k, n, lead", [(1, 1, 1, ()), (5, 0, 3, ()), (17, 33, 65, ()),
                                           (70, 300, 40, (2,)), (24, 4200, 16, ())])
def test_products_of_float8_are_those_of_their_numbers(left, right, wide, m, k, n, lead):
    program, (a, b, s) = float8s(m, k, n, left, right, wide, lead)
    plan = plan_of(program)
    assert not any(x.dtype.bits == 32 and x.count == a.size for x in plan.temporaries if k)
    found, = DeviceExecutable(plan, Interpreted())([a, b, s])
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    small = 2.0 ** -20 * size + (2.0 ** -8 * np.abs(exact) if wide == "bfloat16" else 0)
    assert (np.abs(found - exact * s) <= small * np.abs(s)).all()


def test_a_float8_beside_another_dtype_is_widened():
    def f(a, b):
        return a.astype("bfloat16") @ b
    a, b = np.ones((8, 40), float8_e5m2), _normal(40, 8, dtype=bfloat16)
    program = lamella.trace(f, lamella.spec(a.shape, a.dtype), lamella.spec(b.shape, b.dtype))
    found, = DeviceExecutable(plan_of(program), Interpreted())([a, b])
    exact = b.astype(np.float64).sum(axis=0)
    assert np.abs(found.astype(np.float64) - exact).max() <= 2.0 ** -7 * np.abs(exact).max()


@pytest.mark.parametrize("lead, m, k, n", [((), 60, 4200, 40), ((2,), 9, 3000, 17),
                                            ((), 1, 6000, 1)])
def test_products_in_parts(lead, m, k, n):
    def f(a, b, c):
        product = a @ b
        return lamella.relu(product + c), product * 2.0
    arrays = [_normal(*lead, m, k), _normal(*lead, k, n), _normal(n)]
    program = lamella.trace(f, *(lamella.spec(a.shape) for a in arrays))
    assert [s.kernel.name for s in plan_of(program).launches()] == ["contraction", "rows"]
    agree(program, arrays)


def test_a_product_in_parts_serves_every_length():
    n = lamella.symbol("n", 1, 5000)
    program = lamella.trace(lambda a, b: a @ b, lamella.spec((8, n)), lamella.spec((n, 8)))
    assert len(plan_of(program).launches()) == 2
    run = DeviceExecutable(plan_of(program), Interpreted())
    for length in (1, 700, 5000):
        a, b = _normal(8, length), _normal(length, 8)
        assert np.allclose(run([a, b])[0], a @ b, atol=1e-3)


ATTENTION = [c for c in CASES if c.op.name in ("attend", "attend_pullback")]
KERNELS = {"attend": ["attention"],
           "attend_pullback": ["attention_sums", "attention_of_queries", "attention_of_keys"]}


@pytest.mark.parametrize("case", ATTENTION, ids=[c.name for c in ATTENTION])
def test_attention_stores_nothing_of_the_scores_size(case):
    names = [step.kernel.name for step in plan_of(case.program()).launches()]
    assert names == KERNELS[case.op.name]
    agree(case.program(), case.arrays)


def test_attention_of_bfloat16_keeps_weights_of_float32():
    arrays = [_normal(4, 70, 32, dtype=bfloat16), *(_normal(2, 90, 32, dtype=bfloat16)
                                                    for _ in range(2))]
    program = lamella.trace(lambda q, k, v: lamella.attention(q, k, v, causal=True),
                            *(lamella.spec(a.shape, "bfloat16") for a in arrays))
    found, = DeviceExecutable(plan_of(program), Interpreted())(arrays)
    want, = execute(compiled(program), arrays)
    apart = np.abs(found.astype(np.float64) - want.astype(np.float64))
    assert apart.max() <= 0.5 ** 8 * np.abs(want.astype(np.float64)).max()


def test_a_reduction_in_parts():
    x = _normal(600, 300)
    agree(lamella.trace(lambda a: (a.sum(), a.sum(axis=0), a.max(axis=0)), lamella.spec(x.shape)),
          [x])


def test_one_plan_serves_every_length():
    n = lamella.symbol("n", 1, 64) if hasattr(lamella, "symbol") else None
    if n is None:
        pytest.skip("no symbols at the top level")
    program = lamella.trace(lambda a: lamella.softmax(a * 2.0), lamella.spec((n, 10)))
    run = DeviceExecutable(plan_of(program), Interpreted())
    for length in (1, 7, 64):
        x = _normal(length, 10)
        want = execute(compiled(program), [x])
        assert np.allclose(run([x])[0], want[0], atol=1e-6)


def test_a_training_step():
    def loss(w, v, x, y):
        scores = lamella.relu(x @ w) @ v
        return lamella.cross_entropy(scores, y).mean()

    arrays = [_normal(12, 20), _normal(20, 10), _normal(32, 12),
              np.arange(32, dtype=np.int32) % 10]
    step = lamella.value_and_grad(loss)
    agree(lamella.trace(step, *(lamella.spec(a.shape, str(a.dtype)) for a in arrays)), arrays)


def _fused(x, s, w):
    return lamella.relu((x * s[:, None]).astype("bfloat16") @ w)


def test_a_factor_of_few_operations_is_computed_where_it_is_loaded():
    for k in (70, 128):
        arrays = [_normal(40, k), _normal(40), _normal(k, 24, dtype=bfloat16)]
        program = lamella.trace(_fused, *(lamella.spec(a.shape, str(a.dtype)) for a in arrays))
        step, = plan_of(program).launches()
        assert step.kernel.name == "contraction"
        found, = DeviceExecutable(plan_of(program), Interpreted())(arrays)
        want, = execute(compiled(program), arrays)
        apart = np.abs(found.astype(np.float64) - want.astype(np.float64))
        assert apart.max() <= 0.5 ** 7 * np.abs(want.astype(np.float64)).max()


@pytest.mark.parametrize("f", [lambda x, y: (x + 1.0) @ (y - 1.0), lambda x, y: (1.0 / x) @ y,
                               lambda x, y: (x + 1.0).T @ y,
                               lambda x, y: lamella.where(x > 0, x, 1.0)[None] @ y[None]])
def test_nothing_beyond_the_summed_positions_is_added(f):
    x, y = _normal(33, 33), _normal(33, 33)
    program = lamella.trace(f, lamella.spec(x.shape), lamella.spec(y.shape))
    assert len(plan_of(program).launches()) == 1
    agree(program, [x, y])


@pytest.mark.parametrize("f, shape", [
    (lambda x, y: (x * 2.0) @ y, (300, 300)), (lambda x, y: lamella.exp(x) @ y, (40, 40)),
    (lambda x, y: (lambda z: z @ z)(x * 2.0), (40, 40)), (lambda x, y: (x * y) @ y, (40, 40))])
def test_a_factor_that_is_dear_or_computed_often_or_of_much_is_stored(f, shape):
    program = lamella.trace(f, lamella.spec(shape), lamella.spec(shape))
    assert len(plan_of(program).launches()) == 2
