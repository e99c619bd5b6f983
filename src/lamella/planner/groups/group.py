"""Groups: the stored values that one kernel computes together."""

from __future__ import annotations

from ...ir.node import ITEM, Node
from ...lang import expr
from ...lang.expr import Expr
from ...lang.routine import Routine
from .access import Access
from .partition import NO_SECOND, Second

ALONE = ("step", "routine")  # kinds that share a kernel with nobody


class Seed:
    """A stored value and its definition; `kind`: map, reduce, dot, update, routine, or step.

    A routine has loops of its own (`routine`), a step is one result of an op that is planned as
    steps of its own; neither has a definition.
    """

    __slots__ = ("definition", "kind", "node", "reads", "routine")

    def __init__(self, node: Node, kind: str, definition, reads: list[Node],
                 routine: Routine | None = None):
        self.node, self.kind, self.definition, self.reads = node, kind, definition, reads
        self.routine = routine


class Group:
    """Seeds that one kernel computes, in order; `kind` picks the kernel's template."""

    __slots__ = ("_reads", "domain", "first", "kind", "last", "seeds")

    def __init__(self, seed: Seed, domain: tuple | None, number: int = 0):
        self.seeds, self.kind, self.domain = [seed], seed.kind, domain
        self.first = self.last = number
        self._reads: list[Node] | None = None

    def reads(self) -> list[Node]:
        """The stored nodes that it reads from outside, in order."""
        if self._reads is None:
            own = {id(s.node) for s in self.seeds}
            found = {id(n): n for s in self.seeds for n in s.reads if id(n) not in own}
            self._reads = list(found.values())
        return self._reads

    def absorb(self, other: Group) -> None:
        """The other group's seeds become this one's."""
        self.seeds += other.seeds
        self._reads = None
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        if self.kind != "dot":
            self.domain = _wider(self.domain, other.domain)
        if self.kind == "map":
            self.kind = other.kind


class Fusion:
    """The outcome: groups, and how every node that is not substituted is reached. `steady`: nodes
    (by id) that keep their values while what reads them runs again."""

    __slots__ = ("access", "groups", "outputs", "second", "steady")

    def __init__(self, groups: list[Group], access: dict[int, Access], outputs: list[Node],
                 second: Second = NO_SECOND):
        self.groups, self.access, self.outputs, self.second = groups, access, outputs, second
        self.steady: set[int] = set()


def _wider(a, b):
    return a if a is not None and len(a[0]) >= len(b[0]) else b


def producer(node: Node) -> Node:
    """The node that computes this one: itself, or of an item the node with several results."""
    return node.inputs[0] if node.op is ITEM else node


def unfold(group: Group, number) -> list[Expr]:
    """Each seed's body with reads of the group's earlier seeds replaced by their bodies; other
    operands are numbered by `number(node)`."""
    bodies: dict[int, tuple[Seed, Expr]] = {}

    def visit(k: int, seed: Seed, e: Expr, memo: dict[Expr, Expr]) -> Expr:
        found = memo.get(e)
        if found is not None:
            return found
        args = tuple(visit(k, seed, a, memo) for a in e.args)
        if e.op == "read":
            found = read(seed.reads[e.attr[0]], args, e)
        elif e.op == "reduce":
            bound = tuple(visit(k, seed, a, memo) for a in e.attr[1])
            found = expr.make("reduce", args, (e.attr[0], bound), e.dtype)
        elif e.op == "axis":  # those that are bound in one seed are not those of another
            name, extent = e.attr
            found = expr.axis(f"s{k}{name}", extent) if k and name[0] == "r" else e
        else:
            found = e if args == e.args else expr.rebuild(e, args)
        memo[e] = found
        return found

    def read(node: Node, args: tuple[Expr, ...], e: Expr) -> Expr:
        if id(node) not in bodies:
            return expr.read(number(node), args, e.dtype, e.attr[1])
        seed, body = bodies[id(node)]
        return expr.substitute(body, dict(zip(seed.definition.axes, args, strict=True)))

    for k, seed in enumerate(group.seeds):
        bodies[id(seed.node)] = (seed, visit(k, seed, seed.definition.body, {}))
    return [bodies[id(s.node)][1] for s in group.seeds]
