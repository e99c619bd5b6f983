"""The op object: a closed set of slots that tells an operator's whole story."""

from __future__ import annotations

from collections.abc import Callable

from ..base.errors import LamellaError

_registry: dict[str, Op] = {}


class Op:
    """One operator. Rules are attributes; there is no table keyed by op anywhere else.

    infer(params, *types) -> type; raises the user's error.
    reference(params, *arrays) -> NumPy array: the meaning.
    vjp(node, cotangent) -> a cotangent node (or None) for each input.
    jvp(node, tangents) -> the tangent node; a tangent is a node or None.
    batch(node, inputs, batched) -> node whose axis 0 is the batch; `batched` flags the inputs.
    lower(params, *types) -> lang Definition: the result element by element.
    expand(params, *nodes) -> node: the same in other ops (composites).
    codec: {parameter: (to_text, from_text)} for parameters that are not plain data.
    facts: a set of words such as "commutative", "associative", "pointwise", "view".
    samples() -> list of (params, arrays): inputs for the tests, awkward ones included.
    """

    __slots__ = ("batch", "codec", "doc", "expand", "facts", "infer", "jvp", "lower", "name",
                 "reference", "samples", "shard", "vjp")

    def __init__(self, name: str, *, doc: str, infer: Callable, reference: Callable | None = None,
                 vjp: Callable | None = None, jvp: Callable | None = None,
                 batch: Callable | None = None, shard: Callable | None = None,
                 lower: Callable | None = None, expand: Callable | None = None,
                 codec: dict | None = None, facts: frozenset[str] = frozenset(),
                 samples: Callable | None = None):
        if name in _registry:
            raise LamellaError(f"an op called {name!r} exists already")
        self.name, self.doc, self.infer, self.reference = name, doc, infer, reference
        self.vjp, self.jvp, self.batch, self.shard = vjp, jvp, batch, shard
        self.codec = codec
        self.lower, self.expand, self.facts, self.samples = lower, expand, facts, samples
        _registry[name] = self

    def __repr__(self) -> str:
        return self.name


def op_named(name: str) -> Op:
    """The registered op of that name (for the parser and operators); KeyError if unknown."""
    return _registry[name]


def all_ops() -> list[Op]:
    """Every registered op, in order of definition."""
    return list(_registry.values())
