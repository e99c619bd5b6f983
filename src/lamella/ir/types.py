"""The type of a value: dtype, extents, strides, device, and optionally a sharding; or several."""

from __future__ import annotations

from ..base.devices import Device, cpu
from ..base.dtypes import DType, by_name
from ..base.extents import Extent, Shape, product


class TensorType:
    """dtype, shape (extents), element strides (None: row-major) and device of one value; `size`
    is the number of elements, `bytes` what they take packed."""

    __slots__ = ("_hash", "bytes", "device", "dtype", "shape", "sharding", "size", "strides")

    size: Extent
    bytes: Extent

    def __init__(self, dtype: DType, shape: Shape, strides: Shape | None = None,
                 device: Device = cpu, sharding=None):
        self.dtype, self.shape, self.strides = dtype, shape, strides
        self.device, self.sharding = device, sharding
        self.size = product(shape)
        self.bytes = self.size * dtype.bytes
        self._hash = hash((dtype.name, shape, strides))

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def space(self) -> str:
        """The memory space it lives in."""
        return self.device.space

    def on(self, device: Device) -> TensorType:
        """The same type on a device."""
        return self if device is self.device else tensor(self.dtype, self.shape, device)

    @property
    def anywhere(self) -> TensorType:
        """The type without its device: that of the processor."""
        return self.on(cpu)

    def with_shape(self, shape: Shape) -> TensorType:
        return tensor(self.dtype, shape)

    def with_dtype(self, dtype: DType) -> TensorType:
        return tensor(dtype, self.shape)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, TensorType) and self.dtype is other.dtype
            and self.shape == other.shape and self.strides == other.strides
            and self.device is other.device and self.sharding == other.sharding)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        inner = ", ".join(map(str, self.shape))
        strides = "" if self.strides is None else f":({', '.join(map(str, self.strides))})"
        where = "" if self.device is cpu else f" on {self.device}"
        return f"{self.dtype}[{inner}]{strides}{where}"


class TupleType:
    """The types of a node's several results, in order; the op `item` selects one."""

    __slots__ = ("items",)

    def __init__(self, items):
        self.items: tuple[TensorType, ...] = tuple(items)

    @property
    def device(self) -> Device:
        """Where all of them live."""
        return self.items[0].device if self.items else cpu

    def on(self, device: Device) -> TupleType:
        """The same types on a device."""
        return TupleType(t.on(device) for t in self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TupleType) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        inner = ", ".join(map(str, self.items))
        return f"({inner},)" if len(self.items) == 1 else f"({inner})"


def tensors(type: TensorType | TupleType) -> tuple[TensorType, ...]:
    """The types of a node's results, one or several."""
    return type.items if isinstance(type, TupleType) else (type,)


_interned: dict[tuple, TensorType] = {}


def tensor(dtype: DType | str, shape: Shape, device: Device = cpu) -> TensorType:
    """The row-major type on a device; interned, so that equal types are usually identical."""
    if isinstance(dtype, str):
        dtype = by_name(dtype)
    key = (dtype.name, shape) if device is cpu else (dtype.name, shape, device)
    found = _interned.get(key)
    if found is None:
        if len(_interned) > 65536:
            _interned.clear()
        found = _interned[key] = TensorType(dtype, shape, None, device)
    return found


def row_major(shape: Shape) -> Shape:
    """Element strides of a packed row-major array."""
    strides: list[Extent] = []
    step: Extent = 1
    for extent in reversed(shape):
        strides.append(step)
        step = step * extent
    return tuple(reversed(strides))
