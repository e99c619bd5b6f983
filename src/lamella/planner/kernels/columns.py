"""The column template: reductions over leading axes, vectorised over the axis that stays.

A task is a block of columns of one outer index. Position k of the reduced axis adds into lane
k mod SUM_LANES, so SUM_LANES registers stand for the lanes of each vector of columns.
"""

from __future__ import annotations

from ...base import dtypes
from ...base.extents import product, upper
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, Store, When, index_var, trailing_zeros
from ...lang.order import SUM_CHUNK, SUM_LANES
from ..plan import Launch
from .nest import Builder, accumulator, decode, merged_axes, strides_of, widened
from .rows import COMBINE, identity, levels_of

BLOCK = 32      # columns of one task


def schedule_columns(nest, buffers, bound: Expr) -> Launch:
    """The launch of one reduction over `bound`; the last kept axis becomes the vector axis."""
    b = Builder(nest, buffers)
    (seed, body), = nest.outputs()
    monoid, element = body.attr[0], body.args[0]
    axes = list(seed.definition.axes)
    out = nest.access[id(seed.node)]
    out_strides = strides_of(axes, seed.node.shape, out)
    tables = [r.strides for r in nest.reads.values()] + [out_strides]
    runs = merged_axes(axes, tables, nest.loose_axes([element]))
    columns = runs[-1] if runs else (axes[-1:], 1, axes[-1])
    outer = runs[:-1]

    task, j = index_var("task"), index_var("j")
    width = b.size(("columns",), columns[1])
    blocks = (columns[1] + (BLOCK - 1)) // BLOCK
    block_count = b.size(("blocks",), blocks)
    places = decode(task // block_count, [(r[2], b.size(("run", i), r[1]))
                                          for i, r in enumerate(outer)]) if outer else {}
    places |= {a: lit(0, dtypes.index) for a in axes if a not in places}
    places[columns[2]] = j
    first = task % block_count * BLOCK
    name = b.output(seed.node)
    inner = _column(b, monoid, element, bound, places, j - first)
    result = scalar.cast(expr.var("total", accumulator(element.dtype), LANES), seed.node.dtype)
    store = Store(name, b.address(name, out_strides, places), result)
    high = scalar.minimum(first + BLOCK, width)
    tasks = product(r[1] for r in outer) * blocks
    loop = Loop(task, lit(0, dtypes.index), b.size(("tasks",), tasks),
                [Loop(j, first, high, [*inner, store], "vector")], "parallel")
    step = b.launch("columns", [loop], tasks)
    elements = product(a.attr[1] for a in axes) * bound.attr[1]
    step.flops = elements * (1 + sum(not isinstance(e.op, str) and e.dtype.is_float
                                     for e in expr.walk(element)))
    return step


def _column(b: Builder, monoid: str, element: Expr, bound: Expr, places, local: Expr) -> list:
    """The statements that leave the reduction of one vector of columns in `total`."""
    dtype = accumulator(element.dtype)
    count = b.size(("reduced",), bound.attr[1])
    ordered = monoid in ("sum", "prod") and dtype.is_inexact
    total = expr.var("total", dtype, LANES)

    def value(k: Expr) -> Expr:
        return widened(b.lowered(element, {**places, bound: k}, {}))

    if not ordered:
        k = index_var("k")
        step = Set(total, COMBINE[monoid](total, value(k)))
        return [Set(total, identity(monoid, dtype)), Loop(k, lit(0, dtypes.index), count, [step])]
    whole = isinstance(bound.attr[1], int) and bound.attr[1] % SUM_LANES == 0
    if upper(bound.attr[1]) <= SUM_CHUNK:
        return _chunk(monoid, dtype, value, (lit(0, dtypes.index), count), total, whole)
    depth = b.size(("levels",), levels_of(bound.attr[1], SUM_CHUNK))
    levels = b.scratch(dtype, depth * BLOCK)
    c = index_var("c")
    chunks = (count + (SUM_CHUNK - 1)) // SUM_CHUNK
    part = expr.var("part", dtype, LANES)
    span = c * SUM_CHUNK, scalar.minimum(c * SUM_CHUNK + SUM_CHUNK, count)
    body = _chunk(monoid, dtype, value, span, part, whole)
    body += _push(levels, c, monoid, part, local)
    return [Set(total, identity(monoid, dtype)), Loop(c, lit(0, dtypes.index), chunks, body),
            *_join(levels, depth, chunks, monoid, total, local)]


def _chunk(monoid: str, dtype, value, span: tuple[Expr, Expr], result: Expr, whole: bool) -> list:
    """One chunk: SUM_LANES registers, then their tree; `whole` where it has no remainder."""
    low, high = span
    lanes = [expr.var(f"l{n}", dtype, LANES) for n in range(SUM_LANES)]
    combine = COMBINE[monoid]
    k = index_var("k")
    full = high if whole else low + (high - low) // SUM_LANES * SUM_LANES
    step = [Set(a, combine(a, value(k + n))) for n, a in enumerate(lanes)]
    body: list = [Set(a, identity(monoid, dtype)) for a in lanes]
    body.append(Loop(k, low, full, step, "serial", SUM_LANES))
    body += [] if whole else [When(full + n < high, [Set(a, combine(a, value(full + n)))])
                              for n, a in enumerate(lanes[:-1])]
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [combine(x, y) for x, y in zip(lanes[:half], lanes[half:], strict=True)]
    return [*body, Set(result, lanes[0])]


def _push(levels: str, c: Expr, monoid: str, part: Expr, local: Expr) -> list:
    level = index_var("level")
    top = trailing_zeros(c + 1)
    carry = expr.var("carry", part.dtype, LANES)
    stored = expr.load(levels, level * BLOCK + local, part.dtype)
    return [Set(carry, part),
            Loop(level, lit(0, dtypes.index), top, [Set(carry, COMBINE[monoid](stored, carry))]),
            Store(levels, top * BLOCK + local, carry)]


def _join(levels: str, depth: Expr, count: Expr, monoid: str, total: Expr, local: Expr) -> list:
    level = index_var("level")
    first = trailing_zeros(scalar.maximum(count, 1))
    present = scalar.ne((count >> level) & 1, 0)

    def stored(at: Expr) -> Expr:
        return expr.load(levels, at * BLOCK + local, total.dtype)

    return [When(count > 0, [Set(total, stored(first))]),
            Loop(level, first + 1, depth,
                 [When(present, [Set(total, COMBINE[monoid](stored(level), total))])])]


