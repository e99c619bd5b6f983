"""Whole derivatives: Jacobians row by row or column by column, Hessians, and their products."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...base import tree
from ...base.errors import LamellaError, ShapeError
from ..arrays.array import Array, asarray
from ..arrays.values import error
from ..functions.creation import eye, zeros
from ..functions.manipulation import concat, moveaxis
from ..programs.control import map as one_by_one
from .batching import vmap
from .gradients import grad, jvp, linearize, vjp
from .results import name_of

__all__ = ["hessian", "hvp", "jacobian"]


def jacobian(f: Callable, argnums: int | tuple[int, ...] = 0, *, mode: str = "reverse",
             chunk: int | None = None) -> Callable:
    """A function that returns d f / d argument, [*f's shape, *argument's].

    Where f's value or an argument is a pytree, each leaf of the value is replaced by the argument's
    structure with such blocks; where argnums is a tuple, by a tuple of them. mode: "reverse" takes
    one pullback for each element of f's value, "forward" one tangent for each element of the
    arguments. chunk: so many of them at a time, in less memory; None: all at once. Leaves that are
    not floating get zeros. Raises LamellaError for another mode, ShapeError for a chunk below 1.
    """
    if mode not in ("reverse", "forward"):
        raise error(LamellaError, f'jacobian: mode is "reverse" or "forward", got {mode!r}')
    if chunk is not None and chunk < 1:
        raise error(ShapeError, f"jacobian: a chunk has at least 1 row, got {chunk}")
    several = isinstance(argnums, tuple)
    numbers: tuple[int, ...] = argnums if several else (argnums,)  # type: ignore[assignment]

    def run(*args):
        for k in numbers:
            if not -len(args) <= k < len(args):
                raise error(ShapeError, f"jacobian of {name_of(f)}: no positional argument {k} "
                                        f"among {len(args)}")

        @functools.wraps(f)
        def alone(*chosen):
            given = list(args)
            for k, x in zip(numbers, chosen, strict=True):
                given[k] = x
            return f(*given)

        leaves, structure = tree.flatten(tuple(args[k] for k in numbers))
        value, blocks = (_columns if mode == "forward" else _pullbacks)(
            alone, [asarray(x) for x in leaves], structure, chunk)
        rows = [tree.unflatten(structure, row) for row in blocks]
        return tree.unflatten(value, [row if several else row[0] for row in rows])

    return run


def _pullbacks(f: Callable, xs: list[Array], structure, chunk: int | None):
    """(the structure of f's value, for each of its leaves the blocks of all x), in reverse."""
    value, pull = vjp(f, *tree.unflatten(structure, xs))
    ys, form = tree.flatten(value)
    blocks = []
    for k, y in enumerate(ys):
        def row(g, k=k):
            return tree.leaves(pull(tree.unflatten(form, _alone(ys, k, g))))
        found = _rows(row, _basis(y), chunk)
        blocks.append([b.reshape((*y.shape, *x.shape)) for b, x in zip(found, xs, strict=True)])
    return form, blocks


def _columns(f: Callable, xs: list[Array], structure, chunk: int | None):
    """The same by tangents."""
    value, push = linearize(f, *tree.unflatten(structure, xs))
    ys, form = tree.flatten(value)
    blocks: list[list[Array]] = [[] for _ in ys]
    for k, x in enumerate(xs):
        def column(t, k=k):
            return tree.leaves(push(*tree.unflatten(structure, _alone(xs, k, t))))
        found = _rows(column, _basis(x), chunk) if x.dtype.is_inexact else [
            zeros((x.size, *y.shape), dtype=x.dtype) for y in ys]
        for block, y, b in zip(blocks, ys, found, strict=True):
            block.append(moveaxis(b, 0, -1).reshape((*y.shape, *x.shape)))
    return form, blocks


def _alone(leaves: list[Array], k: int, change: Array) -> list[Array]:
    """Zeros for all leaves but the k-th, which is the change."""
    return [change if i == k else zeros(a.shape, dtype=a.dtype) for i, a in enumerate(leaves)]


def _rows(of: Callable, basis: Array, chunk: int | None) -> list[Array]:
    """The function's results for every row of the basis, `chunk` at a time."""
    count = basis.shape[0]
    if chunk is None or chunk >= count:
        return vmap(of)(basis)
    more = -count % chunk
    if more:
        basis = concat([basis, zeros((more, *basis.shape[1:]), dtype=basis.dtype)])
    found = one_by_one(vmap(of), basis.reshape((-1, chunk, *basis.shape[1:])))
    return [b.reshape((count + more, *b.shape[2:]))[:count] for b in found]


def _basis(y: Array) -> Array:
    return eye(y.size, dtype=y.dtype).reshape((y.size, *y.shape))


def hessian(f: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """A function that returns the second derivatives of a scalar f, in blocks as those of
    `jacobian`: the arguments' structures in one another."""
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable, primals: tuple, tangents: tuple) -> Any:
    """The Hessian of a scalar f(*primals) by its first argument, times the direction `tangents`:
    the tangent of the gradient, at the price of a few gradients and without the Hessian."""
    return jvp(grad(f), primals, tangents)[1]
