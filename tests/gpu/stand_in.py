"""A stand-in for the CUDA driver: its functions over host memory, in the bindings' conventions.

It remembers what was called, checks that handles are its own, and runs copies when they are
queued. Kernels are not run.
"""

import ctypes
from enum import IntEnum
from types import SimpleNamespace

import numpy as np


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_LAUNCH_FAILED = 719


OK = CUresult.CUDA_SUCCESS


class Stream(str):
    """A handle of the bindings is a number where it is asked to be one."""

    def __int__(self):
        return 77


class Driver:
    """`devices`: how many; `room`: bytes of device memory; `fails`: the errors of functions."""

    CUresult = CUresult
    CUdevice_attribute = SimpleNamespace(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major",
                                         CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor")
    CUfunc_cache = SimpleNamespace(CU_FUNC_CACHE_PREFER_SHARED="prefer")
    CUfunction_attribute = SimpleNamespace(
        CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="shared")
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUevent_flags = SimpleNamespace(CU_EVENT_DISABLE_TIMING=2, CU_EVENT_DEFAULT=0)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)

    def __init__(self, devices: int = 1, room: int = 1 << 30):
        self.devices, self.room = devices, room
        self.held: dict[int, np.ndarray] = {}
        self.calls: list[tuple] = []
        self.fails: dict[str, CUresult] = {}

    def __getattr__(self, name):
        """Functions of which only the call is remembered."""
        if not name.startswith("cu"):
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append((name, *arguments))
            results = {"cuDeviceGetCount": [self.devices], "cuDeviceGet": arguments,
                       "cuDevicePrimaryCtxRetain": ["context"],
                       "cuStreamCreate": [Stream("stream")],
                       "cuEventCreate": ["event"], "cuEventElapsedTime": [2.0],
                       "cuDeviceGetName": [b"Stand-in\0\0"],
                       "cuDeviceGetPCIBusId": [b"0000:01:00.0\0"], "cuModuleLoadData": ["module"],
                       "cuModuleGetFunction": ["function"], "cuStreamEndCapture": ["graph"],
                       "cuGraphInstantiate": ["ready"], "cuMemGetInfo": [100, 200]}.get(name, [])
            return self.fails.get(name, OK), *results

        return call

    def called(self, name: str) -> list[tuple]:
        return [c[1:] for c in self.calls if c[0] == name]

    def cuInit(self, flags):
        return (OK if self.devices else CUresult.CUDA_ERROR_NO_DEVICE,)

    def cuGetErrorString(self, status):
        return OK, status.name.lower().encode()

    def cuDeviceGetAttribute(self, attribute, device):
        return OK, {"major": 9, "minor": 0}[attribute]

    def cuMemAlloc(self, size):
        if size > self.room:
            return CUresult.CUDA_ERROR_OUT_OF_MEMORY, None
        raw = np.zeros(size + 256, np.uint8)
        address = raw.ctypes.data + -raw.ctypes.data % 256
        self.held[address] = raw
        return OK, address

    def cuMemHostAlloc(self, size, flags):
        return self.cuMemAlloc(size)

    def cuMemFree(self, address):
        del self.held[address]
        return (OK,)

    def _copy(self, to, source, size, stream):
        assert stream == "stream"
        ctypes.memmove(int(to), int(source), size)
        return (OK,)

    cuMemcpyHtoDAsync = cuMemcpyDtoHAsync = cuMemcpyDtoDAsync = _copy
