"""Fusion: which values are stored, and which of them one kernel computes together.

Fusion is substitution: a stored value's definition is written in terms of other stored values,
everything between them having been substituted. Two stored values may then share a kernel when
their definitions run over the same rows (and the same inner axis), one reading the other only at
its own place.

Before: a simplified Program.   After: a list of `Group`s in an order that can run.
"""

from __future__ import annotations

from ...base.extents import Extent
from ...ir.node import ITEM, Node, topological
from ...ir.program import Program
from ...ir.types import TupleType
from ...lang import expr
from ...lang.definition import Definition
from ...lang.expr import Expr
from ...lang.routine import Part, Routine, rewritten
from .access import Access, stored, view
from .defined import CHEAP, definition_of, is_step, kind_of
from .linear import linear
from .partition import NO_SECOND, Second

_ALONE = ("step", "routine")  # kinds that share a kernel with nobody
LARGEST = 160        # scalar operations that may be substituted into one definition


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


def fuse(p: Program, tags: dict[int, int] | None = None, room: int = 8,
         second: Second = NO_SECOND) -> Fusion:
    """Groups of the program. With `tags` only values of the same tag (one uncompiled op) fuse;
    `room` is the target's (codegen/target.py); copies in the second half fuse with what lies there.
    """
    storing = _Storing(p, tags, room, second)
    storing.decide()
    seeds = [storing.seed(n) for n in storing.order if id(n) in storing.stored
             and n.op.name != "input"]
    groups = _merge(_grouped(seeds, storing.access), storing)
    return Fusion(groups, storing.access, list(p.outputs), second)


def producer(node: Node) -> Node:
    """The node that computes this one: itself, or of an item the node with several results."""
    return node.inputs[0] if node.op is ITEM else node


def _grouped(seeds: list[Seed], access) -> list[Group]:
    """One group for each seed; the results of one step together."""
    groups: list[Group] = []
    of_step: dict[int, Group] = {}
    for k, s in enumerate(seeds):
        if s.kind == "step":
            found = of_step.get(id(producer(s.node)))
            if found is not None:
                found.seeds.append(s)
                continue
        groups.append(Group(s, _domain(s, access), k))
        if s.kind == "step":
            of_step[id(producer(s.node))] = groups[-1]
    return groups


class _Storing:
    """Decides which nodes are stored, and states the definition of each."""

    def __init__(self, p: Program, tags: dict[int, int] | None, room: int, second: Second):
        self.program, self.tags, self.room, self.second = p, tags, room, second
        self.order = topological((*p.inputs, *p.outputs))
        self.number = {id(n): k for k, n in enumerate(self.order)}
        self.uses: dict[int, list[Node]] = {id(n): [] for n in self.order}
        for n in self.order:
            for i in n.inputs:
                self.uses[id(i)].append(n)
        self.lowered: dict[int, Definition] = {}
        self.stored: set[int] = set()
        self.access: dict[int, Access] = {}
        self.weight: dict[int, int] = {}

    def definition(self, node: Node) -> Definition:
        found = self.lowered.get(id(node))
        if found is None:
            found = self.lowered[id(node)] = definition_of(node)
        return found

    # -- what is stored --

    def decide(self) -> None:
        outputs = {id(o) for o in self.program.outputs}
        for node in self.order:
            if isinstance(node.type, TupleType):
                continue
            if "view" in node.op.facts:
                self._decide_view(node, id(node) in outputs)
            elif node.op.name == "input" or self._must_store(node, id(node) in outputs):
                self._store(node)

    def _store(self, node: Node) -> None:
        self.stored.add(id(node))
        self.access[id(node)] = stored(node)

    def _decide_view(self, node: Node, is_output: bool) -> None:
        source = node.inputs[0]
        inner = self.access.get(id(source))
        if inner is None:
            if is_output or not _substitutable(node):
                self._store(node)
            else:
                self.weight[id(node)] = self.weight.get(id(source), 0)
            return
        seen = view(node, inner)
        if seen is None and "view" in source.op.facts:
            self._store(source)
            seen = view(node, self.access[id(source)])
        if seen is None or ((is_output or self._in_step(node)) and not _packed(node, seen)):
            self._store(node)
        else:
            self.access[id(node)] = seen

    def _in_step(self, node: Node) -> bool:
        """Whether a step reads the value, which it wants packed."""
        return any(is_step(c) for c in self.uses[id(node)])

    def _must_store(self, node: Node, is_output: bool) -> bool:
        if is_output or node.op is ITEM or is_step(node) or self._kind(node) != "map":
            return True
        if node.op.name == "constant":
            self.weight[id(node)] = 0
            return any(self._needs_memory(c, n, 0) for c, n in self._consumers(node))
        weight = 1 + sum(self.weight.get(id(i), 0) for i in node.inputs)
        consumers = self._consumers(node)
        if weight > LARGEST or any(
                self._needs_memory(c, n, weight) for c, n in consumers):
            return True
        if self.tags and any(self.tags.get(id(c)) != self.tags.get(id(node)) for c, _ in consumers):
            return True
        if len({id(c) for c, _ in consumers}) > 1 and (
                node.op.name not in CHEAP or weight > 4):
            return True
        self.weight[id(node)] = weight
        return False

    def _kind(self, node: Node) -> str:
        return "routine" if node.op.loops else kind_of(node, self.definition(node))

    def _consumers(self, node: Node) -> list[tuple[Node, Node]]:
        """(consumer, the node it reads: `node` itself or a view of it), views walked through."""
        found = []
        for c in self.uses[id(node)]:
            if "view" in c.op.facts and _substitutable(c):
                found += self._consumers(c) or [(c, node)]
            else:
                found.append((c, node))
        return found

    def _needs_memory(self, consumer: Node, read: Node, weight: int) -> bool:
        """Whether the consumer reads `read` at places that cannot be substituted."""
        if "view" in consumer.op.facts or is_step(consumer):
            return True
        if consumer.op.loops is not None:  # it may read an element several times
            return weight > (0 if "rereads" in consumer.op.facts and self.room else 2)
        d = self.definition(consumer)
        if kind_of(consumer, d) not in ("map", "reduce"):
            return True
        for e in expr.walk(d.body):
            if e.op == "read" and _leads_to(consumer.inputs[e.attr[0]], read) and (
                    e.attr[1] is not None or any(linear(i) is None for i in e.args)):
                return True
        return False

    # -- definitions --

    def seed(self, node: Node) -> Seed:
        """The definition of a stored node over other stored nodes, by substitution."""
        if node.op is ITEM or is_step(node):
            return Seed(node, "step", None, list(producer(node).inputs))
        if node.op.loops is not None:
            return self.routine(node)
        d = self.definition(node)
        reads: dict[int, int] = {}
        nodes: list[Node] = []
        own = self.number[id(node)]
        axes = tuple(expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate(d.axes))
        mapping = dict(zip(d.axes, map(_place, axes), strict=True)) | _renamed_bound(d.body, own)
        body = self._substituted(node, d.body, mapping, reads, nodes, {})
        types = tuple(n.type for n in nodes)
        return Seed(node, kind_of(node, d), Definition(types, axes, body), nodes)

    def routine(self, node: Node) -> Seed:
        """The loops of a stored node over other stored nodes, by substitution."""
        assert node.op.loops is not None
        reads: dict[int, int] = {}
        nodes: list[Node] = []
        memo: dict[Expr, Expr] = {}
        found: Routine = node.op.loops(self.room, node.params,
                                      *(i.type for i in node.inputs))

        def visit(e: Expr) -> Expr:
            return self._substituted(node, e, {}, reads, nodes, memo)

        parts = [Part(p.name, p.task, p.tasks, rewritten(p.body, visit), p.grain, p.scratch,
                      p.flops, p.warps, p.stages) for p in found.parts]
        return Seed(node, "routine", None, nodes, Routine(parts, found.workspaces))

    def _substituted(self, node: Node, e: Expr, mapping: dict[Expr, Expr], reads: dict[int, int],
                     nodes: list[Node], memo: dict) -> Expr:
        """e (of node's definition) with axes mapped and its reads replaced by what they read."""
        found = mapping.get(e)
        found = memo.get(e) if found is None else found
        if found is not None:
            return found
        args = tuple(self._substituted(node, a, mapping, reads, nodes, memo) for a in e.args)
        if e.op == "read":
            out = self._value(node.inputs[e.attr[0]], args, e.attr[1], reads, nodes)
        elif e.op == "reduce":
            bound = tuple(mapping.get(a, a) for a in e.attr[1])
            out = expr.make("reduce", args, (e.attr[0], bound), e.dtype)
        else:
            out = e if args == e.args else expr.rebuild(e, args)
        memo[e] = out
        return out

    def _value(self, node: Node, indices, fill, reads: dict[int, int], nodes: list[Node]) -> Expr:
        """The element of node at the indices: a read if it is stored (or a view of such)."""
        access = self.access.get(id(node))
        if access is not None and access.base is not node and fill is None and \
                _substitutable(node):
            access = None
        if access is not None:
            k = reads.setdefault(id(node), len(nodes))
            if k == len(nodes):
                nodes.append(node)
            return expr.read(k, indices, node.dtype, fill)
        if "view" in node.op.facts and node.op.name == "reshape":
            moved = _reshaped(node.inputs[0].shape, node.shape, indices)
            return self._value(node.inputs[0], moved, None, reads, nodes)
        d = self.definition(node)
        mapping = dict(zip(d.axes, indices, strict=True)) | _renamed_bound(
            d.body, self.number[id(node)])
        return self._substituted(node, d.body, mapping, reads, nodes, {})


def _place(axis: Expr) -> Expr:
    """The axis as an index: an axis of one element is at 0, however it is reached."""
    return expr.lit(0, expr.dtypes.index) if axis.attr[1] == 1 else axis


def _leads_to(node: Node, target: Node) -> bool:
    while node is not target and "view" in node.op.facts:
        node = node.inputs[0]
    return node is target


def _renamed_bound(body: Expr, number: int) -> dict[Expr, Expr]:
    """Fresh names for the axes that reductions in the body bind: one set for each node."""
    bound = [a for e in expr.walk(body) if e.op == "reduce" for a in e.attr[1]]
    return {a: expr.axis(f"r{number}_{k}", a.attr[1])
            for k, a in enumerate(dict.fromkeys(bound))}


def _packed(node: Node, a: Access) -> bool:
    """Whether a view's elements are all of its base's, in order."""
    return a.offset == 0 and a.base.type.size == node.type.size and \
        a.strides == stored(node).strides


def _substitutable(node: Node) -> bool:
    """Whether a view of a value that is not stored can be substituted: not a merging reshape."""
    return node.op.name != "reshape" or _reshaped(
        node.inputs[0].shape, node.shape, tuple(expr.axis(f"t{d}", e) for d, e in
                                                enumerate(node.shape))) is not None


def _reshaped(source: tuple, target: tuple, indices: tuple[Expr, ...]):
    """Indices into `source` for an element of its reshape to `target`: unit axes come and go, an
    axis may be split; None where axes are merged (that would need divisions)."""
    out: list[Expr] = []
    rest = [(e, i) for e, i in zip(target, indices, strict=True) if e != 1]
    for extent in source:
        if extent == 1:
            out.append(expr.lit(0, expr.dtypes.index))
            continue
        covered: Extent = 1
        at: Expr = expr.lit(0, expr.dtypes.index)
        while covered != extent:
            if not rest:
                return None
            e, i = rest.pop(0)
            covered = covered * e
            at = at * expr.size(e) + i
            if isinstance(covered, int) and isinstance(extent, int) and covered > extent:
                return None
        out.append(at)
    return tuple(out) if not rest else None


# ---- sharing a kernel ---------------------------------------------------------------------------

def _domain(s: Seed, access: dict[int, Access]) -> tuple | None:
    """(row extents, inner extent) that a seed runs over; None where it shares with nobody."""
    d = s.definition
    if s.kind in _ALONE:
        return None
    if s.kind == "map":
        return (d.shape[:-1], d.shape[-1]) if d.shape else ((), 1)
    if s.kind != "reduce":
        return None
    bound = d.body.attr[1]
    if len(bound) != 1 or any(e.op == "reduce" for a in d.body.args for e in expr.walk(a)):
        return None
    return (d.shape, bound[0].attr[1]) if _along_rows(s, bound[0], access) else None


def _along_rows(s: Seed, bound: Expr, access: dict[int, Access]) -> bool:
    """Whether the reduced axis is the contiguous one of some operand (or all are constant); what
    is the same for all rows does not count beside one that is not."""
    steps: dict[bool, list] = {True: [], False: []}
    for e in expr.walk(s.definition.body):
        if e.op == "read" and bound in expr.free_axes(e):
            a = access[id(s.reads[e.attr[0]])]
            forms = [f for f in map(linear, e.args) if f is not None]
            steps[len(expr.free_axes(e)) > 1].append(sum(
                f.terms.get(bound, 0) * st for f, st in zip(forms, a.strides, strict=True))
                if len(forms) == len(e.args) else 1)
    found = steps[True] or steps[False]
    return not found or 1 in found


class _Graph:
    """The groups' dependences, for asking whether merging two would make a cycle."""

    def __init__(self, groups: list[Group]):
        self.owner = {id(s.node): g for g in groups for s in g.seeds}
        self._seeds = [s for g in groups for s in g.seeds]
        self._readers: dict[int, set[int]] = {}

    def readers(self, node: Node, base) -> set[int]:
        """The stored nodes (by id) whose definitions read a stored node, or a view of it."""
        if not self._readers:
            for s in self._seeds:
                for n in s.reads:
                    self._readers.setdefault(id(base(n)), set()).add(id(s.node))
        return self._readers.get(id(node), set())

    def producers(self, g: Group, bases) -> list[Group]:
        found = {}
        for n in g.reads():
            p = self.owner.get(id(bases(n)))
            if p is not None and p is not g:
                found[id(p)] = p
        return list(found.values())


def _merge(groups: list[Group], storing: _Storing) -> list[Group]:
    """Merge each group into a producer's where that is legal; keeps an order that can run."""
    def base(n: Node) -> Node:
        return storing.access[id(n)].base

    graph = _Graph(groups)
    order: list[Group] = []
    for g in groups:
        target = _partner(g, graph, order, base, storing)
        if target is None:
            order.append(g)
            continue
        for other in _siblings(g, target, graph, order, base, storing):
            order.remove(other)
            _absorb(target, other, graph)
        _absorb(target, g, graph)
    return _runnable(order, graph, base)


def _absorb(target: Group, g: Group, graph: _Graph) -> None:
    target.absorb(g)
    for s in g.seeds:
        graph.owner[id(s.node)] = target


def _siblings(g: Group, target: Group, graph: _Graph, order, base, storing) -> list[Group]:
    """Other producers of g that the target may take along: same domain, neither needs the other;
    behind a contraction maps of its shape that nobody else reads."""
    found: list[Group] = []
    producers = graph.producers(g, base)
    for p in producers:
        if p is target or p not in order or p.kind == "dot":
            continue
        fits = _behind(p, g, graph, base, storing) if target.kind == "dot" else \
            p.domain == target.domain
        if not fits:
            continue
        apart = all(not _reaches([p, q], q, graph, base) and not _reaches([q, p], p, graph, base)
                    for q in (target, *found))
        if apart and not _reaches(producers, p, graph, base) and _compatible(p, g, base, storing):
            found.append(p)
    return found


def _behind(p: Group, g: Group, graph: _Graph, base, storing: _Storing) -> bool:
    """Whether a group's values are maps that may be computed behind a contraction: for g alone, or
    copies, which may wait."""
    own = {id(s.node) for s in (*p.seeds, *g.seeds)}
    return all(s.kind == "map" and s.node.shape == g.seeds[0].node.shape and
               (id(s.node) in storing.second.copies or graph.readers(s.node, base) <= own)
               for s in p.seeds)


def _wider(a, b):
    return a if a is not None and len(a[0]) >= len(b[0]) else b


def _partner(g: Group, graph: _Graph, order, base, storing) -> Group | None:
    producers = graph.producers(g, base)
    fit = [p for p in sorted(producers, key=lambda p: -order.index(p))
           if _compatible(p, g, base, storing) and not _reaches(producers, p, graph, base)]
    dots = [p for p in fit if p.kind == "dot"]
    if len(dots) == 1 and len(_siblings(g, dots[0], graph, order, base, storing)) == len(fit) - 1:
        return dots[0]  # what is computed behind a contraction need not be written before
    return fit[0] if fit else None


def _reaches(producers: list[Group], target: Group, graph: _Graph, base) -> bool:
    """Whether another producer depends on the target (merging would close a cycle)."""
    stack = [p for p in producers if p is not target]
    seen: set[int] = set()
    while stack:
        p = stack.pop()
        if id(p) in seen:
            continue
        seen.add(id(p))
        if p is target:
            return True
        if p.last > target.first:
            stack += graph.producers(p, base)
    return False


def _compatible(p: Group, g: Group, base, storing: _Storing) -> bool:
    seed = g.seeds[0]
    if p.kind in _ALONE or seed.kind in _ALONE:
        return False
    if id(seed.node) in storing.second.copies and id(p.seeds[0].node) not in storing.second.nodes:
        return False    # it would be computed where its value was not to be kept from
    if storing.tags and storing.tags.get(id(p.seeds[0].node)) != storing.tags.get(id(seed.node)):
        return False
    if sum(len(expr.walk(s.definition.body)) for s in p.seeds) > 6 * LARGEST:
        return False
    if p.kind == "dot":
        return seed.kind == "map" and seed.node.shape == p.seeds[0].node.shape and \
            _reads_in_place(p, seed, base, seed.definition.axes, None)
    if p.domain is None or g.domain is None:
        return False
    rows = _shared_rows(p, g)
    if rows is None:
        return False
    inner = [seed.definition.axes[-1]] if seed.kind == "map" and len(
        seed.definition.axes) > len(rows) else []
    if seed.kind == "reduce":
        inner = list(seed.definition.body.attr[1])
    return _reads_in_place(p, seed, base, rows, inner[0] if inner else None)


def _shared_rows(p: Group, g: Group):
    """The row axes of g's seed where its domain is p's, or p's rows alone; else None."""
    axes = g.seeds[0].definition.axes
    if g.domain == p.domain:
        return axes if g.seeds[0].kind == "reduce" else axes[:-1]
    if p.kind == "reduce" and p.domain is not None and g.seeds[0].kind == "map" and \
            g.seeds[0].definition.shape == p.domain[0]:
        return axes
    return None


def _reads_in_place(p: Group, seed: Seed, base, rows, inner) -> bool:
    """Whether the seed reads p's values only at its own row (and inner position)."""
    own = {id(s.node): s for s in p.seeds}
    for e in expr.walk(seed.definition.body):
        if e.op != "read":
            continue
        node = seed.reads[e.attr[0]]
        source = own.get(id(base(node)))
        if source is None:
            continue
        if e.attr[1] is not None or node is not source.node:
            return False
        want = tuple(rows) if inner is None or len(e.args) == len(rows) else (*rows, inner)
        if e.args != tuple(map(_place, want)):
            return False
    return True


def _runnable(order: list[Group], graph: _Graph, base) -> list[Group]:
    """The groups in an order in which each comes after its producers."""
    out: list[Group] = []
    seen: set[int] = set()

    def visit(g: Group) -> None:
        stack = [(g, iter(graph.producers(g, base)))]
        seen.add(id(g))
        while stack:
            top, rest = stack[-1]
            p = next((p for p in rest if id(p) not in seen), None)
            if p is None:
                out.append(top)
                stack.pop()
            else:
                seen.add(id(p))
                stack.append((p, iter(graph.producers(p, base))))

    for g in order:
        if id(g) not in seen:
            visit(g)
    return out


def unfold(group: Group, number) -> list[Expr]:
    """Each seed's body with reads of the group's earlier seeds replaced by their bodies; other
    operands are numbered by `number(node)`."""
    bodies: dict[int, tuple[Seed, Expr]] = {}

    def visit(seed: Seed, e: Expr, memo: dict[Expr, Expr]) -> Expr:
        found = memo.get(e)
        if found is not None:
            return found
        args = tuple(visit(seed, a, memo) for a in e.args)
        if e.op == "read":
            found = read(seed.reads[e.attr[0]], args, e)
        elif e.op == "reduce":
            found = expr.make("reduce", args, e.attr, e.dtype)
        else:
            found = e if args == e.args else expr.rebuild(e, args)
        memo[e] = found
        return found

    def read(node: Node, args: tuple[Expr, ...], e: Expr) -> Expr:
        if id(node) not in bodies:
            return expr.read(number(node), args, e.dtype, e.attr[1])
        seed, body = bodies[id(node)]
        return expr.substitute(body, dict(zip(seed.definition.axes, args, strict=True)))

    for seed in group.seeds:
        bodies[id(seed.node)] = (seed, visit(seed, seed.definition.body, {}))
    return [bodies[id(s.node)][1] for s in group.seeds]
