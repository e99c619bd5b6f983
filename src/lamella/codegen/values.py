"""Expressions to instructions: what is at hand, where to compute what is not, vectors or not."""

from __future__ import annotations

from ..base import dtypes
from ..base.dtypes import DType
from ..base.errors import UnsupportedError
from ..lang import functions as _expansions  # noqa: F401 (importing installs Scalar.expand)
from ..lang import scalar
from ..lang.expr import Expr, free_axes, lit, make
from ..lang.loops import LANES
from .convert import bitcast, cast, round_narrow
from .scalars import ROUNDED, TABLE, Site, write
from .text import Writer, literal, register_type, splat, vector
from .transpose import transpose

LANE = make("lane", (), None, dtypes.index)
_LANE_TEXT = f"<{', '.join(f'i64 {k}' for k in range(LANES))}>"
_MONOIDS = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and"}
_DOTS = {"pair": ("@llvm.x86.avx512bf16.dpbf16ps.512", vector("bfloat", 2 * LANES)),
         "quad": ("@llvm.x86.avx512.vpdpbusd.512", vector("i8", 4 * LANES))}
CONSTANT = -1  # the depth of a constant


class Value:
    """A computed value: its text, how many lanes it has, and the depth of the scope it stands in.

    `steady`: it stays the same when memory is written.
    """

    __slots__ = ("depth", "lanes", "steady", "text")

    def __init__(self, text: str, lanes: int, depth: int, steady: bool = True):
        self.text, self.lanes, self.depth, self.steady = text, lanes, depth, steady


class Values(Writer):
    """Computes expressions. `env` has the registers' and loop variables' values."""

    def __init__(self):
        super().__init__()
        self.env: dict[Expr, Value] = {}
        self.aliases: dict[Expr, Expr] = {}    # expansions, and vector loop variables
        self.mutable: set[Expr] = set()        # variables that are set more than once
        self.users: dict[Expr, list[Expr]] = {}  # what was computed from each of them
        self.unsteady: list[Expr] = []         # what was computed from memory that is written
        self.naturals: set[Expr] = set()       # loop variables that are 0 or more
        self.extents: frozenset[Expr] = frozenset()  # sizes: what divides is 0 or more too

    # ---- what is at hand -----------------------------------------------------------------------

    def remember(self, e: Expr, v: Value) -> None:
        self.memo[e] = v
        self.scopes[max(v.depth, 0)].keys.append(e)
        if not v.steady:
            self.unsteady.append(e)
        free = free_axes(e)
        if not self.mutable.isdisjoint(free):
            for register in free & self.mutable:
                self.users.setdefault(register, []).append(e)

    def forget_memory(self) -> None:
        """What was read from memory that may have been written since has to be read again."""
        for e in self.unsteady:
            self.memo.pop(e, None)
        self.unsteady.clear()

    def assign(self, register: Expr, v: Value) -> None:
        """Give a register a value; what was computed from its old value is no longer at hand."""
        self.env[register] = v
        self.mutable.add(register)
        for e in self.users.pop(register, ()):
            self.memo.pop(e, None)
        self.memo.pop(register, None)

    # ---- expressions ---------------------------------------------------------------------------

    def value(self, e: Expr) -> Value:
        """The value of an expression, computed in the outermost scope that allows it."""
        memo = self.memo
        found = memo.get(e)
        if found is not None:
            return found
        stack = [e]
        while stack:
            top = stack[-1]
            if top not in memo:
                missing = [a for a in self._needs(top) if a not in memo]
                if missing:
                    stack += reversed(missing)
                    continue
                self.remember(top, self._compute(top))
            stack.pop()
        return memo[e]

    def scalar(self, e: Expr) -> Value:
        """The value of an expression that has to be one number."""
        v = self.value(e)
        assert v.lanes == 1, f"{e} has a value per lane where one number is needed"
        return v

    def _needs(self, e: Expr) -> tuple[Expr, ...]:
        """What has to be computed before e."""
        alias = self.aliases.get(e)
        if alias is not None:
            return (alias,)
        if isinstance(e.op, str):
            return () if e.op == "load" else e.args
        if e.op.name == "mod" and self._counts(e):
            n, d = e.args
            rest = n - scalar.floordiv(n, d) * d
            self.aliases[e] = rest = scalar.where(scalar.eq(d, 0), 0, rest)
            return (rest,)
        if is_instruction(e):
            return e.args
        self.aliases[e] = expanded = expand(e)
        return (expanded,)

    def _compute(self, e: Expr) -> Value:
        alias = self.aliases.get(e)
        if alias is not None:
            return self.memo[alias]
        kind = e.op
        if not isinstance(kind, str):
            return self._apply(e)
        if kind == "load":
            return self.load(e)
        if kind == "lit":
            return Value(literal(e), 1, CONSTANT)
        if kind == "var":
            return self.env[e] if e in self.env else self.argument(e)
        if kind == "lane":
            return Value(_LANE_TEXT, LANES, CONSTANT)
        if kind == "lanes":
            return self._lane_tree(e)
        if kind == "lane_at":
            v, (x,) = self.memo[e.args[0]], e.args
            depth, wide = self.place(v.depth), vector(register_type(x.dtype), LANES)
            return Value(self._part(wide, self.spread(v, x.dtype), e.attr, 1, depth), 1, depth,
                         v.steady)
        if kind == "ctz":
            return self._trailing_zeros(e)
        if kind == "transposed":
            return self._transposed(e)
        if kind == "matrix":
            return self.matrix_product(e)
        if kind in _DOTS:
            return self._dot(e, *_DOTS[kind])
        raise UnsupportedError(f"the loop level has no expression of kind {kind!r}: {e}")

    def _counts(self, e: Expr) -> bool:
        """Whether a division of indices is one of a count by an extent."""
        return e.dtype is dtypes.index and e.args[1] in self.extents and self.natural(e.args[0])

    def natural(self, e: Expr) -> bool:
        """Whether an index is known to be 0 or more (and is one number)."""
        if e.op == "lit":
            return e.attr >= 0
        if isinstance(e.op, str):
            return e in self.naturals
        if e.op.name in ("floordiv", "mod"):
            return self._counts(e)
        return e.op.name in ("add", "mul") and all(map(self.natural, e.args))

    def _quotient(self, n: Value, d: Value) -> Value:
        """The quotient of a count and an extent (0 by 0) through float64: exact below 2^53, in a
        third of the time that a division of words takes."""
        outer, depth = self.place(d.depth), self.place(max(n.depth, d.depth))
        none = self.once(f"icmp eq i64 {d.text}, 0", outer)
        below = self.once(f"sitofp i64 {d.text} to double", outer)
        below = self.once(f"select i1 {none}, double 0x7FF0000000000000, double {below}", outer)
        above = self.once(f"sitofp i64 {n.text} to double", self.place(n.depth))
        ratio = self.once(f"fdiv double {above}, {below}", depth)
        return Value(self.once(f"fptosi double {ratio} to i64", depth), 1, depth,
                     n.steady and d.steady)

    def load(self, e: Expr) -> Value:
        raise NotImplementedError

    def matrix_product(self, e: Expr) -> Value:
        raise NotImplementedError

    def argument(self, e: Expr) -> Value:
        raise NotImplementedError

    def site(self, depth: int, lanes: int, dtype: DType, result: DType | None = None) -> Site:
        return Site(self, depth, lanes, dtype, result or dtype)

    def _apply(self, e: Expr) -> Value:
        """A scalar operation on values that are at hand."""
        given = [self.memo[a] for a in e.args]
        if e.op.name == "floordiv" and self._counts(e):
            return self._quotient(*given)
        depth, lanes, steady = CONSTANT, 1, True
        for v in given:
            depth, lanes = max(depth, v.depth), max(lanes, v.lanes)
            steady = steady and v.steady
        depth = self.place(depth)
        operands = [v.text if v.lanes == lanes else self.spread(v, a.dtype, lanes)
                    for v, a in zip(given, e.args)]
        dtype = e.args[-1].dtype
        site = Site(self, depth, lanes, dtype, e.dtype)
        rule = _CONVERSIONS.get(e.op)
        if rule is not None:
            return Value(rule(site, *operands), lanes, depth, steady)
        name = e.op.name
        text = write(TABLE[name, dtype.kind], site, operands)
        if e.dtype.bits == 16 and e.dtype.is_float and name in ROUNDED:
            text = round_narrow(site, text, e.dtype)
        return Value(text, lanes, depth, steady)

    # ---- lanes ---------------------------------------------------------------------------------

    def spread(self, v: Value, dtype: DType, lanes: int = LANES) -> str:
        """The text of a value with `lanes` lanes: one number goes to every lane."""
        if v.lanes == lanes:
            return v.text
        kind = register_type(dtype)
        if v.depth == CONSTANT:
            return splat(kind, v.text, lanes)
        depth, wide = self.place(v.depth), vector(kind, lanes)
        first = self.once(f"insertelement {wide} poison, {kind} {v.text}, i64 0", depth)
        return self.once(f"shufflevector {wide} {first}, {wide} poison, "
                         f"{vector('i32', lanes)} zeroinitializer", depth)

    def _lane_tree(self, e: Expr) -> Value:
        """One number of a vector: halves are combined, the lower lanes on the left."""
        name, x = _MONOIDS[e.attr], e.args[0]
        v = self.memo[x]
        depth, lanes, text = self.place(v.depth), LANES, self.spread(v, x.dtype)
        kind = register_type(x.dtype)
        rule = TABLE[name, x.dtype.kind]
        rounds = x.dtype.bits == 16 and x.dtype.is_float and name in ROUNDED
        while lanes > 1:
            wide, lanes = vector(kind, lanes), lanes // 2
            halves = [self._part(wide, text, start, lanes, depth) for start in (0, lanes)]
            site = self.site(depth, lanes, x.dtype)
            text = write(rule, site, halves)
            if rounds:
                text = round_narrow(site, text, x.dtype)
        return Value(text, 1, depth, v.steady)

    def _part(self, wide: str, text: str, start: int, lanes: int, depth: int) -> str:
        """Lanes start..start+lanes-1 of a vector."""
        if lanes == 1:
            return self.op(f"extractelement {wide} {text}, i64 {start}", depth)
        mask = ", ".join(f"i32 {k}" for k in range(start, start + lanes))
        return self.op(f"shufflevector {wide} {text}, {wide} poison, "
                       f"<{lanes} x i32> <{mask}>", depth)

    def _transposed(self, e: Expr) -> Value:
        """One column of a square of vectors; the steps on the way are shared by all columns."""
        given = [self.memo[a] for a in e.args]
        depth = self.place(max(v.depth for v in given))
        wide, mask = vector(register_type(e.dtype), LANES), vector("i32", LANES)

        def shuffled(a: str, b: str, lanes: tuple[int, ...]) -> str:
            return self.once(f"shufflevector {wide} {a}, {wide} {b}, {mask} "
                             f"<{', '.join(f'i32 {k}' for k in lanes)}>", depth)

        rows = [self.spread(v, a.dtype) for v, a in zip(given, e.args)]
        return Value(transpose(rows, shuffled)[e.attr], LANES, depth,
                     all(v.steady for v in given))

    def _dot(self, e: Expr, name: str, part: str) -> Value:
        """The instruction that adds the products of the parts of two words."""
        given = [self.memo[a] for a in e.args]
        depth = self.place(max(v.depth for v in given))
        a, b, start = (self.spread(v, x.dtype) for v, x in zip(given, e.args))
        words, sums = vector("i32", LANES), vector(register_type(e.dtype), LANES)
        a, b = (self.once(f"bitcast {words} {x} to {part}", self.place(v.depth))
                for x, v in ((a, given[0]), (b, given[1])))
        self.declare(f"declare {sums} {name}({sums}, {part}, {part})")
        text = self.op(f"call {sums} {name}({sums} {start}, {part} {a}, {part} {b})", depth)
        return Value(text, LANES, depth, all(v.steady for v in given))

    def _trailing_zeros(self, e: Expr) -> Value:
        v = self.memo[e.args[0]]
        site = self.site(self.place(v.depth), v.lanes, dtypes.index)
        return Value(site.call("cttz", [v.text], flags=("false",)), v.lanes, site.depth, v.steady)


_CONVERSIONS = {scalar.cast_: cast, scalar.bitcast_: bitcast}


def is_instruction(e: Expr) -> bool:
    """Whether a scalar operation is written as it is, and not by its expansion."""
    return (e.op.name, e.args[-1].dtype.kind) in TABLE or e.op in _CONVERSIONS


def expand(e: Expr) -> Expr:
    """A scalar operation without an instruction, in terms of simpler ones."""
    if e.op.expand is None:
        raise UnsupportedError(f"{e.op.name} of {e.args[-1].dtype} has neither an instruction nor "
                               f"an expansion; state it with Scalar.expand")
    return e.op.expand(*e.args)


def number(n: int) -> Expr:
    """An index literal."""
    return lit(n, dtypes.index)
