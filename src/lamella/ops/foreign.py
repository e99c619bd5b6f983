"""Calls of host functions: Python callables over NumPy arrays, registered by name.

A call works uncompiled and inside compiled programs, where it is a step of the Plan that the thread
that entered the program runs, holding Python's lock. A program's text stores the name alone, so a
program from a file can call what has been registered and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base.dtypes import as_dtype
from ..base.errors import LamellaError, ProgramError, ShapeError
from ..base.extents import Extent
from ..ir.node import Node, items, literal, make
from ..ir.op import Op
from ..ir.types import TensorType, TupleType, tensor, tensors
from ..transform.vjp import propagate
from .move import concat, reshape, slice_, stacked

Options = tuple[tuple[str, object], ...]


class Foreign:
    """A registered host function.

    call(*arrays, **options) -> an array, or a tuple of them. The arrays are read-only; what it
        returns is copied into the results' memory.
    rule(*types, **options) -> the result's TensorType, or a TupleType; raises the user's error.
    arity: the number of its arrays; None: any.
    options: {name: predicate(value)}; options are numbers, strings, None and tuples of these.
    vjp(node, cotangents) -> a node (or None) for each input, over `node.inputs` and, of a function
        with several results, `items(node)`; cotangents come as for any op. Tangents follow from it.
    batch: "leading" where the function takes any leading batch axes on all of its arrays (repeated
        where one lacks them), "loop" where each member of a batch needs a call of its own.
    pure: whether equal arguments give equal results, so that calls may be shared or left out.
    same_bits: whether the result's bits depend on the arguments alone (not on threads, or machine).
    threads: the most threads that it uses; None: as many as its library likes.
    workspace(*types, **options) -> the most bytes that it allocates during a call.
    """

    __slots__ = ("arity", "batch", "call", "doc", "name", "options", "pure", "rule", "same_bits",
                 "samples", "threads", "vjp", "workspace")

    def __init__(self, name: str, call: Callable, rule: Callable, *, arity: int | None = 1,
                 doc: str = "", options: dict[str, Callable] | None = None,
                 vjp: Callable | None = None,
                 batch: str = "loop", pure: bool = True, same_bits: bool = False,
                 threads: int | None = 1, workspace: Callable | None = None,
                 samples: Callable = tuple):
        if name in _registry:
            raise LamellaError(f"a host function called {name!r} is registered already; choose "
                               f"another name")
        self.name, self.call, self.rule, self.arity, self.doc = name, call, rule, arity, doc
        self.options, self.vjp, self.batch = options or {}, vjp, batch
        self.pure, self.same_bits, self.threads = pure, same_bits, threads
        self.workspace = workspace or (lambda *types, **o: 0)
        self.samples = samples
        _registry[name] = self

    def __call__(self, *nodes: Node, **options) -> Node:
        """The node of a call; `items` gives its several results."""
        params = {"name": self.name, "options": tuple(sorted(options.items()))}
        node = make(FOREIGN, nodes, params)
        if not self.pure:
            node.token = self.name
        return node

    def __repr__(self) -> str:
        return self.name


_registry: dict[str, Foreign] = {}


def registered(name: str) -> Foreign:
    """The host function of that name; ProgramError where there is none."""
    found = _registry.get(name)
    if found is None:
        raise ProgramError(f"foreign: no host function called {name!r} is registered; import or "
                           f"register what defines it first")
    return found


def function_of(node: Node) -> Foreign:
    """The host function that a node of this op calls."""
    return registered(node.params["name"])


def workspace_of(node: Node) -> Extent:
    """The most bytes that the call allocates beside its results, by its own word."""
    f = function_of(node)
    return f.workspace(*[i.type for i in node.inputs], **dict(node.params["options"]))


def called(node: Node, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The function's results for these arrays, of the node's types; raises where they differ."""
    found = _called(node.params, [a.view() for a in arrays])
    types = tensors(node.type)
    if len(found) != len(types):
        raise ShapeError(f"{node.params['name']}: returned {len(found)} results, its rule states "
                         f"{len(types)}")
    return found


def _called(params: dict, arrays: list[np.ndarray]) -> list[np.ndarray]:
    for a in arrays:
        a.flags.writeable = False
    with np.errstate(all="ignore"):
        found = registered(params["name"]).call(*arrays, **dict(params["options"]))
    return list(map(np.asarray, found)) if isinstance(found, tuple) else [np.asarray(found)]


# ---- the op -------------------------------------------------------------------------------------

def _is_registered(v, *_) -> bool:
    """the name of a registered host function"""
    return isinstance(v, str) and v in _registry


def is_plain(v) -> bool:
    """A constant that a text can state: None, a number, a string, or a tuple of these."""
    return v is None or isinstance(v, bool | int | float | str) or (
        isinstance(v, tuple) and all(map(is_plain, v)))


def _are_options(v, params, types) -> bool:
    """a tuple of pairs (name, value): the host function's own options, each in its range"""
    if not isinstance(v, tuple) or not all(isinstance(o, tuple) and len(o) == 2 and
                                           is_plain(o[1]) for o in v):
        return False
    wanted = _registry[params["name"]].options if _is_registered(params["name"]) else {}
    return [o[0] for o in v] == sorted(wanted) and all(wanted[k](value) for k, value in v)


def _infer(params: dict, *types: TensorType):
    f = registered(params["name"])
    if f.arity is not None and len(types) != f.arity:
        raise ProgramError(f"{f.name}: takes {f.arity} operands, got {len(types)}")
    return f.rule(*types, **dict(params["options"]))


def _reference(params: dict, *arrays: np.ndarray):
    found = _called(params, [np.array(a) for a in arrays])
    types = _infer(params, *[tensor(as_dtype(a.dtype), a.shape) for a in arrays])
    cast = tuple(a.astype(t.dtype.numpy) for a, t in zip(found, tensors(types), strict=True))
    return cast if isinstance(types, TupleType) else cast[0]


def _vjp(node: Node, cotangents):
    f = function_of(node)
    if f.vjp is None:
        raise LamellaError(f"{f.name} has no derivative; give one when it is registered, or wrap "
                           f"its arguments in stop_gradient")
    return f.vjp(node, cotangents)


def _jvp(node: Node, tangents):
    """The transpose of the cotangents' rule: as that is linear, its own cotangents, at 0."""
    types = tensors(node.type)
    slots = [literal(0, t.dtype, t.shape) for t in types]
    several = isinstance(node.type, TupleType)
    parts = _vjp(node, tuple(slots) if several else slots[0])
    pairs = [(p, t) for p, t in zip(parts, tangents, strict=True)
             if p is not None and t is not None]
    found = propagate([p for p, _ in pairs], slots, [t for _, t in pairs])
    return tuple(found) if several else found[0]


def _batch(node: Node, inputs, batched):
    f = function_of(node)
    several = isinstance(node.type, TupleType)
    inputs = stacked(inputs, batched)
    options = dict(node.params["options"])
    if f.batch == "leading":
        new = f(*inputs, **options)
        return tuple((i, True) for i in items(new)) if several else new
    extent = inputs[0].shape[0]
    if not isinstance(extent, int):
        raise ShapeError(f"vmap: {f.name} is called for each member of the batch, whose size "
                         f"{extent} must be fixed")
    members = [f(*(_member(i, k) for i in inputs), **options) for k in range(extent)]
    results = [items(m) for m in members] if several else [(m,) for m in members]
    joined = [_stack(parts) for parts in zip(*results, strict=True)]
    return tuple((j, True) for j in joined) if several else joined[0]


def _member(x: Node, k: int) -> Node:
    starts = (k, *(0 for _ in x.shape[1:]))
    return reshape(slice_(x, starts, (k + 1, *x.shape[1:])), x.shape[1:])


def _stack(parts: tuple[Node, ...]) -> Node:
    return concat([reshape(p, (1, *p.shape)) for p in parts], 0)


def _samples() -> list:
    return [({"name": f.name, "options": tuple(sorted(options.items()))}, arrays)
            for f in _registry.values() for options, arrays in f.samples()]


FOREIGN = Op("foreign", doc="The results of a registered host function.", arity=0, more=True,
             params={"name": _is_registered, "options": _are_options}, infer=_infer,
             reference=_reference, vjp=_vjp, jvp=_jvp, batch=_batch, samples=_samples,
             facts=frozenset({"step", "host"}))
