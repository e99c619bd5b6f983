"""Values for other libraries, by DLPack."""

from __future__ import annotations

import numpy as np

from ...base.errors import CopyError, DTypeError, UnsupportedError
from .values import error

CPU = (1, 0)  # DLPack's kDLCPU and its only index
WITH_FLAGS = (1, 0)  # the first version of the protocol that can say "read-only"


def exported(x: np.ndarray, stream, max_version, dl_device, copy):
    """A DLPack capsule of the values, shared where the consumer understands read-only memory."""
    if stream is not None:
        raise error(UnsupportedError, "__dlpack__: the cpu has no streams; pass stream=None")
    if dl_device not in (None, CPU):
        raise error(CopyError, f"__dlpack__: no device {dl_device} is here; arrays live on the cpu")
    if x.dtype.kind == "V":
        raise error(DTypeError, f"__dlpack__: {x.dtype} cannot be exported; cast with astype, or "
                                "hand its bits over by lamella.bitcast(x, lamella.int16)")
    versioned = max_version is not None and tuple(max_version) >= WITH_FLAGS
    if copy is False and not versioned:
        raise error(CopyError, "__dlpack__: the values are read-only, which the asked version "
                               "cannot say, so they have to be copied; drop copy=False")
    if copy or not versioned:
        x = x.copy()
    return x.__dlpack__(max_version=max_version) if versioned else x.__dlpack__()
