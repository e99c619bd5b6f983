"""A Plan as bytes and back: steps, buffers, kernels and sizes, for a cache of plans.

A table of objects that refer to each other by number: immutable ones (expressions, sizes, dtypes)
stand behind what they refer to; steps and buffers may refer to each other in circles. The Program
is not part of it: whoever asks for a plan has it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..base.dtypes import DType, by_name
from ..base.errors import LamellaError
from ..base.extents import FloorDiv, Size, Symbol
from ..ir.program import Program
from ..lang import expr, loops
from ..lang.expr import Expr
from ..lang.scalar import ALL as SCALARS
from ..lang.scalar import Scalar
from .plan import Branch, Buffer, Copy, Launch, Loop, Operand, Parallel, Plan

_PARTS: tuple[type, ...] = (Buffer, Operand, Launch, Copy, Loop, Branch, Parallel, loops.Kernel,
                            loops.Buffer, loops.Loop, loops.Set, loops.Store, loops.When,
                            loops.Prefetch)
_FIELDS = ("steps", "arguments", "results", "temporaries", "symbols", "prologue", "constants")
_REFERENCE, _TUPLE, _LIST = 0, 1, 2


class Unsavable(LamellaError):
    """A plan holds something that only this process has (a host function)."""


def to_bytes(plan: Plan) -> bytes:
    """The plan without its program; Unsavable where it calls host functions."""
    w = _Writer()
    fields = [w.value(getattr(plan, f)) for f in _FIELDS]
    return msgspec.msgpack.encode([w.table, fields, sorted(plan.donated), sorted(plan.fixed),
                                plan.fast, plan.level])


def from_bytes(data: bytes, program: Program) -> Plan:
    """The plan of that program that `to_bytes` wrote."""
    table, fields, donated, fixed, fast, level = msgspec.msgpack.decode(data)
    r = _Reader(table)
    steps, arguments, results, temporaries, symbols, *once = map(r.value, fields)
    plan = Plan(program.name, program, steps, arguments, results, temporaries,
                frozenset(donated), frozenset(fixed), symbols, fast, level)
    plan.prologue, plan.constants = once
    return plan


class _Writer:
    """Values as plain data; `table` has a row for each object."""

    def __init__(self):
        self.table: list = []
        self.numbers: dict[int, int] = {}
        self.alive: list = []   # so that an id stays that of one object

    def value(self, x: Any):
        """The value as plain data: numbers and texts as they are, all else as a list."""
        if x is None or type(x) in (bool, int, float, str):
            return x
        if type(x) in (tuple, list):
            return [_TUPLE if type(x) is tuple else _LIST, *map(self.value, x)]
        number = self.numbers.get(id(x))
        return [_REFERENCE, self._row(x) if number is None else number]

    def _row(self, x: Any) -> int:
        if type(x) in _PARTS:
            number = self._number(x, [_PARTS.index(type(x))])   # first, for circles
            self.table[number] += [self.value(getattr(x, s)) for s in type(x).__slots__]
            return number
        return self._number(x, self._immutable(x))

    def _number(self, x: Any, row: list) -> int:
        self.numbers[id(x)] = len(self.table)
        self.alive.append(x)
        self.table.append(row)
        return len(self.table) - 1

    def _immutable(self, x: Any) -> list:
        if isinstance(x, Expr):
            op = x.op if isinstance(x.op, str) else [x.op.name]
            return ["expr", op, self.value(x.args), self.value(x.attr), self.value(x.dtype)]
        if isinstance(x, DType):
            return ["dtype", x.name]
        if isinstance(x, Symbol):
            return ["symbol", x.name, x.low, x.high]
        if isinstance(x, FloorDiv):
            return ["floordiv", self.value(x.numerator), x.denominator]
        if isinstance(x, Size):
            return ["size", *([self.value(m), c] for m, c in x.terms.items())]
        if isinstance(x, Scalar):
            return ["scalar", x.name]
        raise Unsavable(f"a plan with {type(x).__name__} cannot be saved")


class _Reader:
    """Objects from a table: blank parts and immutable objects first, then what the parts hold."""

    def __init__(self, table: list):
        self.objects: list = []
        for row in table:
            self.objects.append(object.__new__(_PARTS[row[0]]) if type(row[0]) is int
                                else getattr(self, f"_{row[0]}")(*row[1:]))
        for x, row in zip(self.objects, table, strict=True):
            if type(row[0]) is int:
                for slot, v in zip(type(x).__slots__, row[1:], strict=True):
                    setattr(x, slot, self.value(v) if type(v) is list else v)

    def value(self, v: Any):
        if type(v) is not list:
            return v
        if v[0] == _REFERENCE:
            return self.objects[v[1]]
        found = [self.value(x) if type(x) is list else x for x in v[1:]]
        return tuple(found) if v[0] == _TUPLE else found

    def _expr(self, op, args, attr, dtype) -> Expr:
        return expr.make(op if type(op) is str else SCALARS[op[0]], self.value(args),
                         self.value(attr), self.value(dtype))

    def _dtype(self, name: str) -> DType:
        return by_name(name)

    def _symbol(self, name: str, low: int, high: int) -> Symbol:
        return Symbol(name, low, high)

    def _floordiv(self, numerator, denominator: int) -> FloorDiv:
        return FloorDiv(self.value(numerator), denominator)

    def _size(self, *terms) -> Size:
        return Size({self.value(m): c for m, c in terms})

    def _scalar(self, name: str) -> Scalar:
        return SCALARS[name]
