"""Derivatives of functions over pytrees of arrays, in reverse and forward.

A transform calls its function once, on inputs of its own: an alias of each argument. What the
function closes over is another node, so nested transforms do not confuse whose change is meant. The
result is again a lazy graph, so transforms nest to any order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...base import tree
from ...base.errors import DTypeError, LamellaError, ShapeError
from ...ir.node import INPUT, Node, literal, make, placeholder
from ...ir.program import replaced
from ...ops import move
from ...ops.pointwise import apply, cast
from ...transform.jvp import pushforward
from ...transform.vjp import pullback
from ..arrays.array import Array, asarray, wrap
from ..arrays.scope import Scope, active
from ..arrays.values import alias, error
from ..functions.elementwise import stop_gradient
from .results import name_of, result_arrays

__all__ = ["grad", "jvp", "linearize", "stop_gradient", "value_and_grad", "vjp"]


def _independent(node: Node) -> Node:
    """A node of the same value whose dependence on `node` a derivative inside does not see."""
    if node.op is INPUT and node.data is not None and not active():
        return alias(node)
    return make(move.RESHAPE, (node,), {"shape": node.shape})


class _Opened:
    """An argument as independent arrays: `tree` to call with, `nodes` of its floating leaves."""

    __slots__ = ("leaves", "nodes", "structure", "tree")

    def __init__(self, what: str, argument: Any):
        leaves, self.structure = tree.flatten(argument)
        try:
            arrays = [asarray(a) for a in leaves]
        except LamellaError as e:
            raise error(DTypeError, f"{what} has a leaf that is no array: {e}") from None
        self.leaves = [wrap(_independent(a.node)) if a.dtype.is_inexact else a for a in arrays]
        self.nodes = [a.node for a in self.leaves if a.dtype.is_inexact]
        if not self.nodes:
            kinds = ", ".join(str(a.node.type) for a in arrays[:4]) or "no arrays"
            raise error(DTypeError,
                f"{what} has nothing floating to differentiate by: {kinds}; cast "
                "it with astype")
        self.tree = tree.unflatten(self.structure, self.leaves)

    def gather(self, nodes) -> Any:
        """The argument's structure with these nodes for the floating leaves, zeros for others."""
        nodes = iter(nodes)
        return tree.unflatten(self.structure, [
            wrap(next(nodes) if a.dtype.is_inexact else move.zeros_like(a.node))
            for a in self.leaves])


def _kept(result: Any) -> Any:
    """Arrays made inside of a scope, as handles that count among the pending ones outside."""
    return tree.map(lambda a: wrap(a.node) if isinstance(a, Array) else a, result)


def _pulled(outputs, nodes, cotangents) -> list[Node]:
    """Cotangents by the convention that gradients descend: of a real loss L(a + bi), complex
    numbers get dL/da + i dL/db. `pullback` gives the transposes, which are the conjugates."""
    found = pullback(outputs, nodes, [_conjugate(g) for g in cotangents])
    return [_conjugate(g) for g in found]


def _conjugate(x: Node) -> Node:
    return apply("conj", x) if x.dtype.is_complex else x


def value_and_grad(f: Callable, argnums: int | tuple[int, ...] = 0, *,
                   has_aux: bool = False) -> Callable:
    """A function that returns (f's value, its gradient by the arguments `argnums`).

    f returns one floating number (shape ()), or (number, aux) where `has_aux`; the result is then
    ((number, aux), gradient). The gradient has the argument's structure, a tuple of them where
    argnums is a tuple; leaves that are not floating get zeros of their dtype. Raises DTypeError for
    an argument without floating leaves, ShapeError where f's value is not a scalar.
    """
    several = isinstance(argnums, tuple)
    numbers: tuple[int, ...] = argnums if several else (argnums,)  # type: ignore[assignment]

    @functools.wraps(f)
    def run(*args, **kwargs):
        for k in numbers:
            if not -len(args) <= k < len(args):
                raise error(ShapeError, f"grad of {name_of(f)}: no positional argument {k} among "
                                        f"{len(args)}")
        opened = [_Opened(f"grad of {name_of(f)}: argument {k}", args[k]) for k in numbers]
        given = list(args)
        for k, o in zip(numbers, opened, strict=True):
            given[k] = o.tree
        with Scope("grad", name_of(f)):
            out = f(*given, **kwargs)
            value, aux = _with_aux(f, out) if has_aux else (out, None)
            loss = _scalar(f, value)
            nodes = [n for o in opened for n in o.nodes]
            found = iter(_pulled([loss], nodes, [literal(1, loss.dtype)]))
        grads = tuple(o.gather([next(found) for _ in o.nodes]) for o in opened)
        loss = wrap(loss)
        return ((loss, _kept(aux)) if has_aux else loss), (grads if several else grads[0])

    return run


def _with_aux(f: Callable, out: Any) -> tuple[Any, Any]:
    if not isinstance(out, tuple) or len(out) != 2:
        raise error(LamellaError,
            f"{name_of(f)}: has_aux needs (value, aux), got {type(out).__name__}")
    return out


def _scalar(f: Callable, value: Any) -> Node:
    if not isinstance(value, Array | float | int):
        raise error(DTypeError, f"grad of {name_of(f)}: needs one number, got "
                                f"{type(value).__name__}; for (number, aux) say has_aux=True")
    loss = asarray(value).node
    if loss.shape != ():
        raise error(ShapeError,
            f"grad of {name_of(f)}: the value has shape {loss.shape}, one number is "
            "needed; reduce it with sum or mean, or use vjp")
    if not loss.dtype.is_float:
        raise error(DTypeError,
            f"grad of {name_of(f)}: the value is {loss.dtype}, a floating number is "
            "needed")
    return loss


def grad(f: Callable, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False) -> Callable:
    """A function that returns f's gradient, or (gradient, aux); see `value_and_grad`."""
    both = value_and_grad(f, argnums, has_aux=has_aux)

    @functools.wraps(f)
    def run(*args, **kwargs):
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return run


def vjp(f: Callable, *primals, has_aux: bool = False):
    """(f(*primals), pull): pull(cotangent of the result) -> a tuple of cotangents of the primals.

    With `has_aux`, f returns (result, aux) and so the call gives (result, pull, aux).
    """
    opened = [_Opened(f"vjp of {name_of(f)}: argument {k}", p) for k, p in enumerate(primals)]
    with Scope("grad", name_of(f)):
        out = f(*(o.tree for o in opened))
        out, aux = _with_aux(f, out) if has_aux else (out, None)
        arrays, structure = result_arrays(name_of(f), out)
        outputs = [a.node for a in arrays]
        slots = [placeholder(n.type) for n in outputs]
        nodes = [n for o in opened for n in o.nodes]
        found = _pulled(outputs, nodes, slots)

    def pull(cotangents):
        """The cotangents of the primals for those of the result, which have its structure."""
        given = _matching("vjp", cotangents, structure, outputs)
        parts = iter(replaced(found, {id(s): g for s, g in zip(slots, given, strict=True)}))
        return tuple(o.gather([next(parts) for _ in o.nodes]) for o in opened)

    result = tree.unflatten(structure, [wrap(n) for n in outputs])
    return (result, pull, _kept(aux)) if has_aux else (result, pull)


def _matching(name: str, given: Any, structure: Any, nodes: list[Node]) -> list[Node]:
    """The leaves of `given` as nodes of the types of `nodes`."""
    leaves, found = tree.flatten(given)
    if found != structure:
        raise error(ShapeError,
            f"{name}: the structure {found} was given where {structure} is needed")
    out = []
    for a, n in zip(leaves, nodes, strict=True):
        node = asarray(a).node
        if node.shape != n.shape:
            raise error(ShapeError, f"{name}: shape {node.shape} was given for a value of {n.type}")
        out.append(cast(node, n.dtype))
    return out


def jvp(f: Callable, primals, tangents, *, has_aux: bool = False):
    """(f(*primals), its tangent) for the tuples of primals and of their tangents, which have the
    same structure; tangents of leaves that are not floating are ignored. Aux as in `vjp`."""
    for given in (primals, tangents):
        if not isinstance(given, tuple | list):
            raise error(ShapeError, f"jvp of {name_of(f)}: primals and tangents are tuples with an "
                                    f"entry for each argument, got {type(given).__name__}")
    opened = [_Opened(f"jvp of {name_of(f)}: argument {k}", p) for k, p in enumerate(primals)]
    nodes = [n for o in opened for n in o.nodes]
    directions = _directions("jvp", opened, tangents)
    with Scope("grad", name_of(f)):
        out = f(*(o.tree for o in opened))
        out, aux = _with_aux(f, out) if has_aux else (out, None)
        arrays, structure = result_arrays(name_of(f), out)
        outputs = [a.node for a in arrays]
        found = pushforward(outputs, nodes, directions)
    result = (tree.unflatten(structure, [wrap(n) for n in outputs]),
              tree.unflatten(structure, [wrap(n) for n in found]))
    return (*result, _kept(aux)) if has_aux else result


def _directions(name: str, opened: list[_Opened], tangents) -> list[Node]:
    """The tangents of the floating leaves."""
    if len(tangents) != len(opened):
        raise error(ShapeError, f"{name}: {len(opened)} primals and {len(tangents)} tangents")
    found: list[Node] = []
    for o, t in zip(opened, tangents, strict=True):
        given = _matching(name, t, o.structure, [a.node for a in o.leaves])
        found += [g for g, a in zip(given, o.leaves, strict=True) if a.dtype.is_inexact]
    return found


def linearize(f: Callable, *primals):
    """(f(*primals), push): push(*tangents) -> the result's tangent at these primals, as `jvp` gives
    it; f is called once however often push is."""
    opened = [_Opened(f"linearize of {name_of(f)}: argument {k}", p) for k, p in enumerate(primals)]
    nodes = [n for o in opened for n in o.nodes]
    with Scope("grad", name_of(f)):
        arrays, structure = result_arrays(name_of(f), f(*(o.tree for o in opened)))
        outputs = [a.node for a in arrays]
        slots = [placeholder(n.type) for n in nodes]
        found = pushforward(outputs, nodes, slots)

    def push(*tangents):
        """The result's tangent for the primals' tangents, which have their structures."""
        given = _directions("linearize", opened, tangents)
        stand = {id(s): g for s, g in zip(slots, given, strict=True)}
        return tree.unflatten(structure, [wrap(n) for n in replaced(found, stand)])

    return tree.unflatten(structure, [wrap(n) for n in outputs]), push
