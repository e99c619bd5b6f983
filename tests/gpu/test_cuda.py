"""The CUDA device speaks to the driver as it should; a stand-in for the driver listens."""

import ctypes

import numpy as np
import pytest
from gpu.stand_in import CUresult, Driver

import lamella
from lamella.base.errors import AllocationError, ExecutionError, MissingExtra, UnsupportedError
from lamella.runtime import cuda, nvml
from lamella.runtime.device import Code, Span
from lamella.runtime.triton import Binary

CODE = Code("", "k", (("b0", "*fp32"), ("n0", "i32"), ("n1", "i64")), (0,), 4, 1)
PTX = ".visible .entry k(.param .u64 .ptr a, .param .u32 b, .param .u64 c, .param .u64 d) {"


@pytest.fixture
def driver(monkeypatch):
    found = Driver()
    monkeypatch.setattr(cuda, "_driver", lambda: found)
    monkeypatch.setattr(cuda, "assemble_all", lambda codes, arch: [
        Binary("k", b"", 128, 64 << 10, PTX) for _ in codes])
    return found


@pytest.mark.parametrize("size", [0, 1, 1000, cuda.STAGING // 2, cuda.STAGING * 2 + 5])
def test_transfers_by_pinned_memory_keep_every_byte(driver, size):
    device = cuda.Cuda(0)
    data = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    address = device.allocate(size)
    device.upload(address, data)
    found = np.zeros(size, np.uint8)
    device.download(found, address)
    assert np.array_equal(found, data)
    device.free(address)


def test_a_launch_has_the_parameters_of_the_machine_code(driver):
    device = cuda.Cuda(0)
    kernel, = device.load([CODE])
    assert driver.called("cuFuncSetAttribute") == [("function", "shared", 64 << 10)]
    device.launch(kernel, 7, [Span(256, 256, 4, True)], [5, 1 << 40])
    (function, *grid, shared, stream, (words, types), extra), = driver.called("cuLaunchKernel")
    assert (function, grid, shared, stream) == ("function", [7, 1, 1, 128, 1, 1], 64 << 10,
                                                "stream")
    assert words == (256, 5, 1 << 40, 0)
    assert types == (ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p)


def test_a_record_is_one_graph(driver):
    device = cuda.Cuda(0)
    again = device.record(lambda: device.launch(*device.load([CODE]), 1, [], []))
    for _ in range(3):
        again()
    names = [c[0] for c in driver.calls]
    assert names.count("cuGraphInstantiate") == 1 and names.count("cuGraphLaunch") == 3
    assert names.index("cuStreamBeginCapture") < names.index("cuLaunchKernel") < \
        names.index("cuStreamEndCapture")


def test_what_the_context_takes_is_known(driver, monkeypatch):
    """By the management library, as only it can say what is free before there is a context."""
    rooms = iter([5000, 3000])

    class Library:
        def nvmlDeviceGetHandleByPciBusId_v2(self, bus, device):
            assert bus == b"0000:01:00.0" and bool(driver.called("cuDevicePrimaryCtxRetain")) == \
                bool(driver.called("cuStreamCreate"))
            return 0

        def nvmlDeviceGetMemoryInfo(self, device, memory):
            memory._obj.free = next(rooms)
            return 0

    monkeypatch.setattr(nvml, "_library", Library)
    device = cuda.Cuda(0)
    assert (device.context_bytes, device.bytes) == (2000, 200)
    monkeypatch.setattr(nvml, "_library", lambda: None)
    assert cuda.Cuda(0).context_bytes == 0


def test_errors_of_the_driver_are_the_user_s(driver):
    device = cuda.Cuda(0)
    with pytest.raises(AllocationError, match="cuMemAlloc"):
        device.allocate(driver.room + 1)
    driver.fails["cuStreamSynchronize"] = CUresult.CUDA_ERROR_LAUNCH_FAILED
    with pytest.raises(ExecutionError, match="LAUNCH_FAILED"):
        device.wait()
    with pytest.raises(UnsupportedError, match="no device 'cuda:3'; the driver finds 1"):
        cuda.Cuda(3)


def test_without_what_it_needs_a_device_is_refused_with_the_remedy():
    with pytest.raises((MissingExtra, UnsupportedError), match="pip install|device='cpu'"):
        lamella.compile(lambda x: x + 1.0, device="cuda:0")
    with pytest.raises(UnsupportedError, match="use 'cpu' or 'cuda:0'"):
        lamella.compile(lambda x: x + 1.0, device="tpu")
    with pytest.raises((MissingExtra, UnsupportedError), match="pip install|device='cpu'"):
        lamella.zeros((3,), device="cuda:0")


def test_the_processor_is_a_device_too():
    f = lamella.compile(lambda x: x + 1.0, device="cpu")
    assert float(f(lamella.ones(()))) == 2.0


def test_an_error_while_a_graph_is_recorded_is_the_one_that_is_raised(driver):
    device = cuda.Cuda(0)

    def work():
        driver.fails["cuStreamEndCapture"] = CUresult.CUDA_ERROR_LAUNCH_FAILED
        raise ValueError("the reason")

    with pytest.raises(ValueError, match="the reason"):
        device.record(work)
    assert driver.called("cuStreamEndCapture")


def test_after_an_error_of_the_device_nothing_is_said_at_the_end_of_events(driver, recwarn):
    event = cuda.Event("stream")
    driver.fails["cuEventDestroy"] = CUresult.CUDA_ERROR_LAUNCH_FAILED
    event.__del__()
    assert cuda.Cuda(0).room() == 100
