"""Expressions to Triton text: places in their width, values in their dtype."""

from __future__ import annotations

from collections.abc import Callable

from ...base import dtypes
from ...base.dtypes import DType
from ...base.errors import UnsupportedError
from ...lang import functions as _expansions  # noqa: F401 (importing installs Scalar.expand)
from ...lang import scalar
from ...lang.expr import Expr, value_of, walk
from ..values import expand
from .scalars import ROUNDED, TABLE, bitcast, cast, narrowed, register, type_name
from .text import NUMBER, Value, Writer, atom

_QUOTIENTS = frozenset(("floordiv", "mod"))
_PLACES = frozenset(("add", "sub", "mul", "max", "min")) | _QUOTIENTS
_COMPARED = frozenset(("eq", "ne", "lt", "le"))


class Values(Writer):
    """Computes expressions. `env` has the values of variables; `registers` are those of them that
    statements set, so that they may hold any number; `index` is the dtype of places.

    `memo` is keyed by the expression and by how it is wanted: True for a place, None for a load as
    it is in memory, False for any other value.
    """

    def __init__(self, taken, registers: set[Expr], index: DType):
        super().__init__(taken)
        self.registers, self.index = registers, index
        self.env: dict[Expr, Value] = {}
        self.memo: dict[tuple[Expr, bool | None], Value] = {}
        self.aliases: dict[Expr, Expr] = {}

    def text(self, e: Expr) -> str:
        return self.value(e).text

    def place(self, e: Expr) -> Value:
        """A place or a bound, in the width of places."""
        if self.index is not dtypes.int32:
            return self.value(e)
        found = self.memo.get((e, True))
        if found is None:
            found = self.memo[e, True] = self._place(e)
        return found

    def _place(self, e: Expr) -> Value:
        if e.op == "lit":
            return Value(str(value_of(e)))
        if e.op == "var" and e not in self.registers:
            return self.env[e]
        if not isinstance(e.op, str) and e.op.name in _PLACES and e.dtype is dtypes.index:
            if e.op.name not in _QUOTIENTS:
                return self._applied(e, [self.place(a) for a in e.args], dtypes.int32)
            if self._of_places(e.args[1]):
                return self._quotient(e)
        v = self.value(e)
        return Value(f"{atom(v.text)}.to(tl.int32)", v.axes, v.steady)

    def _of_places(self, e: Expr) -> bool:
        """Whether it is made of loop variables, sizes and numbers alone."""
        return all(x.op in ("lit", "lane") or (x.op == "var" and x not in self.registers) or (
            not isinstance(x.op, str) and x.op.name in _PLACES) for x in walk(e))

    def _quotient(self, e: Expr) -> Value:
        """A quotient or remainder by an extent, which is positive; of a place that may be negative
        it is rounded down."""
        a, b = (self.place(x) for x in e.args)
        if b.text.isdigit() or not self._of_places(e.args[0]) or any(
                x.op is scalar.sub for x in walk(e.args[0])):
            return self._applied(e, [a, b], dtypes.int32)
        axes = self.sorted((*a.axes, *b.axes))
        sign = "//" if e.op is scalar.floordiv else "%"
        x, y = (atom(self.aligned(v, axes)) for v in (a, b))
        return Value(self.let(f"{x} {sign} {y}"), axes)

    def value(self, e: Expr) -> Value:
        """The value of an expression, computed where it is asked for first."""
        found = self.memo.get((e, False))
        if found is None:
            found = self.memo[e, False] = self._compute(e)
        return found

    def _compute(self, e: Expr) -> Value:
        if not isinstance(e.op, str):
            return self._scalar(e)
        rule = self.KINDS.get(e.op)
        if rule is None:
            raise UnsupportedError(f"a GPU's kernel has no expression of kind {e.op!r}: {e}")
        return rule(self, e)

    def _lit(self, e: Expr) -> Value:
        return Value(f"{NUMBER}{self.number(value_of(e), e.dtype)}, "
                     f"{type_name(register(e.dtype))})")

    def _var(self, e: Expr) -> Value:
        v = self.env[e]
        if e.dtype is dtypes.index and self.index is dtypes.int32 and e not in self.registers:
            return Value(self.let(f"tl.cast({v.text}, tl.int64)"), v.axes)
        return v

    def _scalar(self, e: Expr) -> Value:
        dtype = e.args[-1].dtype
        if dtype is dtypes.index and e.op.name in _COMPARED and all(map(self._of_places, e.args)):
            return self._applied(e, [self.place(a) for a in e.args], self.index)
        given = [self.value(a) for a in e.args]
        if e.op in (scalar.cast_, scalar.bitcast_):
            rule = cast if e.op is scalar.cast_ else bitcast
            x, = given
            return Value(self.let(rule(self, dtype, e.dtype, atom(x.text))), x.axes, x.steady)
        if (e.op.name, dtype.kind) in TABLE:
            return self._applied(e, given, dtype)
        if e not in self.aliases:
            self.aliases[e] = expand(e)
        return self.value(self.aliases[e])

    def _applied(self, e: Expr, given: list[Value], dtype: DType) -> Value:
        """One operation of the table, in `dtype`."""
        rule = TABLE[e.op.name, dtype.kind]
        axes = self.sorted({a for v in given for a in v.axes})
        texts = [atom(self.aligned(v, axes)) for v in given]
        plain = not isinstance(rule, str) or rule.startswith("{0} ")
        if plain and any(a.op != "lit" for a in e.args):  # there a number takes the other's dtype
            texts = [self.number(value_of(a), dtype) if a.op == "lit" else t
                     for a, t in zip(e.args, texts)]
        out = rule.format(*texts) if isinstance(rule, str) else rule(self, dtype, *texts)
        if not isinstance(rule, str) and dtype.is_int and dtype.bits < 32:
            out = f"({out}).to({type_name(dtype)})"
        if e.dtype.bits == 16 and e.dtype.is_float and e.op.name in ROUNDED:
            out = narrowed(f"({out})", e.dtype)
        steady = all(v.steady for v in given)
        if dtype is dtypes.int32 and e.dtype is dtypes.index and len(out) < 64:
            return Value(out, axes, steady)  # of a place
        return Value(self.let(out), axes, steady)

    def number(self, value, dtype: DType) -> str:
        if dtype is dtypes.bool_:
            return str(bool(value))
        if dtype.is_int:
            return str(int(value)) if value >= 0 else f"({int(value)})"
        value = float(dtype.numpy.type(value))
        return repr(value) if value - value == 0 else f'float("{value}")'

    KINDS: dict[str, Callable[..., Value]] = {"lit": _lit, "var": _var}
