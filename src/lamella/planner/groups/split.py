"""Splits definitions that hold reductions inside other work into nodes with one reduction each.

After: every definition is a map, or one reduction of a map, or a contraction of two plain reads of
real numbers: one of complex numbers is four of their parts.
Fusion puts together again what belongs together.
"""

from __future__ import annotations

from ...ir.node import Node, at_source, make, topological
from ...ir.op import op_named
from ...ir.program import Program, rebuild
from ...lang import expr
from ...lang.definition import PRODUCTS, Definition
from ...lang.expr import Expr
from ...ops.notation import define
from .linear import linear


def split(p: Program, tags: dict[int, int] | None = None) -> Program:
    """The program with its `notation` nodes split; others are simple by construction."""
    done: dict[int, Node] = {}
    for node in topological(p.outputs):
        new = rebuild(node, tuple(done[id(i)] for i in node.inputs))
        if node.op.name == "notation":
            new = _Splitter(new, tags, tags.get(id(node)) if tags else None).result()
        elif new.op.name == "contract":
            new = _real_products(new, tags, tags.get(id(node)) if tags else None)
        if tags is not None and id(node) in tags:
            tags.setdefault(id(new), tags[id(node)])
        done[id(node)] = new
    return Program([done.get(id(i), i) for i in p.inputs], [done[id(o)] for o in p.outputs], p.name)


class _Splitter:
    def __init__(self, node: Node, tags, tag):
        self.node, self.tags, self.tag = node, tags, tag
        self.operands = list(node.inputs)
        self.memo: dict[Expr, Expr] = {}

    def result(self) -> Node:
        d: Definition = self.node.params["body"]
        body = d.body
        if body.op == "reduce":
            body = expr.make("reduce", self._bodies(body), body.attr, body.dtype)
        else:
            body = self._pure(body)
        return self._node(d.axes, body)

    def _bodies(self, e: Expr) -> tuple[Expr, ...]:
        """A reduction's arguments without reductions; those of a contraction as plain reads."""
        args = tuple(self._pure(a) for a in e.args)
        if e.attr[0] in PRODUCTS:
            args = tuple(a if _plain(a) else self._stored(a) for a in args)
        return args

    def _pure(self, e: Expr) -> Expr:
        """e with each reduction inside computed by a node of its own."""
        found = self.memo.get(e)
        if found is None:
            if e.op == "reduce":
                inner = expr.make("reduce", self._bodies(e), e.attr, e.dtype)
                found = self._stored(inner)
            else:
                args = tuple(self._pure(a) for a in e.args)
                found = e if args == e.args else expr.rebuild(e, args)
            self.memo[e] = found
        return found

    def _stored(self, e: Expr) -> Expr:
        """A read of a new node that computes e over the axes it depends on."""
        axes = tuple(sorted(expr.free_axes(e), key=lambda a: a.attr[0]))
        self.operands.append(self._node(axes, e))
        return expr.read(len(self.operands) - 1, axes, e.dtype)

    def _node(self, axes, body: Expr) -> Node:
        used = sorted({e.attr[0] for e in expr.walk(body) if e.op == "read"})
        renumber = {k: n for n, k in enumerate(used)}
        nodes = [self.operands[k] for k in used]
        body = _renumbered(body, renumber, {})
        node = define(Definition(tuple(n.type for n in nodes), axes, body), nodes)
        node.source = self.node.source
        if self.tags is not None and self.tag is not None:
            self.tags[id(node)] = self.tag
        return _real_products(node, self.tags, self.tag)


def _real_products(node: Node, tags, tag) -> Node:
    """A contraction of complex numbers as four of real ones: (rr - ii) + (ri + ir) i."""
    if not node.dtype.is_complex:
        return node
    assert node.op.lower is not None
    d: Definition = node.op.lower(node.params, *[i.type for i in node.inputs])
    if d.body.op != "reduce" or d.body.attr[0] != "dot":
        return node
    with at_source(node.source):
        parts = [[make(op_named(name), (i,)) for name in ("real", "imag")] for i in node.inputs]
        rr, ri, ir, ii = (_product(node, d, parts, j, k) for j in (0, 1) for k in (0, 1))
        new = make(op_named("complex"), (rr - ii, ri + ir))
    if tag is not None:
        for n in topological([new], frozenset(node.inputs)):
            if n not in node.inputs:
                tags[id(n)] = tag
    return new


def _product(node: Node, d: Definition, parts: list[list[Node]], j: int, k: int) -> Node:
    """The contraction of part j of the left read's operand with part k of the right one's."""
    a, b = d.body.args
    pair = (parts[a.attr[0]][j], parts[b.attr[0]][k])
    if node.op.name == "contract":
        return make(node.op, pair, node.params)
    reads = [expr.read(n, e.args, x.dtype) for n, (e, x) in enumerate(zip((a, b), pair,
                                                                          strict=True))]
    body = expr.reduce("dot", d.body.attr[1], *reads)
    return define(Definition(tuple(x.type for x in pair), d.axes, body), pair)


def _plain(e: Expr) -> bool:
    return e.op == "read" and e.attr[1] is None and all(linear(i) is not None for i in e.args)


def _renumbered(e: Expr, numbers: dict[int, int], memo: dict[Expr, Expr]) -> Expr:
    found = memo.get(e)
    if found is None:
        args = tuple(_renumbered(a, numbers, memo) for a in e.args)
        if e.op == "read":
            found = expr.make("read", args, (numbers[e.attr[0]], e.attr[1]), e.dtype)
        else:
            found = e if args == e.args else expr.rebuild(e, args)
        memo[e] = found
    return found
