"""The price of each step: operations and bytes, counted from what its kernel does.

Flops count scalar operations on numbers that the definitions ask for (a fused multiply-add is two,
an elementary function one); bytes count each operand's elements that the step touches, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ...base.extents import Extent, Size, evaluate, upper
from ...lang import expr
from ...lang.loops import Kernel, Set, Store, When
from ...lang.loops import Loop as KernelLoop
from ..plan import Branch, Launch, Loop, Parallel, Plan

_FREE = frozenset({"cast", "bitcast", "where", "stop_gradient"})


def price(plan: Plan) -> None:
    """Fill in the flops and traffic of every launch."""
    for step in plan.launches():
        step.flops = flops_of(step)
        step.traffic = _traffic(step)


def flops_of(step: Launch) -> Extent:
    """Operations of a launch: those that its template stated, else counted from its kernel."""
    return step.flops or _map_flops(step)


def _traffic(step: Launch) -> Extent:
    seen: dict[tuple, Extent] = {}
    for o in step.operands:     # a buffer's parts are written each, and read together
        seen[(id(o.buffer), o.writes and o.offset)] = o.bytes
    total: Extent = 0
    for b in seen.values():
        total = total + b
    return total


def _map_flops(step: Launch) -> Extent:
    """Operations of one iteration of each loop times the elements of the largest output."""
    elements: Extent = 0
    for o in step.operands:
        if o.writes or elements == 0:
            elements = o.count
    largest = max((o.count for o in step.operands if isinstance(o.count, int)),
                  default=elements)
    counted = _operations(step.kernel)
    return counted * (largest if isinstance(largest, int) and isinstance(elements, int)
                      else elements)


@lru_cache(4096)
def _operations(kernel: Kernel) -> int:
    """Scalar operations on numbers that a kernel states, each once."""
    found: set[expr.Expr] = set()

    def visit(statements: list) -> None:
        for s in statements:
            if isinstance(s, KernelLoop | When):
                visit(s.body)
            elif isinstance(s, Set | Store):
                found.update(e for e in expr.walk(s.value) if not isinstance(e.op, str)
                             and e.dtype.is_float and e.op.name not in _FREE)

    visit(kernel.body)
    return len(found)


def total(steps: list, of: Callable[[Any], Any], env: Mapping[str, int] | None = None) -> Any:
    """The sum of a price over steps, a loop's times its trips (`env` the symbols' values where the
    price is a number); of an open loop one trip, and of a branch the dearest arm."""
    found: Any = 0
    for s in steps:
        if isinstance(s, Loop):
            trips = 1 if s.trips is None else s.trips if env is None else evaluate(s.trips, env)
            found = found + (total(s.head, of, env) + total(s.body, of, env)) * trips
        elif isinstance(s, Branch):
            arms = [total(arm, of, env) for arm in s.arms]
            found = found + max(arms, key=lambda e: upper(e) if isinstance(e, Size) else e)
        elif isinstance(s, Parallel):
            found = found + total([*s.members], of, env)
        else:
            found = found + of(s)
    return found
