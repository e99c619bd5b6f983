"""`fast` mode: sums stated anew where another algorithm, with other rounding, is faster.

What a program computes is a definition, and its reduction says how it is summed: "winograd" for
3 x 3 taps by F(2x2, 3x3), "dot" for a chain of fused multiply-adds. Here a definition is replaced
by one whose exact value is the same. Sizes alone decide (the bounds of those that vary), so that a
plan gives the same bits at every run and at any number of threads (docs/numerics.md, fast mode).

Before: a program with one reduction in each node.   After: one that computes the same but for
rounding.
"""

from __future__ import annotations

from ...base.extents import product, upper
from ...ir.node import Node, at_source, topological
from ...ir.program import Program, rebuild
from ...lang import expr
from ...lang.definition import Definition
from ...lang.expr import Expr
from ...ops.notation import define
from .defined import definition_of

# By F(4x4) a tile is four of F(2x2) and takes 36 products in place of 64; laying out the weights of
# a point, or joining its sums, takes as long as the products of so many tiles (measured).
WEIGHTS_OF_A_POINT = {"winograd": 64, "winograd weights": 24}


def relax(p: Program) -> Program:
    """The program with definitions that are faster to compute."""
    done: dict[int, Node] = {}
    for node in topological(p.outputs):
        new = rebuild(node, tuple(done[id(i)] for i in node.inputs))
        if node.op.name == "contract":
            with at_source(new.source):
                new = _relaxed(new)
        done[id(node)] = new
    return Program([done.get(id(i), i) for i in p.inputs], [done[id(o)] for o in p.outputs], p.name)


def _relaxed(node: Node) -> Node:
    d = definition_of(node)
    if d.body.op == "reduce" and d.body.attr[0] in WEIGHTS_OF_A_POINT and _gains(d):
        kind, bound = d.body.attr
        body = expr.reduce(f"{kind} 4x4", bound, *d.body.args)
        return define(Definition(d.operands, d.axes, body), node.inputs)
    return node


def _gains(d: Definition) -> bool:
    """Whether a convolution takes less time by tiles of 4 x 4 pixels than by tiles of 2 x 2."""
    kind, bound = d.body.attr
    over = bound
    if kind == "winograd":
        weights, = (e for e in d.body.args if d.axes[-1] in expr.free_axes(e))
        over = tuple(a for a in d.axes if a not in expr.free_axes(weights))
    more = WEIGHTS_OF_A_POINT[kind]
    return 36 * (_tiles(over, 4) + more) < 16 * (_tiles(over, 2) + more)


def _tiles(axes: tuple[Expr, ...], side: int) -> int:
    """The tiles of so many pixels a side, which the last two axes count; the others count images.
    """
    *images, y, x = (upper(a.attr[1]) for a in axes)
    return upper(product(images)) * -(-y // side) * -(-x // side)
