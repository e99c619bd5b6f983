"""Functions as parts of a program, with derivatives of their own: checkpoint, custom_vjp and
custom_jvp; and the barrier, which keeps what is computed again apart from what was computed before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base.errors import LamellaError, ProgramError
from ..base.source import render
from ..ir.node import Node, broadcast_to, items, make, placeholder, topological, zeros_like
from ..ir.op import Op, one_of, op_named
from ..ir.program import Program, inlined, replaced
from ..ir.types import TensorType, TupleType, tensor
from ..transform import jvp, vjp, vmap
from .control import filled, is_count, is_program, require_types, spread, stand_ins

SAVES = ("nothing", "products")  # what a checkpoint may keep


def _infer(p: dict, *types: TensorType) -> TupleType:
    require_types("call", "the body takes", p["body"].input_types, types)
    return TupleType(p["body"].output_types)


def _expand(p: dict, *nodes: Node) -> tuple[Node, ...]:
    return tuple(inlined(p["body"], nodes))


def _all_batched(inputs, batched) -> tuple[list[Node], object]:
    """The operands, all with the batch axis, and its extent."""
    extent = next(n.shape[0] for n, f in zip(inputs, batched, strict=True) if f)
    return [n if f else broadcast_to(n, (extent, *n.shape))
            for n, f in zip(inputs, batched, strict=True)], extent


def _batched(p: Program, extent) -> Program:
    """The program for a batch: every input and output with one more leading axis."""
    given = stand_ins(p.inputs, [True] * len(p.inputs), extent)
    found = vmap.propagate(p.outputs, p.inputs, given)
    return Program(given, spread(found, [True] * len(found), extent), p.name)


def _batch(node: Node, inputs, batched):
    nodes, extent = _all_batched(inputs, batched)
    params = {k: _batched(v, extent) if isinstance(v, Program) else v
              for k, v in node.params.items()}
    return tuple((n, True) for n in items(make(node.op, tuple(nodes), params)))


def _sample_program() -> tuple[Program, list[np.ndarray]]:
    arrays = [np.array([[1, -2, .5], [3, .25, -1]], np.float32),
              np.array([.5, 2, 1], np.float32)]
    x, w = (placeholder(tensor("float32", a.shape)) for a in arrays)
    y = make(op_named("tanh"), (x * w,))
    return Program([x, w], [y * y, make(op_named("exp"), (y,))], "f"), arrays


# ---- barrier ------------------------------------------------------------------------------------

def barrier(nodes: Sequence[Node]) -> list[Node]:
    """The same values as other nodes, all of them known before any is read."""
    return list(items(make(BARRIER, tuple(nodes)))) if nodes else []


BARRIER = Op("barrier", doc="The operands; nothing behind is shared with what stands before.",
             arity=1, more=True, params={}, infer=lambda p, *types: TupleType(types),
             reference=lambda p, *xs: xs, vjp=lambda n, cotangents: cotangents,
             jvp=lambda n, tangents: tuple(tangents),
             batch=lambda n, inputs, batched: tuple(zip(
                 items(make(n.op, tuple(inputs), n.params)), batched, strict=True)),
             samples=lambda: [({}, _sample_program()[1])], facts=frozenset({"step"}))


# ---- checkpoint ---------------------------------------------------------------------------------

def checkpoint(body: Program, operands: Sequence[Node], save: str) -> tuple[Node, ...]:
    """The body's results, of which a derivative keeps the operands alone (and its products, with
    save="products") and computes the rest again."""
    return items(make(CHECKPOINT, tuple(operands), {"body": body, "save": save}))


def _checkpoint_vjp(node: Node, cotangents):
    body: Program = node.params["body"]
    given = [c for c in cotangents if c is not None]
    wanted = [k for k, n in enumerate(node.inputs) if n.dtype.is_inexact]
    kept = _products(body) if node.params["save"] == "products" else []
    known = {id(i): n for i, n in zip(body.inputs, node.inputs, strict=True)}
    again = barrier([*node.inputs, *given, *replaced(kept, known)])
    count = len(node.inputs)
    ways = iter(again[count:count + len(given)])
    stand = {id(i): n for i, n in zip(body.inputs, again, strict=False)}
    slots = [None if c is None else next(ways) for c in cotangents]
    found = _pullback(body, wanted, slots)
    stand |= {id(n): a for n, a in zip(kept, again[count + len(given):], strict=True)}
    parts = iter(replaced([f for f in found if f is not None], stand))
    of = {k: None if f is None else next(parts) for k, f in zip(wanted, found, strict=True)}
    return tuple(of.get(k) for k in range(count))


def _pullback(body: Program, wanted: list[int], slots) -> list[Node | None]:
    """The cotangents of some inputs, over the body's own nodes."""
    return vjp.propagate(body.outputs, [body.inputs[k] for k in wanted], slots)


def _products(body: Program) -> list[Node]:
    return [n for n in topological(body.outputs) if n.op.name == "contract"]


CHECKPOINT = Op("checkpoint", doc="A function whose inside is computed again by its derivative.",
                arity=0, more=True, params={"body": is_program, "save": one_of(*SAVES)},
                infer=_infer, expand=_expand, vjp=_checkpoint_vjp, batch=_batch,
                samples=lambda: [({"body": p, "save": s}, a)
                                 for p, a in [_sample_program()] for s in SAVES])


# ---- custom derivatives -------------------------------------------------------------------------

def custom_vjp(body: Program, forward: Program, backward: Program, consts: int,
               operands: Sequence[Node]) -> tuple[Node, ...]:
    """The body's results. A reverse derivative runs forward(consts, operands) -> (results,
    residuals) and backward(consts, residuals, cotangents) -> the operands' cotangents."""
    return items(make(CUSTOM_VJP, tuple(operands), {
        "body": body, "forward": forward, "backward": backward, "consts": consts}))


def _custom_infer(p: dict, *types: TensorType) -> TupleType:
    out = _infer(p, *types)
    n, count = p["consts"], len(out.items)
    forward, backward = p["forward"], p["backward"]
    require_types("custom_vjp", "the forward function takes", forward.input_types, types)
    require_types("custom_vjp", "the forward function gives", forward.output_types[:count],
                  out.items)
    require_types("custom_vjp", "the backward function takes", backward.input_types,
                  [*types[:n], *forward.output_types[count:], *out.items])
    require_types("custom_vjp", "the backward function gives", backward.output_types, types[n:])
    return out


def _custom_vjp(node: Node, cotangents):
    p, n = node.params, node.params["consts"]
    out = node.type.items  # type: ignore[attr-defined]
    results = inlined(p["forward"], node.inputs)
    given = filled(cotangents, results[:len(out)])
    found = inlined(p["backward"], [*node.inputs[:n], *results[len(out):], *given])
    return (*(None for _ in range(n)),
            *(f if i.dtype.is_inexact else None
              for f, i in zip(found, node.inputs[n:], strict=True)))


def _no_tangent(node: Node, tangents):
    where = render(node.source)
    raise LamellaError(f"custom_vjp{f' ({where})' if where else ''}: has no derivative in forward "
                       f"mode; state one with custom_jvp, which serves in both directions")


def _vjp_sample():
    body, arrays = _sample_program()
    ways = [placeholder(o.type) for o in body.outputs]
    found = vjp.pullback(body.outputs, body.inputs, ways)
    forward = Program(body.inputs, [*body.outputs, *body.inputs], "forward")
    return [({"body": body, "forward": forward, "consts": 0,
              "backward": Program([*body.inputs, *ways], found, "backward")}, arrays)]


CUSTOM_VJP = Op("custom_vjp", doc="A function with a reverse derivative of its own.",
                arity=0, more=True, infer=_custom_infer, expand=_expand, vjp=_custom_vjp,
                jvp=_no_tangent, batch=_batch, samples=_vjp_sample,
                params={"body": is_program, "forward": is_program, "backward": is_program,
                        "consts": is_count}, facts=frozenset({"reverse only"}))


def custom_jvp(body: Program, tangent: Program, consts: int,
               operands: Sequence[Node]) -> tuple[Node, ...]:
    """The body's results. A derivative is tangent(consts, operands, tangents) -> the results'
    tangents, which is linear in the tangents; its transpose is the reverse derivative."""
    return items(make(CUSTOM_JVP, tuple(operands), {"body": body, "tangent": tangent,
                                                    "consts": consts}))


def _tangent_infer(p: dict, *types: TensorType) -> TupleType:
    out = _infer(p, *types)
    moving = [t for t in types[p["consts"]:] if t.dtype.is_inexact]
    require_types("custom_jvp", "the tangent takes", p["tangent"].input_types, [*types, *moving])
    if any(not t.dtype.is_inexact for t in out.items):
        raise ProgramError("custom_jvp: the results must be floating")
    require_types("custom_jvp", "the tangent gives", p["tangent"].output_types, out.items)
    return out


def _custom_jvp(node: Node, tangents):
    n = node.params["consts"]
    moving = [t if t is not None else zeros_like(i)
              for t, i in zip(tangents[n:], node.inputs[n:], strict=True) if i.dtype.is_inexact]
    return tuple(inlined(node.params["tangent"], [*node.inputs, *moving]))


def _transposed(node: Node, cotangents):
    tangent: Program = node.params["tangent"]
    n, count = node.params["consts"], len(node.inputs)
    ways = tangent.inputs[count:]
    found = vjp.propagate(tangent.outputs, ways, cotangents)
    stand = {id(i): v for i, v in zip(tangent.inputs, node.inputs, strict=False)}
    stand |= {id(w): zeros_like(w) for w in ways}
    parts = iter([None if f is None else replaced([f], stand)[0] for f in found])
    return (*(None for _ in range(n)),
            *(next(parts) if i.dtype.is_inexact else None for i in node.inputs[n:]))


def _jvp_sample():
    body, arrays = _sample_program()
    ways = [placeholder(i.type) for i in body.inputs]
    found = jvp.pushforward(body.outputs, body.inputs, ways)
    return [({"body": body, "consts": 0,
              "tangent": Program([*body.inputs, *ways], found, "tangent")}, arrays)]


CUSTOM_JVP = Op("custom_jvp", doc="A function with a derivative of its own, in both directions.",
                arity=0, more=True, infer=_tangent_infer, expand=_expand, vjp=_transposed,
                jvp=_custom_jvp, batch=_batch, samples=_jvp_sample,
                params={"body": is_program, "tangent": is_program, "consts": is_count})
