"""What a transform says of the function it is given: its name, and its result as arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...base import tree
from ...base.errors import DTypeError, LamellaError
from ..arrays.array import Array, asarray
from ..arrays.values import error


def name_of(f: Callable) -> str:
    """The function's name for messages."""
    return getattr(f, "__name__", type(f).__name__)


def result_arrays(what: str, out: Any) -> tuple[list[Array], Any]:
    """(leaves as arrays, structure) of a function's result; raises DTypeError for other leaves."""
    leaves, structure = tree.flatten(out)
    try:
        return [asarray(a) for a in leaves], structure
    except LamellaError as e:
        raise error(DTypeError, f"{what} returned a leaf that is no array: {e}") from None
