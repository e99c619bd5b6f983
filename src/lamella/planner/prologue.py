"""The prologue: what is laid out once for all calls, not at each of them.

Packed operands and tables of offsets that follow from sizes and from arguments that never change
(captured arrays, a served model's weights) alone. They are constants: bytes of their own beside
the arena, counted, for as long as the executable lives.
"""

from __future__ import annotations

from .plan import Launch, Plan


def hoist(plan: Plan) -> None:
    """Take the steps whose results never change out of the plan's steps into its prologue."""
    known = {id(plan.arguments[k]) for k in plan.fixed}
    rest = []
    for s in plan.steps:
        if isinstance(s, Launch) and s.lays_out and all(
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
