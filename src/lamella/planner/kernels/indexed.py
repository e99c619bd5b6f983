"""The template of writes at a run-time place: an update in place."""

from __future__ import annotations

from ...base import dtypes
from ...base.extents import product
from ...lang import expr, scalar
from ...lang.expr import lit
from ...lang.loops import Loop, Store, index_var
from ..plan import Copy
from .nest import Builder, Nest, decode

ZERO = lit(0, dtypes.index)


def schedule_update(nest: Nest, buffers, in_place: bool) -> list:
    """Write the update's elements into the operand's bytes, copied first unless in place."""
    b = Builder(nest, buffers)
    (seed, _), = nest.outputs()
    node = seed.node
    x, u, *starts = node.inputs
    out = nest.access[id(node)]
    steps: list = []
    source = nest.access[id(x)]
    if not in_place:
        steps.append(Copy(buffers[id(source.base)], buffers[id(node)], "copy", node.source))
    read = nest.access[id(u)]
    name = b.operand(node, 0, node.dtype, writes=True)
    value = b.operand(read.base, read.offset, node.dtype)
    row, j = index_var("row"), index_var("j")
    axes = [expr.axis(f"a{d}", e) for d, e in enumerate(u.shape)]
    places = decode(row, [(a, b.size(("rows", k), a.attr[1])) for k, a in enumerate(axes[:-1])])
    if axes:
        places[axes[-1]] = j
    to, from_ = ZERO, ZERO
    for d, (a, t) in enumerate(zip(axes, starts, strict=True)):
        s = nest.access[id(t)]
        start = scalar.cast(expr.load(b.operand(s.base, s.offset, t.dtype), ZERO, t.dtype),
                            dtypes.index)
        room = b.size(("room", d), x.shape[d] - u.shape[d])
        start = scalar.maximum(scalar.minimum(start, room), ZERO)
        to = to + (places[a] + start) * b.size(("to", d), out.strides[d])
        from_ = from_ + places[a] * b.size(("from", d), read.strides[d])
    rows = product(a.attr[1] for a in axes[:-1])
    width = b.size(("width",), axes[-1].attr[1] if axes else 1)
    store = Store(name, to, expr.load(value, from_, node.dtype))
    loop = Loop(row, ZERO, b.size(("count",), rows), [Loop(j, ZERO, width, [store], "vector")],
                "parallel")
    grain = 1
    if axes and isinstance(axes[-1].attr[1], int):
        grain = max(1, 4096 // max(1, axes[-1].attr[1]))
    steps.append(b.launch("update", [loop], rows, grain))
    return steps
