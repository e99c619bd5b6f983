"""A group as templates see it: expressions over rows and an inner axis, and builders of kernels."""

from __future__ import annotations

import copy

from ...base import dtypes
from ...base.dtypes import DType
from ...base.extents import Extent, product
from ...ir.node import Node
from ...lang import expr
from ...lang.expr import Expr
from ...lang.loops import Buffer as KernelBuffer
from ...lang.loops import Kernel, Set, Store, index_var
from ...lang.scalar import cast, eq, fma
from ..groups.access import Access
from ..groups.group import Fusion, Group, unfold
from ..groups.linear import Linear, linear
from ..plan import Buffer, Launch, Operand

ZERO = expr.lit(0, dtypes.index)


class StridedRead:
    """base[offset + sum(axis * stride)] of a stored node."""

    __slots__ = ("base", "dtype", "offset", "strides")

    def __init__(self, base: Node, offset: Extent, strides: dict[Expr, Extent], dtype: DType):
        self.base, self.offset, self.strides, self.dtype = base, offset, strides, dtype


class Nest:
    """A group's outputs as expressions over shared axes, with its reads resolved to buffers."""

    __slots__ = ("access", "bodies", "group", "kept", "nodes", "reads")

    def __init__(self, group: Group, fusion: Fusion, kept: set[int]):
        self.group, self.access, self.kept = group, fusion.access, kept
        self.nodes: list[Node] = []
        self.reads: dict[Expr, StridedRead] = {}
        self.bodies: list[Expr] = []
        if group.kind == "routine":  # it has loops instead of bodies, and numbers of its own
            self.nodes = list(group.seeds[0].reads)
            return
        numbers: dict[int, int] = {}

        def number(node: Node) -> int:
            k = numbers.setdefault(id(node), len(self.nodes))
            if k == len(self.nodes):
                self.nodes.append(node)
            return k

        self.bodies = unfold(group, number)
        self._resolve()

    def restated(self, bodies: list[Expr]) -> Nest:
        """The same with other bodies over its operands."""
        found = copy.copy(self)
        found.bodies, found.reads = bodies, dict(self.reads)
        found._resolve()
        return found

    def _resolve(self) -> None:
        """Find the reads that step through their buffers."""
        for body in self.bodies:
            for e in expr.walk(body):
                if e.op == "read" and e not in self.reads:
                    found = self._strided(e)
                    if found is not None:
                        self.reads[e] = found

    def _strided(self, e: Expr) -> StridedRead | None:
        if e.attr[1] is not None:
            return None
        a: Access = self.access[id(self.nodes[e.attr[0]])]
        total = Linear(a.offset, {})
        for i, s in zip(e.args, a.strides, strict=True):
            form = linear(i)
            if form is None:
                return None
            total = total.plus(form.scaled(s))
        return StridedRead(a.base, total.constant, total.terms, e.dtype)

    def loose_axes(self, bodies, stop: Expr | None = None) -> set[Expr]:
        """Axes that the bodies use other than as the place of a strided read (or inside `stop`)."""
        found: set[Expr] = set()
        seen: set[Expr] = set()
        stack = list(bodies)
        while stack:
            e = stack.pop()
            if e in seen or e in self.reads or e is stop:
                continue
            seen.add(e)
            if e.op == "axis":
                found.add(e)
            stack.extend(e.args)
        return found

    def strides(self, seed) -> dict[Expr, Extent]:
        """An output's strides by axis."""
        return dict(zip(seed.definition.axes, self.access[id(seed.node)].strides, strict=True))

    def outputs(self):
        """(seed, body) of the seeds that must be stored."""
        return [(s, b) for s, b in zip(self.group.seeds, self.bodies, strict=True)
                if id(s.node) in self.kept]


class Builder:
    """Collects a kernel's operands and sizes while its body is written."""

    def __init__(self, nest: Nest, buffers: dict[int, Buffer]):
        self.nest, self.buffers = nest, buffers
        self.operands: list[Operand] = []
        self.kernel_buffers: list[KernelBuffer] = []
        self.names: dict[tuple, str] = {}
        self.sizes: dict[tuple, Expr] = {}
        self.values: list[Extent] = []

    def operand(self, base: Node, offset: Extent, dtype: DType, writes: bool = False) -> str:
        """The kernel's name for element `offset` of a stored node."""
        return self.buffer(self.buffers[id(base)], offset, dtype, writes)

    def output(self, node: Node) -> str:
        """The kernel's name for the first element of a stored node that it computes."""
        return self.buffer(self.buffers[id(node)], self.nest.access[id(node)].offset, node.dtype,
                           True, node.type.size)

    def buffer(self, buffer: Buffer, offset: Extent, dtype: DType, writes: bool = False,
               count: Extent | None = None) -> str:
        key = (id(buffer), offset, writes, dtype)
        name = self.names.get(key)
        if name is None:
            name = self.names[key] = f"b{len(self.operands)}"
            self.operands.append(Operand(buffer, offset, writes, count))
            self.kernel_buffers.append(KernelBuffer(name, dtype, writes))
        return name

    def scratch(self, dtype: DType, count: Expr) -> str:
        """A per-thread buffer of `count` elements."""
        name = f"t{len(self.kernel_buffers)}"
        self.kernel_buffers.append(KernelBuffer(name, dtype, True, "scratch", count))
        return name

    def size(self, role: tuple, value: Extent) -> Expr:
        """A run-time size; 0 and 1 are written into the kernel, everything else is an argument."""
        if isinstance(value, int) and value in (0, 1):
            return expr.lit(value, dtypes.index)
        key = (role, value)  # two reads of one buffer may step differently along one axis
        if key not in self.sizes:
            self.sizes[key] = index_var(f"n{len(self.sizes)}")
            self.values.append(value)
        return self.sizes[key]

    def address(self, name: str, strides: dict[Expr, Extent], at: dict[Expr, Expr]) -> Expr:
        """The element offset at the axes' places `at`."""
        offset = ZERO
        for axis, stride in strides.items():
            if stride != 0:
                offset = offset + at.get(axis, axis) * self.size((name, axis), stride)
        return offset

    def lowered(self, e: Expr, at: dict[Expr, Expr], memo: dict[Expr, Expr]) -> Expr:
        """e with reads as loads, axes at their places `at`, and sizes as arguments."""
        found = at.get(e)
        found = memo.get(e) if found is None else found
        if found is not None:
            return found
        if e.op == "read":
            found = self._load(e, at, memo)
        elif e.op == "size":
            found = self.size(("size", e.attr), e.attr)
        else:
            args = tuple(self.lowered(a, at, memo) for a in e.args)
            found = e if args == e.args else expr.rebuild(e, args)
        memo[e] = found
        return found

    def _load(self, e: Expr, at, memo) -> Expr:
        strided = self.nest.reads.get(e)
        if strided is not None:
            name = self.operand(strided.base, strided.offset, e.dtype)
            return expr.load(name, self.address(name, strided.strides, at), e.dtype)
        node = self.nest.nodes[e.attr[0]]
        a = self.nest.access[id(node)]
        name = self.operand(a.base, a.offset, e.dtype)
        offset, cond = ZERO, None
        for d, (i, s) in enumerate(zip(e.args, a.strides, strict=True)):
            place = self.lowered(i, at, memo)
            offset = offset + place * self.size((name, node, d), s)
            if e.attr[1] is not None and not _within(i, node.shape[d]):
                extent = self.size((name, node, d, "extent"), node.shape[d])
                inside = (place >= 0) & (place < extent)
                cond = inside if cond is None else cond & inside
        return expr.load(name, offset, e.dtype, 1, cond, e.attr[1] or 0)

    def launch(self, kind: str, body: list, tasks: Extent, grain: Extent = 1) -> Launch:
        """The finished step."""
        kernel = Kernel(kind, self.kernel_buffers, self.sizes.values(), body)
        names = "+".join(dict.fromkeys(s.node.op.name if s.node.op.name != "reduce" else
                                       s.node.params["monoid"] for s in self.nest.group.seeds))
        step = Launch(kernel, self.operands, self.values, tasks, grain, names,
                      self.nest.group.seeds[-1].node.source)
        return step


def _within(index: Expr, extent: Extent) -> bool:
    return index.op == "axis" and index.attr[1] == extent


def merged_axes(axes: list[Expr], tables: list[dict[Expr, Extent]],
                fixed: set[Expr]) -> list[tuple]:
    """Runs of neighbouring axes that every table of strides steps through as one.

    Gives (axes of the run, extent, innermost axis) in order; axes in `fixed` stay alone.
    """
    runs: list[list[Expr]] = []
    for a in axes:
        if a.attr[1] == 1 and a not in fixed:
            continue
        before = runs[-1][-1] if runs else None
        if before is not None and before not in fixed and a not in fixed and all(
                t.get(before, 0) == t.get(a, 0) * a.attr[1] for t in tables):
            runs[-1].append(a)
        else:
            runs.append([a])
    return [(tuple(r), product(a.attr[1] for a in r), r[-1]) for r in runs]


def decode(flat: Expr, extents: list[tuple[Expr, Expr]], narrow: bool = False) -> dict[Expr, Expr]:
    """Places of axes from one row-major number: (axis, its extent as an expression) in order.
    `narrow` where the number has 32 bits, in which a division with signs is cheap."""
    places: dict[Expr, Expr] = {}
    for k in range(len(extents) - 1, 0, -1):
        axis, extent = extents[k]
        plain = narrow or extent.op == "lit"
        above = flat // extent if plain else _quotient(flat, extent)
        places[axis] = flat % extent if plain else flat - above * extent
        flat = above
    return places | {axis: flat for axis, _ in extents[:1]}


def _quotient(a: Expr, b: Expr) -> Expr:
    """a // b of what is never negative: without signs a division is shorter."""
    return cast(cast(a, dtypes.uint64) // cast(b, dtypes.uint64), dtypes.index)


def advance(at: list[Expr], counts: list[Expr], more: Expr, r: int = 0) -> list:
    """The places of axes that follow `at` in row-major order, if there are `more`; `r` tells the
    names of one step from those of another."""
    out: list = []
    carry = cast(more, dtypes.index)
    for k in range(len(at) - 1, -1, -1):
        ahead = index_var(f"ahead{r}_{k}")
        out.append(Set(ahead, at[k] + carry))
        if k == 0:
            out.append(Set(at[k], ahead))
            break
        full = index_var(f"full{r}_{k}")
        out.append(Set(full, cast(eq(ahead, counts[k]), dtypes.index)))
        out.append(Set(at[k], ahead - full * counts[k]))
        carry = full
    return out


def accumulator(dtype: DType) -> DType:
    """The dtype in which a reduction of `dtype` accumulates: 16-bit floats in float32."""
    return dtypes.float32 if dtype.is_float and dtype.bits == 16 else dtype


def widened(e: Expr) -> Expr:
    return cast(e, accumulator(e.dtype))


def multiply_add(a: Expr, b: Expr, c: Expr) -> Expr:
    """c + a * b in c's dtype, of floats with one rounding."""
    a, b = cast(a, c.dtype), cast(b, c.dtype)
    return fma(a, b, c) if c.dtype.is_float else a * b + c


def stores_after(pairs: list[tuple[str, Expr, Expr]], lanes: int) -> list:
    """Stores (buffer, offset, value) with all values computed before the first of them."""
    if len(pairs) == 1:
        return [Store(*pairs[0])]
    kept = [expr.var(f"o{k}", value.dtype, lanes) for k, (_, _, value) in enumerate(pairs)]
    sets: list = [Set(v, value) for v, (_, _, value) in zip(kept, pairs, strict=True)]
    return sets + [Store(n, at, v) for v, (n, at, _) in zip(kept, pairs, strict=True)]
