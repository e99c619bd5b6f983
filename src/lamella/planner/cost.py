"""The price of each step: operations and bytes, counted from what its kernel does.

Flops count scalar operations on numbers that the definitions ask for (a fused multiply-add is two,
an elementary function one); bytes count each operand's elements that the step touches, once.
"""

from __future__ import annotations

from ..base.extents import Extent
from ..lang import expr
from ..lang.loops import Loop as KernelLoop
from ..lang.loops import Set, Store, When
from .plan import Launch, Plan

_FREE = frozenset({"cast", "bitcast", "where", "stop_gradient"})


def price(plan: Plan) -> None:
    """Fill in the flops and traffic of every launch."""
    for step in plan.launches():
        if not step.flops:
            step.flops = _map_flops(step)
        step.traffic = _traffic(step)


def _traffic(step: Launch) -> Extent:
    seen: dict[tuple[int, bool], Extent] = {}
    for o in step.operands:
        seen[(id(o.buffer), o.writes)] = o.buffer.bytes
    total: Extent = 0
    for b in seen.values():
        total = total + b
    return total


def _map_flops(step: Launch) -> Extent:
    """Operations of one iteration of each loop times the elements of the largest output."""
    elements: Extent = 0
    for o in step.operands:
        if o.writes or elements == 0:
            elements = o.buffer.count
    largest = max((o.buffer.count for o in step.operands if isinstance(o.buffer.count, int)),
                  default=elements)
    counted = _operations(step.kernel.body)
    return counted * (largest if isinstance(largest, int) and isinstance(elements, int)
                      else elements)


def _operations(body: list) -> int:
    found: set[expr.Expr] = set()

    def visit(statements: list) -> None:
        for s in statements:
            if isinstance(s, KernelLoop | When):
                visit(s.body)
            elif isinstance(s, Set | Store):
                found.update(e for e in expr.walk(s.value) if not isinstance(e.op, str)
                             and e.dtype.is_float and e.op.name not in _FREE)

    visit(body)
    return len(found)


def total_flops(plan: Plan) -> Extent:
    """Floating-point operations of one run."""
    total: Extent = 0
    for s in plan.launches():
        total = total + s.flops
    return total


def total_traffic(plan: Plan) -> Extent:
    """Bytes that the steps read and write, each operand once a step."""
    total: Extent = 0
    for s in plan.steps:
        total = total + s.traffic  # type: ignore[union-attr]
    return total


