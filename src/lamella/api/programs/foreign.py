"""A user's host functions: Python over NumPy arrays, as ops of programs.

    @lamella.foreign(result=lambda x: x)
    def ranked(x):
        return scipy.stats.rankdata(x, axis=-1)

    ranked(array)                                    # alone, inside compile, and inside vmap
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

from ...base.errors import DTypeError, LamellaError
from ...ir.node import Node, items, zeros_like
from ...ir.types import TensorType, TupleType, tensor
from ...ops.foreign import Foreign, is_plain
from ...ops.pointwise import apply
from ..arrays.array import asarray, wrap
from ..arrays.values import error, located
from .spec import Spec, spec


def foreign(function: Callable | None = None, *, result: Callable, name: str | None = None,
            vjp: Callable | None = None, batch: str = "loop", pure: bool = True,
            same_bits: bool = False, threads: int | None = 1,
            workspace: int | Callable = 0) -> Callable:
    """Register a function of NumPy arrays (positional) and constants (keyword-only) as an op.

    result(*specs, **constants): the spec of the result, or a tuple of specs for several; it may
        raise a LamellaError. function gives arrays of just these shapes.
    name: what a program's text calls it; module and function name by default. A program from a file
        can call a function once it is registered under that name.
    vjp(out, cotangent, *arrays, **constants): the gradients by the arrays (None: zero), stated in
        lamella's functions; out and cotangent are tuples where there are several results. Complex
        cotangents are gradients that descend (docs/numerics.md).
    batch: "leading" where function takes leading batch axes on all arrays, "loop" to call it for
        each member of a vmap.
    pure: False where equal calls may give different results; then no two are made one.
    same_bits: whether the bits depend on nothing but the arguments: a Report says where not.
    threads: the most that it uses, None for any number; workspace: the most bytes that it
        allocates, or a function of the specs and constants that says so. A Report shows it.
    """
    if function is None:
        return functools.partial(foreign, result=result, name=name, vjp=vjp, batch=batch, pure=pure,
                                 same_bits=same_bits, threads=threads, workspace=workspace)
    if batch not in ("leading", "loop"):
        raise error(LamellaError, f"foreign: batch is 'leading' or 'loop', got {batch!r}")
    positional, constants = _parameters(function)

    def rule(*types: TensorType, **given) -> TensorType | TupleType:
        return _type(result(*map(_spec, types), **given))

    def workspace_of(*types: TensorType, **given):
        return workspace(*map(_spec, types), **given) if callable(workspace) else workspace

    f = Foreign(name or f"{function.__module__}.{function.__qualname__}", function, rule,
                arity=len(positional), doc=inspect.getdoc(function) or "",
                options=dict.fromkeys(constants, is_plain), vjp=vjp and _vjp(vjp), batch=batch,
                pure=pure, same_bits=same_bits, threads=threads, workspace=workspace_of)

    @functools.wraps(function)
    @located
    def run(*arrays, **given):
        wrong = given.keys() - constants.keys()
        if wrong or len(arrays) != f.arity:
            raise error(DTypeError, f"{f.name}: takes {f.arity} arrays and the constants "
                                    f"({', '.join(constants)}), got {len(arrays)} arrays and "
                                    f"({', '.join(given)})")
        node = f(*(asarray(a).node for a in arrays), **{**constants, **given})
        return tuple(map(wrap, items(node))) if isinstance(node.type, TupleType) else wrap(node)

    return run


def _parameters(function: Callable) -> tuple[list[str], dict]:
    """The names of the arrays, and the constants with their defaults."""
    positional, constants = [], {}
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty:
            constants[p.name] = p.default
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty:
            positional.append(p.name)
        else:
            raise error(LamellaError, f"foreign: {function.__name__} has the parameter {p}; arrays "
                                      f"are positional without defaults, constants keyword-only "
                                      f"with one")
    return positional, constants


def _spec(t: TensorType) -> Spec:
    return spec(t.shape, t.dtype)


def _type(found) -> TensorType | TupleType:
    if isinstance(found, tuple | list):
        return TupleType(map(_type, found))  # type: ignore[arg-type]
    return tensor(found.dtype, tuple(found.shape))


def _vjp(rule: Callable) -> Callable:
    """The op's rule, on nodes and transposed, of one on arrays for gradients that descend."""
    def on_nodes(node: Node, cotangents):
        several = isinstance(node.type, TupleType)
        outs = items(node) if several else (node,)
        given = cotangents if several else (cotangents,)
        gs = [zeros_like(o) if g is None else g for o, g in zip(outs, given, strict=True)]
        out = tuple(map(wrap, outs))
        g = tuple(wrap(_conjugate(x)) for x in gs)
        found = rule(out if several else out[0], g if several else g[0],
                     *map(wrap, node.inputs), **dict(node.params["options"]))
        found = found if isinstance(found, tuple | list) else (found,)
        if len(found) != len(node.inputs):
            raise error(LamellaError, f"{node.params['name']}: its vjp gave {len(found)} gradients "
                                      f"for {len(node.inputs)} arrays")
        return tuple(None if x is None else _conjugate(asarray(x).node) for x in found)
    return on_nodes


def _conjugate(x: Node) -> Node:
    return apply("conj", x) if x.dtype.is_complex else x
