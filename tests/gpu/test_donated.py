"""A call on devices that fails: arguments that it may have overwritten say so, others are whole."""

import numpy as np
import pytest

pytest.importorskip("triton")

from engine.raising import raising
from gpu.installed import install
from gpu.interpreted import Interpreted

import lamella
from lamella.base.errors import AllocationError, DonatedError, ExecutionError
from lamella.engine import stations


class Failing(Interpreted):
    """The n-th launch from now on (`launches`) raises `error`, and so does what asks for more
    memory once there is no `room`."""

    launches, error, full = 0, None, False

    def launch(self, kernel, programs, spans, sizes):
        self.launches -= 1
        if not self.launches:
            raise self.error
        super().launch(kernel, programs, spans, sizes)

    def allocate(self, size):
        if self.full:
            raise AllocationError("the device has no room")
        return super().allocate(size)


@pytest.fixture
def device(monkeypatch):
    return install(monkeypatch, Failing())


def arrays(home="cuda:0"):
    found = [lamella.asarray(np.full(64, k, "float32"), device=home) for k in range(4)]
    [a.numpy() for a in found]
    return found


def refused(f, given, k):
    """Whether each use of an argument says that the failed call overwrote it."""
    a = given[k]
    for use in (a.numpy, (a + 1).numpy, lambda: f(*given)):
        with pytest.raises(DonatedError, match="donated to f at test_donated.py:.*the call failed "
                                               "when it was overwritten already"):
            use()


def whole(given, *numbers):
    return [given[k].tolist() for k in numbers] == [[float(k)] * 64 for k in numbers]


def f(s, t, u, x):
    """s and t are overwritten, by one kernel or two; u's memory is not needed."""
    a = lamella.flip(s, axis=0) + 1.0
    return a, t * (lamella.softmax(a) + x)[0], u.sum() + x.sum()


@pytest.mark.parametrize("warm", (0, 3))
@pytest.mark.parametrize("error", (ExecutionError("no"), KeyboardInterrupt()))
def test_a_launch_that_fails_loses_what_its_plan_overwrites(device, warm, error):
    step = lamella.compile(f, donate=("s", "t", "u"), device="cuda:0")
    for _ in range(warm + 1):
        before = step(*arrays())
    device.launches, device.error = 1, error
    given = arrays()
    with pytest.raises(type(error)):
        step(*given)
    entry, = step.entries.values()
    stage, = entry.executable.route.stages
    lost = entry.executable.written[id(stage)]
    assert lost and 2 not in lost and whole(given, *{2, 3} | ({0, 1} - lost))
    for k in lost:
        refused(step, given, k)
    again = step(*arrays())
    assert all(a.tolist() == b.tolist() for a, b in zip(again, before, strict=True))


def test_a_device_without_room_loses_nothing(device):
    step = lamella.compile(f, donate=("s", "t", "u"), device="cuda:0")
    given = arrays()
    device.full = True
    stations.station(lamella.base.devices.named("cuda:0")).blocks.trim()
    with pytest.raises(AllocationError, match="no room"):
        step(*given)
    device.full = False
    assert whole(given, 0, 1, 2, 3)
    assert step(*given)[0].tolist() == [1.0] * 64
    with pytest.raises(DonatedError, match="use the array that the call returned"):
        given[0].numpy()


def staged(raises):
    """A function that overwrites s on the device, then calls a host function, which raises what
    stands in the list, and then overwrites t on the device."""
    maybe = raising(raises)

    def f(s, t, u, x):
        a = s + 1.0
        there = lamella.to_device(maybe(lamella.to_device(a, "cpu") * 2.0), "cuda:0")
        return a, t * there, x.sum()

    return lamella.compile(f, donate=("s", "t", "u"))


@pytest.mark.parametrize("warm", (0, 2))
@pytest.mark.parametrize("error", (KeyError("no"), KeyboardInterrupt()))
def test_only_what_stages_that_began_overwrite_is_lost(device, warm, error):
    raises = []
    step = staged(raises)
    for _ in range(warm):
        step(*arrays())
    raises.append(error)
    given = arrays()
    with pytest.raises(ExecutionError if isinstance(error, KeyError) else KeyboardInterrupt):
        step(*given)
    refused(step, given, 0)
    assert whole(given, 1, 2, 3)
    raises.clear()
    a, b, total = step(arrays()[0], *given[1:])
    assert a.tolist() == [1.0] * 64 and b.tolist() == [2.0] * 64 and float(total) == 192.0
    for k in (1, 2):
        with pytest.raises(DonatedError, match="use the array that the call returned"):
            given[k].numpy()


def test_a_stage_of_the_processor_that_fails_first_loses_nothing(device):
    raises = [KeyError("no")]
    maybe = raising(raises)

    def f(s, x):
        return s + lamella.to_device(maybe(x), "cuda:0")

    step = lamella.compile(f, donate="s")
    s, x = arrays()[1], arrays("cpu")[2]
    with pytest.raises(ExecutionError, match="'no'"):
        step(s, x)
    assert s.tolist() == [1.0] * 64
    raises.clear()
    assert step(s, x).tolist() == [3.0] * 64
