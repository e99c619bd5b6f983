"""Derivatives that the user decides on: what is kept and what computed again, or stated whole."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...base import tree
from ...base.errors import DTypeError, LamellaError, ShapeError
from ...ir.node import Node
from ...ops import call as ops
from ..arrays.array import Array, asarray, wrap
from ..arrays.values import error
from ..programs import effects
from ..programs.closing import Inside, closed, mark

__all__ = ["checkpoint", "custom_jvp", "custom_vjp"]


ORDERS = 2  # so deep a rule may use its own function with the rule; deeper, the function as it is


class _Within:
    """While entered, a stated derivative is being traced."""

    __slots__ = ("of",)

    def __init__(self, of):
        self.of = of

    def __enter__(self):
        self.of.depth += 1

    def __exit__(self, *_):
        self.of.depth -= 1


class _Arguments:
    """A call's positional arguments as nodes, and a way to call a function with others."""

    __slots__ = ("nodes", "structure")

    def __init__(self, kind: str, args: tuple):
        leaves, self.structure = tree.flatten(args)
        try:
            self.nodes = [asarray(a).node for a in leaves]
        except LamellaError as e:
            raise error(DTypeError, f"{kind}: an argument has a leaf that is no array ({e}); let "
                                    f"the function close over what is no array") from None

    def trace(self, kind: str, f: Callable) -> Inside:
        found = Inside(kind, f, [n.type for n in self.nodes],
                       lambda g, given: g(*tree.unflatten(self.structure, given)))
        effects.refuse(found.scope)
        return found


def checkpoint(f: Callable, *, policy: str = "nothing") -> Callable:
    """f, of which a gradient keeps the arguments and computes the inside again when it comes to it:
    less memory for one more forward.

    policy: what else is kept of the inside: "nothing", or the results of its "products" (matrix
    products and convolutions), which are dear to compute again.
    """
    if policy not in ops.SAVES:
        raise error(LamellaError, f"checkpoint: policy is one of {', '.join(ops.SAVES)}, got "
                                  f"{policy!r}")

    @functools.wraps(f)
    def run(*args, **kwargs):
        given = _Arguments("checkpoint", args)
        since = mark()
        inside = given.trace("checkpoint", functools.update_wrapper(
            functools.partial(f, **kwargs), f) if kwargs else f)
        captured, (body,) = closed([(inside.name, inside.inputs, inside.nodes("checkpoint"))],
                                   since, repeats=False)
        return _wrapped(inside, ops.checkpoint(body, [*captured, *given.nodes], policy))

    return run


def _wrapped(inside: Inside, results) -> Any:
    return tree.unflatten(inside.structure, [wrap(n) for n in results])


class custom_vjp:
    """A function with a reverse derivative of its own.

        @lamella.custom_vjp
        def f(x): ...
        f.defvjp(forward, backward)

    forward(*args) -> (f's value, residuals); backward(residuals, cotangent) -> a tuple with a
    cotangent for each argument (None for zeros). Arrays that the functions close over get no
    gradient. There is no forward derivative: state that with `custom_jvp`.
    """

    def __init__(self, f: Callable):
        functools.update_wrapper(self, f)
        self.f = f
        self.forward: Any = None
        self.backward: Any = None
        self.depth = 0

    def defvjp(self, forward: Callable, backward: Callable) -> None:
        """State the derivative."""
        self.forward, self.backward = forward, backward

    def __call__(self, *args):
        if self.forward is None or self.backward is None:
            raise error(LamellaError, f"custom_vjp of {_named(self.f)}: has no derivative yet; say "
                                      f"{_named(self.f)}.defvjp(forward, backward)")
        if self.depth >= ORDERS:
            return self.f(*args)
        with _Within(self):
            return self._call(args)

    def _call(self, args: tuple):
        given = _Arguments("custom_vjp", args)
        since = mark()
        inside = given.trace("custom_vjp", self.f)
        ahead = given.trace("custom_vjp", self.forward)
        outputs = inside.nodes("custom_vjp")
        forward, residuals, structure = self._split(inside, ahead, outputs)
        back, found = self._trace_backward(given, inside, residuals, structure, outputs)
        captured, (body, first, second) = closed(
            [(inside.name, inside.inputs, outputs), ("forward", ahead.inputs, forward),
             ("backward", back.inputs, found)], since, repeats=False)
        return _wrapped(inside, ops.custom_vjp(body, first, second, len(captured),
                                               [*captured, *given.nodes]))

    def _split(self, inside: Inside, ahead: Inside, outputs: list[Node]):
        """(forward's results and residuals as nodes, the residuals, their structure)."""
        found = tree.unflatten(ahead.structure, ahead.leaves)
        if not isinstance(found, tuple) or len(found) != 2:
            raise error(LamellaError, f"custom_vjp of {_named(self.f)}: forward must return "
                                      f"(value, residuals), got {type(found).__name__}")
        values, value_structure = tree.flatten(found[0])
        leaves, structure = tree.flatten(found[1])
        nodes = [asarray(a).node for a in values]
        if value_structure != inside.structure or [n.type.anywhere for n in nodes] != [
                n.type.anywhere for n in outputs]:
            raise error(ShapeError, f"custom_vjp of {_named(self.f)}: forward's value "
                                    f"{_types(nodes)} is not of the function's type "
                                    f"{_types(outputs)}")
        residuals = [asarray(a).node for a in leaves]
        return [*nodes, *residuals], residuals, structure

    def _trace_backward(self, given: _Arguments, inside: Inside, residuals: list[Node], structure,
                        outputs: list[Node]):
        count = len(residuals)
        back = Inside("custom_vjp", self.backward,
                      [n.type for n in (*residuals, *outputs)],
                      lambda g, a: _tuple(g(tree.unflatten(structure, a[:count]),
                                            tree.unflatten(inside.structure, a[count:]))))
        parts = tree.unflatten(back.structure, back.leaves)
        wanted = tree.unflatten(given.structure, given.nodes)
        if not isinstance(parts, tuple) or len(parts) != len(wanted):
            raise error(ShapeError, f"custom_vjp of {_named(self.f)}: backward must return a tuple "
                                    f"of {len(wanted)} cotangents, one for each argument")
        found: list[Node] = []
        for k, (part, like) in enumerate(zip(parts, wanted, strict=True)):
            found += _cotangents(f"custom_vjp of {_named(self.f)}: the cotangent of argument {k}",
                                 part, like)
        return back, found


def _tuple(x: Any) -> Any:
    return tuple(x) if isinstance(x, list) else x


def _cotangents(what: str, part: Any, like: Any) -> list[Node]:
    """A cotangent's leaves for an argument's (a tree of nodes); zeros where it is None."""
    nodes, structure = tree.flatten(like)
    if part is None:
        return [ops.zeros_like(n) for n in nodes]
    leaves, found = tree.flatten(part)
    if found != structure:
        raise error(ShapeError, f"{what} has the structure {found}, the argument {structure}")
    given = [asarray(a).node for a in leaves]
    for g, n in zip(given, nodes, strict=True):
        if g.type.anywhere != n.type.anywhere:
            raise error(ShapeError, f"{what} is {g.type}, the argument {n.type}")
    return given


def _types(nodes) -> str:
    return f"({', '.join(str(n.type) for n in nodes)})"


def _named(f: Callable) -> str:
    return getattr(f, "__name__", type(f).__name__)


class custom_jvp:
    """A function with a derivative of its own, in both directions.

        @lamella.custom_jvp
        def f(x): ...
        f.defjvp(rule)

    rule(primals, tangents) -> (f's value, its tangent), which must be linear in the tangents: the
    reverse derivative is its transpose. Tangents of leaves that are not floating are zeros. Arrays
    that the functions close over get no gradient.
    """

    def __init__(self, f: Callable):
        functools.update_wrapper(self, f)
        self.f = f
        self.rule: Any = None
        self.depth = 0

    def defjvp(self, rule: Callable) -> None:
        """State the derivative."""
        self.rule = rule

    def __call__(self, *args):
        name = _named(self.f)
        if self.rule is None:
            raise error(LamellaError, f"custom_jvp of {name}: has no derivative yet; say "
                                      f"{name}.defjvp(rule)")
        if self.depth >= ORDERS:
            return self.f(*args)
        with _Within(self):
            return self._call(args, name)

    def _call(self, args: tuple, name: str):
        given = _Arguments("custom_jvp", args)
        since = mark()
        inside = given.trace("custom_jvp", self.f)
        outputs = inside.nodes("custom_jvp")
        moving = [n for n in given.nodes if n.dtype.is_inexact]
        types = [n.type for n in (*given.nodes, *moving)]
        count = len(given.nodes)

        def call(rule, a):
            ways = iter(a[count:])
            tangents = [next(ways) if n.dtype.is_inexact else Array(ops.zeros_like(n))
                        for n in given.nodes]
            return rule(tree.unflatten(given.structure, a[:count]),
                        tree.unflatten(given.structure, tangents))

        moved = Inside("custom_jvp", self.rule, types, call)
        found = tree.unflatten(moved.structure, moved.leaves)
        if not isinstance(found, tuple) or len(found) != 2:
            raise error(LamellaError, f"custom_jvp of {name}: the rule must return (value, "
                                      f"tangent), got {type(found).__name__}")
        tangent = [asarray(a).node for a in tree.leaves(found[1])]
        if [n.type.anywhere for n in tangent] != [
                n.type.anywhere for n in outputs]:
            raise error(ShapeError, f"custom_jvp of {name}: the rule's tangent {_types(tangent)} "
                                    f"is not of the function's type {_types(outputs)}")
        captured, (body, rule) = closed([(inside.name, inside.inputs, outputs),
                                         ("tangent", moved.inputs, tangent)], since, repeats=False)
        return _wrapped(inside, ops.custom_jvp(body, rule, len(captured),
                                               [*captured, *given.nodes]))
