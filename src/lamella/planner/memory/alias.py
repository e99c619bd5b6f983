"""Which values share bytes: in place over an operand that dies, or in a donated argument."""

from __future__ import annotations

from functools import lru_cache

from ...base.extents import Extent
from ...lang import expr
from ...lang.loops import Kernel, Prefetch, Set, Store, When
from ...lang.loops import Loop as KernelLoop
from ..plan import Buffer, Copy, Host, Launch, Loop, Order, Plan


def share_bytes(plan: Plan) -> None:
    """Let each step write over an operand that it reads last, where the kernel allows it, and each
    loop write its slices of a result over those of an operand that it reads last.

    A kernel allows it when each element it stores is stored where, and after, the same element of
    the operand is read by the same iteration, and the operand is read nowhere else.
    """
    order = Order(plan.steps)
    for loop, begin, end in reversed(order.loops):
        for made, carried in loop.carries:
            _carry_in_place(order, made, carried, begin, end)
    first, last = order.lives(plan.results)
    for loop, begin, end in order.loops:
        for whole, over in _slices_in_place(order, loop, begin, end):
            if whole.alias is None and over.alias is None and over.role == "temporary" and \
                    first[id(whole)] == begin and last[id(over)] == end:
                _take(whole, over, last)
    for at, step in enumerate(order.leaves):
        if isinstance(step, Copy):
            _copy_in_place(plan, step, at, first, last)
        elif isinstance(step, Launch):
            _launch_in_place(plan, order, at, first, last)


def _carry_in_place(order: Order, made: Buffer, carried: Buffer, begin: int, end: int) -> None:
    """Let a trip write what it hands to the next one over what it was handed itself, where that is
    not read any more (the copy from one to the other at the trip's end then vanishes)."""
    root = carried.root
    if made.alias is not None or made.role != "temporary" or made is root or \
            made.bytes != root.bytes:
        return
    trip = [(at, order.leaves[at]) for at in range(begin, end)]
    trip = [(at, s) for at, s in trip if not (
        isinstance(s, Copy) and s.source_buffer is made and s.target is carried)]
    writes = next((at for at, s in trip if any(b.root is made for b in s.buffers())), None)
    if writes is None or not _writes(order.leaves[writes], made):
        return  # made before the loop
    reads = {at for at, s in trip if any(b.root is root for b in s.buffers())}
    if all(order.span(at)[1] < order.span(writes)[0] for at in reads - {writes}) and (
            writes not in reads or _over(order.leaves[writes], made, root)):
        made.alias = carried


def _slices_in_place(order: Order, loop: Loop, begin: int, end: int) -> list[tuple[Buffer, Buffer]]:
    """(written, read): wholes of which a loop touches one slice after another, and each trip its
    slice of the one not before it has read that of the other for the last time. Each stands in one
    pair at most."""
    uses: dict[int, list[int]] = {}         # of each owner of bytes, the places of a trip
    ways: dict[int, dict[int, Buffer]] = {}     # and the buffers by which it is touched there
    for at in range(begin, end):
        for b in order.leaves[at].buffers():
            uses.setdefault(id(b.root), []).append(at)
            ways.setdefault(id(b.root), {})[id(b)] = b
    slices = [b for found in ways.values() if len(found) == 1 for b in found.values()
              if b.alias is not None and b.alias.place == b.root.place and
              b.advance is not None and b.advance[0] is loop]
    read = [b for b in slices if not any(
        _writes(order.leaves[at], b.root) for at in uses[id(b.root)])]
    pairs: list[tuple[Buffer, Buffer]] = []
    for b in slices:
        at = uses[id(b.root)][0]
        for x in read if _writes(order.leaves[at], b.root) else ():
            if _same_slices(b, x) and all(order.span(k)[1] < order.span(at)[0]
                                          for k in uses[id(x.root)] if k != at) and (
                    at not in uses[id(x.root)] or _over(order.leaves[at], b.root, x.root)):
                pairs.append((b.root, x.root))
                read.remove(x)
                break
    return pairs


def _same_slices(a: Buffer, b: Buffer) -> bool:
    """Whether two windows of a loop lie equally in their wholes."""
    return a.dtype.bits == b.dtype.bits and a.root.bytes == b.root.bytes and \
        (a.count, a.offset, a.advance) == (b.count, b.offset, b.advance)


def _writes(step, made: Buffer) -> bool:
    """Whether the step, the first of a trip to touch the buffer, writes it."""
    if isinstance(step, Copy):
        return step.target.root is made
    if isinstance(step, Launch):
        return any(o.writes and o.buffer.root is made for o in step.operands)
    return isinstance(step, Host) and any(b is not None and b.root is made
                                          for b, _ in step.results)


def _over(step, made: Buffer, root: Buffer) -> bool:
    """Whether the step may write `made` over the bytes of `root` that it reads."""
    if isinstance(step, Copy):
        return step.source_buffer.root is root and step.source_buffer.bytes == root.bytes
    if not isinstance(step, Launch) or made.dtype.bits != root.dtype.bits:
        return False
    written = [n for n, o in enumerate(step.operands) if o.buffer.root is made]
    read = [k for k, o in enumerate(step.operands) if o.buffer.root is root]
    return len(written) == len(read) == 1 and step.operands[written[0]].writes and \
        _same_places(step, written[0], read[0])


def _may_die(plan: Plan, b: Buffer) -> bool:
    return b.role == "temporary" or (b.role == "argument" and b.index in plan.donated)


def _take(target: Buffer, source: Buffer, last: dict[int, int]) -> None:
    """target uses source's bytes from now on."""
    last[id(source.root)] = max(last[id(source.root)], last[id(target.root)])
    if target.role == "result" and source.root.role == "temporary":
        source.root.role, source.root.index = "result", target.index
    target.alias = source


def _copy_in_place(plan: Plan, step: Copy, at: int, first: dict[int, int],
                   last: dict[int, int]) -> None:
    source, target = step.source_buffer, step.target
    if target.alias is None and target.role not in ("argument", "file") \
            and _may_die(plan, source.root) and last[id(source.root)] == at \
            and source.root.bytes == target.bytes and first[id(target)] == at:
        _take(target, source.root, last)


def _launch_in_place(plan: Plan, order: Order, at: int, first: dict[int, int],
                     last: dict[int, int]) -> None:
    step, (begin, end) = order.leaves[at], order.span(at)
    taken: set[int] = {id(o.buffer.root) for o in step.operands if o.writes}
    dying = [(k, r.buffer.root) for k, r in enumerate(step.operands) if not r.writes]
    dying = [(k, root) for k, root in dying if last[id(root)] == end and _may_die(plan, root)]
    for n, o in enumerate(step.operands) if dying else ():
        if not o.writes or o.buffer.alias is not None or o.buffer.role == "argument" or \
                first[id(o.buffer)] != begin or not order.alone(at, o.buffer):
            continue
        for k, root in _wanted(dying, o.buffer):
            if id(root) not in taken and root.bytes == o.buffer.bytes and \
                    root.dtype.bits == o.buffer.dtype.bits and order.alone(at, root) and \
                    _same_places(step, n, k) and _read_once(step, root):
                taken.add(id(root))
                _take(o.buffer, root, last)
                break


def _wanted(dying: list[tuple[int, Buffer]], target: Buffer) -> list[tuple[int, Buffer]]:
    """Operands in the order in which their bytes are wanted: a result asks for donated arguments
    first (they are there anyway), a temporary for temporaries."""
    wanted = "argument" if target.role == "result" else "temporary"
    return sorted(dying, key=lambda d: d[1].role != wanted)


def may_lie_over(step, b: Buffer) -> bool:
    """Whether what a step writes into a buffer may be written over something that it reads."""
    if isinstance(step, Copy):
        return step.target.root is b and not step.fetches
    if not isinstance(step, Launch):
        return False
    written = [n for n, o in enumerate(step.operands) if o.writes and o.buffer.root is b]
    return any(_same_places(step, n, k) for n in written for k, r in enumerate(step.operands)
               if not r.writes and r.buffer.bytes == step.operands[n].buffer.bytes)


def pairs_in_place(step, owner: dict[int, int]) -> list[tuple[int, int]]:
    """(written, read): buffers (by id) of a step of which the first may be written over the second
    where that is not read any more; each in one pair at most, those that have one `owner` first.
    """
    if isinstance(step, Copy):
        return [(id(step.target), id(step.source_buffer))] \
            if step.target.bytes == step.source_buffer.bytes else []
    if isinstance(step, Loop):
        order = Order([step])
        return [(id(a), id(b)) for a, b in _slices_in_place(order, *order.loops[-1])
                if a.alias is None and b.alias is None and b.role == "temporary"]
    if not isinstance(step, Launch):
        return []
    written = [(n, o.buffer) for n, o in enumerate(step.operands)
               if o.writes and o.buffer.alias is None and o.buffer.role != "argument"]
    found = [(owner.get(id(b)) != owner.get(id(r.buffer.root)), n, k)
             for n, b in written for k, r in enumerate(step.operands)
             if not r.writes and r.buffer.bytes == b.bytes and r.buffer.root.role == "temporary"
             and r.buffer.dtype.bits == b.dtype.bits and _same_places(step, n, k)
             and _read_once(step, r.buffer.root)]
    pairs: dict[int, int] = {}
    for _, n, k in sorted(found):
        target, source = id(step.operands[n].buffer), id(step.operands[k].buffer.root)
        if target not in pairs and source not in pairs.values():
            pairs[target] = source
    return list(pairs.items())


def _read_once(step: Launch, root: Buffer) -> bool:
    return sum(not o.writes and o.buffer.root is root for o in step.operands) == 1


def _same_places(step: Launch, written: int, read: int) -> bool:
    """Whether all loads of operand `read` are of the element that `written` stores, and stand
    before that store (a load in an earlier pass over the same row is fine)."""
    return step.operands[read].offset == step.operands[written].offset and (
        _same_for(step.kernel, tuple(step.sizes), written, read) or
        _reads_its_own(step.kernel, tuple(step.sizes), written, read))


@lru_cache(maxsize=1 << 14)
def _same_for(kernel: Kernel, sizes: tuple[Extent, ...], written: int, read: int) -> bool:
    """Whether a kernel of these sizes loads from one operand what it stores to another."""
    stores, loads = _places(kernel, written, read)
    values = dict(zip(kernel.sizes, sizes, strict=True))
    return len(stores) == 1 and {_shape_of(x, values) for x in loads} == {
        _shape_of(x, values) for x in stores}


@lru_cache(maxsize=1 << 14)
def _places(kernel: Kernel, written: int, read: int) -> tuple[frozenset, frozenset]:
    """The offsets that a kernel stores to in one operand, and those that it loads from another;
    none where a load follows a store."""
    names = [b.name for b in kernel.operands]
    stores: set[expr.Expr] = set()
    loads: set[expr.Expr] = set()
    if not _collect(kernel.body, names[written], names[read], stores, loads):
        return frozenset(), frozenset()
    return frozenset(stores), frozenset(loads)


@lru_cache(maxsize=1 << 14)
def _reads_its_own(kernel: Kernel, sizes: tuple[Extent, ...], written: int, read: int) -> bool:
    """Whether a kernel of these sizes loads from one operand only while it stores, the very element
    it stores; and stores each but once: what it stored it never reads, and no two stores of one
    block of statements have the same place. So are the unrolled tiles of products."""
    names = [b.name for b in kernel.operands]
    target, source = names[written], names[read]
    values = dict(zip(kernel.sizes, sizes, strict=True))

    def fits(body: list, stored: set) -> bool:
        for s in body:
            if isinstance(s, Prefetch):
                continue
            given = [s.low, s.high] if isinstance(s, KernelLoop) else \
                [s.cond] if isinstance(s, When) else [s.value]
            if isinstance(s, Store):
                given += [s.offset] + ([s.cond] if s.cond is not None else [])
            loads = {x for e in given for x in expr.walk(e)
                     if x.op == "load" and x.attr[0] in (target, source)}
            own = isinstance(s, Store) and s.buffer == target
            at = _shape_of(s.offset, values) if own else None
            if any(not own or x.attr[0] == target or _shape_of(x.args[0], values) != at
                   for x in loads) or (own and at in stored):
                return False
            stored.add(at)
            if isinstance(s, KernelLoop | When) and not fits(
                    s.body, set() if isinstance(s, KernelLoop) else stored):
                return False
        return True

    return fits(kernel.body, set())


def _shape_of(offset: expr.Expr, values: dict):
    """An offset with sizes by their values, so that equal strides under two names compare equal."""
    if offset in values:
        return ("size", values[offset])
    if offset.op in ("var", "lit"):
        return offset
    return (offset.op if isinstance(offset.op, str) else offset.op.name,
            *(_shape_of(a, values) for a in offset.args))


def _collect(body: list, written: str, read: str, stores: set, loads: set) -> bool:
    """Gather the offsets of stores and loads; false where a load follows a store."""
    for s in body:
        if isinstance(s, Prefetch):
            continue
        if isinstance(s, KernelLoop | When):
            exprs = [s.low, s.high] if isinstance(s, KernelLoop) else [s.cond]
        elif isinstance(s, Store):
            exprs = [s.value, s.offset] + ([s.cond] if s.cond is not None else [])
        else:
            assert isinstance(s, Set)
            exprs = [s.value]
        found = {x.args[0] for e in exprs for x in expr.walk(e)
                 if x.op == "load" and x.attr[0] == read}
        if found and stores:
            return False
        loads |= found
        if isinstance(s, Store) and s.buffer == written:
            stores.add(s.offset)
        if isinstance(s, KernelLoop | When) and not _collect(s.body, written, read, stores, loads):
            return False
    return True
