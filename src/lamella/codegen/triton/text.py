"""Lines of Triton text, and values with an axis for each tile variable that they depend on."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

from ...base import dtypes
from ...lang import expr
from ...lang.expr import Expr
from ...lang.loops import LANES

LANE = expr.var("lane", dtypes.index)  # the tile variable of the processor's lanes
NUMBER = "tl.full((), "     # how a number of a given dtype begins
_TAKEN = ("tl", "range", "scratch")


class Value:
    """A computed value: its text, the tile variables that it has an axis for, and whether it stays
    the same when memory is written."""

    __slots__ = ("axes", "steady", "text")

    def __init__(self, text: str, axes: tuple[Expr, ...] = (), steady: bool = True):
        self.text, self.axes, self.steady = text, axes, steady


class Writer:
    """The text so far. `widths`: of the tile variables, in the order of axes; `masks`: which
    positions of the open ones are there, where that may not be all."""

    def __init__(self, taken: Iterable[str]):
        self.lines: list[str] = []
        self.indent, self.count = 1, 0
        self.taken = {*_TAKEN, *taken}
        self.names: dict[Expr, str] = {}
        self.widths: dict[Expr, int] = {LANE: LANES}
        self.masks: dict[Expr, str] = {}

    def do(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def let(self, text: str) -> str:
        """The value under a new name."""
        self.count += 1
        self.do(f"v{self.count} = {text}")
        return f"v{self.count}"

    def name_of(self, var: Expr) -> str:
        found = self.names.get(var)
        if found is None:
            base = var.attr[0].replace(".", "_")
            while keyword.iskeyword(base) or base in self.taken or \
                    base in self.names.values():
                base += "_"
            found = self.names[var] = base
        return found

    # -- axes --

    def sorted(self, axes: Iterable[Expr]) -> tuple[Expr, ...]:
        wanted = set(axes)
        return tuple(a for a in self.widths if a in wanted) if wanted else ()

    def aligned(self, v: Value, axes: tuple[Expr, ...]) -> str:
        """The text with an axis of one position for each axis that the value lacks."""
        if not v.axes or v.axes == axes:
            return v.text
        at = ", ".join(":" if a in v.axes else "None" for a in axes)
        return f"{atom(v.text)}[{at}]"

    def spread(self, v: Value, axes: tuple[Expr, ...]) -> str:
        """The text with all axes at their full widths."""
        if v.axes == axes:
            return atom(v.text)
        shape = ", ".join(str(self.widths[a]) for a in axes) + "," * (len(axes) == 1)
        if v.text.isdigit():
            return f"tl.full(({shape}), {v.text}, tl.int32)"
        if v.text.startswith(NUMBER):
            return f"tl.full(({shape}), {v.text[len(NUMBER):]}"
        return f"tl.broadcast_to({self.aligned(v, axes)}, ({shape}))"

    def mask(self, axes: Iterable[Expr], cond: Value | None = None) -> Value | None:
        """Which positions along the axes are there (and meet the condition); None for all."""
        axes = self.sorted(axes)
        parts = [self.aligned(Value(self.masks[a], (a,)), axes) for a in axes if a in self.masks]
        if cond is not None:
            parts.append(self.aligned(cond, axes))
        if not parts:
            return None
        return Value(" & ".join(parts) if len(parts) == 1 else
                     " & ".join(f"({p})" if " " in p else p for p in parts), axes)


def atom(text: str) -> str:
    """The text in parentheses unless it is one word, or one call or literal."""
    if text.isidentifier() or text.isdigit() or _closed(text):
        return text
    if text.endswith("]") and atom(text[:text.rindex("[")]) == text[:text.rindex("[")]:
        return text
    return f"({text})"


def _closed(text: str) -> bool:
    """Whether the text is a call, or stands in parentheses, as a whole."""
    start = text.find("(")
    if start < 0 or not text.endswith(")") or not text[:start].replace(".", "").isidentifier() \
            and start > 0:
        return False
    depth = 0
    for k, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0 and k >= start:
            return k == len(text) - 1
    return False
