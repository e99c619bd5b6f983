"""Groups to steps: which template writes the kernels of a group, once for groups that repeat.

The layers of a model are the same but for their buffers. What a group's steps depend on is its
signature; groups of one signature are scheduled once, and share their kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..ir.node import Node
from ..lang.loops import Kernel
from .groups.access import stored
from .groups.group import Fusion, Group
from .kernels.counts import with_counts
from .kernels.indexed import schedule_update
from .kernels.nest import Nest
from .kernels.routine import schedule_routine
from .kernels.templates import templates_of
from .plan import Buffer, Copy, Launch, Operand, Step

Buffers = dict[int, Buffer]   # of stored nodes, by id


class Scheduler:
    """Writes the steps of groups for a target, and remembers them by signature; with `fast` the
    programs that it is asked for may be summed in other orders than they state. Each new kernel is
    shown to `ahead`."""

    def __init__(self, target, fast: bool = False, ahead: Callable[[Kernel], None] | None = None):
        self.target, self.fast, self.ahead = target, fast, ahead
        self._known: dict[tuple, tuple[Sequence[Step], list[Buffer], Group]] = {}

    def steps(self, group: Group, fusion: Fusion, kept: set[int],
              buffers: Buffers) -> Sequence[Step]:
        """The steps of the group; `kept` numbers the nodes that are read outside of their group."""
        if group.kind == "update" and _plain_update(group, fusion):
            return schedule_update(Nest(group, fusion, kept), buffers, False)
        key, own = _signature(group, fusion, kept, buffers)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._scheduled(group, fusion, kept, buffers), own, group
            for s in found[0]:
                if isinstance(s, Launch) and self.ahead is not None:
                    self.ahead(s.kernel)
        steps, theirs, like = found
        made = _over(steps, dict(zip(map(id, theirs), own, strict=True)), like, group)
        if any(id(s.node) in kept and buffers[id(s.node)].count != s.node.type.size
               for s in group.seeds):
            return made     # written to places in a join: its parts would not be windows
        origin = Origin(group, fusion, kept, buffers, made)
        for s in made:
            if isinstance(s, Launch):
                s.origin = origin
        return made

    def _scheduled(self, group: Group, fusion: Fusion, kept: set[int],
                   buffers: Buffers) -> Sequence[Step]:
        nest, templates = Nest(group, fusion, kept), templates_of(self.target)
        if self.target.level != "tiles":
            nest.bodies = with_counts(nest.bodies)
        if group.kind == "dot":
            return templates.contraction(nest, buffers, fusion, self.target)
        if group.kind == "routine":
            return schedule_routine(nest, buffers)
        if group.kind == "reduce" and len(group.seeds) == 1:
            return templates.reduction(nest, buffers, fusion, self.target)
        if group.domain is None:
            shape = group.seeds[0].node.shape
            group.domain = (shape[:-1], shape[-1]) if shape else ((), 1)
        return templates.rows(nest, buffers, fusion, self.target)


class Origin:
    """What launches were scheduled from: a group and, of each stored node that it touches (by id),
    the buffer; `count` are the launches of the group that lay nothing out."""

    __slots__ = ("at", "count", "fusion", "group", "kept")

    def __init__(self, group: Group, fusion: Fusion, kept: set[int], buffers: Buffers, made):
        self.group, self.fusion, self.kept = group, fusion, kept
        bases = [*(fusion.access[id(n)].base for n in group.reads() if id(n) in fusion.access),
                 *(s.node for s in group.seeds)]
        self.at = {id(n): buffers[id(n)] for n in bases if id(n) in buffers}
        self.count = sum(not getattr(s, "lays_out", False) for s in made)

    def over(self, others: Mapping[int, Buffer]) -> Origin:
        """The same with other buffers in place of some (by id)."""
        found = object.__new__(Origin)
        found.group, found.fusion, found.kept = self.group, self.fusion, self.kept
        found.at = {n: others.get(id(b), b) for n, b in self.at.items()}
        found.count = self.count
        return found

    @property
    def key(self) -> tuple:
        """The same for the launches of one run of a group."""
        return (id(self.group), *map(id, self.at.values()))


def _plain_update(group: Group, fusion: Fusion) -> bool:
    """Whether the updated operand is a whole packed buffer, the update readable by strides."""
    node = group.seeds[0].node
    if len(group.seeds) > 1 or not node.shape:
        return False
    inputs = [fusion.access.get(id(i)) for i in node.inputs]
    x = inputs[0]
    if x is None or any(a is None for a in inputs):
        return False
    return x.offset == 0 and x.base.type.size == node.type.size and \
        x.strides == stored(node).strides


def _signature(group: Group, fusion: Fusion, kept: set[int],
               buffers: Buffers) -> tuple[tuple, list[Buffer]]:
    """(what the steps of a group depend on, the buffers that they read and write). Two inputs of a
    region may be one buffer, which a kernel then has once."""
    numbers: dict[int, int] = {}
    own: dict[int, Buffer] = {}

    def numbered(node: Node) -> tuple:
        b = buffers.get(id(node))
        k = numbers.setdefault(id(b or node), len(numbers))
        if b is not None:
            own[id(b)] = b
        return k, b is None, node.type, id(node) in kept, id(node) in fusion.steady

    def reached(node: Node) -> tuple:
        a = fusion.access[id(node)]
        return numbered(a.base), node.type, a.offset, a.strides

    key = (group.kind, group.domain, *(
        (numbered(s.node), s.kind, s.node.op, s.node.params.get("monoid"), s.routine,
         s.definition and (s.definition.axes, s.definition.body), reached(s.node),
         tuple(map(reached, s.reads)))
        for s in group.seeds))
    return key, list(own.values())


def _over(steps: Sequence[Step], buffers: Buffers, like: Group, group: Group) -> list[Step]:
    """The steps of the group `like` over the buffers of `group` (by the id of those they stand
    for); what they made for themselves is made anew."""
    def moved(b: Buffer) -> Buffer:
        found = buffers.get(id(b))
        if found is None:
            found = buffers[id(b)] = Buffer(b.dtype, b.count, b.role, b.label, b.index, b.space)
        return found

    def line(source):
        return next((g.node.source for s, g in zip(like.seeds, group.seeds, strict=True)
                     if s.node.source is source), group.seeds[-1].node.source)

    out: list[Step] = []
    for s in steps:
        if isinstance(s, Copy):
            out.append(Copy(moved(s.source_buffer), moved(s.target), s.names, line(s.source)))
            continue
        assert isinstance(s, Launch)
        step = Launch(s.kernel, [Operand(moved(o.buffer), o.offset, o.writes, o.count)
                                 for o in s.operands],
                      s.sizes, s.tasks, s.grain, s.names, line(s.source))
        step.lays_out, step.flops, step.traffic = s.lays_out, s.flops, s.traffic
        out.append(step)
    return out
