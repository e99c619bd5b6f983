"""How much code an expression is: its instructions, with all that its operations expand to."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...base.dtypes import DType
from ...codegen.values import expand, is_instruction
from ...lang import expr
from ...lang.expr import Expr
from ...lang.machine import parts_of


def code_of(e: Expr) -> int:
    """The instructions that compute an expression, about: those of its scalar operations."""
    return sum(_instructions(x.op, x.attr, x.dtype, tuple(a.dtype for a in x.args))
               for x in expr.walk(e) if not isinstance(x.op, str))


@cache
def _instructions(op: Any, attr: Any, dtype: DType, given: tuple[DType, ...]) -> int:
    """The instructions of one scalar operation: of a complex one those of its parts, and of what no
    machine has those of its expansion."""
    operands = tuple(expr.var(f"x{k}", d) for k, d in enumerate(given))
    seen: set[Expr] = set()
    rest = list(parts_of(expr.make(op, operands, attr, dtype)))
    count = 0
    while rest:
        e = rest.pop()
        if e in seen or not e.args:
            continue
        seen.add(e)
        if isinstance(e.op, str) or is_instruction(e):
            count += 1
            rest += e.args
        else:
            rest.append(expand(e))
    return count
