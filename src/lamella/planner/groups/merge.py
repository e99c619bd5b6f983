"""Groups that share a kernel: a consumer joins a producer that it reads at its own place only.

Before: a group for each stored value.   After: fewer groups, in an order that can run.
"""

from __future__ import annotations

from ...ir.node import Node
from ...lang import expr
from .code import code_of
from .group import ALONE, Group, Seed
from .storing import LARGEST, MOST_CODE, Storing, place

DEEPEST = 160   # levels of one kernel's expression: what walks through it calls itself


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


def merge(groups: list[Group], storing: Storing) -> list[Group]:
    """Merge each group into a producer's where that is legal; keeps an order that can run."""
    def base(n: Node) -> Node:
        return storing.access[id(n)].base

    graph = _Graph(groups)
    order: dict[int, int] = {}  # the places of the groups that are left, by id
    for k, g in enumerate(groups):
        target = _partner(g, graph, order, base, storing)
        if target is None:
            order[id(g)] = k
            continue
        for other in _siblings(g, target, graph, order, base, storing):
            del order[id(other)]
            _absorb(target, other, graph)
        _absorb(target, g, graph)
    return _runnable([g for g in groups if id(g) in order], graph, base)


def _absorb(target: Group, g: Group, graph: _Graph) -> None:
    target.absorb(g)
    for s in g.seeds:
        graph.owner[id(s.node)] = target


def _siblings(g: Group, target: Group, graph: _Graph, order: dict[int, int], base,
              storing: Storing) -> list[Group]:
    """Other producers of g that the target may take along: same domain, neither needs the other;
    behind a contraction maps of its shape that nobody else reads."""
    found: list[Group] = []
    producers = graph.producers(g, base)
    for p in producers:
        if p is target or id(p) not in order or p.kind == "dot":
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


def _behind(p: Group, g: Group, graph: _Graph, base, storing: Storing) -> bool:
    """Whether a group's values are maps that may be computed behind a contraction: for g alone, or
    copies, which may wait."""
    own = {id(s.node) for s in (*p.seeds, *g.seeds)}
    return all(s.kind == "map" and s.node.shape == g.seeds[0].node.shape and
               (id(s.node) in storing.second.copies or graph.readers(s.node, base) <= own)
               for s in p.seeds)


def _partner(g: Group, graph: _Graph, order: dict[int, int], base,
              storing: Storing) -> Group | None:
    producers = graph.producers(g, base)
    fit = [p for p in sorted(producers, key=lambda p: -order[id(p)])
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


def _compatible(p: Group, g: Group, base, storing: Storing) -> bool:
    seed = g.seeds[0]
    if p.kind in ALONE or seed.kind in ALONE:
        return False
    if id(seed.node) in storing.second.copies and id(p.seeds[0].node) not in storing.second.nodes:
        return False    # it would be computed where its value was not to be kept from
    if storing.tags and storing.tags.get(id(p.seeds[0].node)) != storing.tags.get(id(seed.node)):
        return False
    size = sum(len(expr.walk(s.definition.body)) for s in p.seeds)
    if size > 6 * LARGEST or (size > DEEPEST // 2 and _depth(
            [*p.seeds, *g.seeds], base) > DEEPEST):
        return False
    if sum(code_of(s.definition.body) for s in p.seeds) > MOST_CODE:
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


def _depth(seeds: list[Seed], base) -> int:
    """How deep the seeds' definitions are, each put into those that read it."""
    found: dict[int, int] = {}
    for s in seeds:
        below = max((found.get(id(base(n)), 0) for n in s.reads), default=0)
        found[id(s.node)] = below + expr.depth(s.definition.body)
    return max(found.values())


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
        if e.args != tuple(map(place, want)):
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
