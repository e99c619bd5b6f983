"""Choices and loops whose length is not known: programs as parameters of a node.

A program inside is closed: what it needs of its surroundings are operands of the node. Every such
op has several results (a TupleType), also where it is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base import dtypes
from ..base.errors import LamellaError, ProgramError
from ..base.source import render
from ..ir.interpret import interpret
from ..ir.node import Node, broadcast_to, items, literal, make, placeholder, zeros_like
from ..ir.op import Op, is_int, op_named
from ..ir.program import Program
from ..ir.types import TensorType, TupleType, tensor
from ..transform import jvp, vjp, vmap
from .index import take
from .pointwise import apply, cast
from .reduce import reduce


def is_program(v, *_) -> bool:
    """a program"""
    return isinstance(v, Program)


def is_count(v, params, types) -> bool:
    """a number of operands"""
    return is_int(v) and 0 <= v <= len(types)


def require_types(name: str, what: str, found: Sequence[TensorType],
                  wanted: Sequence[TensorType]) -> None:
    """Raise unless a program inside takes or gives these types."""
    if list(found) != list(wanted):
        raise ProgramError(f"{name}: {what} ({', '.join(map(str, found))}), but "
                           f"({', '.join(map(str, wanted))}) is needed")


def filled(found: Sequence[Node | None], like: Sequence[Node]) -> list[Node]:
    """Zeros of the right type where there is no derivative."""
    return [zeros_like(n) if f is None else f for f, n in zip(found, like, strict=True)]


def spread(outputs: Sequence[tuple[Node, bool]], flags: Sequence[bool], extent) -> list[Node]:
    """Batched outputs where `flags` asks for that, repeated where they are not batched yet."""
    return [broadcast_to(n, (extent, *n.shape)) if want and not have else n
            for (n, have), want in zip(outputs, flags, strict=True)]


def stand_ins(nodes: Sequence[Node], flags: Sequence[bool], extent) -> list[Node]:
    """An input for each node, with a leading batch axis where flagged; itself where not."""
    return [placeholder(tensor(n.dtype, (extent, *n.shape))) if f else n
            for n, f in zip(nodes, flags, strict=True)]


# ---- cond ---------------------------------------------------------------------------------------

def cond(flags: Node, branches: Sequence[Program], operands: Sequence[Node]) -> tuple[Node, ...]:
    """The results of the first of the branches whose flag holds, of the last where none does."""
    return items(make(COND, (flags, *operands), {"branches": tuple(branches)}))


def _are_branches(v, *_) -> bool:
    """a tuple of two or more programs"""
    return isinstance(v, tuple) and len(v) > 1 and all(map(is_program, v))


def _cond_infer(p: dict, flags: TensorType, *operands: TensorType) -> TupleType:
    branches: tuple[Program, ...] = p["branches"]
    if flags != tensor("bool", (len(branches) - 1,)):
        raise ProgramError(f"cond: the flags are {flags}, but bool[{len(branches) - 1}] is needed")
    for b in branches:
        require_types("cond", "a branch takes", b.input_types, operands)
        require_types("cond", "a branch gives", b.output_types, branches[0].output_types)
    return TupleType(branches[0].output_types)


def _cond_reference(p: dict, flags: np.ndarray, *operands: np.ndarray):
    chosen = int(np.argmax(flags)) if flags.any() else len(flags)
    return tuple(interpret(p["branches"][chosen], operands))


def _cond_jvp(node: Node, tangents):
    active = [t is not None for t in tangents[1:]]
    given = [t for t in tangents[1:] if t is not None]
    ways = [placeholder(t.type) for t in given]
    found = []
    for b in node.params["branches"]:
        rest = iter(ways)
        found.append(jvp.propagate(b.outputs, b.inputs, [next(rest) if a else None
                                                         for a in active]))
    return _derived(node, [(*b.inputs, *ways) for b in node.params["branches"]], found,
                    node.params["branches"][0].outputs, given)


def _cond_vjp(node: Node, cotangents):
    given = [c for c in cotangents if c is not None]
    ways = [placeholder(c.type) for c in given]
    wanted = [k for k, n in enumerate(node.inputs[1:]) if n.dtype.is_inexact]
    found = []
    for b in node.params["branches"]:
        rest = iter(ways)
        slots = [None if c is None else next(rest) for c in cotangents]
        found.append(vjp.propagate(b.outputs, [b.inputs[k] for k in wanted], slots))
    parts = _derived(node, [(*b.inputs, *ways) for b in node.params["branches"]], found,
                     [node.inputs[1 + k] for k in wanted], given)
    by_operand = dict(zip(wanted, parts, strict=True))
    return (None, *(by_operand.get(k) for k in range(len(node.inputs) - 1)))


def _derived(node: Node, inputs, found, like, given) -> list[Node | None]:
    """A cond of derivatives; None for results that no branch depends on."""
    used = [k for k in range(len(like)) if any(f[k] is not None for f in found)]
    if not used:
        return [None] * len(like)
    branches = [Program(i, filled([f[k] for k in used], [like[k] for k in used]), "derivative")
                for i, f in zip(inputs, found, strict=True)]
    results = dict(zip(used, cond(node.inputs[0], branches, (*node.inputs[1:], *given)),
                       strict=True))
    return [results.get(k) for k in range(len(like))]


def _cond_batch(node: Node, inputs, batched):
    if batched[0]:
        return _cond_lanes(node, inputs, batched)
    extent = next(n.shape[0] for n, f in zip(inputs, batched, strict=True) if f)
    found, given = [], []
    for b in node.params["branches"]:
        given.append(stand_ins(b.inputs, batched[1:], extent))
        found.append(vmap.propagate(b.outputs, b.inputs, given[-1], batched[1:]))
    flags = [any(f[k][1] for f in found) for k in range(len(found[0]))]
    branches = [Program(g, spread(f, flags, extent), b.name) for g, f, b in
                zip(given, found, node.params["branches"], strict=True)]
    return tuple(zip(cond(inputs[0], branches, inputs[1:]), flags, strict=True))


def _cond_lanes(node: Node, inputs, batched):
    """Each lane its own branch: every branch that some lane takes runs for all of them. Lanes that
    do not take it are given the inputs of one that does, so that nothing undefined arises there
    (a derivative would spread it), and their results are not looked at."""
    flags, *operands = inputs
    extent, count = flags.shape[0], flags.shape[1]
    if extent == 0:
        return tuple((literal(0, t.dtype, (0, *t.shape)), True)
                     for t in node.params["branches"][0].output_types)
    results: list[Node] | None = None
    for k in range(count, -1, -1):  # from the last: earlier branches take precedence
        lives = _flag(flags, k) if k < count else apply("not", reduce("any", flags, (1,)))
        for j in range(k):
            lives = apply("and", lives, apply("not", _flag(flags, j)))
        found = _lane_branch(node.params["branches"][k], lives, operands, batched[1:], extent)
        results = list(found) if results is None else [
            select(lives, a, b) for a, b in zip(found, results, strict=True)]
    assert results is not None
    return tuple((n, True) for n in results)


def _flag(flags: Node, k: int) -> Node:
    """Column k of the lanes' flags."""
    rows = flags.shape[0]
    part = make(op_named("slice"), (flags,), {"starts": (0, k), "stops": (rows, k + 1),
                                              "steps": (1, 1)})
    return make(op_named("reshape"), (part,), {"shape": (rows,)})


def _lane_branch(branch: Program, lives: Node, operands, batched, extent) -> tuple[Node, ...]:
    """A branch for all lanes, where one lives; zeros elsewhere."""
    inputs = stand_ins(branch.inputs, batched, extent)
    lanes = placeholder(lives.type)
    first = make(op_named("argreduce"), (cast(lanes, dtypes.int32),),
                 {"monoid": "max", "axis": 0, "dtype": dtypes.int32})
    safe = [select(lanes, n, make(op_named("stop_gradient"), (take(n, first, 0),), {}))
            if f else n for n, f in zip(inputs, batched, strict=True)]
    found = vmap.propagate(branch.outputs, branch.inputs, safe, list(batched))
    outputs = spread(found, [True] * len(found), extent)
    some = make(op_named("reshape"), (reduce("any", lives, (0,)),), {"shape": (1,)})
    return cond(some, (Program([lanes, *inputs], outputs, branch.name),
                       Program([lanes, *inputs], [zeros_like(n) for n in outputs], "nothing")),
                (lives, *operands))


def select(lives: Node, a: Node, b: Node) -> Node:
    """a where the lane lives, else b; both batched, or one without the batch axis."""
    rank = max(a.type.rank, b.type.rank)
    mask = make(op_named("reshape"), (lives,), {"shape": (*lives.shape, *(1,) * (rank - 1))})
    return apply("where", mask, a, b)


def _branch(f, *types) -> Program:
    given = [placeholder(tensor(*t)) for t in types]
    return Program(given, f(*given), "branch")


def _cond_samples():
    t = (("float32", (3,)), ("float32", (3,)))
    twice = _branch(lambda x, y: [x * y, x], *t)
    other = _branch(lambda x, y: [apply("exp", x), apply("tanh", y)], *t)
    neither = _branch(lambda x, y: [y, literal(2.0, dtypes.float32, (3,))], *t)
    x, y = np.array([1, -2, .5], np.float32), np.array([.25, 3, -1], np.float32)
    return [({"branches": (twice, other)}, [np.array([True]), x, y]),
            ({"branches": (twice, other)}, [np.array([False]), x, y]),
            ({"branches": (neither, twice, other)}, [np.array([False, True]), x, y]),
            ({"branches": (neither, twice, other)}, [np.array([True, True]), x, y])]


COND = Op("cond", doc="The results of the first branch whose flag holds, else of the last.",
          arity=1, more=True, params={"branches": _are_branches}, infer=_cond_infer,
          reference=_cond_reference, vjp=_cond_vjp, jvp=_cond_jvp, batch=_cond_batch,
          samples=_cond_samples, facts=frozenset({"step", "control"}))


# ---- while --------------------------------------------------------------------------------------

def while_loop(condition: Program, body: Program, consts: Sequence[Node],
               carries: Sequence[Node]) -> tuple[Node, ...]:
    """body's results, fed back to it, for as long as the condition gives true; both take the
    constants and the carries."""
    return items(make(WHILE, (*consts, *carries), {"condition": condition, "body": body,
                                                   "consts": len(consts)}))


def _while_infer(p: dict, *types: TensorType) -> TupleType:
    carries = types[p["consts"]:]
    for what in ("condition", "body"):
        require_types("while", f"the {what} takes", p[what].input_types, types)
    require_types("while", "the condition gives", p["condition"].output_types,
                  [tensor("bool", ())])
    require_types("while", "the body gives", p["body"].output_types, carries)
    return TupleType(carries)


def _while_reference(p: dict, *arrays: np.ndarray):
    consts, carries = arrays[:p["consts"]], list(arrays[p["consts"]:])
    while interpret(p["condition"], [*consts, *carries])[0]:
        carries = interpret(p["body"], [*consts, *carries])
    return tuple(carries)


def _while_vjp(node: Node, cotangents):
    where = render(node.source)
    raise LamellaError(
        f"while_loop{f' ({where})' if where else ''}: has no derivative in reverse, since the "
        f"number of its trips is not bounded; give while_loop(..., max_steps=N), or use fori_loop "
        f"or scan")


def _while_jvp(node: Node, tangents):
    p = node.params
    body: Program = p["body"]
    n = p["consts"]
    active = [t is not None for t in tangents]
    ways = [placeholder(i.type) for i in body.inputs]
    while True:
        found = jvp.propagate(body.outputs, body.inputs, [
            w if a else None for w, a in zip(ways, active, strict=True)])
        grown = [*active[:n], *(a or f is not None for a, f in zip(active[n:], found, strict=True))]
        if grown == active:
            break
        active = grown
    on_consts = [k for k in range(n) if active[k]]
    on_carries = [k for k in range(n, len(active)) if active[k]]
    inputs = [*body.inputs[:n], *(ways[k] for k in on_consts), *body.inputs[n:],
              *(ways[k] for k in on_carries)]
    outputs = [*body.outputs, *filled([found[k - n] for k in on_carries],
                                      [body.inputs[k] for k in on_carries])]
    own = p["condition"].inputs
    condition = Program([*own[:n], *(ways[k] for k in on_consts), *own[n:],
                         *(ways[k] for k in on_carries)], p["condition"].outputs, "condition")
    given = filled(tangents, node.inputs)
    results = while_loop(condition, Program(inputs, outputs, "tangent"),
                         [*node.inputs[:n], *(given[k] for k in on_consts)],
                         [*node.inputs[n:], *(given[k] for k in on_carries)])
    by_carry = dict(zip(on_carries, results[len(node.inputs) - n:], strict=True))
    return tuple(by_carry.get(k) for k in range(n, len(node.inputs)))


def _while_batch(node: Node, inputs, batched):
    p = node.params
    n = p["consts"]
    condition, body = p["condition"], p["body"]
    extent = next(i.shape[0] for i, f in zip(inputs, batched, strict=True) if f)
    flags = list(batched)
    while True:
        given = stand_ins(body.inputs, flags, extent)
        asked = dict(zip(map(id, condition.inputs), zip(given, flags, strict=True), strict=True))
        holds = vmap.propagate(condition.outputs, condition.inputs,
                               [asked[id(i)][0] if asked[id(i)][1] else i
                                for i in condition.inputs], flags)
        found = vmap.propagate(body.outputs, body.inputs, given, flags)
        grown = [*flags[:n], *(f or new or holds[0][1] for f, (_, new) in
                               zip(flags[n:], found, strict=True))]
        if grown == flags:
            break
        flags = grown
    carries = [broadcast_to(i, (extent, *i.shape)) if f and not b else i
               for i, f, b in zip(inputs[n:], flags[n:], batched[n:], strict=True)]
    outputs = spread(found, flags[n:], extent)
    if not holds[0][1]:
        asking = [a if f else i for i, a, f in zip(condition.inputs, given, flags, strict=True)]
        results = while_loop(Program(asking, [holds[0][0]], condition.name),
                             Program(given, outputs, body.name), inputs[:n], carries)
    else:
        results = _frozen_lanes(condition, body.name, given, outputs, inputs[:n], carries, flags)
    return tuple(zip(results, flags[n:], strict=True))


def _frozen_lanes(condition: Program, name: str, given, outputs, consts, carries, flags):
    """A loop until every lane has finished; a lane that has keeps its carries. Whether a lane goes
    on is a carry too, so that the condition is evaluated once a trip."""
    n = len(consts)

    def asked(values):
        return vmap.propagate(condition.outputs, condition.inputs, values, flags)[0][0]

    first = asked([*consts, *carries])
    lives = placeholder(first.type)
    kept = [select(lives, new, old) for new, old in zip(outputs, given[n:], strict=True)]
    on = apply("and", lives, asked([*given[:n], *kept]))
    some = Program([*given[:n], lives, *given[n:]], [reduce("any", lives, (0,))], "condition")
    body = Program([*given[:n], lives, *given[n:]], [on, *kept], name)
    return while_loop(some, body, consts, [first, *carries])[1:]


def _while_samples():
    limit, x, n = (placeholder(tensor(d, s)) for d, s in (
        ("float32", ()), ("float32", (3,)), ("int32", ())))
    body = Program([limit, x, n], [x * 1.5 + apply("tanh", x), n + 1], "body")
    asks = [placeholder(i.type) for i in (limit, x, n)]
    total = reduce("sum", apply("abs", asks[1]), (0,))
    condition = Program(asks, [apply("lt", total, asks[0])], "condition")
    start = np.array([0.5, -0.25, 1.0], np.float32)
    return [({"condition": condition, "body": body, "consts": 1},
             [np.array(limit, np.float32), start, np.array(0, np.int32)])
            for limit in (20.0, 0.0)]


WHILE = Op("while", doc="body's results, fed back to it, for as long as the condition gives true.",
           arity=0, more=True,
           params={"condition": is_program, "body": is_program, "consts": is_count},
           infer=_while_infer, reference=_while_reference, vjp=_while_vjp, jvp=_while_jvp,
           batch=_while_batch, samples=_while_samples,
           facts=frozenset({"step", "control", "forward only"}))
