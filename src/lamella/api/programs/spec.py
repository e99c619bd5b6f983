"""Specs: the types of arguments in place of arguments, to plan and trace without values."""

from __future__ import annotations

from ...base.dtypes import as_dtype
from ...base.extents import Extent
from ...ir.types import tensor
from ..arrays.shapes import as_shape


class Spec:
    """The type of an argument without its values: `spec((32, 64), "float32")`."""

    __slots__ = ("type",)

    def __init__(self, shape: tuple[Extent, ...], dtype="float32"):
        self.type = tensor(as_dtype(dtype), as_shape(shape, "spec"))

    @property
    def shape(self) -> tuple:
        return self.type.shape

    @property
    def dtype(self):
        return self.type.dtype

    def __repr__(self) -> str:
        return f"spec({self.type})"


def spec(shape: tuple[Extent, ...], dtype="float32") -> Spec:
    """A stand-in for an array: its extents (integers or symbols) and dtype; holds no values."""
    return Spec(shape, dtype)


__all__ = ["Spec", "spec"]
