"""Arrays of a GPU for other libraries: the interpreter has host memory, so that NumPy reads it."""

import ctypes

import numpy as np
import pytest

pytest.importorskip("triton")

from gpu.installed import install
from gpu.interpreted import Interpreted
from gpu.stand_in import Driver

import lamella
from lamella.api.arrays import exchange, lending
from lamella.base.devices import named
from lamella.base.errors import CopyError, UnsupportedError
from lamella.engine import stations
from lamella.runtime import cuda

DEVICES = {b"dltensor": 8, b"dltensor_versioned": 32 + 8}


@pytest.fixture
def device(monkeypatch):
    found = install(monkeypatch, Interpreted())
    yield found
    lending._lent.clear()


class AsHost:
    """An array of the device whose capsules say that it is the host's, as it is here."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, *, dl_device=None, **options):
        capsule = self.x.__dlpack__(**options)
        name = exchange._name_of(capsule)
        place = exchange._pointer_of(capsule, name) + DEVICES[name]
        kind = (ctypes.c_int32 * 2).from_address(place)
        assert tuple(kind) == (2, 0)
        kind[0] = 1
        return capsule

    def __dlpack_device__(self):
        return 1, 0


def _there(array):
    return lamella.asarray(array, device="cuda:0")


def _blocks():
    return stations.station(named("cuda:0")).blocks


def test_values_are_read_where_they_lie(device):
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x = _there(a) * 2.0
    assert x.__dlpack_device__() == (2, 0)
    seen = np.from_dlpack(AsHost(x))
    assert np.array_equal(seen, 2 * a) and not seen.flags.writeable
    assert seen.ctypes.data == x.node.data.address
    assert device.log[-1] == "lead 1"       # the consumer's stream waits for ours
    x.__dlpack__(stream=7, max_version=(1, 0))
    assert device.log[-1] == "lead 7"
    x.__dlpack__(stream=-1, max_version=(1, 0))
    assert device.log[-1] == "lead 7"


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float32",
                                   "float64", "complex64"])
def test_dtypes_and_shapes(device, dtype):
    for shape in ((), (3,), (2, 0, 3), (2, 3)):
        a = np.ones(shape, dtype)
        seen = np.from_dlpack(AsHost(_there(a)))
        assert seen.dtype == a.dtype and np.array_equal(seen, a)


@pytest.mark.parametrize("dtype, code", [("bfloat16", 4), ("float8_e4m3fn", 10),
                                         ("float8_e5m2", 12)])
def test_narrow_floats_have_their_codes(device, dtype, code):
    x = lamella.asarray([1.0, -2.0]).astype(dtype).to_device("cuda:0")
    capsule = x.__dlpack__(max_version=(1, 0))
    assert tuple(exchange._named(capsule)) == (code, x.dtype.bits)


def test_a_consumer_that_knows_no_flags_gets_a_copy(device):
    x = _there(np.ones(5, np.float32))
    for options in ({}, {"copy": True, "max_version": (1, 1)}):
        capsule = x.__dlpack__(**options)
        name = exchange._name_of(capsule)
        at = exchange._pointer_of(capsule, name) + DEVICES[name] - 8
        assert ctypes.c_uint64.from_address(at).value != x.node.data.address
    with pytest.raises(CopyError, match="read-only"):
        x.__dlpack__(copy=False)


def test_what_cannot_be_handed_on_is_refused(device):
    x = _there(np.ones(5, np.float32))
    with pytest.raises(UnsupportedError, match="stream 0 may be either of two"):
        x.__dlpack__(stream=0, max_version=(1, 0))
    with pytest.raises(CopyError, match="use to_device"):
        x.__dlpack__(dl_device=(2, 1))
    with pytest.raises(CopyError, match="use to_device"):
        x.__dlpack__(dl_device=(1, 0), copy=False)
    here = x.__dlpack__(dl_device=(1, 0), max_version=(1, 0))
    assert exchange._name_of(here) == b"dltensor_versioned"


def test_memory_is_used_again_only_after_the_consumer_s_work(device):
    x = _there(np.ones(1000, np.float32))
    seen, at = np.from_dlpack(AsHost(x)), x.node.data.address
    del x
    assert _blocks().used_bytes == 4096 and lending._lent
    del seen
    assert not lending._lent and _blocks().returned and "quiet" not in device.log
    y = _there(np.zeros(1000, np.float32))
    assert "quiet" in device.log and y.node.data.address == at
    assert _blocks().used_bytes == 4096


def test_a_capsule_that_nobody_takes_gives_back_too(device):
    x = _there(np.ones(1000, np.float32))
    for version in ((1, 0), None):
        capsule = x.__dlpack__(max_version=version)
        assert len(lending._lent) == 1
        del capsule
        assert not lending._lent


def test_what_is_lent_is_not_overwritten_by_a_donation(device):
    x = _there(np.ones(8, np.float32))
    seen = np.from_dlpack(AsHost(x))
    found = lamella.compile(lambda x: x + 1.0, donate=0, device="cuda:0")(x)
    assert seen.tolist() == [1.0] * 8 and found.numpy().tolist() == [2.0] * 8


def test_nothing_is_waited_for_while_work_is_recorded(device, monkeypatch):
    x = _there(np.ones(8, np.float32))
    monkeypatch.setattr(device, "record", lambda work: work() or work)

    def work():
        x.__dlpack__(max_version=(1, 0))    # dropped at once
        _blocks().allocate(8)
        assert "quiet" not in device.log

    _blocks().record(work)
    assert "quiet" in device.log and not _blocks().returned


def test_the_driver_is_asked(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    found = cuda.Cuda(0)
    found.lead(5)
    assert driver.called("cuStreamWaitEvent")[-1] == (5, "event", 0)
    found.quiet()
    assert driver.called("cuCtxSynchronize")


def test_pytorch_takes_them(device):
    torch = pytest.importorskip("torch")
    x = _there(np.arange(6, dtype=np.float32).reshape(2, 3))
    seen = torch.from_dlpack(AsHost(x))
    assert seen.tolist() == x.numpy().tolist() and seen.data_ptr() == x.node.data.address
    del seen
    assert not lending._lent
