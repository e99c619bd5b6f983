"""Arrays of other libraries on a GPU, taken by DLPack; the interpreter is the GPU of both."""

import ctypes

import numpy as np
import pytest

pytest.importorskip("triton")

from gpu.installed import install
from gpu.interpreted import Interpreted
from gpu.stand_in import Driver

import lamella
from lamella.api.arrays import capsules, lending
from lamella.base.devices import named
from lamella.base.errors import CopyError, DTypeError, UnsupportedError
from lamella.engine import stations
from lamella.runtime import cuda


@pytest.fixture
def device(monkeypatch):
    return install(monkeypatch, Interpreted())


class Theirs:
    """An array of another library on the device; `strides` in elements."""

    def __init__(self, device, a, strides=None, offset=0, versioned=True, code=None, index=0):
        self.at = device.allocate(a.nbytes + 64)
        device.upload(self.at + offset, np.ascontiguousarray(a).reshape(-1).view(np.uint8))
        self.asked, self.freed, self.index, self.versioned = [], 0, index, versioned
        dtype = lamella.asarray(a).dtype
        step = np.array(a.strides, np.int64) // a.itemsize if strides is None else \
            np.array(strides, np.int64)
        self.numbers = np.array(a.shape, np.int64), step
        shape, strides = (n.ctypes.data for n in self.numbers)
        tensor = capsules.Tensor(self.at, 2, index, a.ndim, code or capsules.code_of(dtype),
                                 dtype.bits, 1, shape, strides, offset)
        self.deleter = capsules.Deleter(self.free)
        self.held = capsules.Versioned(1, 1, None, self.deleter, 0, tensor) if versioned else \
            capsules.Plain(tensor, None, self.deleter)

    def free(self, address):
        assert address == ctypes.addressof(self.held)
        self.freed += 1

    def __dlpack_device__(self):
        return 2, self.index

    def __dlpack__(self, stream, **options):
        if options and not self.versioned:
            raise TypeError("unexpected keyword")
        self.asked.append(stream)
        return lending._new(ctypes.addressof(self.held), self.held.name, lending._unused)


def _settled():
    stations.station(named("cuda:0")).blocks.settle()


@pytest.mark.parametrize("versioned", [True, False])
def test_values_are_used_where_they_lie(device, versioned):
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    theirs = Theirs(device, a, versioned=versioned)
    x = lamella.from_dlpack(theirs, copy=False)
    assert str(x.device) == "cuda:0" and x.node.data.address == theirs.at
    assert theirs.asked == [device.queue]       # they make their stream's work come before ours
    assert np.array_equal((x * 2.0).numpy(), 2 * a)


def test_they_are_copied_there_by_default(device):
    theirs = Theirs(device, np.ones(5, np.float32))
    x = lamella.from_dlpack(theirs)
    assert str(x.device) == "cuda:0" and x.node.data.address != theirs.at
    _settled()
    assert theirs.freed == 1 and x.numpy().tolist() == [1.0] * 5


def test_memory_goes_back_once_behind_all_work(device):
    theirs = Theirs(device, np.ones(5, np.float32))
    x = lamella.from_dlpack(theirs, copy=False)
    y = x + 1.0
    assert y.numpy().tolist() == [2.0] * 5
    del x
    assert not theirs.freed and "quiet" not in device.log
    _settled()
    assert theirs.freed == 1 and "quiet" in device.log


def test_what_is_borrowed_is_not_overwritten(device):
    theirs = Theirs(device, np.ones(8, np.float32))
    x = lamella.from_dlpack(theirs, copy=False)
    found = lamella.compile(lambda x: x + 1.0, donate=0, device="cuda:0")(x)
    assert found.numpy().tolist() == [2.0] * 8
    seen = np.zeros(32, np.uint8)
    device.download(seen, theirs.at)
    assert seen.view(np.float32).tolist() == [1.0] * 8


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "bfloat16",
                                   "float8_e5m2", "float64", "complex64"])
def test_dtypes_and_shapes(device, dtype):
    for shape in ((), (3,), (2, 0, 3), (2, 1, 3)):
        a = lamella.ones(shape, dtype=dtype).numpy()
        x = lamella.from_dlpack(Theirs(device, a))
        assert str(x.dtype) == dtype and np.array_equal(x.numpy(), a)


def test_what_cannot_be_taken_is_refused_and_given_back(device):
    a = np.ones((4, 4), np.float32)
    turned = Theirs(device, a, strides=(1, 4))
    with pytest.raises(UnsupportedError, match="make it contiguous first"):
        lamella.from_dlpack(turned)
    odd = Theirs(device, a, offset=4)
    with pytest.raises(CopyError, match="no multiple of 16"):
        lamella.from_dlpack(odd, copy=False)
    assert np.array_equal(lamella.from_dlpack(Theirs(device, a, offset=4)).numpy(), a)
    strange = Theirs(device, a, code=9)
    with pytest.raises(DTypeError, match="32 bits .code 9, 1 lanes. have no counterpart"):
        lamella.from_dlpack(strange)
    _settled()
    assert (turned.freed, odd.freed, strange.freed) == (1, 1, 1)


def test_a_device_that_is_not_here_is_named(device, monkeypatch):
    theirs = Theirs(device, np.ones(3, np.float32), index=4)
    monkeypatch.setattr(cuda, "device", lambda index: cuda.Cuda(index))
    monkeypatch.setattr(cuda, "_driver", lambda: Driver())
    with pytest.raises(UnsupportedError, match="Theirs on cuda:4 .*no device 'cuda:4'"):
        lamella.from_dlpack(theirs)
    assert not theirs.asked


def test_the_driver_s_stream_is_told(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(cuda, "_driver", lambda: driver)
    assert cuda.Cuda(0).queue == 77


def test_at_the_process_s_end_nothing_is_given_back(device, monkeypatch):
    from lamella.runtime import blocks
    at = stations.station(named("cuda:0"))
    block = at.blocks.allocate(1 << 30)
    at.leave()
    monkeypatch.setattr(blocks, "LEAST", None)      # as modules are when they are taken apart
    at.blocks.take_back(block.address, 0)
