"""Values that rest in the host's memory: planned, copied beside the work, and waited for."""

import numpy as np
import pytest

pytest.importorskip("triton")

from gpu.cases import plan_of
from gpu.interpreted import Interpreted
from gpu.stand_in import Driver

import lamella
from lamella.base.errors import BudgetError, ExecutionError
from lamella.codegen.gpu import SM90
from lamella.engine.device import DeviceExecutable
from lamella.planner.build import build_plan
from lamella.planner.memory.budget import Budget
from lamella.planner.plan import Copy
from lamella.planner.pricing.roofline import device as profile
from lamella.planner.report import Report
from lamella.runtime import cuda
from lamella.runtime.device import Code, NullDevice, Span

SIZE = 160
CODE = Code("", "k", (("b0", "*fp32"), ("b1", "*fp32")), (), 4, 1)


def _resting(x, w):
    """Values that are dear to make again, needed in the opposite order."""
    kept = []
    for _ in range(5):
        x = lamella.tanh(lamella.cumulative_sum(x @ w, axis=0) * 0.01)
        kept.append(x)
    for y in reversed(kept):
        x = lamella.sin(x @ w + y)
    return x


def _program(size=SIZE):
    return lamella.trace(_resting, lamella.spec((size, size)), lamella.spec((size, size)))


def _within(share: float):
    """The plan within a share of what it needs, and the budget."""
    program = _program()
    budget = int(Report(plan_of(program), profile("h200")).peak * share)
    return build_plan(program, SM90, budget=Budget(budget, 1, True)), budget


def _arrays():
    rng = np.random.default_rng(5)
    return [rng.standard_normal((SIZE, SIZE)).astype(np.float32) * 0.1 for _ in range(2)]


def test_a_budget_is_kept_by_values_on_the_host():
    plan, budget = _within(0.75)
    report = Report(plan, profile("h200"))
    assert report.peak <= budget and report.spilled
    assert "on the host" in str(report) and " host " in report.kernels()
    assert report.file_bytes >= SIZE * SIZE * 4
    with pytest.raises(BudgetError):
        build_plan(_program(), SM90, budget=Budget(budget // 8, 1, True))


def test_fetches_are_sent_for_before_they_are_needed():
    plan, _ = _within(0.8)
    ahead = 0
    for k, s in enumerate(plan.steps):
        if isinstance(s, Copy) and s.fetches:
            spill = next(i for i, t in enumerate(plan.steps)
                         if isinstance(t, Copy) and t.target is s.source_buffer)
            user = next(i for i, t in enumerate(plan.steps) if i > k and any(
                b.root is s.target.root for b in t.buffers()))
            assert spill < k < user
            ahead += user - k > 1
    assert ahead


def test_the_values_are_those_without_a_budget_and_nothing_is_touched_on_its_way():
    plan, _ = _within(0.75)
    arrays = _arrays()
    device = Interpreted()
    run = DeviceExecutable(plan, device)
    want = DeviceExecutable(plan_of(_program()), Interpreted())(arrays)
    for _ in range(3):      # the third is replayed
        assert np.array_equal(run(arrays)[0], want[0])
    assert {"send", "fetch"} <= set(device.log) and not device.under_way
    run.close()
    assert not device.memory.known and not device.pinned.known


class _Careless(NullDevice):
    """It forgets to wait."""

    def after(self, ticket):
        pass


def test_a_device_that_does_not_wait_is_found_out():
    plan, _ = _within(0.75)
    with pytest.raises(ExecutionError, match="on their way (to|from) the host"):
        DeviceExecutable(plan, _Careless())(_arrays())


def test_the_null_device_knows_what_is_on_its_way():
    device = NullDevice()
    x, y, there = device.allocate(256), device.allocate(256), device.pin(256)
    device.upload(x, np.zeros(256, np.uint8))
    with pytest.raises(ExecutionError, match="nothing has written"):
        device.fetch(y, there, 256)
    ticket = device.send(there, x, 256)
    device.launch(CODE, 1, [Span(x, x, 256, False), Span(y, y, 256, True)], [])     # it may be read
    with pytest.raises(ExecutionError, match="on their way to the host"):
        device.copy(x, y, 256)
    device.after(ticket)
    device.copy(x, y, 256)
    ticket = device.fetch(x, there, 256)
    with pytest.raises(ExecutionError, match="on their way from the host"):
        device.copy(y, x, 256)
    device.after(ticket)
    device.copy(y, x, 256)
    with pytest.raises(ExecutionError, match="within one"):
        device.send(there + 8, x, 256)


def test_copies_beside_the_work_wait_for_it_and_it_for_them(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    found = cuda.Cuda(0)
    x, there = found.allocate(64), found.pin(64)
    driver.calls.clear()
    found.after(found.send(there, x, 64))
    names = [c[0] for c in driver.calls if c[0] not in ("cuEventDestroy",)]
    assert names == ["cuEventCreate", "cuEventRecord", "cuStreamWaitEvent", "cuEventCreate",
                     "cuEventRecord", "cuStreamWaitEvent"]
    found.unpin(there)
    assert driver.called("cuMemFreeHost") == [(there,)]
