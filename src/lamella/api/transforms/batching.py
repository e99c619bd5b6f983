"""Batching of functions over pytrees of arrays.

`vmap` calls its function once, on a stand-in without the batch axis for each argument that has one.
What the function closes over is another node, the same for each member of the batch; the result is
again a lazy graph, so that it nests with itself and with derivatives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import optree

from ...base import tree
from ...base.errors import ShapeError
from ...ir.node import Node, placeholder
from ...ir.program import replaced
from ...ir.types import tensor
from ...ops import move
from ...ops.pointwise import normal_axis
from ...ops.reduce import reduce
from ...transform.vmap import batch
from ..arrays.array import Array, asarray, wrap
from ..arrays.scope import Scope
from ..arrays.values import error
from ..programs import effects
from .results import name_of, result_arrays

__all__ = ["vmap"]


def vmap(f: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Callable:
    """f over a batch: each array argument is given with one more axis, and so are the results.

    in_axes: the batch axis of every argument, or a tuple with one for each; such an entry may be a
    pytree over the argument's first levels; None gives the argument to every call as it is.
    out_axes: likewise for the result, where None is not allowed. Keyword arguments are not batched.
    Inside, a value cannot be looked at. Raises ShapeError where the batch sizes differ.
    """
    @functools.wraps(f)
    def run(*args, **kwargs):
        leaves, structure = optree.tree_flatten(args, none_is_leaf=True, namespace=tree.NAMESPACE)
        axes = _prefixed("in_axes", in_axes, args)
        inputs, batched, extent = [], [], None
        for k, (x, axis) in enumerate(zip(leaves, axes, strict=True)):
            if axis is None or x is None:
                continue
            node = asarray(x).node
            axis = normal_axis(f"vmap of {name_of(f)}", axis, node.type.rank)
            size = node.shape[axis]
            if extent is not None and size != extent:
                raise error(ShapeError,
                    f"vmap of {name_of(f)}: batch sizes {extent} and {size} differ "
                    f"(axis {axis} of shape {node.shape})")
            extent = size
            batched.append(_moved(node, axis, 0))
            inputs.append(placeholder(tensor(node.dtype, batched[-1].shape[1:])))
            leaves[k] = Array(inputs[-1])
        if extent is None:
            raise error(ShapeError, f"vmap of {name_of(f)}: no argument has a batch axis; "
                                    f"in_axes is {in_axes}")
        scope = Scope("vmap", name_of(f))
        with scope:
            out = f(*optree.tree_unflatten(structure, leaves), **kwargs)
            arrays, shape = result_arrays(f"vmap of {name_of(f)}", out)
            nodes = [a.node for a in arrays]
            ordered = effects.moved(scope)
            if ordered:  # it begins with the order around it, the same for all lanes
                nodes.append(scope.order)  # type: ignore[arg-type]
                stand = {id(effects.start_of(scope)): effects.outer(scope)}
                nodes = replaced(nodes, stand)
            found = batch(nodes, inputs, batched, extent)
        if ordered:
            effects.move_on(reduce("sum", found.pop(), (0,)))
        ends = _prefixed("out_axes", out_axes, out, none_is_leaf=False)
        return tree.unflatten(shape, [wrap(_moved(n, 0, normal_axis("vmap", a, n.type.rank)))
                                      for n, a in zip(found, ends, strict=True)])

    return run


def _prefixed(name: str, axes: Any, whole: Any, none_is_leaf: bool = True) -> list:
    """The axis of each leaf of `whole`, from a tree over its first levels."""
    if isinstance(axes, int | None):
        count = optree.tree_leaves(whole, none_is_leaf=none_is_leaf, namespace=tree.NAMESPACE)
        return [axes] * len(count)
    if isinstance(axes, list) and isinstance(whole, tuple):
        axes = tuple(axes)
    try:
        return optree.broadcast_prefix(axes, whole, none_is_leaf=none_is_leaf,
                                       namespace=tree.NAMESPACE)
    except ValueError as e:
        raise error(ShapeError, f"vmap: {name}={axes} does not fit the arguments: {e}") from None


def _moved(x: Node, source: int, to: int) -> Node:
    order = [d for d in range(x.type.rank) if d != source]
    order.insert(to, source)
    return move.transpose(x, tuple(order))
