"""Rewrites that keep every value: expand composites, drop what is unused, share what is equal.

Holds after: only primitives; no two pure nodes with the same op, parameters and inputs.
"""

from __future__ import annotations

from ...ir.node import CONSTANT, ITEM, Node, at_source, topological
from ...ir.op import op_named
from ...ir.program import Program, frozen, rebuild


def expand(p: Program, tags: dict[int, int] | None = None) -> Program:
    """Composites replaced by their expansions; `tags` collects node id -> composite number."""
    done: dict = {}
    for number, node in enumerate(topological(p.outputs)):
        done[id(node)] = _expanded_over(done, node, number + 1, tags)
    given = [done.get(id(i), i) for i in p.inputs]
    return Program(given, [done[id(o)] for o in p.outputs], p.name)


def _expanded_over(done: dict, node: Node, number: int, tags: dict[int, int] | None):
    """The node over its inputs' expansions; a tuple of nodes for one with several results."""
    if node.op is ITEM and isinstance(done[id(node.inputs[0])], tuple):
        return done[id(node.inputs[0])][node.params["index"]]
    return _expanded(rebuild(node, tuple(done[id(i)] for i in node.inputs)), number, tags)


def _expanded(node: Node, number: int, tags: dict[int, int] | None):
    if node.op.lower is not None or node.op.expand is None:
        if tags is not None:
            tags.setdefault(id(node), number)
        return node
    with at_source(node.source):
        body = node.op.expand(node.params, *node.inputs)
    stop = {id(i): i for i in node.inputs}
    done: dict = dict(stop)
    bodies = body if isinstance(body, tuple) else (body,)
    for inner in topological(bodies, frozenset(node.inputs)):
        if id(inner) not in done:
            done[id(inner)] = _expanded_over(done, inner, number, tags)
    found = tuple(done[id(b)] for b in bodies)
    return found if isinstance(body, tuple) else found[0]


def share(p: Program, tags: dict[int, int] | None = None) -> Program:
    """Equal pure nodes become one; trivial operations disappear."""
    done: dict[int, Node] = {id(i): i for i in p.inputs}
    seen: dict[tuple, Node] = {}
    for node in topological(p.outputs):
        if id(node) in done:
            continue
        new = _trivial(rebuild(node, tuple(done[id(i)] for i in node.inputs)))
        if new.token is None and new.data is None and new.op.name != "input":
            key = (new.op.name, tuple(map(id, new.inputs)), frozen(new.params),
                   tags.get(id(node), 0) if tags else 0)
            new = seen.setdefault(key, new)
        if tags is not None and id(node) in tags:
            tags.setdefault(id(new), tags[id(node)])
        done[id(node)] = new
    return Program(p.inputs, [done[id(o)] for o in p.outputs], p.name)


def _is_number(node: Node, value: float) -> bool:
    return node.op is CONSTANT and not node.dtype.is_complex and node.params["value"] == value


def _trivial(node: Node) -> Node:
    """The node, or an input it equals for every value: x * 1, x / 1, x - 0, -(-x), same casts."""
    name, inputs = node.op.name, node.inputs
    if name in ("mul", "div", "sub") and inputs[0].type == node.type:
        neutral = 0 if name == "sub" else 1
        if _is_number(inputs[1], neutral) and not (neutral == 0 and _negative_zero(inputs[1])):
            return inputs[0]
    if name == "mul" and inputs[1].type == node.type and _is_number(inputs[0], 1):
        return inputs[1]
    if name == "neg" and inputs[0].op.name == "neg":
        return inputs[0].inputs[0]
    if name in ("transpose", "reshape") and inputs[0].op.name == name:
        return _merged_move(node)
    if name in ("stop_gradient", "reshape", "broadcast") and inputs[0].type == node.type:
        return inputs[0]
    return node


def _negative_zero(node: Node) -> bool:
    return str(node.params["value"]).startswith("-")


def _merged_move(node: Node) -> Node:
    inner = node.inputs[0]
    source = inner.inputs[0]
    if node.op.name == "reshape":
        if source.type == node.type:
            return source
        return Node(node.op, (source,), node.params, node.type, node.source)
    perm = tuple(inner.params["perm"][d] for d in node.params["perm"])
    if perm == tuple(range(len(perm))):
        return source
    return Node(op_named("transpose"), (source,), {"perm": perm}, node.type, node.source)
