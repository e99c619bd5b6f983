"""What an optimizer does to one parameter, as ops: uncompiled too, each is one pass over memory.

Kingma & Ba, "Adam", arXiv 1412.6980; Loshchilov & Hutter, "Decoupled weight decay", arXiv
1711.05101.
"""

from __future__ import annotations

from ..ir.node import Node, literal
from ..ir.op import is_number
from .composite import composite, float_only, normal
from .pointwise import apply


def _mean(p: dict, old: Node, new: Node) -> Node:
    return old * literal(p["keep"], old.dtype) + new * literal(1 - p["keep"], old.dtype)


def _mean_square(p: dict, old: Node, new: Node) -> Node:
    return old * literal(p["keep"], old.dtype) + new * new * literal(1 - p["keep"], old.dtype)


def _step(q: dict, p: Node, m: Node, v: Node, rate: Node, root: Node, shrink: Node) -> Node:
    return p * shrink - m / (apply("sqrt", v) * root + literal(q["eps"], p.dtype)) * rate


def _samples(count: int, **params):
    """Operands whose third, where there is one, is positive."""
    def draw():
        found = [normal(3, 17) for _ in range(min(count, 3))]
        found += [abs(normal()) for _ in range(count - 3)]
        return [abs(x) if k == 2 else x for k, x in enumerate(found)]
    return lambda: [(params, draw()), (params, [x[:0] if x.ndim else x for x in draw()])]


MOVING_MEAN = composite("moving_mean", "keep old + (1 - keep) new.", _mean, arity=2,
                        params={"keep": is_number}, check=float_only("moving_mean"),
                        samples=_samples(2, keep=0.9))
MOVING_SQUARE = composite("moving_square", "keep old + (1 - keep) new^2.", _mean_square, arity=2,
                          params={"keep": is_number}, check=float_only("moving_square"),
                          samples=_samples(2, keep=0.99))
ADAM_STEP = composite(
    "adam_step", "p shrink - m / (sqrt(v) root + eps) rate: a parameter after a step, from the "
    "running means m of its gradient and v of that squared; rate and root carry the correction "
    "for their start at zero, shrink the decoupled weight decay.", _step, arity=6,
    params={"eps": is_number}, check=float_only("adam_step"), samples=_samples(6, eps=1e-8))
