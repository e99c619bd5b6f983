"""Programs priced by the peak rates of a device."""

from __future__ import annotations

import json

import numpy as np
import pytest

import lamella
from lamella.base.errors import BudgetError, LamellaError
from lamella.engine.device import DeviceExecutable
from lamella.planner.page import page
from lamella.planner.pricing.roofline import device
from lamella.runtime.device import NullDevice


def product(n: int, **options):
    return lamella.plan(lambda a, b: a @ b, lamella.spec((n, n)), lamella.spec((n, n)), **options)


def test_a_large_product_is_bound_by_operations_and_a_map_by_bytes():
    h200, n = device("h200"), 16384
    large = product(n, profile="h200")
    assert large.seconds == pytest.approx(2 * n ** 3 / h200.flops, rel=0.05)
    moved = lamella.plan(lambda x: x * 2, lamella.spec((1 << 30,)), profile="h200")
    assert moved.seconds == pytest.approx(8 * 2 ** 30 / h200.bandwidth + h200.launch, rel=0.01)
    assert "H200" in str(large)
    assert "<svg" in page(large)


def test_what_does_not_fit_is_said():
    assert "does not fit" in str(product(1 << 17, profile="h200"))
    assert "does not fit" not in str(product(1 << 10, profile="h200"))


def test_a_device_can_be_stated_in_a_file(tmp_path):
    file = tmp_path / "slow.json"
    file.write_text(json.dumps({"name": "slow", "flops": 1e9, "bandwidth": 1e9, "launch": 0,
                                "memory": 1e9}))
    assert product(1000, profile=str(file)).seconds >= 2.0
    file.write_text('{"name": "slow"}')
    with pytest.raises(LamellaError, match="bandwidth"):
        product(10, profile=str(file))
    with pytest.raises(LamellaError, match="known: h200"):
        product(10, profile="h2000")
    with pytest.raises(LamellaError, match=r"none\.json cannot be read: No such .*test_roofline"):
        product(10, profile=str(tmp_path / "none.json"))


def small_step(w, v, x):
    def loss(w, v):
        return lamella.square(lamella.gelu(x @ w) @ v).mean()
    (a, b) = lamella.grad(loss, argnums=(0, 1))(w, v)
    return w - 0.1 * a, v - 0.1 * b, lamella.sort(x, axis=-1)


def test_a_gpu_s_bytes_are_those_that_it_is_asked_for():
    """Each allocation of the device is one of the plan's, up to alignment."""
    arrays = [lamella.spec(s) for s in ((64, 48), (48, 32), (40, 64))]
    found = lamella.plan(lamella.compile(small_step, donate=("w",)), *arrays, profile="h200")
    assert found.plan.level == "tiles" and {s.kernel.name for s in found.plan.launches()}
    null = NullDevice()
    run = DeviceExecutable(found.plan, null)
    run([np.zeros(t.shape, np.float32) for t in found.plan.program.input_types])
    allocations = null.memory.known.values()
    assert abs(found.peak - sum(map(len, allocations))) <= 256 * len(allocations)
    assert found.memory.scratch >= run.bound[()].workspace > 0


def test_products_of_16_bits_are_priced_by_tensor_cores():
    h200, n = device("h200"), 16384
    for dtype, rate in (("float32", h200.flops), ("bfloat16", h200.tensor_flops)):
        a = lamella.spec((n, n), dtype)
        found = lamella.plan(lambda a, b: a @ b, a, a, profile="h200")
        assert found.seconds == pytest.approx(2 * n ** 3 / rate, rel=0.05)


def test_a_budget_on_a_gpu_is_kept_or_refused():
    def step(w, x):
        def loss(w):
            for _ in range(6):
                x_ = lamella.tanh(x @ w)
            y = x_
            for _ in range(6):
                y = lamella.tanh(y @ w) * y
            return y.sum()
        return lamella.grad(loss)(w)

    given = lamella.spec((256, 256)), lamella.spec((4096, 256))
    free = lamella.plan(step, *given, profile="h200")
    within = lamella.plan(step, *given, profile="h200", memory=free.peak * 3 // 4)
    assert within.peak <= free.peak * 3 // 4 and within.recomputed
    with pytest.raises(BudgetError):
        lamella.plan(step, *given, profile="h200", memory="1 MiB")
