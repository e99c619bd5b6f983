"""Registers that count how often a place in a kernel was reached: lists that it makes on its way,
such as of the pixels whose tap is inside of the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...base import dtypes
from ...lang.expr import Expr, lit
from ...lang.loops import Loop, Set, When

Path = tuple[Loop | When, ...]
_ONE = lit(1, dtypes.index)


def counters(body: list) -> Mapping[Expr, Path]:
    """Of each such register what runs between its start at a number and the place where it is
    raised by one: the expected count is the product of their trips and chances."""
    starts: dict[Expr, Path] = {}
    found: dict[Expr, Path] = {}

    def visit(statements: list, path: Path) -> None:
        for s in statements:
            if isinstance(s, Loop | When):
                visit(s.body, (*path, s))
            elif isinstance(s, Set) and s.var.dtype is dtypes.index:
                if s.value.op == "lit":
                    starts[s.var] = path
                elif s.var in starts and s.value is s.var + _ONE:
                    found.setdefault(s.var, path[len(starts[s.var]):])

    visit(body, ())
    return found


def expected(path: Path, trips: Callable[[Loop], float], chance: Callable[[Expr], float]) -> int:
    """How often the end of a path is reached."""
    count = 1.0
    for s in path:
        count *= trips(s) if isinstance(s, Loop) else chance(s.cond)
    return round(count)
