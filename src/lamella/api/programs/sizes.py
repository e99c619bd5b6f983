"""Sizes: the symbols that a function's arguments are declared to have in place of extents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...base.errors import ShapeError
from ...base.extents import Size, solve
from ...ir.program import Program
from ...ir.types import TensorType, tensor
from ..arrays.values import error


def declared(parameter: str | int, given: Any) -> tuple:
    """What `sizes` says of a parameter: a symbol, a number or None (any) for each axis."""
    if not isinstance(given, tuple | list) or not all(
            e is None or isinstance(e, int | Size) for e in given):
        raise error(ShapeError, f"compile: sizes of {parameter!r} are a tuple with a symbol, a "
                                f"number or None for each axis, got {given!r}")
    return tuple(given)


def symbolic(name: str, sizes: Mapping[int, tuple], structures: tuple,
             types: list[TensorType]) -> list[TensorType]:
    """The types of a call's leaves, with the symbols that are declared for their parameters in
    place of this call's extents."""
    out: list[TensorType] = []
    env: dict[str, int] = {}
    for k, s in enumerate(structures):
        axes = sizes.get(k)
        for t in types[len(out):len(out) + s.num_leaves]:
            out.append(t if axes is None else _with_symbols(name, t, axes, env))
    return out


def _with_symbols(name: str, t: TensorType, axes: tuple, env: dict[str, int]) -> TensorType:
    if len(axes) != t.rank:
        raise error(ShapeError, f"{name}: sizes {axes} has {len(axes)} axes, the argument's shape "
                                f"is {t.shape}")
    shape = []
    for want, have in zip(axes, t.shape, strict=True):
        if isinstance(want, Size) and isinstance(have, int):
            try:
                solve(want, have, env)
            except ShapeError as e:
                raise error(ShapeError, f"{name}: {e}; the argument's shape is {t.shape}") from None
        shape.append(want if isinstance(want, Size) else have)
    return tensor(t.dtype, tuple(shape))


def values_of_symbols(program: Program, types: list[TensorType]) -> dict[str, int] | None:
    """The values of the program's symbols for arguments of these types; None where there are
    none."""
    env: dict[str, int] = {}
    for wanted, given in zip(program.input_types, types, strict=False):
        for e, n in zip(wanted.shape, given.shape, strict=True):
            if isinstance(e, Size) and isinstance(n, int):
                solve(e, n, env)
    return env or None
