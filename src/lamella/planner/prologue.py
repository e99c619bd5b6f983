"""The prologue: what is computed once for all calls, not at each of them.

Packed operands and tables of offsets that follow from sizes and from arguments that never change
(captured arrays, a served model's weights) alone, and small values that do: the factors of a
normalization. They are constants: bytes of their own beside the arena, counted, for as long as the
executable lives.
"""

from __future__ import annotations

from collections import Counter

from .plan import Launch, Plan

SMALL = 16 << 10    # bytes of a value that is no operand's layout: a vector of channels


def hoist(plan: Plan) -> None:
    """Take the steps whose results never change out of the plan's steps into its prologue."""
    known = {id(plan.arguments[k]) for k in plan.fixed}
    writers = Counter(id(o.buffer.root) for s in plan.launches() for o in s.operands if o.writes)
    rest = []
    for s in plan.steps:
        if isinstance(s, Launch) and (s.lays_out or _small(s, writers)) and all(
                id(o.buffer.root) in known for o in s.operands if not o.writes):
            plan.prologue.append(s)
            for o in s.operands:
                if o.writes:
                    o.buffer.role = "constant"
                    known.add(id(o.buffer))
                    plan.constants.append(o.buffer)
        else:
            rest.append(s)
    plan.steps = rest
    plan.temporaries = [b for b in plan.temporaries if b.role == "temporary"]


def _small(s: Launch, writers: Counter) -> bool:
    """Whether a launch computes a few values of its own from others: large ones would take their
    bytes from the first call to the last."""
    written = [o.buffer for o in s.operands if o.writes]
    return len(written) < len(s.operands) and all(
        b.role == "temporary" and b.root is b and not b.parted and writers[id(b)] == 1 and
        isinstance(b.bytes, int) and b.bytes <= SMALL for b in written)
