"""Which values are stored, and their definitions in terms of each other, by substitution."""

from __future__ import annotations

from ...base.extents import Extent, upper
from ...base.extents import product as product_of
from ...ir.node import ITEM, Node, topological
from ...ir.program import Program, frozen
from ...ir.types import TensorType, TupleType
from ...lang import expr
from ...lang.definition import Definition
from ...lang.expr import Expr
from ...lang.routine import Part, Routine, rewritten
from .access import Access, stored, view
from .code import code_of
from .defined import CHEAP, definition_of, is_step, kind_of
from .group import Seed, producer
from .linear import linear
from .partition import Second

LARGEST = 160        # operations that may be substituted into one definition
MOST_CODE = 1600     # instructions that they may be: those of a few elementary functions
LIGHT = 4            # operations that a product may do again where it reads a factor on a device
SMALL = 8            # of what they may read beside: so many times smaller than the factor
MANY = 8             # times that a dear value is computed, where storing it costs less
KEPT = 256 << 10     # bytes of such a value: more of them may cost a budget
AGAIN = 256          # places of the other factor: one or two tiles, each of which does them


class Storing:
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
        self.weight: dict[int, int] = {}    # operations of what is not stored
        self.code: dict[int, int] = {}      # its instructions
        self.codes: dict[int, int] = {}     # those of definitions alone, by id
        self.cheap: set[int] = set()        # what is not stored, and is of cheap operations alone
        self.routines: dict[tuple, tuple[Routine, list[int]]] = {}

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
                self.code[id(node)] = self.code.get(id(source), 0)
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
            self.cheap.add(id(node))
            return any(self._needs_memory(c, n, 0) for c, n in self._consumers(node))
        weight = 1 + sum(self.weight.get(id(i), 0) for i in node.inputs)
        code = self._code_of(self.definition(node)) + sum(
            self.code.get(id(i), 0) for i in node.inputs)
        consumers = self._consumers(node)
        if node.op.name in CHEAP and all(self._reads_cheaply(i) for i in node.inputs):
            self.cheap.add(id(node))
        if weight > LARGEST or code > MOST_CODE or any(
                self._needs_memory(c, n, weight) for c, n in consumers):
            return True
        if self.tags and any(self.tags.get(id(c)) != self.tags.get(id(node)) for c, _ in consumers):
            return True
        if len({id(c) for c, _ in consumers}) > 1 and (
                node.op.name not in CHEAP or weight > 4):
            return True
        if self.room and id(node) not in self.cheap and any(
                _repeats(node, c) for c, _ in consumers):
            return True
        self.weight[id(node)], self.code[id(node)] = weight, code
        return False

    def _reads_cheaply(self, node: Node) -> bool:
        """Whether an element of the value is read, or made by cheap operations alone."""
        viewed = id(_viewed(node))
        return viewed in self.stored or viewed in self.cheap

    def _code_of(self, definition: Definition) -> int:
        """The instructions of a definition alone, counted once for nodes that share it."""
        found = self.codes.get(id(definition))
        if found is None:
            found = self.codes[id(definition)] = code_of(definition.body)
        return found

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
        kind = kind_of(consumer, d)
        if kind == "dot" and not self.room and self._as_factor(consumer, d, read, weight):
            return False
        if kind not in ("map", "reduce"):
            return True
        for e in expr.walk(d.body):
            if e.op == "read" and _leads_to(consumer.inputs[e.attr[0]], read) and (
                    e.attr[1] is not None or any(linear(i) is None for i in e.args)):
                return True
        return False

    def _as_factor(self, product: Node, d: Definition, read: Node, weight: int) -> bool:
        """Whether a device's product may compute a factor where it loads it: a few cheap
        operations on one value of its size (what else they read is small, so that no more has to
        be kept), which are done again for few places of the other factor."""
        if id(_viewed(read)) not in self.cheap or weight > LIGHT or not d.body.attr[1] or any(
                not a.dtype.is_float or a.dtype.bits > 32 for a in d.body.args):
            return False
        own, other = d.body.args
        if not _leads_to(product.inputs[own.attr[0]], read):
            own, other = other, own
        if _leads_to(product.inputs[other.attr[0]], read) or own.attr[1] is not None or any(
                i.op not in ("axis", "lit") for i in own.args):
            return False
        if sum(SMALL * upper(n.type.size) > upper(read.type.size) for n in self._read_by(read)) > 1:
            return False
        again = expr.free_axes(other) - expr.free_axes(own)
        return upper(product_of(a.attr[1] for a in again)) <= AGAIN

    def _read_by(self, node: Node) -> list[Node]:
        """The stored values that a value that is not stored is computed of."""
        found: dict[int, Node] = {}
        stack = [node]
        while stack:
            n = _viewed(stack.pop())
            if id(n) in self.stored:
                found[id(n)] = n
            else:
                stack += n.inputs
        return list(found.values())

    # -- definitions --

    def seed(self, node: Node) -> Seed:
        """The definition of a stored node over other stored nodes, by substitution."""
        if node.op is ITEM or is_step(node):
            return Seed(node, "step", None, list(producer(node).inputs))
        if node.op.loops is not None:
            return self.routine(node)
        d, reads = self.definition(node), _Reads()
        axes = tuple(expr.axis(f"a{k}", a.attr[1]) for k, a in enumerate(d.axes))
        mapping = dict(zip(d.axes, map(place, axes), strict=True)) | reads.bound(node, d.body)
        body = self._substituted(node, d.body, mapping, reads, {})
        types = tuple(n.type for n in reads.nodes)
        return Seed(node, kind_of(node, d), Definition(types, axes, body), reads.nodes)

    def routine(self, node: Node) -> Seed:
        """The loops of a stored node over other stored nodes, by substitution: made once for nodes
        that are the same op over the same views of what is stored."""
        paths = [self._path(i) for i in node.inputs]
        if any(id(path[-1]) not in self.stored for path in paths):
            routine, nodes = self._routine(node)
            return Seed(node, "routine", None, nodes, routine)
        number: dict[int, int] = {}
        key = (node.op, frozen(node.params), tuple(
            (number.setdefault(id(n), len(number)), n.op, frozen(n.params), n.type,
             id(n) in self.access) for path in paths for n in path))
        own = list({id(n): n for path in paths for n in path}.values())
        found = self.routines.get(key)
        if found is None:
            routine, nodes = self._routine(node)
            found = self.routines[key] = routine, [number[id(n)] for n in nodes]
        return Seed(node, "routine", None, [own[k] for k in found[1]], found[0])

    def _path(self, node: Node) -> list[Node]:
        """The node and what it views, down to what is stored or computed."""
        path = [node]
        while "view" in path[-1].op.facts and id(path[-1]) not in self.stored:
            path.append(path[-1].inputs[0])
        return path

    def _routine(self, node: Node) -> tuple[Routine, list[Node]]:
        assert node.op.loops is not None
        reads, memo = _Reads(), {}  # type: _Reads, dict[Expr, Expr]
        found: Routine = node.op.loops(self.room, node.params,
                                      *(i.type for i in node.inputs))

        def visit(e: Expr) -> Expr:
            return self._substituted(node, e, {}, reads, memo)

        parts = [Part(p.name, p.task, p.tasks, rewritten(p.body, visit), p.grain, p.scratch,
                      p.flops, p.warps, p.stages) for p in found.parts]
        return Routine(parts, found.workspaces), reads.nodes

    def _substituted(self, node: Node, e: Expr, mapping: dict[Expr, Expr], reads: _Reads,
                     memo: dict) -> Expr:
        """e (of node's definition) with axes mapped and its reads replaced by what they read."""
        found = mapping.get(e)
        found = memo.get(e) if found is None else found
        if found is not None:
            return found
        args = tuple(self._substituted(node, a, mapping, reads, memo) for a in e.args)
        if e.op == "read":
            out = self._value(node.inputs[e.attr[0]], args, e.attr[1], reads)
        elif e.op == "reduce":
            bound = tuple(mapping.get(a, a) for a in e.attr[1])
            out = expr.make("reduce", args, (e.attr[0], bound), e.dtype)
        else:
            out = e if args == e.args else expr.rebuild(e, args)
        memo[e] = out
        return out

    def _value(self, node: Node, indices, fill, reads: _Reads) -> Expr:
        """The element of node at the indices: a read if it is stored (or a view of such)."""
        access = self.access.get(id(node))
        if access is not None and access.base is not node and fill is None and \
                _substitutable(node):
            access = None
        if access is not None:
            return expr.read(reads.number(node), indices, node.dtype, fill)
        if "view" in node.op.facts and node.op.name == "reshape":
            moved = _reshaped(node.inputs[0].shape, node.shape, indices)
            return self._value(node.inputs[0], moved, None, reads)
        d = self.definition(node)
        mapping = dict(zip(d.axes, indices, strict=True)) | reads.bound(node, d.body)
        return self._substituted(node, d.body, mapping, reads, {})


class _Reads:
    """What one seed reads, in order, and the names of the axes that its reductions bind."""

    def __init__(self):
        self.nodes: list[Node] = []
        self._numbers: dict[int, int] = {}
        self._inner: dict[int, int] = {}

    def number(self, node: Node) -> int:
        """The node's number among those that are read."""
        k = self._numbers.setdefault(id(node), len(self.nodes))
        if k == len(self.nodes):
            self.nodes.append(node)
        return k

    def bound(self, node: Node, body: Expr) -> dict[Expr, Expr]:
        """Names for the axes that reductions in the node's body bind: one set for each node."""
        axes = [a for e in expr.walk(body) if e.op == "reduce" for a in e.attr[1]]
        if not axes:
            return {}
        number = self._inner.setdefault(id(node), len(self._inner))
        return {a: expr.axis(f"r{number}_{k}", a.attr[1])
                for k, a in enumerate(dict.fromkeys(axes))}


def place(axis: Expr) -> Expr:
    """The axis as an index: an axis of one element is at 0, however it is reached."""
    return expr.lit(0, expr.dtypes.index) if axis.attr[1] == 1 else axis


def _leads_to(node: Node, target: Node) -> bool:
    while node is not target and "view" in node.op.facts:
        node = node.inputs[0]
    return node is target


def _viewed(node: Node) -> Node:
    """The node behind views."""
    while "view" in node.op.facts:
        node = node.inputs[0]
    return node


def _repeats(value: Node, consumer: Node) -> bool:
    """Whether a kernel for the consumer would compute each element of a row of the value many
    times, in different rows of its own."""
    a, b = value.type, consumer.type
    return isinstance(b, TensorType) and bool(value.shape) and upper(value.shape[-1]) > 1 and \
        upper(b.size) >= MANY * upper(a.size) > 0 and upper(a.bytes) <= KEPT


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
