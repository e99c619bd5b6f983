"""What this namespace can do, in the words of the array API: `__array_namespace_info__`."""

from __future__ import annotations

from ...base import dtypes
from ...base.devices import Device, cpu, named
from ...base.dtypes import DType
from ...base.errors import MissingExtra, UnsupportedError
from ...ir.op import MOST_RANK
from ..arrays.imports import DEFAULTS
from ..arrays.placing import device_named
from .datatypes import isdtype

_STANDARD = [d for d in dtypes.ALL
             if not (d.is_float and d.bits < 32) and d.kind != "float8"]


class NamespaceInfo:
    """The answers of `lamella.__array_namespace_info__()`; see the array API standard."""

    def capabilities(self) -> dict:
        """Data-dependent shapes are there uncompiled; compiled functions state `size=`."""
        return {"boolean indexing": True, "data-dependent shapes": True,
                "max dimensions": MOST_RANK}

    def default_device(self) -> Device:
        """Where new arrays live."""
        return cpu

    def default_dtypes(self, *, device=None) -> dict[str, DType]:
        """The dtype of numbers without one, and of positions."""
        device_named("default_dtypes", device)
        named = dict(zip(("integral", "real floating", "complex floating"), DEFAULTS[1:]))
        return named | {"indexing": DEFAULTS[1]}

    def dtypes(self, *, device=None, kind=None) -> dict[str, DType]:
        """The standard's dtypes of a kind (of all where None); narrower floats are extra."""
        device_named("dtypes", device)
        return {d.name: d for d in _STANDARD if kind is None or isdtype(d, kind)}

    def devices(self) -> list[Device]:
        """The processor, and the GPUs that are in reach."""
        try:
            from ...engine.stations import count
            return [cpu, *(device for k in range(count()) if (device := named(f"cuda:{k}")))]
        except (MissingExtra, UnsupportedError):
            return [cpu]


def __array_namespace_info__() -> NamespaceInfo:
    """What the namespace can do."""
    return NamespaceInfo()
