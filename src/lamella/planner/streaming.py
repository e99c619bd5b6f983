"""Stores past the caches, for what no cache holds any more when it is looked at next.

To store a part of a line that it does not hold, a cache reads the line first, and keeps it in place
of another. A store past the caches does neither: of a copy's three crossings two are left. It pays
where a result has more bytes than come from memory without being noticed, and so many are touched
before the next step needs it, or before it is written again, that it would have to come from memory
anyway. What is written in place has been read already, so there nothing would be saved. Products
write tiles, some lines of each of several rows, which memory takes more slowly past the caches.
"""

from __future__ import annotations

from ..base.extents import lower
from ..lang import expr
from ..lang.loops import Kernel, Loop, Prefetch, Store, When
from .plan import Buffer, Launch, Order, Plan

LEAST = 16 << 20    # bytes of a result: shorter ones often find their lines in the last cache
KINDS = ("map", "rows")     # kernels that write whole rows, one after another
FAR = 32 << 20      # bytes that go through the last cache until it has forgotten what was before


def stream(plan: Plan) -> None:
    """Let the launches of a plan, whose values share bytes already, store past the caches what
    gains by it."""
    steps = Order(plan.steps).leaves
    known: dict[tuple, Kernel] = {}
    for k, s in enumerate(steps):
        names = _streamed(steps, k) if isinstance(s, Launch) else ()
        if names:
            key = id(s.kernel), names
            if key not in known:
                known[key] = _streaming(s.kernel, names)
            s.kernel = known[key]


def _streamed(steps: list, k: int) -> tuple[str, ...]:
    """The operands of a launch, by their kernel's names, that are large, written only, and far from
    what touches them next."""
    s = steps[k]
    large = [(given.name, o.buffer.root)
             for o, given in zip(s.operands, s.kernel.operands, strict=True)
             if s.kernel.name in KINDS and o.writes and lower(o.bytes) >= LEAST]
    if not large:
        return ()
    read = {id(o.buffer.root) for o in s.operands if not o.writes}
    loaded = _loaded(s.kernel.body)
    return tuple(name for name, root in large
                 if id(root) not in read and name not in loaded and _far(steps, k, root))


def _far(steps: list, k: int, root: Buffer) -> bool:
    """Whether FAR bytes are touched from step k on until the next step that touches the buffer, be
    it at the next call."""
    seen: dict[int, int] = {}
    for s in [*steps[k:], *steps[:k]]:
        owners = {id(b.root): b.root for b in s.buffers()}
        if s is not steps[k] and id(root) in owners:
            return False
        seen |= {n: lower(b.bytes) for n, b in owners.items()}
        if sum(seen.values()) >= FAR:
            return True
    return False


def _loaded(body: list) -> set[str]:
    """The buffers that statements load from."""
    found: set[str] = set()
    for s in body:
        if isinstance(s, Loop | When):
            values = [s.low, s.high] if isinstance(s, Loop) else [s.cond]
            found |= _loaded(s.body)
        elif isinstance(s, Store):
            values = [s.offset, s.value, *([] if s.cond is None else [s.cond])]
        else:
            values = [s.offset] if isinstance(s, Prefetch) else [s.value]
        found |= {e.attr[0] for v in values for e in expr.walk(v) if e.op == "load"}
    return found


def _streaming(kernel: Kernel, names: tuple[str, ...]) -> Kernel:
    """The kernel with its stores to those buffers past the caches."""
    def streamed(s):
        if isinstance(s, Loop):
            return Loop(s.var, s.low, s.high, [*map(streamed, s.body)], s.kind, s.step)
        if isinstance(s, When):
            return When(s.cond, [*map(streamed, s.body)])
        if isinstance(s, Store) and s.buffer in names:
            return Store(s.buffer, s.offset, s.value, s.cond, True)
        return s

    return Kernel(kernel.name, kernel.buffers, kernel.sizes, [*map(streamed, kernel.body)],
                  kernel.warps, kernel.stages)
