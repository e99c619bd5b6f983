"""Statements, functions and modules: a loop-level kernel -> LLVM text.

The text is what will run: no pass pipeline follows, so loops are rotated, invariants hoisted and
common subexpressions shared here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ..base import dtypes
from ..lang.expr import Expr, make, value_of
from ..lang.loops import LANES, MATRIX, Kernel, Loop, Prefetch, Set, Store, When
from .blocks import Blocks
from .memory import scratch_size
from .target import Target
from .text import GUARD, PLAIN, WHEN
from .values import CONSTANT, LANE, Value, number

_HEAD = "define void @{}(ptr noalias %args, i64 %begin, i64 %end, ptr noalias %scratch) #0 {{\n"
# Between unrolled iterations: else LLVM shares their loads of overlapping ranges, and spills.
_BARRIER = 'call void asm sideeffect "", "~{memory}"()'
_I32_LANES = f"<{', '.join(f'i32 {k}' for k in range(LANES))}>"


class Source:
    """One kernel's code: `text` is a module of its own, `module` puts several into one."""

    __slots__ = ("body", "declarations", "name", "target")

    def __init__(self, name: str, body: str, declarations: list[str], target: Target):
        self.name, self.body, self.declarations = name, body, declarations
        self.target = target

    @property
    def text(self) -> str:
        return module([self])


def emit(kernel: Kernel, target: Target, name: str | None = None) -> Source:
    """The code of a kernel; without a name it is called by its contents."""
    e = Emitter(kernel)
    e.function()
    lines = "\n".join(e.scopes[0].lines)
    if name is None:
        name = "k_" + hashlib.sha256(f"{target.name}\n{lines}".encode()).hexdigest()[:20]
    body = f"{_HEAD.format(name)}entry:\n{lines}\n}}\n"
    return Source(name, body, list(e.declarations), target)


def module(sources: Sequence[Source]) -> str:
    """One module of several sources for one target."""
    bodies = {s.name: s.body for s in sources}
    declarations = dict.fromkeys(d for s in sources for d in s.declarations)
    return "\n".join([*declarations, "", *bodies.values(),
                      f"attributes #0 = {{ {sources[0].target.attributes} }}", "!0 = !{i32 1}", ""])


def scratch_bytes(kernel: Kernel, sizes: Sequence[int]) -> int:
    """Bytes of scratch that a thread needs, for these values of the kernel's sizes."""
    values = dict(zip(kernel.sizes, sizes))
    return sum(evaluate(scratch_size(b), values) for b in kernel.scratch)


def evaluate(e: Expr, values: dict[Expr, int]) -> int:
    """An index expression as a number, for these values of its variables."""
    if e.op == "lit":
        return value_of(e)
    if e.op == "var":
        return values[e]
    return int(e.op.reference(*(np.int64(evaluate(a, values)) for a in e.args)))


class Emitter(Blocks):
    """Writes one kernel's function."""

    def __init__(self, kernel: Kernel):
        super().__init__(kernel)
        self.outside: frozenset[Expr] = frozenset()  # registers from before the vector loop

    def function(self) -> None:
        """The whole function's lines."""
        if any(isinstance(s, Loop) and s.kind == "parallel" for s in self.kernel.body):
            self.run(self.kernel.body)
        else:
            some = self.op("icmp slt i64 %begin, %end", 0)
            self._if(some, PLAIN, [], lambda: self.run(self.kernel.body))
        if self.streams:
            self.declare("declare void @llvm.x86.sse.sfence()")
            self.do("call void @llvm.x86.sse.sfence()")
        self.do("ret void")

    def run(self, body: list) -> None:
        """The statements of a body, in order."""
        for s in body:
            if isinstance(s, Set):
                self._set(s)
            elif isinstance(s, Store):
                self.store(s)
            elif isinstance(s, Prefetch):
                self.prefetch(s)
            elif isinstance(s, When):
                self._when(s)
            else:
                self._loop(s)
            if not isinstance(s, Set | Prefetch):
                self.forget_memory()

    def _when(self, s: When) -> None:
        """A body on a condition; where that has lanes, its loads and stores in those that hold."""
        cond = self.value(s.cond)
        if cond.lanes == 1:
            self._if(cond.text, WHEN, self._carried(s.body), lambda: self.run(s.body))
            return
        assert self.mask is None, "lanes of lanes"
        scope, before = self.open(WHEN), dict(self.env)
        self.mask = cond
        self.run(s.body)
        self.mask, self.env = None, before
        out = self.name("x")
        self.do(f"br label %{out}")
        self.close()
        self.do(f"br label %{scope.start}")
        self.enter(scope)
        self.label(out)

    def _set(self, s: Set) -> None:
        """A register's new value; inactive lanes of a register from outside keep theirs."""
        v = self.value(s.value)
        self.naturals.discard(s.var)
        if s.var.attr[1] > 1:
            v = self._widened(v, s.var)
        else:
            assert v.lanes == 1 or s.var not in self.outside, f"{s.var} is one number outside"
        if self.mask is not None and v.lanes == LANES and s.var in self.outside:
            old = self._widened(self.env[s.var], s.var)
            depth = max(0, v.depth, old.depth, self.mask.depth)
            site = self.site(depth, LANES, s.var.dtype)
            v = Value(site.select(self.mask.text, v.text, old.text), LANES, depth)
        self.assign(s.var, Value(v.text, v.lanes, v.depth))

    def _widened(self, v: Value, register: Expr) -> Value:
        """A register's value with all of its lanes."""
        lanes = max(LANES, register.attr[1])
        if v.lanes == lanes:
            return v
        depth = self.place(v.depth) if v.depth != CONSTANT else \
            self.top if lanes == MATRIX else CONSTANT
        return Value(self.spread(v, register.dtype, lanes), lanes, depth)

    def _loop(self, s: Loop) -> None:
        self.naturals.discard(s.var)
        if s.kind == "unroll":
            self._unroll(s)
        elif s.kind == "vector":
            self._vector(s)
        else:
            low, high = Value("%begin", 1, 0), Value("%end", 1, 0)
            if s.kind == "parallel" or self.natural(s.low):
                self.naturals.add(s.var)
            if s.kind == "serial":
                low, high = self.scalar(s.low), self.scalar(s.high)
            self._count(s.body, s.var, low, high, s.step, GUARD)

    def _unroll(self, s: Loop) -> None:
        before = list(self.env)
        for k in range(value_of(s.low), value_of(s.high), s.step):
            self.bind(s.var, number(k))
            if k > value_of(s.low):
                self.do(_BARRIER)
            self.run(s.body)
            self.env = {r: self.env[r] for r in before}
        if s.var in self.aliases:
            self.bind(s.var, None)

    # ---- vector loops --------------------------------------------------------------------------

    def _vector(self, s: Loop) -> None:
        """Full blocks of LANES iterations, then one masked block."""
        assert not self.in_vector, "a vector loop inside of a vector loop"
        low, high = self.scalar(s.low), self.scalar(s.high)
        count = self.terms(s.high - s.low)
        known = count.get((), 0) if set(count) <= {()} else None
        if known is not None and known <= 0:
            return
        some = None
        if known is None:
            some = self.op(f"icmp slt i64 {low.text}, {high.text}", self.top)
        self.in_vector, self.outside = True, frozenset(self.env)
        base = make("var", (), (s.var.attr[0] + ".block", 1), dtypes.index)
        self.bind(s.var, base + LANE)
        self.mutable.add(base)
        whole = all(c % LANES == 0 for c in count.values())
        self._if(some, GUARD, self._carried(s.body), lambda: self._blocks(s, base, known, whole))
        self.bind(s.var, None)
        self.in_vector, self.outside = False, frozenset()

    def _blocks(self, s: Loop, base: Expr, known: int | None, whole: bool) -> None:
        """The two parts of a vector loop that has iterations."""
        low, high = self.scalar(s.low), self.scalar(s.high)
        end = high
        if not whole:
            end = self.scalar(s.low + ((s.high - s.low) & number(-LANES)))
        if known is None or known >= LANES:
            self._count(s.body, base, low, end, LANES, PLAIN)
        if whole:
            return
        left = None
        if known is None:
            left = self.op(f"icmp slt i64 {end.text}, {high.text}", self.top)
        self._if(left, PLAIN, self._carried(s.body),
                 lambda: self._masked(s, base, end, high, known))

    def _masked(self, s: Loop, base: Expr, end: Value, high: Value, known: int | None) -> None:
        """The last block: only the lanes before `high` are active."""
        if known is not None:
            bits = ", ".join(f"i1 {str(k < known % LANES).lower()}" for k in range(LANES))
            self.mask = Value(f"<{bits}>", LANES, CONSTANT)
        else:
            rest = self.op(f"sub i64 {high.text}, {end.text}", self.top)
            rest = self.op(f"trunc i64 {rest} to i32", self.top)
            wide = self.spread(Value(rest, 1, self.top), dtypes.int32)
            mask = self.op(f"icmp slt <{LANES} x i32> {_I32_LANES}, {wide}", self.top)
            self.mask = Value(mask, LANES, self.top)
        self.assign(base, Value(end.text, 1, self.top))
        self.run(s.body)
        self.mask = None
