"""Contractions that compute and read no more than is used.

A slice of a product computes the product of that part (the gradient of a padded convolution is cut
back to the image); padding that no window reads is not laid down; nested pads become one.
"""

from __future__ import annotations

from ..base.extents import Extent, Size
from ..ir.node import Node, at_source, topological
from ..ir.program import Program, rebuild
from ..ops.contract import contract, extents, index_text, parse_index
from ..ops.move import PAD, pad, slice_


def narrow(p: Program, tags: dict[int, int] | None = None) -> Program:
    """The program with its slices taken into products, and their pads cut to what they need."""
    order = topological(p.outputs)
    users: dict[int, int] = {id(o): 2 for o in p.outputs}
    for node in order:
        for i in node.inputs:
            users[id(i)] = users.get(id(i), 0) + 1
    done: dict[int, Node] = {}
    for node in order:
        new = rebuild(node, tuple(done[id(i)] for i in node.inputs))
        with at_source(node.source):
            if node.op.name == "slice" and node.inputs[0].op.name == "contract" and \
                    users[id(node.inputs[0])] == 1:
                new = _sliced(new)
            elif node.op.name == "contract":
                new = _trimmed(new)
        if tags is not None and id(node) in tags:
            for made in topological([new], frozenset(done.values())):
                tags.setdefault(id(made), tags[id(node)])
        done[id(node)] = new
    return Program([done.get(id(i), i) for i in p.inputs], [done[id(o)] for o in p.outputs], p.name)


def _sliced(node: Node) -> Node:
    """A slice of a contraction as the contraction over a part of its axes."""
    product, q = node.inputs[0], node.params
    if any(s != 1 for s in q["steps"]):
        return node
    p = product.params
    found = extents(p, *(i.type for i in product.inputs))
    cut: dict[str, tuple[int, int]] = {}
    for name, start, stop in zip(p["out"], q["starts"], q["stops"], strict=True):
        if start == 0 and stop == found[name]:
            continue
        if isinstance(start, Size) or isinstance(stop, Size):
            return node
        cut[name] = (start, stop)
        found[name] = stop - start
    sides = [_cut(i, p[key], cut) for i, key in zip(product.inputs, "ab", strict=True)]
    return _trimmed(contract(sides[0][0], sides[1][0], sides[0][1], sides[1][1], p["out"],
                             p["sum"], found))


def _cut(x: Node, index, cut: dict[str, tuple[int, int]]) -> tuple[Node, list[str]]:
    """The operand and its index where the axes in `cut` start later and stop earlier."""
    starts, stops = [0] * x.type.rank, list(x.shape)
    texts = list(index)
    for d, text in enumerate(index):
        constant, terms = parse_index(text)
        if constant == 0 and len(terms) == 1 and terms[0][1] == 1 and terms[0][0] in cut:
            starts[d], stops[d] = cut[terms[0][0]]
        else:
            shift = sum(c * cut[n][0] for n, c in terms if n in cut)
            texts[d] = index_text(constant + shift, terms)
    if any(starts) or stops != list(x.shape):
        x = slice_(x, tuple(starts), tuple(stops))
    return x, texts


def _trimmed(node: Node) -> Node:
    """The contraction over pads that its windows read to their ends."""
    p = node.params
    found = extents(p, *(i.type for i in node.inputs))
    sides = [_fitted(i, p[key], found) for i, key in zip(node.inputs, "ab", strict=True)]
    if all(x is i for (x, _), i in zip(sides, node.inputs, strict=True)):
        return node
    return contract(sides[0][0], sides[1][0], sides[0][1], sides[1][1], p["out"], p["sum"], found)


def _fitted(x: Node, index, found: dict[str, Extent]) -> tuple[Node, list[str]]:
    """The operand with pads as wide as the windows reach, and its index."""
    x, texts = _merged(x), list(index)
    if x.op is not PAD:
        return x, texts
    low, high = list(x.params["low"]), list(x.params["high"])
    for d, text in enumerate(index):
        reach, whole, a, z = _reach(text, found), x.shape[d], low[d], high[d]
        if reach is None or isinstance(whole, Size) or isinstance(a, Size) or isinstance(z, Size):
            continue
        before, after = min(reach[0], a), min(whole - 1 - reach[1], z)
        if before or after:
            constant, terms = parse_index(text)
            low[d], high[d] = a - before, z - after
            texts[d] = index_text(constant - before, terms)
    if (tuple(low), tuple(high)) == (x.params["low"], x.params["high"]):
        return x, texts
    return pad(x.inputs[0], tuple(low), tuple(high), x.params["inner"], x.params["value"]), texts


def _reach(text: str, found: dict[str, Extent]) -> tuple[int, int] | None:
    """The first and the last place that a window's index names; None where it names none, names
    an axis alone (that is as long as the axis), or is not known yet."""
    first, terms = parse_index(text)
    last = first
    if first == 0 and len(terms) == 1 and terms[0][1] == 1:
        return None
    for name, c in terms:
        e = found[name]
        if not isinstance(e, int) or e == 0:
            return None
        first, last = first + min(c * (e - 1), 0), last + max(c * (e - 1), 0)
    return first, last


def _merged(x: Node) -> Node:
    """Pads of different axes, one behind the other, as one."""
    while x.op is PAD and x.inputs[0].op is PAD:
        inner, p, q = x.inputs[0], x.params, x.inputs[0].params
        keys = ("low", "high", "inner")
        axes = zip(*(p[k] for k in keys), *(q[k] for k in keys), strict=True)
        if p["value"] != q["value"] or any(any(a[:3]) and any(a[3:]) for a in axes):
            break
        both = [tuple(a + b for a, b in zip(p[k], q[k], strict=True)) for k in keys]
        x = pad(inner.inputs[0], both[0], both[1], both[2], p["value"])
    return x
