"""An NVIDIA device by the CUDA driver: memory, kernels, one stream, and replay as a graph.

Host memory is copied by way of pinned memory, half of it filled while the other half is sent. The
context is the device's primary one, shared with other libraries of the process; what is allocated
is what plans ask for, so that processes can share a device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from ..base import knobs
from ..base.errors import AllocationError, ExecutionError, MissingExtra, UnsupportedError
from . import nvml
from .device import Code, Span
from .triton import Binary, assemble_all

STAGING = 8 << 20       # pinned bytes, in two halves
SHARED = 48 << 10       # bytes of shared memory that a kernel has without asking for more
_WORDS = {"i32": ctypes.c_int32, "i64": ctypes.c_int64}


@cache
def _driver() -> Any:
    """The driver's functions; MissingExtra or UnsupportedError where a part of it is missing."""
    try:
        from cuda.bindings import driver
    except ImportError as e:
        raise MissingExtra("a device 'cuda' needs the package cuda-bindings; install it with: "
                           "pip install 'lamella[cuda]'") from e
    try:
        (status,) = driver.cuInit(0)
    except Exception as e:  # the bindings find no driver library; their class is no public one
        raise UnsupportedError("this machine has no NVIDIA driver, so there is no device 'cuda'; "
                               "install the driver, or use device='cpu'") from e
    if status != driver.CUresult.CUDA_SUCCESS:
        raise UnsupportedError(f"the NVIDIA driver finds no GPU ({status.name}); use device='cpu'")
    return driver


def count() -> int:
    """The number of devices."""
    return _call("cuDeviceGetCount")


def _call(name: str, *arguments: Any) -> Any:
    """A function of the driver: its result, or the error that it reports."""
    driver = _driver()
    status, *results = getattr(driver, name)(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        text = driver.cuGetErrorString(status)[1].decode()
        kind = AllocationError if status == driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY else \
            ExecutionError
        raise kind(f"{name}: {text} ({status.name})")
    return results[0] if len(results) == 1 else tuple(results)


def _drop(name: str, *arguments: Any) -> None:
    """Give something back at its end: after an error of the device, and while the process ends,
    every function fails, which is nobody's news any more."""
    with suppress(Exception):
        _call(name, *arguments)


class Kernel:
    """A loaded kernel: the driver's function, its threads, shared bytes and parameters' types.
    Beyond those of the text, Triton's functions have parameters for memory that it does not need
    here; they are 0."""

    __slots__ = ("function", "module", "name", "shared", "threads", "types")

    def __init__(self, code: Code, binary: Binary):
        driver = _driver()
        self.module = _call("cuModuleLoadData", binary.image)
        self.function = _call("cuModuleGetFunction", self.module, binary.function.encode())
        self.name, self.threads, self.shared = code.name, binary.threads, binary.shared
        kinds = [_WORDS.get(kind, ctypes.c_void_p) for _, kind in code.types]
        self.types = (*kinds, *[ctypes.c_void_p] * (binary.parameters - len(kinds)))
        if self.shared > SHARED:
            prefer = driver.CUfunc_cache.CU_FUNC_CACHE_PREFER_SHARED
            _call("cuFuncSetCacheConfig", self.function, prefer)
            attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            _call("cuFuncSetAttribute", self.function, attribute, self.shared)


class Cuda:
    """Device number `index`, as `runtime.device.Device` states it."""

    def __init__(self, index: int = 0):
        driver = _driver()
        if not 0 <= index < count():
            raise UnsupportedError(f"there is no device 'cuda:{index}'; the driver finds {count()}")
        self.index, self.number = index, _call("cuDeviceGet", index)
        kind = driver.CUdevice_attribute
        major, minor = (_call("cuDeviceGetAttribute", a, self.number) for a in (
            kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            kind.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR))
        self.arch = 10 * major + minor
        self.name = _call("cuDeviceGetName", 128, self.number).split(b"\0")[0].decode()
        bus = _call("cuDeviceGetPCIBusId", 32, self.number).split(b"\0")[0]
        before = nvml.room(bus)
        self.context = _call("cuDevicePrimaryCtxRetain", self.number)
        self.enter()
        self.stream = _call("cuStreamCreate", driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
        self.queue = int(self.stream)
        self.copies = _call("cuStreamCreate", driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
        self.staging = _Staging(self.stream)
        self.bytes, after = int(_call("cuMemGetInfo")[1]), nvml.room(bus)
        self.context_bytes = 0 if before is None or after is None else max(0, before - after)

    def enter(self) -> None:
        _call("cuCtxSetCurrent", self.context)

    def allocate(self, size: int) -> int:
        self.enter()
        return int(_call("cuMemAlloc", max(size, 1)))

    def free(self, address: int) -> None:
        self.enter()
        _call("cuStreamSynchronize", self.stream)
        _call("cuMemFree", address)

    def load(self, codes: Sequence[Code]) -> list[Kernel]:
        binaries = assemble_all(codes, self.arch)
        self.enter()
        return [Kernel(*pair) for pair in zip(codes, binaries, strict=True)]

    def launch(self, kernel: Kernel, programs: int, spans: Sequence[Span],
               sizes: Sequence[int]) -> None:
        words = [*(s.address for s in spans), *sizes]
        words += [0] * (len(kernel.types) - len(words))
        _call("cuLaunchKernel", kernel.function, programs, 1, 1, kernel.threads, 1, 1,
              kernel.shared, self.stream, (tuple(words), kernel.types), 0)
        if knobs.device_waits.value:
            self.wait()

    def copy(self, to: int, source: int, size: int) -> None:
        _call("cuMemcpyDtoDAsync", to, source, size, self.stream)

    def pin(self, size: int) -> int:
        self.enter()
        return int(_call("cuMemHostAlloc", max(size, 1), 0))

    def unpin(self, address: int) -> None:
        self.enter()
        _call("cuStreamSynchronize", self.copies)
        _call("cuMemFreeHost", address)

    def send(self, to: int, source: int, size: int) -> Event:
        return self._beside("cuMemcpyDtoHAsync", to, source, size)

    def fetch(self, to: int, source: int, size: int) -> Event:
        return self._beside("cuMemcpyHtoDAsync", to, source, size)

    def _beside(self, copy: str, to: int, source: int, size: int) -> Event:
        """Queue a copy beside the work, behind what is queued by now."""
        begin = Event(self.stream)
        _call("cuStreamWaitEvent", self.copies, begin.handle, 0)
        _call(copy, to, source, size, self.copies)
        return Event(self.copies)

    def after(self, ticket: Event) -> None:
        _call("cuStreamWaitEvent", self.stream, ticket.handle, 0)

    def lead(self, stream: int) -> None:
        _call("cuStreamWaitEvent", stream, Event(self.stream).handle, 0)

    def quiet(self) -> None:
        self.enter()
        _call("cuCtxSynchronize")

    def upload(self, to: int, data: np.ndarray) -> None:
        self.enter()
        self.staging.upload(to, data)

    def download(self, data: np.ndarray, source: int) -> None:
        self.enter()
        self.staging.download(data, source)

    def room(self) -> int:
        self.enter()
        return int(_call("cuMemGetInfo")[0])

    def wait(self) -> None:
        """Wait for the queue; errors of work that was queued before are reported here."""
        _call("cuStreamSynchronize", self.stream)

    def seconds(self, work: Callable[[], None]) -> float:
        self.enter()
        begin = Event(self.stream, timed=True)
        work()
        end = Event(self.stream, timed=True)
        _call("cuEventSynchronize", end.handle)
        return 1e-3 * float(_call("cuEventElapsedTime", begin.handle, end.handle))

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What `work` queues, as one graph: a call queues all of it again."""
        self.enter()
        mode = _driver().CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call("cuStreamBeginCapture", self.stream, mode)
        try:
            work()
        except BaseException:   # ends the capture; what it reports would hide the reason
            with suppress(ExecutionError):
                _drop("cuGraphDestroy", _call("cuStreamEndCapture", self.stream))
            raise
        graph = _call("cuStreamEndCapture", self.stream)
        try:
            return Graph(_call("cuGraphInstantiate", graph, 0), self.stream)
        finally:
            _call("cuGraphDestroy", graph)


class Event:
    """The moment when all work queued on a stream by now is done."""

    __slots__ = ("handle",)

    def __init__(self, stream: Any, timed: bool = False):
        kind = _driver().CUevent_flags
        flag = kind.CU_EVENT_DEFAULT if timed else kind.CU_EVENT_DISABLE_TIMING
        self.handle = _call("cuEventCreate", flag)
        _call("cuEventRecord", self.handle, stream)

    def __del__(self):
        _drop("cuEventDestroy", self.handle)


class Graph:
    """Recorded work: a call queues all of it on the stream."""

    __slots__ = ("ready", "stream")

    def __init__(self, ready: Any, stream: Any):
        self.ready, self.stream = ready, stream

    def __call__(self) -> None:
        _call("cuGraphLaunch", self.ready, self.stream)

    def __del__(self):
        _drop("cuGraphExecDestroy", self.ready)


class _Staging:
    """Pinned memory in two halves, each with the event that says when it may be used again."""

    def __init__(self, stream: Any):
        self.stream, self.half = stream, STAGING // 2
        self.start = int(_call("cuMemHostAlloc", STAGING, 0))
        whole = (ctypes.c_uint8 * STAGING).from_address(self.start)
        self.bytes = np.frombuffer(memoryview(whole), np.uint8)
        flag = _driver().CUevent_flags.CU_EVENT_DISABLE_TIMING
        self.free = [_call("cuEventCreate", flag) for _ in range(2)]

    def _parts(self, size: int):
        """(half, its first byte in the transfer, bytes) of each part."""
        return [(k % 2, at, min(self.half, size - at))
                for k, at in enumerate(range(0, size, self.half))]

    def upload(self, to: int, data: np.ndarray) -> None:
        for half, at, size in self._parts(data.nbytes):
            _call("cuEventSynchronize", self.free[half])
            low = half * self.half
            self.bytes[low:low + size] = data[at:at + size]
            _call("cuMemcpyHtoDAsync", to + at, self.start + low, size, self.stream)
            _call("cuEventRecord", self.free[half], self.stream)

    def download(self, data: np.ndarray, source: int) -> None:
        parts = self._parts(data.nbytes)
        for part in parts[:2]:
            self._fetch(part, source)
        for k, (half, at, size) in enumerate(parts):
            _call("cuEventSynchronize", self.free[half])
            low = half * self.half
            data[at:at + size] = self.bytes[low:low + size]
            if k + 2 < len(parts):
                self._fetch(parts[k + 2], source)

    def _fetch(self, part: tuple[int, int, int], source: int) -> None:
        half, at, size = part
        _call("cuMemcpyDtoHAsync", self.start + half * self.half, source + at, size, self.stream)
        _call("cuEventRecord", self.free[half], self.stream)


@cache
def device(index: int) -> Cuda:
    """Device `index`, one object for a process."""
    return Cuda(index)
