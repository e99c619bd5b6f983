"""A routine: what an op computes as loops of its own, where one line of notation is not enough.

Scans, scatters and sorts state themselves so (the `loops` slot of an Op). A routine is a list of
parts, each a kernel at the loop level (lang/loops.py) that runs after the one before it. In its
expressions `read(k, indices)` is an element of operand k, as in index notation, and `size(e)` an
extent; "y" is the result, packed and row-major, and other names are the routine's workspaces. The
planner resolves reads to loads (or to what the operand computes, where it is not stored), counts
workspaces as temporaries of the Plan, and scratch as each thread's.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..base import dtypes
from ..base.dtypes import DType
from ..base.extents import Extent
from . import expr
from .expr import Expr
from .loops import Loop, Prefetch, Set, Store, When, index_var

RESULT = "y"
ZERO = expr.lit(0, dtypes.index)


class Part:
    """One kernel: `body(task)` for each of `tasks`, claimed `grain` at a time.

    `scratch` has (name, dtype, count) of each thread's own memory; counts are index expressions.
    `flops`: the operations on numbers that its meaning asks for. `warps` and `stages` are those of
    its kernel (lang/loops.py).
    """

    __slots__ = ("body", "flops", "grain", "name", "scratch", "stages", "task", "tasks", "warps")

    def __init__(self, name: str, task: Expr, tasks: Extent, body: list, grain: int = 1,
                 scratch: tuple[tuple[str, DType, Expr], ...] = (), flops: Extent = 0,
                 warps: int = 1, stages: int = 1):
        self.name, self.task, self.tasks, self.body = name, task, tasks, body
        self.grain, self.scratch, self.flops = grain, scratch, flops
        self.warps, self.stages = warps, stages


class Routine:
    """Parts in order, and (name, dtype, count) of the workspaces that they share."""

    __slots__ = ("parts", "workspaces")

    def __init__(self, parts: list[Part], workspaces: tuple[tuple[str, DType, Extent], ...] = ()):
        self.parts, self.workspaces = parts, workspaces


def rewritten(body: list, visit, names: dict[str, str] | None = None) -> list:
    """Statements with visit(expression) for each expression, buffers stored to by new names."""
    out: list = []
    for s in body:
        if isinstance(s, Set):
            out.append(Set(s.var, visit(s.value)))
        elif isinstance(s, Store):
            cond = None if s.cond is None else visit(s.cond)
            name = names.get(s.buffer, s.buffer) if names else s.buffer
            out.append(Store(name, visit(s.offset), visit(s.value), cond, s.stream))
        elif isinstance(s, Prefetch):
            out.append(Prefetch(s.buffer, visit(s.offset), s.core))
        elif isinstance(s, When):
            out.append(When(visit(s.cond), rewritten(s.body, visit, names)))
        else:
            out.append(Loop(s.var, visit(s.low), visit(s.high), rewritten(s.body, visit, names),
                            s.kind, s.step))
    return out


def expressions(body: list) -> Iterator[Expr]:
    """The expressions of the statements, loop bounds among them."""
    for s in body:
        if isinstance(s, Set):
            yield s.value
        elif isinstance(s, Store):
            yield from (s.offset, s.value) if s.cond is None else (s.offset, s.value, s.cond)
        elif isinstance(s, Prefetch):
            yield s.offset
        else:
            yield from (s.cond,) if isinstance(s, When) else (s.low, s.high)
            yield from expressions(s.body)


def buffers_of(body: list) -> dict[str, bool]:
    """The names that the statements load from or store to, and whether they store."""
    found = {x.attr[0]: False for e in expressions(body) for x in expr.walk(e) if x.op == "load"}
    return found | dict.fromkeys(_stored(body), True)


def _stored(body: list) -> Iterator[str]:
    for s in body:
        if isinstance(s, Store):
            yield s.buffer
        elif isinstance(s, Loop | When):
            yield from _stored(s.body)


def serial(name: str, high, body, low=ZERO) -> Loop:
    """A serial loop over low..high-1; `body(variable)` gives its statements."""
    v = index_var(name)
    return Loop(v, low, _index(high), body(v))


def vector(name: str, high, body, low=ZERO) -> Loop:
    """A vector loop over low..high-1; `body(variable)` gives its statements."""
    v = index_var(name)
    return Loop(v, low, _index(high), body(v), "vector")


def _index(e) -> Expr:
    return e if isinstance(e, Expr) else expr.size(e)
