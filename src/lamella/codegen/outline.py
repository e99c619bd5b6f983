"""A kernel's code as a tree of blocks: what the cost model reads.

The emitter itself writes the code, so that what is counted is what will run: the expansions of
functions, conversions, masks, and what was moved out of loops.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..base import dtypes
from ..lang.expr import Expr, make, substitute
from ..lang.loops import MATRIX, Buffer, Kernel, Loop, Prefetch, Set, Store, When
from .emit import Emitter
from .memory import Place
from .text import BODY, WHEN, Scope
from .values import Value

ROW = make("lane", (), "row", dtypes.index)     # of a matrix: LANES of them, as of lanes


class Block:
    """Lines and inner blocks, in order; `phis` are the values that a loop carries.

    It is the body of `loop` (`whole`: of a vector loop, for each full block of LANES iterations),
    or runs where `when` holds, or where the vector loop `rest` ends in a block that is not full.
    """

    __slots__ = ("items", "loop", "phis", "rest", "when", "whole")

    def __init__(self, items: list, phis: Iterable[str] = ()):
        self.items, self.phis = items, list(phis)
        self.loop: Loop | None = None
        self.rest: Loop | None = None
        self.when: Expr | None = None
        self.whole = False


class Site(NamedTuple):
    """An access to a buffer at an offset, inside of these loops, outermost first. `wide`: LANES
    elements from there on, and of a matrix so many in each ROW. `past`: a store past the caches."""

    buffer: Buffer
    offset: Expr
    writes: bool
    wide: bool
    loops: tuple[Loop, ...]
    past: bool = False


class Outline:
    """A kernel's blocks and accesses; `sets` has what each register was first set to, `places` the
    same but for counters, which begin at a number and change."""

    __slots__ = ("kernel", "places", "root", "sets", "sites")

    def __init__(self, kernel: Kernel):
        o = _Outliner(kernel)
        o.function()
        self.kernel, self.root = kernel, Block(o.scopes[0].lines)
        self.sites, self.sets = list(o.sites), o.sets
        self.places = {x: e for x, e in o.sets.items() if e.op != "lit" or x not in o.changing}


class _Outliner(Emitter):
    """Writes a kernel's code, its scopes apart."""

    def __init__(self, kernel: Kernel):
        super().__init__(kernel)
        self.loops: list[Loop] = []
        self.sites: dict[Site, None] = {}
        self.sets: dict[Expr, Expr] = {}
        self.changing: set[Expr] = set()
        self.blocks: dict[Scope, Block] = {}    # of each scope that was opened
        self.whole = self.storing = self.past = self.asking = False
        self.pitch: Expr | None = None          # of the matrix that is read or written next
        self.asked: Expr | None = None          # the condition of the block that opens next

    # ---- scopes --------------------------------------------------------------------------------

    def open(self, kind: str) -> Scope:
        scope = super().open(kind)
        block = self.blocks[scope] = Block(scope.lines)
        if kind is BODY:
            block.loop, block.whole = self.loops[-1], self.whole
        elif kind is WHEN:
            block.when = self.asked
        return scope

    def enter(self, scope: Scope, first: Iterable[str] = ()) -> None:
        block = self.blocks[scope]
        block.phis = list(first)
        self.scopes[-1].lines.append(block)     # type: ignore[arg-type]

    def _when(self, s: When) -> None:
        self.asked = s.cond
        super()._when(s)

    # ---- loops ---------------------------------------------------------------------------------

    def _loop(self, s: Loop) -> None:
        self.loops.append(s)
        super()._loop(s)
        self.loops.pop()

    def _count(self, body: list, variable: Expr, *rest) -> None:
        self.whole = variable is not self.loops[-1].var
        super()._count(body, variable, *rest)

    def _masked(self, s: Loop, base: Expr, end: Value, high: Value, known: int | None) -> None:
        if known is None:
            self.blocks[self.scopes[-1]].rest = s
        super()._masked(s, base, end, high, known)

    # ---- accesses ------------------------------------------------------------------------------

    def load(self, e: Expr) -> Value:
        self.pitch = e.args[1] if e.attr[1] == MATRIX else None
        return super().load(e)

    def _set(self, s: Set) -> None:
        if self.sets.setdefault(s.var, s.value) is not s.value:
            self.changing.add(s.var)
        super()._set(s)

    def store(self, s: Store) -> None:
        for e in (s.value,) if s.cond is None else (s.value, s.cond):
            self.value(e.args[0] if e.op == "rows" else e)
        self.storing, self.past = True, s.stream
        self.pitch = s.value.args[1] if s.value.op == "rows" else None
        super().store(s)
        self.storing = False

    def prefetch(self, s: Prefetch) -> None:
        """What it asks for is read elsewhere, and counted there."""
        self.asking = True
        super().prefetch(s)
        self.asking = False

    def _locate(self, buffer: Buffer, offset: Expr, wide: bool, conds: list[Value]) -> Place:
        fixed = {s.var: self.aliases[s.var] for s in self.loops if s.kind == "unroll"}
        loops = tuple(s for s in self.loops if s.kind != "unroll")
        first, vectors = offset, wide
        if self.pitch is not None:
            first, vectors, self.pitch = offset + ROW * self.pitch, True, None
        if not self.asking:
            self.sites.setdefault(Site(buffer, substitute(first, fixed) if fixed else first,
                                       self.storing, vectors and not self.in_vector, loops,
                                       self.storing and self.past))
        storing, self.storing = self.storing, False     # the offset may read, too
        place = super()._locate(buffer, offset, wide, conds)
        self.storing = storing
        return place
