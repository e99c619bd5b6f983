"""`fast` mode: sums stated anew where another algorithm, with other rounding, is faster.

What a program computes is a definition, and its reduction says how it is summed: "winograd" for
3 x 3 taps by F(2x2, 3x3), "dot" for a chain of fused multiply-adds. Here a definition is replaced
by one whose exact value is the same, and whose sum is of another kind: "winograd 4x4", a plain
"sum" in lanes, or "matrices" of bfloat16, as a processor's registers for matrices add. Sizes alone
decide (the bounds of those that vary), and the target, so that a plan gives the same bits at every
run and at any number of threads (docs/numerics.md, fast mode).

Before: a program with one reduction in each node.   After: one that computes the same but for
rounding.
"""

from __future__ import annotations

from ...base import dtypes
from ...base.extents import lower, product, upper
from ...ir.node import Node, at_source, topological
from ...ir.program import Program, rebuild
from ...lang import expr
from ...lang.definition import Definition
from ...lang.expr import Expr
from ...ops.notation import define
from .access import Access, stored, view
from .defined import definition_of

# A pixel takes 9 products tap by tap, a tile of 2 x 2 takes 16, one of 4 x 4 takes 36. Some work on
# a product takes as long as the product for so many tiles (measured): to read its weights (where
# all of them have more than FAR bytes, to fetch them from memory), to lay them out and read them,
# to join its sums to a gradient for the weights.
READ, FETCHED, LAID_OUT, JOINED = 20, 60, 80, 24
FAR = 24 << 20
NEAR_TILES, NEAR_FILTERS = 128, 256     # most and fewest, for tasks to transform their weights
LEAST_POSITIONS = 32    # of a sum that is cut into lanes


def relax(p: Program, steady: set[int], target) -> Program:
    """The program with definitions that are faster to compute on the target; `steady` numbers the
    nodes (by id) that keep their values while it runs again."""
    done: dict[int, Node] = {}
    for node in topological(p.outputs):
        new = rebuild(node, tuple(done[id(i)] for i in node.inputs))
        if node.op.name == "contract":
            with at_source(new.source):
                new = _relaxed(new, [id(i) in steady for i in node.inputs], target)
        done[id(node)] = new
    return Program([done.get(id(i), i) for i in p.inputs], [done[id(o)] for o in p.outputs], p.name)


def _relaxed(node: Node, steady: list[bool], target) -> Node:
    d = definition_of(node)
    if d.body.op != "reduce":
        return node
    kind, bound = d.body.attr
    if kind in ("winograd", "winograd weights"):
        body = expr.reduce(_fastest(d, steady), bound, *d.body.args)
    elif kind == "dot" and target.matrices and _is_plain(d) and \
            all(i.dtype is dtypes.bfloat16 for i in node.inputs):
        body = expr.reduce("matrices", bound, *d.body.args)
    elif kind == "dot" and _lies_along(node, d):
        body = expr.reduce("sum", bound, d.body.args[0] * d.body.args[1])
    else:
        return node
    if body is d.body:
        return node
    return define(Definition(d.operands, d.axes, body), node.inputs)


def _fastest(d: Definition, steady: list[bool]) -> str:
    """How a convolution with 3 x 3 taps is summed in the least time."""
    kind, bound = d.body.attr
    over, one, kept = bound, 0, False
    if kind == "winograd":
        weights, = (e for e in d.body.args if d.axes[-1] in expr.free_axes(e))
        over = tuple(a for a in d.axes if a not in expr.free_axes(weights))
        one = d.operands[weights.attr[0]].bytes // 9
        kept = steady[weights.attr[0]]
    filters = lower(d.axes[-1].attr[1])
    ways = {kind: (16, 2), f"{kind} 4x4": (36, 4), "dot": (9, 1)}

    def cost(way: str) -> int:
        products, side = ways[way]
        tiles, more = _tiles(over, side), JOINED
        if kind == "winograd":
            more = LAID_OUT if not kept else FETCHED if upper(one) * products > FAR else READ
        if way == "winograd" and not kept and tiles <= NEAR_TILES and filters >= NEAR_FILTERS:
            more = READ
        return products * (tiles + more)

    return min(ways, key=cost)


def _tiles(axes: tuple[Expr, ...], side: int) -> int:
    """The tiles of so many pixels a side, which the last two axes count; the others count images.
    """
    *images, y, x = (upper(a.attr[1]) for a in axes)
    return upper(product(images)) * -(-y // side) * -(-x // side)


def _is_plain(d: Definition) -> bool:
    """Whether the factors are read at axes alone, without windows."""
    return all(e.op == "read" and e.attr[1] is None and all(i.op == "axis" for i in e.args)
               for e in d.body.args)


def _lies_along(node: Node, d: Definition) -> bool:
    """Whether a matrix meets a vector (or a vector another) along what are neighbours in memory:
    lanes along the sum read them as they lie, lanes along the result would have to turn them."""
    bound, own = d.body.attr[1], []
    if node.dtype not in (dtypes.float32, dtypes.float64) or \
            lower(bound[-1].attr[1]) < LEAST_POSITIONS or not _is_plain(d):
        return False
    for e, operand in zip(d.body.args, node.inputs, strict=True):
        if _access(operand).strides[e.args.index(bound[-1])] != 1:
            return False
        own.append({i for i in e.args if i.attr[1] != 1} - set(bound))
    return own[0] <= own[1] or own[1] <= own[0]


def _access(node: Node) -> Access:
    """How a node lies in what it is a view of, if it is one that strides can express."""
    if "view" not in node.op.facts:
        return stored(node)
    return view(node, _access(node.inputs[0])) or stored(node)
