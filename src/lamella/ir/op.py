"""The op object: a closed set of slots that tells an operator's whole story."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base.dtypes import INTS, DType
from ..base.errors import LamellaError, ProgramError, ShapeError
from ..base.extents import Size, upper
from .types import TupleType, tensors

MOST_RANK, MOST_ELEMENTS = 32, 1 << 48  # of a value that a text may state

_RANGES = {d.name: range(-(1 << (d.bits - 1)) if d.kind == "int" else 0,
                         1 << (d.bits - (d.kind == "int"))) for d in INTS}

_registry: dict[str, Op] = {}


class Op:
    """One operator. Rules are attributes; there is no table keyed by op anywhere else.

    rule(params, *types) -> type, a TupleType for several results; raises the user's error. `make`
        calls it: the front end's own parameters are well formed. `infer` is the rule behind
        `check`, for those of a text.
    arity, more: the number of operands; with `more`, the least number.
    params: {name: predicate(value, params, types)}: every parameter, and whether its value is safe
        to lower and to run; a predicate's docstring says what it wants.
    reference(params, *arrays) -> NumPy array: the meaning.
    vjp(node, cotangent) -> a cotangent node (or None) for each input.
    jvp(node, tangents) -> the tangent node; a tangent is a node or None.
    batch(node, inputs, batched) -> node whose axis 0 is the batch; `batched` flags the inputs.
    lower(params, *types) -> lang Definition: the result element by element.
    loops(room, params, *types) -> lang Routine: kernels of the op's own, where one line of notation
        is not enough (scans, scatters, sorts). room: how many vectors of float32 values the
        target's registers hold; a choice of tiles by it changes no bits. It is 0 on a device of
        tiles, for which a routine may be stated in tile loops.
    expand(params, *nodes) -> node: the same in other ops (composites).
    codec: {parameter: (to_text, from_text)} for parameters that are not plain data.
    facts: a set of words such as "commutative", "associative", "pointwise", "view", "rereads"
        (loops that read an operand's elements many times, so that it is better stored).
    samples() -> list of (params, arrays): inputs for the tests, awkward ones included.

    Of an op with several results, `reference` gives a tuple of arrays, `vjp` takes a tuple of
    cotangents (nodes or None), `jvp` gives a tuple of tangents, and `batch` a tuple of pairs
    (node, flag): each result, and whether it has the batch axis; `expand` gives a tuple of nodes.
    Such an op has no `lower`; the fact "step" says that the planner makes steps of its own for it.
    """

    __slots__ = ("arity", "batch", "codec", "doc", "expand", "facts", "jvp", "loops", "lower",
                 "more", "name", "params", "reference", "rule", "samples", "shard", "vjp")

    def __init__(self, name: str, *, doc: str, infer: Callable, arity: int,
                 params: dict[str, Callable], more: bool = False,
                 reference: Callable | None = None, vjp: Callable | None = None,
                 jvp: Callable | None = None,
                 batch: Callable | None = None, shard: Callable | None = None,
                 lower: Callable | None = None, loops: Callable | None = None,
                 expand: Callable | None = None,
                 codec: dict | None = None, facts: frozenset[str] = frozenset(),
                 samples: Callable | None = None):
        if name in _registry:
            raise LamellaError(f"an op called {name!r} exists already")
        self.name, self.doc, self.rule, self.reference = name, doc, infer, reference
        self.arity, self.more, self.params = arity, more, params
        self.vjp, self.jvp, self.batch, self.shard = vjp, jvp, batch, shard
        self.codec = codec
        self.lower, self.loops, self.expand = lower, loops, expand
        self.facts, self.samples = facts, samples
        _registry[name] = self

    def infer(self, params: dict, *types):
        """The result's type; raises for whatever is not safe to compile and run."""
        check(self, params, types)
        if "item" not in self.facts and any(isinstance(t, TupleType) for t in types):
            raise ProgramError(f"{self.name}: takes one value for each operand, not several; "
                               f"select one with item")
        out = self.rule(params, *types)
        for t in tensors(out):
            check_extents(self.name, t.shape)
        return out

    def __repr__(self) -> str:
        return self.name


def check(op: Op, params: dict, types: tuple) -> None:
    """Raise unless the op takes so many operands and these parameters, each in its range."""
    if len(types) < op.arity or (len(types) > op.arity and not op.more):
        raise ProgramError(f"{op.name}: does not take {len(types)} operands; it takes {op.arity}"
                           f"{' or more' if op.more else ''}")
    if params.keys() != op.params.keys():
        raise ProgramError(f"{op.name}: does not take the parameters ({', '.join(params)}); "
                           f"it takes ({', '.join(op.params)})")
    for name, predicate in op.params.items():
        if not predicate(params[name], params, types):
            shown = repr(params[name])
            raise ProgramError(f"{op.name}: does not take {name}={shown[:80]} with operands "
                               f"({', '.join(map(str, types))}); {name} is {predicate.__doc__}")


def check_extents(name: str, shape: tuple) -> None:
    """Raise unless the extents can be those of a value in memory."""
    count = 1
    for e in shape:
        count *= max(upper(e), 1)
    if count > MOST_ELEMENTS or any(upper(e) < 0 for e in shape):
        raise ShapeError(f"{name}: no value has the shape {shape}: extents are 0 or more, and "
                         f"their product is at most 2**48")


# ---- predicates of parameters: (value, params, types) -> bool ------------------------------------

def is_int(v, *_) -> bool:
    """an integer"""
    return isinstance(v, int | np.integer) and not isinstance(v, bool)


def is_bool(v, *_) -> bool:
    """True or False"""
    return isinstance(v, bool)


def is_number(v, *_) -> bool:
    """a number"""
    return is_int(v) or isinstance(v, float | np.floating)


def is_dtype(v, *_) -> bool:
    """a dtype"""
    return isinstance(v, DType)


def is_extent(v, *_) -> bool:
    """an extent, 0 or more"""
    return (is_int(v) or isinstance(v, Size)) and upper(v) >= 0


def is_shape(v, *_) -> bool:
    """a tuple of extents, at most 32"""
    return isinstance(v, tuple) and len(v) <= MOST_RANK and all(map(is_extent, v))


def is_axis(v, params, types) -> bool:
    """an axis of the first operand, 0 or more"""
    return is_int(v) and 0 <= v < types[0].rank


def is_axes(v, params, types) -> bool:
    """a tuple of axes of the first operand in ascending order"""
    return (isinstance(v, tuple) and all(is_axis(a, params, types) for a in v)
            and all(a < b for a, b in zip(v, v[1:], strict=False)))


def in_range(value: int, dtype: DType) -> bool:
    """Whether an integer dtype has this integer; true of any other dtype."""
    return not dtype.is_int or value in _RANGES[dtype.name]


def fits(value, dtype: DType) -> bool:
    """Whether the dtype has this number."""
    if dtype.is_complex:
        return is_number(value) or isinstance(value, complex)
    if dtype.is_float or dtype.kind == "float8":
        return is_number(value)
    if dtype.kind == "bool":
        return is_bool(value) or (is_int(value) and value in (0, 1))
    return is_int(value) and value in _RANGES[dtype.name]


def exact(value):
    """A number as a key of its bits (-0.0 is not 0.0); other values as they are."""
    if isinstance(value, float):
        return value.hex()
    return (value.real.hex(), value.imag.hex()) if isinstance(value, complex) else value


def one_of(*values) -> Callable:
    """A predicate: one of the values, and of its kind."""
    def predicate(v, *_) -> bool:
        return any(type(v) is type(w) and v == w for w in values)
    predicate.__doc__ = " or ".join(map(repr, values))
    return predicate


def each(one: Callable, count: int | None = None) -> Callable:
    """A predicate: a tuple of `count` such values; None: one for each axis of the first operand."""
    def predicate(v, params, types) -> bool:
        n = types[0].rank if count is None else count
        return isinstance(v, tuple) and len(v) == n and all(one(e, params, types) for e in v)
    predicate.__doc__ = (f"a tuple of {count or 'one for each axis'}, each {one.__doc__}")
    return predicate


def at_least(low: int) -> Callable:
    """A predicate: an integer of at least `low` (and of 32 bits)."""
    def predicate(v, *_) -> bool:
        return is_int(v) and low <= v < 1 << 31
    predicate.__doc__ = f"an integer of at least {low}"
    return predicate


def op_named(name: str) -> Op:
    """The registered op of that name (for the parser and operators); KeyError if unknown."""
    return _registry[name]


def all_ops() -> list[Op]:
    """Every registered op, in order of definition."""
    return list(_registry.values())
