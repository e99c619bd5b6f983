"""Choices and loops over pytrees of arrays, which a compiled function runs without Python.

A function given here is called once, on stand-ins, and becomes a program of its own; arrays that it
closes over are found. All of these may be batched by `vmap`, differentiated in both directions
(`while_loop` in reverse with `max_steps`), nested, and used inside and outside of `compile`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from ...base import dtypes, tree
from ...base.errors import DTypeError, LamellaError, ShapeError
from ...base.extents import Extent, Size, lower, upper
from ...ir.node import Node
from ...ir.types import TensorType, tensor
from ...ops import control as ops
from ...ops import move
from ...ops.iota import iota
from ...ops.pointwise import apply, cast
from ...ops.scan import scan as scan_nodes
from ..arrays.array import Array, asarray, wrap
from ..arrays.imports import number_node
from ..arrays.values import error
from . import effects
from .closing import Inside, closed, mark

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]


# ---- choices ------------------------------------------------------------------------------------

def cond(pred: Any, true_fun: Callable, false_fun: Callable, *operands: Any) -> Any:
    """true_fun(*operands) where pred (a 0-d boolean) holds, else false_fun(*operands).

    Both give the same structure, shapes and dtypes. Only the chosen one runs; under `vmap` with a
    batched pred both run where some lane takes them, and each lane keeps its own. Raises DTypeError
    or ShapeError where pred is no boolean scalar or the results differ.
    """
    if isinstance(pred, bool):
        return (true_fun if pred else false_fun)(*operands)
    flag = asarray(pred).node
    if flag.dtype is not dtypes.bool_:
        raise error(DTypeError, f"cond: pred must be a boolean, got {flag.type}; write a "
                                f"comparison, such as x > 0, or use switch for an integer")
    if flag.shape != ():
        raise error(ShapeError, f"cond: pred must be a scalar, got shape {flag.shape}; reduce it "
                                f"with any or all, choose elements with where, or use vmap")
    return _chosen("cond", move.reshape(flag, (1,)), (true_fun, false_fun), operands)


def switch(i: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """branches[i](*operands) for a 0-d integer i, clamped to the branches there are; see `cond`."""
    if not branches:
        raise error(LamellaError, "switch: needs at least one branch")
    if isinstance(i, int) and not isinstance(i, bool):
        return branches[min(max(i, 0), len(branches) - 1)](*operands)
    at = asarray(i).node
    if not at.dtype.is_int or at.shape != ():
        raise error(DTypeError, f"switch: takes a 0-d integer, got {at.type}; use cond for a "
                                f"boolean, vmap for several")
    if len(branches) == 1:
        return branches[0](*operands)
    count = len(branches) - 1
    flags = apply("le", cast(at, dtypes.int64), iota((count,), 0, dtypes.int64))
    return _chosen("switch", flags, branches, operands)


def _chosen(kind: str, flags: Node, branches: Sequence[Callable], operands: tuple) -> Any:
    since = mark()

    def call(f, _):
        return f(*tree.map(lambda a: Array(a.node) if isinstance(a, Array) else a, operands))

    found = [Inside(kind, f, (), call) for f in branches]
    outputs = _alike(kind, found)
    ordered = any(b.ordered for b in found)
    captured, programs = closed([
        (b.name, [b.start] if ordered else [], [*o, b.end] if ordered else o)
        for b, o in zip(found, outputs, strict=True)], since, repeats=False)
    if not outputs[0] and not ordered:
        return tree.unflatten(found[0].structure, [])
    results = ops.cond(flags, programs, [*captured, effects.current()] if ordered else captured)
    if ordered:
        effects.move_on(results[-1])
    return tree.unflatten(found[0].structure, [wrap(n) for n in results[:len(outputs[0])]])


def _alike(kind: str, found: list[Inside]) -> list[list[Node]]:
    """The branches' results as nodes of equal types; numbers follow the other branches' arrays."""
    first = found[0]
    for other in found[1:]:
        if other.structure != first.structure:
            raise error(ShapeError, f"{kind}: {other.name} gives the structure {other.structure}, "
                                    f"but {first.name} gives {first.structure}; all branches give "
                                    f"the same")
    columns = list(zip(*(b.leaves for b in found), strict=True))
    for k, leaves in enumerate(columns):
        array = next((a for a in leaves if isinstance(a, Array)), None)
        if array is not None:
            for b in found:
                if isinstance(b.leaves[k], bool | int | float | complex) and not array.ndim:
                    b.leaves[k] = Array(number_node(b.leaves[k], array.dtype))
    nodes = [b.nodes(kind) for b in found]
    names = tree.paths(tree.unflatten(first.structure, first.leaves))
    for other, theirs in zip(found[1:], nodes[1:], strict=True):
        for name, m, n in zip(names, nodes[0], theirs, strict=True):
            if m.type.anywhere != n.type.anywhere:
                raise error(ShapeError if m.shape != n.shape else DTypeError,
                            f"{kind}: the result{_leaf(name)} is {m.type} by {first.name} and "
                            f"{n.type} by {other.name}; all branches give the same type, "
                            f"{_remedy(m.type, n.type)}")
    return nodes


# ---- loops --------------------------------------------------------------------------------------

def scan(f: Callable, init: Any, xs: Any = None, length: Extent | None = None,
         reverse: bool = False, *, save: str = "carries") -> tuple[Any, Any]:
    """(last carry, stacked ys) of `carry, y = f(carry, x)` for each x along the first axis of xs.

    xs: a pytree of arrays [length, ...], or None with `length`, which may be a symbol. With
    `reverse` the last x comes first, and ys lie as their xs do. The carry keeps its structure,
    shapes and dtypes. save: what a gradient keeps of each trip: its "carries", from which the trip
    is computed again, or "all" that the gradient reads. Raises ShapeError or DTypeError that names
    the leaf.
    """
    x_leaves, x_structure = tree.flatten(xs)
    xs_nodes = [asarray(a).node for a in x_leaves]
    length = _length(xs_nodes, tree.paths(xs), length)
    if save not in ("carries", "all"):
        raise error(LamellaError, f'scan: save is "carries" or "all", got {save!r}')
    carries, structure = _init("scan", init)
    count = len(carries)
    types = [*(n.type for n in carries), *(tensor(n.dtype, n.shape[1:]) for n in xs_nodes)]

    def call(g, given):
        out = g(tree.unflatten(structure, given[:count]),
                tree.unflatten(x_structure, given[count:]))
        if not isinstance(out, tuple) or len(out) != 2:
            raise error(LamellaError, f"scan: the function must return (carry, y), got "
                                      f"{type(out).__name__}; say (carry, None) where there is "
                                      f"no y")
        return out

    since = mark()
    inside = Inside("scan", f, types, call)
    carry, y = tree.unflatten(inside.structure, inside.leaves)
    outputs = _carried("scan", inside.name, carry, structure, carries)
    y_leaves, y_structure = tree.flatten(y)
    inputs = list(inside.inputs)
    if inside.ordered:
        inputs.insert(count, inside.start)
        outputs.append(inside.end)
        carries = [*carries, effects.current()]
    outputs += [asarray(a).node for a in y_leaves]
    captured, (body,) = closed([(inside.name, inputs, outputs)], since, repeats=True)
    results = scan_nodes(body, length, captured, carries, xs_nodes, reverse, save)
    if inside.ordered:
        effects.move_on(results[count])
    return (tree.unflatten(structure, [wrap(n) for n in results[:count]]),
            tree.unflatten(y_structure, [wrap(n) for n in results[len(carries):]]))


def map(f: Callable, xs: Any) -> Any:
    """f of each slice of the arrays in xs along their first axis, one after another, stacked.

    The same values as `vmap(f)(xs)`, in less memory and time for large slices.
    """
    return scan(_mapping(f), None, xs)[1]


def _mapping(f: Callable) -> Callable:
    def body(_, x):
        return None, f(x)

    body.__name__ = getattr(f, "__name__", "map")
    return body


def fori_loop(start: Any, stop: Any, body: Callable, init: Any, *, save: str = "carries") -> Any:
    """The last carry of `carry = body(i, carry)` for i = start .. stop - 1 (int32).

    Integers and symbols make a `scan`, which can be differentiated; with arrays as bounds it is a
    `while_loop`.
    """
    if isinstance(start, Array) or isinstance(stop, Array):
        return _counted(asarray(start), asarray(stop), body, init)
    try:
        start, stop = (b if isinstance(b, Size) else operator.index(b) for b in (start, stop))
    except TypeError:
        raise error(DTypeError, f"fori_loop: the bounds are integers, got {start!r} and "
                                f"{stop!r}") from None
    length = stop - start
    if isinstance(length, Size) and lower(length) < 0:
        raise error(ShapeError, f"fori_loop: {stop} - {start} may be negative; bound the symbol "
                                f"from below")
    length = length if isinstance(length, Size) else max(length, 0)
    if isinstance(start, Size) or not start >= -2**31 or upper(start + length) > 2**31:
        raise error(ShapeError, f"fori_loop: the bounds {start}..{stop} do not fit int32, or the "
                                f"first one is a symbol; start from 0")
    numbers = iota((length,), 0, dtypes.int32)
    numbers = numbers + start if start else numbers

    def trip(carry, i):
        return body(i, carry), None

    trip.__name__ = getattr(body, "__name__", "body")
    return scan(trip, init, Array(numbers), save=save)[0]


def _counted(start: Array, stop: Array, body: Callable, init: Any) -> Any:
    for a in (start, stop):
        if not a.dtype.is_int or a.shape != ():
            raise error(DTypeError, f"fori_loop: the bounds are integers, got {a.node.type}")
    end = cast(stop.node, dtypes.int32)

    def on(state):
        return Array(apply("lt", state[0].node, end))

    def trip(state):
        return state[0] + 1, body(state[0], state[1])

    trip.__name__ = getattr(body, "__name__", "body")
    return while_loop(on, trip, (start.astype(dtypes.int32), init))[1]


def while_loop(cond_fun: Callable, body_fun: Callable, init: Any, *,
               max_steps: int | None = None) -> Any:
    """The last carry of `carry = body_fun(carry)`, repeated while cond_fun(carry) holds.

    cond_fun gives a 0-d boolean; the carry keeps its structure, shapes and dtypes. Under `vmap`
    lanes that have finished keep their carry. With `max_steps` there are at most so many trips, and
    the loop has a reverse derivative (it then makes all trips, idle ones being cheap).
    """
    if max_steps is not None:
        return _bounded(cond_fun, body_fun, init, max_steps)
    carries, structure = _init("while_loop", init)
    types = [n.type for n in carries]
    since = mark()
    asks = Inside("while_loop", cond_fun, types,
                  lambda f, given: f(tree.unflatten(structure, given)))
    trip = Inside("while_loop", body_fun, types,
                  lambda f, given: f(tree.unflatten(structure, given)))
    outputs = _carried("while_loop", trip.name, tree.unflatten(trip.structure, trip.leaves),
                       structure, carries)
    effects.refuse(asks.scope)
    inner = [asks.inputs, trip.inputs]
    if trip.ordered:
        inner = [[*asks.inputs, asks.start], [*trip.inputs, trip.start]]
        outputs.append(trip.end)
        carries = [*carries, effects.current()]
    captured, (condition, body) = closed(
        [(asks.name, inner[0], _one_flag(asks)), (trip.name, inner[1], outputs)], since,
        repeats=True)
    results = ops.while_loop(condition, body, captured, carries)
    if trip.ordered:
        effects.move_on(results[-1])
    return tree.unflatten(structure, [wrap(n) for n in results[:len(types)]])


def _one_flag(asks: Inside) -> list[Node]:
    nodes = asks.nodes("while_loop")
    if len(nodes) != 1 or nodes[0].type.anywhere != tensor(dtypes.bool_, ()):
        raise error(DTypeError, f"while_loop: {asks.name} must give one 0-d boolean, got "
                                f"{', '.join(str(n.type) for n in nodes) or 'nothing'}")
    return nodes


def _bounded(cond_fun: Callable, body_fun: Callable, init: Any, max_steps: int) -> Any:
    def trip(carry, _):
        return cond(cond_fun(carry), body_fun, lambda c: c, carry), None

    trip.__name__ = getattr(body_fun, "__name__", "body")
    return scan(trip, init, length=max_steps)[0]


# ---- carries ------------------------------------------------------------------------------------

def _init(kind: str, init: Any) -> tuple[list[Node], Any]:
    leaves, structure = tree.flatten(init)
    try:
        return [asarray(a).node for a in leaves], structure
    except LamellaError as e:
        raise error(DTypeError, f"{kind}: the first carry has a leaf that is no array: "
                                f"{e}") from None


def _carried(kind: str, name: str, carry: Any, structure: Any, before: list[Node]) -> list[Node]:
    """The carry that a trip gives as nodes, of the types that it was given."""
    leaves, found = tree.flatten(carry)
    if found != structure:
        raise error(ShapeError, f"{kind}: {name} gives a carry of the structure {found}, but was "
                                f"given {structure}; return what it was given, changed")
    nodes = []
    for path, leaf, old in zip(tree.paths(carry), leaves, before, strict=True):
        new = number_node(leaf, old.dtype) if _follows(leaf, old) else asarray(leaf).node
        if new.type.anywhere != old.type.anywhere:
            raise error(ShapeError if new.shape != old.shape else DTypeError,
                        f"{kind}: the carry{_leaf(path)} goes into {name} as {old.type} and comes "
                        f"out as {new.type}; it must keep its type, "
                        f"{_remedy(old.type, new.type)}")
        nodes.append(new)
    return nodes


def _follows(leaf: Any, old: Node) -> bool:
    """Whether a Python number can be of the carry's dtype."""
    return old.shape == () and (
        isinstance(leaf, bool) == (old.dtype is dtypes.bool_)) and (
        isinstance(leaf, bool | int) or (isinstance(leaf, float) and old.dtype.is_inexact))


def _leaf(path: str) -> str:
    return f"'s leaf {path}" if path else ""


def _remedy(wanted: TensorType, found: TensorType) -> str:
    if wanted.shape == found.shape:
        return f"for example by .astype({wanted.dtype}), or begin with {found.dtype}"
    return f"for example by reshape or broadcast_to to {wanted.shape}, or begin with {found.shape}"


def _length(xs: list[Node], paths: list[str], length: Extent | None) -> Extent:
    if not xs and length is None:
        raise error(ShapeError, "scan: needs xs or a length")
    for path, n in zip(paths, xs, strict=True):
        if not n.type.rank:
            raise error(ShapeError, f"scan: xs{_leaf(path)} is a scalar; xs are sliced along their "
                                    f"first axis, capture what is the same on every trip")
        if length is None:
            length = n.shape[0]
        if n.shape[0] != length:
            raise error(ShapeError, f"scan: xs{_leaf(path)} has {n.shape[0]} slices, where "
                                    f"{length} are needed")
    if length is None or lower(length) < 0:
        raise error(ShapeError, f"scan: the length {length} is negative")
    return length
