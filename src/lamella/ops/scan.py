"""scan: a loop of known length over slices of arrays, with values carried from trip to trip.

    carries, y_t = body(consts, carries, x_t)     for t = 0 .. length-1 (or backwards)

The reverse derivative is a scan in the other direction. It needs each trip's carries: the forward
scan gives them as further results (the last `saved` outputs of its body), and the trip's inside is
computed again from them; or, with save="all", all that the inside's derivative reads is saved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base.errors import ProgramError
from ..base.extents import Extent
from ..ir.interpret import interpret
from ..ir.node import CONSTANT, Node, broadcast_to, items, make, placeholder, topological
from ..ir.op import Op, at_least, is_bool, is_extent, one_of, op_named
from ..ir.program import Program, replaced
from ..ir.types import TensorType, TupleType, tensor
from ..transform import jvp, vjp, vmap
from .control import filled, is_count, is_program, require_types, spread, stand_ins
from .move import transpose
from .pointwise import apply


def scan(body: Program, length: Extent, consts: Sequence[Node], carries: Sequence[Node],
         xs: Sequence[Node], reverse: bool = False, save: str = "carries",
         saved: int = 0) -> tuple[Node, ...]:
    """The last carries, then each further output of the body stacked along a new first axis."""
    return items(make(SCAN, (*consts, *carries, *xs), {
        "body": body, "length": length, "consts": len(consts), "carries": len(carries),
        "reverse": reverse, "save": save, "saved": saved}))


class Parts:
    """A scan node's operands, and its body's inputs and outputs, by their roles."""

    def __init__(self, params: dict, inputs: Sequence):
        self.body: Program = params["body"]
        first, self.count = params["consts"], params["carries"]
        last = first + self.count
        self.consts, self.carries, self.xs = inputs[:first], inputs[first:last], inputs[last:]
        own = self.body.inputs
        self.in_consts, self.in_carries, self.in_xs = own[:first], own[first:last], own[last:]
        self.out_carries = self.body.outputs[:self.count]
        self.out_ys = self.body.outputs[self.count:]


def _infer(p: dict, *types: TensorType) -> TupleType:
    parts = Parts(p, types)
    n = p["length"]
    for t in parts.xs:
        if not t.rank or t.shape[0] != n:
            raise ProgramError(f"scan: {t} has no first axis of the length {n}")
    slices = [tensor(t.dtype, t.shape[1:]) for t in parts.xs]
    require_types("scan", "the body takes", parts.body.input_types,
                  [*parts.consts, *parts.carries, *slices])
    require_types("scan", "the body carries", parts.body.output_types[:parts.count], parts.carries)
    ys = parts.body.output_types[parts.count:]
    return TupleType([*parts.carries, *(tensor(t.dtype, (n, *t.shape)) for t in ys)])


def _reference(p: dict, *arrays: np.ndarray):
    parts = Parts(p, arrays)
    carries, n = list(parts.carries), p["length"]
    ys = [np.zeros((n, *t.shape), t.dtype.numpy)
          for t in parts.body.output_types[parts.count:]]
    for t in (range(n - 1, -1, -1) if p["reverse"] else range(n)):
        found = interpret(parts.body, [*parts.consts, *carries, *(x[t] for x in parts.xs)])
        carries = found[:parts.count]
        for y, value in zip(ys, found[parts.count:], strict=True):
            y[t] = value
    return (*carries, *ys)


# ---- derivatives --------------------------------------------------------------------------------

def _jvp(node: Node, tangents):
    p = node.params
    parts = Parts(p, node.inputs)
    body, n, last = parts.body, p["consts"], p["consts"] + parts.count
    active = [t is not None for t in tangents]
    ways = [placeholder(i.type) for i in body.inputs]
    while True:
        found = jvp.propagate(body.outputs, body.inputs, [
            w if a else None for w, a in zip(ways, active, strict=True)])
        grown = [*active[:n], *(a or f is not None for a, f in
                                zip(active[n:last], found, strict=False)), *active[last:]]
        if grown == active:
            break
        active = grown

    def on(low: int, high: int, values) -> list:
        return [values[k] for k in range(low, high) if active[k]]

    count, end = parts.count, len(active)
    inputs = [*parts.in_consts, *on(0, n, ways), *parts.in_carries, *on(n, last, ways),
              *parts.in_xs, *on(last, end, ways)]
    moved = [k for k in range(count) if active[n + k]]
    stacked = [k for k in range(count, len(found)) if found[k] is not None]
    outputs = [*parts.out_carries,
               *filled([found[k] for k in moved], [body.outputs[k] for k in moved]),
               *(found[k] for k in stacked)]
    given = filled(tangents, node.inputs)
    results = scan(Program(inputs, outputs, "tangent"), p["length"],
                   [*parts.consts, *on(0, n, given)], [*parts.carries, *on(n, last, given)],
                   [*parts.xs, *on(last, end, given)], p["reverse"], p["save"])[count:]
    by_output = dict(zip([*moved, *stacked], results, strict=True))
    return tuple(by_output.get(k) for k in range(len(body.outputs)))


def _vjp(node: Node, cotangents):
    p = node.params
    parts = Parts(p, node.inputs)
    pull = _Pullback(parts, cotangents)
    kept = pull.kept(p["save"])
    stand = {id(n): placeholder(n.type) for n in kept}
    forward = Program(parts.body.inputs, (*parts.body.outputs, *kept), parts.body.name)
    results = scan(forward, p["length"], parts.consts, parts.carries, parts.xs, p["reverse"],
                   p["save"], p["saved"] + len(kept))
    outputs = replaced(pull.outputs, stand)
    body = Program([*parts.in_consts, *pull.in_carries, *stand.values(), *parts.in_xs, *pull.in_ys],
                   outputs, f"pullback of {parts.body.name}")
    count, own = len(pull.in_carries), len(parts.body.outputs)
    found = scan(body, p["length"], parts.consts, pull.carries,
                 [*results[own:], *parts.xs, *pull.ys], not p["reverse"], p["save"])
    return pull.by_operand(found[:count], found[count:])


class _Pullback:
    """One trip backwards: carried are the cotangents of the carries and the sums for constants."""

    def __init__(self, parts: Parts, cotangents):
        self.parts = parts
        count = parts.count
        floats = [k for k, c in enumerate(parts.carries) if c.dtype.is_inexact]
        given = [k for k, c in enumerate(cotangents[count:]) if c is not None]
        ways = {k: placeholder(parts.carries[k].type) for k in floats}
        self.ys = [cotangents[count + k] for k in given]
        self.in_ys = [placeholder(parts.out_ys[k].type) for k in given]
        slots = dict(zip(given, self.in_ys, strict=True))
        operands = [k for k, i in enumerate(parts.body.inputs) if i.dtype.is_inexact]
        found = vjp.propagate(parts.body.outputs, [parts.body.inputs[k] for k in operands], [
            *(ways.get(k) for k in range(count)),
            *(slots.get(k) for k in range(len(parts.out_ys)))])
        by_input = dict(zip(operands, found, strict=True))
        first = len(parts.consts)
        self.consts = [k for k in range(first) if by_input.get(k) is not None]
        self.slices = [k for k in range(len(parts.xs))
                       if by_input.get(first + count + k) is not None]
        sums = [placeholder(parts.consts[k].type) for k in self.consts]
        self.floats = floats
        self.in_carries = [*ways.values(), *sums]
        self.carries = filled(
            [*(cotangents[k] for k in floats), *(None for _ in sums)],
            [*(parts.carries[k] for k in floats), *(parts.consts[k] for k in self.consts)])
        self.outputs: list = [
            *filled([by_input[first + k] for k in floats], [parts.carries[k] for k in floats]),
            *(s + by_input[k] for s, k in zip(sums, self.consts, strict=True)),
            *(by_input[first + count + k] for k in self.slices)]

    def kept(self, save: str) -> list[Node]:
        """What a trip backwards needs of the trip forwards: its carries, or all that it reads."""
        own = set(map(id, self.parts.in_carries))
        if save == "carries":
            return [n for n in topological(self.outputs) if id(n) in own]
        changing = _depending(self.parts.body.outputs, (*self.parts.in_carries, *self.parts.in_xs))
        slices = set(map(id, self.parts.in_xs))
        forward = [n for n in topological(self.parts.body.outputs)
                   if id(n) in changing and id(n) not in slices and n.op is not CONSTANT
                   and "view" not in n.op.facts and not isinstance(n.type, TupleType)]
        found = topological(self.outputs, frozenset(forward))
        known = set(map(id, forward))
        return [n for n in found if id(n) in known]

    def by_operand(self, carries: Sequence[Node], ys: Sequence[Node]):
        """The cotangents of the scan's operands."""
        count = len(self.floats)
        of_carry = dict(zip(self.floats, carries[:count], strict=True))
        of_const = dict(zip(self.consts, carries[count:], strict=True))
        of_slice = dict(zip(self.slices, ys, strict=True))
        p = self.parts
        return (*(of_const.get(k) for k in range(len(p.consts))),
                *(of_carry.get(k) for k in range(p.count)),
                *(of_slice.get(k) for k in range(len(p.xs))))


def _depending(outputs, inputs) -> set[int]:
    found = set(map(id, inputs))
    for n in topological(outputs):
        if any(id(i) in found for i in n.inputs):
            found.add(id(n))
    return found


# ---- batching -----------------------------------------------------------------------------------

def _batch(node: Node, inputs, batched):
    p = node.params
    parts = Parts(p, inputs)
    body, n, last = parts.body, p["consts"], p["consts"] + parts.count
    extent = next(i.shape[0] for i, f in zip(inputs, batched, strict=True) if f)
    flags = list(batched)
    while True:
        given = stand_ins(body.inputs, flags, extent)
        found = vmap.propagate(body.outputs, body.inputs, given, flags)
        grown = [*flags[:n], *(f or new for f, (_, new) in
                               zip(flags[n:last], found, strict=False)), *flags[last:]]
        if grown == flags:
            break
        flags = grown
    wanted = [*flags[n:last], *(f for _, f in found[parts.count:])]
    carries = [broadcast_to(i, (extent, *i.shape)) if f and not b else i for i, f, b in
               zip(parts.carries, flags[n:last], batched[n:last], strict=True)]
    xs = [_exchanged(x) if f else x for x, f in zip(parts.xs, batched[last:], strict=True)]
    results = scan(Program(given, spread(found, wanted, extent), body.name), p["length"],
                   parts.consts, carries, xs, p["reverse"], p["save"], p["saved"])
    ys = [_exchanged(y) if f else y for y, f in
          zip(results[parts.count:], wanted[parts.count:], strict=True)]
    return tuple(zip((*results[:parts.count], *ys), wanted, strict=True))


def _exchanged(x: Node) -> Node:
    """The first two axes exchanged: trips before lanes, and back."""
    return transpose(x, (1, 0, *range(2, x.type.rank)))


# ---- the op -------------------------------------------------------------------------------------

def _samples():
    w, h, k, x = (placeholder(tensor(d, s)) for d, s in (
        ("float32", (3, 3)), ("float32", (2, 3)), ("int32", ()), ("float32", (2, 3))))
    product = make(op_named("contract"), (h, w), {
        "a": ("i", "k"), "b": ("k", "j"), "out": ("i", "j"), "sum": ("k",), "sizes": ()})
    new = apply("tanh", product + x)
    body = Program([w, h, k, x], [new, k + 1, new * 2.0, x], "body")
    rng = np.random.default_rng(7)
    a, b, xs = (rng.standard_normal(s).astype(np.float32) for s in ((3, 3), (2, 3), (5, 2, 3)))
    params = {"body": body, "length": 5, "consts": 1, "carries": 2, "reverse": False,
              "save": "carries", "saved": 0}
    start = np.array(3, np.int32)
    doubled = Program([x], [x * x, x], "body")
    return [(params, [a, b, start, xs]),
            ({**params, "reverse": True}, [a, b, start, xs]),
            ({**params, "save": "all"}, [a, b, start, xs]),
            ({**params, "length": 1}, [a, b, start, xs[:1]]),
            ({**params, "length": 0}, [a, b, start, xs[:0]]),
            ({**params, "body": doubled, "consts": 0, "carries": 1, "length": 3}, [b * 0.5]),
            ({**params, "body": doubled, "consts": 0, "carries": 0}, [xs])]


SCAN = Op("scan", doc="carries, y[t] = body(consts, carries, x[t]) for each t in turn.",
          arity=0, more=True, infer=_infer,
          params={"body": is_program, "length": is_extent, "consts": is_count,
                  "carries": is_count, "reverse": is_bool, "save": one_of("carries", "all"),
                  "saved": at_least(0)},
          reference=_reference, vjp=_vjp, jvp=_jvp, batch=_batch, samples=_samples,
          facts=frozenset({"step", "control"}))
