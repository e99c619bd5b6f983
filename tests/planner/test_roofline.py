"""Programs priced by the peak rates of a device."""

from __future__ import annotations

import json

import pytest

import lamella
from lamella.base.errors import LamellaError
from lamella.planner.page import page
from lamella.planner.pricing.roofline import device


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
