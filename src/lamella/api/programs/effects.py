"""The order of prints and checks in what is being traced: see `ops.effect`.

Every function that becomes a program of its own (by compile, vmap, or as a body or branch) has an
order: it begins with a stand-in and moves on with every print or check; who traces the function
passes it on.
"""

from __future__ import annotations

from ...base import dtypes
from ...base.errors import LamellaError
from ...ir.node import Node, literal, placeholder
from ...ir.types import tensor
from ..arrays.scope import SEEN_THROUGH, Scope, blocking, state
from ..arrays.values import error, force

ORDER = tensor(dtypes.int32, ())


def current() -> Node:
    """The order as it is now in the innermost function."""
    scope = blocking()
    if scope is None:
        return literal(0, dtypes.int32)
    if scope.order is None:
        scope.order = start_of(scope)
    return scope.order


def outer(scope: Scope) -> Node:
    """The order around a function that is being traced."""
    around = [s for s in state.scopes[:state.scopes.index(scope)] if s.kind not in SEEN_THROUGH]
    if not around:
        return literal(0, dtypes.int32)
    if around[-1].order is None:
        around[-1].order = start_of(around[-1])
    return around[-1].order


def start_of(scope: Scope) -> Node:
    """The order as it was when the function began."""
    if scope.start is None:
        scope.start = placeholder(ORDER, "order")
    return scope.start


def move_on(order: Node) -> None:
    """The order behind a print or check, or behind what holds some; at top level that runs now."""
    scope = blocking()
    if scope is None:
        force([order])
    else:
        scope.order = order


def refuse(scope: Scope) -> None:
    """Raise where the function printed or checked, which its transform cannot keep in order."""
    if moved(scope):
        raise error(LamellaError, f"{scope}: debug.print and check are not possible inside of it, "
                                  f"since it is computed again or in other orders; do it outside")


def moved(scope: Scope) -> bool:
    """Whether the function printed or checked."""
    return scope.order is not None and scope.order is not scope.start
