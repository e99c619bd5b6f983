"""Loops and choices without what nobody reads: results, carries, operands; equal scans as one.

A derivative is stated for everything that a loop reads and gives; what of that is not wanted goes
here, before anything inside is planned.
"""

from __future__ import annotations

from ...ir.node import ITEM, Node, item, make, topological
from ...ir.program import Program, frozen, rebuild
from .simplify import share


def prune(p: Program) -> Program:
    """The program with its loops and choices reduced to what its outputs need."""
    if not any("control" in n.op.facts for n in p.nodes()):
        return p
    return _pruned(_merged(share(p)))


# ---- equal scans --------------------------------------------------------------------------------

def _merged(p: Program) -> Program:
    """A scan that saves something for a derivative also stands for the same one that does not."""
    richest: dict[tuple, Node] = {}
    order = topological(p.outputs)
    keys = {id(n): _base(n) for n in order if n.op.name == "scan"}
    for n in order:
        if id(n) in keys and n.params["saved"]:
            richest.setdefault(keys[id(n)], n)
    stand = {k: richest[key] for k, key in keys.items() if key in richest}
    done: dict[int, Node] = {}
    for n in topological(p.outputs):
        if n.op is ITEM and not (s := n.inputs[0]).params.get("saved", 1) and id(s) in stand:
            _copy(stand[id(s)], done)
            done[id(n)] = item(done[id(stand[id(s)])], n.params["index"])
        else:
            _copy(n, done)
    return Program([done.get(id(i), i) for i in p.inputs], [done[id(o)] for o in p.outputs], p.name)


def _copy(n: Node, done: dict[int, Node]) -> None:
    if id(n) not in done:
        done[id(n)] = rebuild(n, tuple(done[id(i)] for i in n.inputs))


def _base(n: Node) -> tuple:
    """What two scans have in common that differ in what they save."""
    body: Program = n.params["body"]
    ends = len(body.outputs) - n.params["saved"]
    params = {**n.params, "body": Program(body.inputs, body.outputs[:ends]), "saved": 0}
    return tuple(map(id, n.inputs)), frozen(params)


# ---- what nobody reads --------------------------------------------------------------------------

class _Cut:
    """What stays of a node: the numbers of its results and of its operands, and its parameters."""

    __slots__ = ("operands", "params", "results")

    def __init__(self, results: list[int], operands: list[int], params: dict):
        self.results, self.operands, self.params = results, operands, params


def _pruned(p: Program) -> Program:
    live = set(map(id, p.outputs))
    used: dict[int, set[int]] = {}
    cuts: dict[int, _Cut] = {}
    order = topological(p.outputs)
    for n in reversed(order):
        if id(n) not in live:
            continue
        if n.op is ITEM:
            used.setdefault(id(n.inputs[0]), set()).add(n.params["index"])
        kept = range(len(n.inputs))
        if "control" in n.op.facts:
            rule = {"scan": _cut_scan, "while": _cut_while, "cond": _cut_cond}[n.op.name]
            cuts[id(n)] = cut = rule(n, used.get(id(n), set()))
            kept = cut.operands  # type: ignore[assignment]
        live |= {id(n.inputs[k]) for k in kept}
    done: dict[int, Node] = {}
    for n in order:
        if id(n) in live:
            _rebuild(n, done, cuts)
    return Program([done.get(id(i), i) for i in p.inputs], [done[id(o)] for o in p.outputs], p.name)


def _rebuild(n: Node, done: dict[int, Node], cuts: dict[int, _Cut]) -> None:
    cut = cuts.get(id(n))
    if cut is not None:
        done[id(n)] = make(n.op, tuple(done[id(n.inputs[k])] for k in cut.operands), cut.params)
        done[id(n)].source, done[id(n)].token = n.source, n.token
    elif n.op is ITEM and id(n.inputs[0]) in cuts:
        source = n.inputs[0]
        done[id(n)] = item(done[id(source)],
                           cuts[id(source)].results.index(n.params["index"]))
    else:
        _copy(n, done)


def _read(outputs) -> set[int]:
    """The ids of the nodes that the outputs depend on."""
    return set(map(id, topological(outputs)))


def _live_carries(inside: Program, count: int, used: set[int], first: int, asked=()) -> list[int]:
    """The carries that matter: results in use, and what those (and `asked`) are computed from."""
    live = {k for k in range(count) if k in used}
    while True:
        ends = [inside.outputs[k] for k in sorted(live | used)]
        read = _read(_pruned(Program(inside.inputs, ends)).outputs)
        more = {k for k in range(count) if id(inside.inputs[first + k]) in read} | set(asked)
        if more <= live:
            return sorted(live)
        live |= more


def _cut_scan(n: Node, used: set[int]) -> _Cut:
    p = n.params
    body, first, count = p["body"], p["consts"], p["carries"]
    carries = _live_carries(body, count, used, first)
    results = [*carries, *sorted(k for k in used if k >= count)]
    inner = _pruned(Program(body.inputs, [body.outputs[k] for k in results], body.name))
    read = _read(inner.outputs)
    consts = [k for k in range(first) if id(body.inputs[k]) in read]
    xs = [k for k in range(first + count, len(n.inputs)) if id(body.inputs[k]) in read]
    operands = [*consts, *(first + k for k in carries), *xs]
    inner = Program([body.inputs[k] for k in operands], inner.outputs, body.name)
    return _Cut(results, operands, {**p, "body": inner, "consts": len(consts), "saved": 0,
                                    "carries": len(carries)})


def _cut_while(n: Node, used: set[int]) -> _Cut:
    p = n.params
    body, condition, first = p["body"], p["condition"], p["consts"]
    asks = _read(condition.outputs)
    asked = [k for k in range(len(body.outputs)) if id(condition.inputs[first + k]) in asks]
    carries = _live_carries(body, len(body.outputs), used, first, asked)
    inner = _pruned(Program(body.inputs, [body.outputs[k] for k in carries], body.name))
    read = _read(inner.outputs)
    consts = [k for k in range(first)
              if id(body.inputs[k]) in read or id(condition.inputs[k]) in asks]
    operands = [*consts, *(first + k for k in carries)]
    inner = Program([body.inputs[k] for k in operands], inner.outputs, body.name)
    asking = Program([condition.inputs[k] for k in operands], condition.outputs, condition.name)
    return _Cut(carries, operands, {"condition": asking, "body": inner, "consts": len(consts)})


def _cut_cond(n: Node, used: set[int]) -> _Cut:
    results = sorted(used)
    branches = [_pruned(Program(b.inputs, [b.outputs[k] for k in results], b.name))
                for b in n.params["branches"]]
    read = set().union(*(_read(b.outputs) for b in branches))
    count = len(n.inputs) - 1
    operands = [k for k in range(count) if any(id(b.inputs[k]) in read for b in branches)]
    kept = tuple(Program([b.inputs[k] for k in operands], b.outputs, b.name) for b in branches)
    return _Cut(results, [0, *(1 + k for k in operands)], {"branches": kept})
