"""The null device replays whole plans, and finds what is wrong with a launch."""

import numpy as np
import pytest
from gpu.cases import plan_of

import lamella
from lamella.base.errors import ExecutionError
from lamella.engine.device import DeviceExecutable
from lamella.runtime.device import Code, NullDevice, Span

CODE = Code("", "k", (("b0", "*fp32"), ("b1", "*fp32"), ("n0", "i32")), (0, 1), 4, 1)


def _loss(w, x):
    return lamella.square(lamella.tanh(x @ w)).mean()


def test_a_plan_is_replayed_and_its_memory_given_back():
    device = NullDevice()
    specs = [lamella.spec((64, 48)), lamella.spec((32, 64))]
    program = lamella.trace(lamella.value_and_grad(_loss), *specs)
    plan = plan_of(program)
    run = DeviceExecutable(plan, device)
    found = run([np.zeros((64, 48), np.float32), np.zeros((32, 64), np.float32)])
    assert [a.shape for a in found] == [(), (64, 48)]
    assert len(device.log) == len(plan.launches())
    run.close()
    assert not device.memory.known


def test_from_the_second_call_on_a_record_is_replayed():
    class Recording(NullDevice):
        replays = 0

        def record(self, work):
            def again():
                self.replays += 1
                work()
            return again

    device = Recording()
    program = lamella.trace(_loss, lamella.spec((64, 48)), lamella.spec((32, 64)))
    run = DeviceExecutable(plan_of(program), device)
    for _ in range(3):
        run([np.zeros((64, 48), np.float32), np.zeros((32, 64), np.float32)])
    assert device.replays == 2 and len(device.log) % 3 == 0


def test_a_loop_runs_its_trips():
    device = NullDevice()

    def f(x):
        return lamella.fori_loop(0, 5, lambda i, y: lamella.sin(y), x)

    program = lamella.trace(f, lamella.spec((8,)))
    DeviceExecutable(plan_of(program), device)([np.zeros(8, np.float32)])
    assert len(device.log) >= 5


@pytest.fixture
def device():
    found = NullDevice()
    x, y = found.allocate(64), found.allocate(64)
    found.upload(x, np.zeros(64, np.uint8))
    return found, x, y


def _spans(x, y, size=64, start=0):
    return [Span(x + start, x, size, False), Span(y, y, size, True)]


def test_a_right_launch_passes(device):
    found, x, y = device
    found.launch(CODE, 1, _spans(x, y), [16])
    found.download(np.zeros(64, np.uint8), y)


@pytest.mark.parametrize("change, message", [
    (lambda d, x, y: d.launch(CODE, 1, _spans(x, y), []), "takes 3 arguments"),
    (lambda d, x, y: d.launch(CODE, 0, _spans(x, y), [16]), "over 0 programs"),
    (lambda d, x, y: d.launch(CODE, 1, _spans(x, y), [1 << 31]), "is not an i32"),
    (lambda d, x, y: d.launch(CODE, 1, _spans(x, y, start=4), [16]), "no multiple of 16"),
    (lambda d, x, y: d.launch(CODE, 1, _spans(x, y, size=65), [16]), "within one"),
    (lambda d, x, y: d.launch(CODE, 1, _spans(y, x), [16]), "nothing has written"),
    (lambda d, x, y: d.download(np.zeros(64, np.uint8), y), "nothing has written"),
    (lambda d, x, y: d.free(x + 1), "no allocation"),
])
def test_a_wrong_one_is_found(device, change, message):
    with pytest.raises(ExecutionError, match=message):
        change(*device)
