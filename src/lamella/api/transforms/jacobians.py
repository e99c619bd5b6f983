"""Whole derivatives: Jacobians row by row or column by column, Hessians, and their products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...base.errors import LamellaError, ShapeError
from ..arrays.array import Array, asarray
from ..arrays.values import error
from ..functions.creation import eye, zeros
from ..functions.manipulation import concat, moveaxis
from ..programs.control import map as one_by_one
from .batching import vmap
from .gradients import grad, jvp, linearize, vjp

__all__ = ["hessian", "hvp", "jacobian"]


def jacobian(f: Callable, argnum: int = 0, *, mode: str = "reverse",
             chunk: int | None = None) -> Callable:
    """A function that returns d f / d argument, [*f's shape, *argument's], of one array each.

    mode: "reverse" takes one pullback for each element of f's value, "forward" one tangent for each
    element of the argument. chunk: so many of them at a time, in less memory; None: all at once.
    """
    if mode not in ("reverse", "forward"):
        raise error(LamellaError, f'jacobian: mode is "reverse" or "forward", got {mode!r}')
    if chunk is not None and chunk < 1:
        raise error(ShapeError, f"jacobian: a chunk has at least 1 row, got {chunk}")

    def run(*args):
        def alone(x):
            return f(*args[:argnum], x, *args[argnum + 1:])

        x = asarray(args[argnum])
        if mode == "forward":
            y, push = linearize(alone, x)
            columns = _rows(push, _basis(x), chunk)
            return moveaxis(columns, 0, -1).reshape((*y.shape, *x.shape))
        y, pull = vjp(alone, x)
        return _rows(lambda row: pull(row)[0], _basis(y), chunk).reshape((*y.shape, *x.shape))

    return run


def _rows(of: Callable, basis: Array, chunk: int | None) -> Array:
    """The function of every row of the basis, `chunk` at a time."""
    count = basis.shape[0]
    if chunk is None or chunk >= count:
        return vmap(of)(basis)
    more = -count % chunk
    if more:
        basis = concat([basis, zeros((more, *basis.shape[1:]), dtype=basis.dtype)])
    found = one_by_one(vmap(of), basis.reshape((-1, chunk, *basis.shape[1:])))
    return found.reshape((count + more, *found.shape[2:]))[:count]


def _basis(y: Array) -> Array:
    return eye(y.size, dtype=y.dtype).reshape((y.size, *y.shape))


def hessian(f: Callable, argnum: int = 0) -> Callable:
    """A function that returns the second derivatives of a scalar f by one array argument."""
    return jacobian(grad(f, argnum), argnum)


def hvp(f: Callable, primals: tuple, tangents: tuple) -> Any:
    """The Hessian of a scalar f(*primals) by its first argument, times the direction `tangents`:
    the tangent of the gradient, at the price of a few gradients and without the Hessian."""
    return jvp(grad(f), primals, tangents)[1]
