"""Which values the trips of a scan keep for another scan that reads them trip by trip.

The scan of a gradient reads what each trip of the first one saved. Maps of what is kept anyway can
be computed again in the trip that reads them: the best choice is a minimum cut of one trip, as it
is between the halves of a program (planner/groups/partition.py). What has the size of a result of
the reading trip needs no room: the result is written over it (planner/memory/alias.py).

Before: a program without what nobody reads.   After: one that computes the same; scans that save
less, and others that compute some of it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...base.extents import Size, evaluate, symbols
from ...ir.node import CONSTANT, ITEM, Node, item, make, placeholder, topological
from ...ir.program import Program, rebuild, replaced
from ...ir.types import tensors
from .flow import INFINITE, Network
from .partition import SMALL, bytes_of, is_map, price_again
from .prune import prune
from .simplify import expand, share


def keep_less(p: Program, worth: float) -> Program:
    """The program whose scans save for others what costs least; each byte that need not be kept
    meanwhile is worth `worth` bytes moved."""
    env = {s.name: s.high for n in p.inputs for t in tensors(n.type) for e in t.shape
           if isinstance(e, Size) for s in symbols(e)}
    changed = False
    for k in range(len(_scans(p))):
        for at in range(len(_savers(_scans(p)[k]))):
            second = _scans(p)[k]
            found = _Pair(p, _savers(second)[at], second, env, worth).fewer()
            changed |= found is not p
            p = found
    return prune(p) if changed else p


def _scans(p: Program) -> list[Node]:
    return [n for n in topological(p.outputs) if n.op.name == "scan"]


def _savers(n: Node) -> list[Node]:
    """The scans whose stacked results another one of the same length reads trip by trip."""
    return list(dict.fromkeys(
        x.inputs[0] for x in _Trip(n).sliced if x.op is ITEM and x.inputs[0].op.name == "scan" and
        x.inputs[0].params["length"] == n.params["length"]))


class _Trip:
    """A scan's operands and its body's inputs by their roles, and the body's outputs."""

    def __init__(self, n: Node, body: Program | None = None):
        p = n.params
        self.node, self.first, self.carries = n, p["consts"], p["carries"]
        self.last = self.first + self.carries
        body = body or p["body"]
        self.consts, self.sliced = n.inputs[:self.first], n.inputs[self.last:]
        self.in_consts, self.in_carries = body.inputs[:self.first], body.inputs[
            self.first:self.last]
        self.in_sliced, self.outputs = body.inputs[self.last:], body.outputs


class _Pair:
    """A scan that saves, and one that reads what it saved (`needs`: the nodes of the first trip, by
    id, with the inputs of the second that stand for them)."""

    def __init__(self, p: Program, first: Node, second: Node, env: Mapping[str, int], worth: float):
        self.p, self.env, self.worth = p, env, worth
        self.one = _Trip(first, share(expand(first.params["body"])))
        self.two = _Trip(second, share(expand(second.params["body"])))
        self.length = evaluate(first.params["length"], env)
        readers: dict[int, int] = {}
        for x in (*p.outputs, *(i for n in topological(p.outputs) for i in n.inputs)):
            readers[id(x)] = readers.get(id(x), 0) + 1
        self.needs: list[tuple[Node, Node]] = []
        self.kept: set[int] = set()     # what others read, too
        for x, own in zip(self.two.sliced, self.two.in_sliced, strict=True):
            if x.op is ITEM and x.inputs[0] is first and x.params["index"] >= self.one.carries:
                value = self.one.outputs[x.params["index"]]
                self.needs.append((value, own))
                if readers[id(x)] > 1:
                    self.kept.add(id(value))

    def fewer(self) -> Program:
        """The program with the pair changed; the same where nothing is gained."""
        again = self._again()
        return self._changed(again) if again else self.p

    # -- the choice --

    def _again(self) -> set[int]:
        """The nodes (by id) of the first trip that the second computes again."""
        order = topological([value for value, _ in self.needs])
        number = {id(n): k for k, n in enumerate(order)}
        readers = self._readers()
        maps = [is_map(n) and id(n) not in self.kept and
                bytes_of(n, self.env) * self.length >= SMALL for n in order]
        count = len(order)
        source, sink = 2 * count, 2 * count + 1
        net = Network(2 * count + 2)
        for k, n in enumerate(order):
            net.edge(source, k, price_again(n, readers.get(id(n), ()), self.env)
                     if maps[k] else INFINITE)
            net.edge(k, count + k, self._keeping(n))
            for i in n.inputs if maps[k] else ():
                net.edge(count + number[id(i)], k, INFINITE)
        for value, _ in self.needs:
            net.edge(count + number[id(value)], sink, INFINITE)
        side = net.minimum_cut(source, sink)
        return {id(n) for k, n in enumerate(order) if maps[k] and not side[k]}

    def _readers(self) -> dict[int, list[Node]]:
        """What reads the nodes of the first trip (by id) in the second."""
        stands = {id(own): id(value) for value, own in self.needs}
        found: dict[int, list[Node]] = {}
        for n in topological(self.two.outputs):
            for i in n.inputs:
                if id(i) in stands:
                    found.setdefault(stands[id(i)], []).append(n)
        return found

    def _keeping(self, n: Node) -> float:
        """What it costs to keep a value of the first trip: to write it, where it is not written
        anyway, and to read it; and the room."""
        if n.op is CONSTANT or any(n is c for c in self.one.in_consts):
            return 0.0
        size = bytes_of(n, self.env)
        written = id(n) in self.kept or any(n is x for x in self.one.in_sliced) or not (
            is_map(n) or n.op.name == "input")
        room = any(n.type == y.type for y in self.two.outputs[self.two.carries:])
        return size * (1 + (not written) + (0 if room else self.worth))

    # -- the programs --

    def _changed(self, again: set[int]) -> Program:
        """The program whose second scan computes these nodes again."""
        one, two = self.one, self.two
        outputs = list(one.outputs)
        consts, sliced = _Operands(two.in_consts, two.consts), _Operands(
            two.in_sliced, two.sliced)
        stands = {id(value): own for value, own in self.needs if id(value) not in again}

        def stand(n: Node) -> Node:
            """The node of the second trip for one of the first."""
            if id(n) not in stands:
                stands[id(n)] = made(n)
            return stands[id(n)]

        def made(n: Node) -> Node:
            if id(n) in again:
                return rebuild(n, tuple(map(stand, n.inputs)))
            for given, wholes, to in ((one.in_consts, one.consts, consts),
                                      (one.in_sliced, one.sliced, sliced)):
                for own, whole in zip(given, wholes, strict=True):
                    if own is n:
                        return to.reading(whole, n)
            if n.op is CONSTANT:
                return n
            outputs.append(n)
            return sliced.reading(len(outputs) - 1, n)

        anew = {id(own): stand(value) for value, own in self.needs if id(value) in again}
        first = _with(one, outputs, one.consts, one.in_consts, one.sliced, one.in_sliced)
        read = [item(first, x) if isinstance(x, int) else x for x in sliced.wholes]
        ends = replaced(two.outputs, anew)
        return self._over(first, lambda over: _with(
            two, ends, [over(x) for x in consts.wholes if isinstance(x, Node)], consts.own,
            [over(x) for x in read], sliced.own))

    def _over(self, first: Node, second: Callable[[Callable[[Node], Node]], Node]) -> Program:
        """The program with others in place of both scans."""
        done: dict[int, Node] = {}

        def over(n: Node) -> Node:
            return done.get(id(n), n)

        for n in topological(self.p.outputs):
            if n is self.one.node:
                done[id(n)] = first
            elif n is self.two.node:
                done[id(n)] = second(over)
            elif n.op is ITEM and over(n.inputs[0]) is not n.inputs[0]:
                done[id(n)] = item(over(n.inputs[0]), n.params["index"])
            else:
                done[id(n)] = rebuild(n, tuple(map(over, n.inputs)))
        return Program(self.p.inputs, [over(o) for o in self.p.outputs], self.p.name)


class _Operands:
    """Operands of a scan (numbers stand for results to come), and the inputs of its body for them.
    """

    def __init__(self, own: Sequence[Node], wholes: Sequence[Node]):
        self.own: list[Node] = list(own)
        self.wholes: list[Node | int] = list(wholes)

    def reading(self, whole: Node | int, like: Node) -> Node:
        """The input for an operand: the one that there is, or another."""
        for own, known in zip(self.own, self.wholes, strict=True):
            if known is whole:
                return own
        self.own.append(placeholder(like.type))
        self.wholes.append(whole)
        return self.own[-1]


def _with(trip: _Trip, outputs: Sequence[Node], consts: Sequence[Node], in_consts: Sequence[Node],
          sliced: Sequence[Node], in_sliced: Sequence[Node]) -> Node:
    """A scan with other operands, results and inside."""
    p, carries = trip.node.params, trip.node.inputs[trip.first:trip.last]
    body = Program([*in_consts, *trip.in_carries, *in_sliced], outputs, p["body"].name)
    found = make(trip.node.op, (*consts, *carries, *sliced),
                 {**p, "body": body, "consts": len(consts)})
    found.source, found.token = trip.node.source, trip.node.token
    return found
