"""A run on a device is measured: its bytes are the plan's, and each step has a time."""

import numpy as np
import pytest

pytest.importorskip("triton")

from gpu.interpreted import Interpreted

import lamella
from lamella.base.errors import UnsupportedError
from lamella.engine import measure_device, stations
from lamella.runtime import cuda


class Clock(Interpreted):
    """Work takes as many milliseconds as it has launches; each kernel has 4 KiB of code."""

    def __init__(self):
        super().__init__()
        self.kernels = 0

    def load(self, codes):
        self.kernels += len(codes)
        return super().load(codes)

    def room(self):
        return super().room() - 4096 * self.kernels

    def seconds(self, work):
        before = len(self.log)
        work()
        return 1e-3 * (len(self.log) - before)


@pytest.fixture
def device(monkeypatch):
    found = Clock()
    monkeypatch.setattr(cuda, "device", lambda index: found)
    monkeypatch.setattr(stations, "_stations", {})
    monkeypatch.setattr(measure_device, "RUNS", 2)
    monkeypatch.setattr(measure_device, "REPEATS", 1)
    return found


def _step(w, x):
    g = lamella.grad(lambda w: lamella.square(lamella.tanh(x @ w)).mean())(w)
    return w - 0.1 * g


def test_a_run_on_a_device_touches_what_is_planned(device):
    rng = np.random.default_rng(0)
    w, x = (rng.standard_normal(s).astype(np.float32) for s in ((16, 8), (4, 16)))
    run = lamella.compile(_step, device="cuda:0", donate="w")
    given = lamella.asarray(w), lamella.asarray(x)
    found, planned = lamella.measure(run, *given), lamella.plan(run, *given)
    assert found.peak == planned.peak and found.temporaries == planned.memory.temporaries > 0
    steps = planned.plan.steps
    assert found.seconds == pytest.approx(1e-3 * len(steps))
    assert found.code == 4096 * device.kernels
    device.context_bytes = 300 << 20
    again = lamella.measure(run, *given)
    assert again.context == 300 << 20 and again.peak == found.peak and found.context == 0
    assert "context 300.00 MiB" in str(again) and "context" not in str(planned)
    assert "context        300.00 MiB   beside the peak" in str(lamella.plan(run, *given))
    spent = [found.report.spent([s]) for s in found.report.plan.steps]
    assert spent == pytest.approx([1e-3] * len(steps))
    assert "planned" in str(found) and "measured" in str(found.report)
    assert np.array_equal(given[0].numpy(), w)      # it ran on copies
    assert "of peak" in lamella.explain(run, *given, run=True)


def test_several_devices_are_not_measured_together(device):
    run = lamella.compile(lambda x: lamella.to_device(lamella.sin(x), "cuda:0") + 1.0)
    with pytest.raises(UnsupportedError, match="several devices"):
        lamella.measure(run, lamella.ones((4,)))
