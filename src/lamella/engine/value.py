"""Value: the bytes of one evaluated array, here or on a device, and the node that has them."""

from __future__ import annotations

import numpy as np

from ..base.devices import Device, cpu
from ..base.dtypes import as_dtype
from ..base.errors import DonatedError
from ..base.source import render
from ..ir.node import INPUT, Node
from ..ir.types import TensorType, tensor
from ..runtime.memory import Exposed, allocate


class Value(Node):
    """Packed row-major elements at `address` of the type's device, kept alive by `owner` (a block
    of this machine or of that device, or a NumPy array).

    It is an input node whose data is itself, which is what an array of known elements holds.
    """

    __slots__ = ("address", "owner")
    op, inputs, source, token = INPUT, (), None, None  # type: ignore[assignment]

    def __init__(self, address: int, owner: object, type: TensorType):
        self.address, self.owner, self.type = address, owner, type

    @property
    def data(self) -> Value:  # type: ignore[override]
        return self

    @property
    def params(self) -> dict:  # type: ignore[override]
        """Those of an input without a name."""
        return {"name": "", "type": self.type}

    @staticmethod
    def empty(type: TensorType) -> Value:
        """Unspecified elements in a recycled block."""
        block = allocate(type.bytes)  # type: ignore[arg-type]
        return Value(block.address, block, type)

    @staticmethod
    def from_numpy(array: np.ndarray, *, copy: bool = True) -> Value:
        """The array's elements; shared, not copied, where `copy` is false and they are packed."""
        type = tensor(as_dtype(array.dtype), array.shape)
        if not copy and array.flags.c_contiguous and array.flags.aligned:
            return Value(array.__array_interface__["data"][0], array, type)
        value = Value.empty(type)
        value._view(False)[...] = array
        return value

    def numpy(self) -> np.ndarray:
        """The elements, read-only: a view that keeps them alive, or a copy of those of a device."""
        if self.type.device is not cpu:
            return self.on(cpu)._view(True)
        return self._view(True)

    def on(self, device: Device) -> Value:
        """The elements on a device: itself, or a copy there; by way of this machine between two."""
        self.check()
        if self.type.device is device:
            return self
        from . import transfers  # devices are loaded where arrays go there

        here = self
        if self.type.device is not cpu:
            here = Value.from_numpy(transfers.fetched(self.type, self.address), copy=False)
        if device is cpu:
            return here
        block = transfers.sent(here.numpy(), device)
        return Value(block.address, block, self.type.on(device))

    def copy(self) -> Value:
        """The elements again, on the same device."""
        if self.type.device is cpu:
            return Value.from_numpy(self.numpy())
        self.check()
        from . import transfers

        block = transfers.duplicate(self.type, self.address)
        return Value(block.address, block, self.type)

    def check(self) -> None:
        """Raise where the value's memory has been given away."""
        if isinstance(self.owner, Donated):
            self.owner.refuse()

    def _view(self, readonly: bool) -> np.ndarray:
        self.check()
        dtype = self.type.dtype
        seen = np.asarray(Exposed(self.owner, self.address, self.type.shape, dtype.typestr,
                                  readonly))
        return seen if seen.dtype == dtype.numpy else seen.view(dtype.numpy)


class Donated:
    """Stands where a value was before it was donated to the function `name`, called at `source`:
    every use says so. `failed`: the call did, when the memory was written into already."""

    __slots__ = ("failed", "name", "source")

    def __init__(self, name: str, source: tuple[str, int]):
        self.name, self.source, self.failed = name, source, False

    def refuse(self) -> None:
        """Raise the error that says where it went."""
        then = "the call failed when it was overwritten already; make or load it again" \
            if self.failed else "its memory reused; use the array that the call returned"
        raise DonatedError(f"this array was donated to {self.name} at {render(self.source)} and "
                           f"{then}, or do not donate it")
