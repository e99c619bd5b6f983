"""SGD, Adam and AdamW. Leaves that are not floating pass through untouched."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..api import namespace as F
from ..api.arrays.array import Array, operands, wrap
from ..api.arrays.values import error
from ..base import tree
from ..base.dtypes import float32, int32, promote
from ..base.errors import DTypeError, LamellaError, ShapeError
from ..ir.node import make
from ..ir.op import Op
from ..ops.update import ADAM_STEP, MOVING_MEAN, MOVING_SQUARE

Rate = float | Callable[[Array], Array]


class Optimizer:
    """Base: the walk over the leaves, the step counter, clipping and weight decay's choice.

    rate: the learning rate, a number or a function of the step (see schedules).
    clip: gradients are scaled down to this global norm; None leaves them.
    decays: decays(path, leaf) tells which leaves the weight decay concerns; None means all.
    """

    slots: tuple[str, ...] = ()  # names of the per-leaf state

    def __init__(self, rate: Rate, *, weight_decay: float = 0.0, clip: float | None = None,
                 decays: Callable[[str, Array], bool] | None = None):
        if not callable(rate) and not isinstance(rate, (int, float, Array)):
            raise error(DTypeError, f"{type(self).__name__}: the learning rate is a number or a "
                                    f"function of the step, got {rate!r}")
        if isinstance(rate, int | float) and rate < 0:
            raise error(LamellaError,
                f"{type(self).__name__}: the learning rate {rate} is negative")
        self.rate, self.weight_decay, self.clip, self.decays = rate, weight_decay, clip, decays

    def init(self, model: Any) -> dict[str, Any]:
        """The state before the first step: `step` (0-d int32) and a tree of zeros for each slot."""
        return {"step": F.zeros((), dtype=int32),
                **{name: tree.map(_zeros, model) for name in self.slots}}

    def _matched(self, model: Any, grads: Any, state: Any) -> tuple[list, list, Any]:
        """(the model's leaves, the gradients', the structure), which the state must fit too."""
        name = type(self).__name__
        leaves, structure = tree.flatten(model)
        given, found = tree.flatten(grads)
        if found != structure:
            raise error(ShapeError, f"{name}: the gradients' structure {found} is not "
                                    f"the model's, {structure}")
        for p, g, path in zip(leaves, given, tree.paths(model), strict=True):
            if _is_float(p) and F.asarray(g).shape != p.shape:
                raise error(ShapeError, f"{name}: the gradient of {path or 'the model'} has shape "
                                        f"{F.asarray(g).shape}, the parameter {p.shape}")
        if not isinstance(state, dict) or state.keys() != {"step", *self.slots} or any(
                tree.flatten(state[slot])[1] != structure for slot in self.slots):
            raise error(LamellaError, f"{name}: the state is not of this optimizer and model; make "
                                      "it with opt.init(model)")
        return leaves, given, structure

    def update(self, model: Any, grads: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """(the model after one step, its state); grads has the model's structure and shapes."""
        leaves, given, structure = self._matched(model, grads, state)
        if self.clip is not None:
            given, _ = clip_by_global_norm(given, self.clip)
        paths = tree.paths(model) if self.decays else [""] * len(leaves)
        slots = [tree.leaves(state[name]) for name in self.slots]
        step = state["step"] + 1
        rate = self.rate(state["step"]) if callable(self.rate) else self.rate
        common = self.prepare(step, rate)
        new_leaves: list = []
        new_slots: list[list] = [[] for _ in self.slots]
        for k, (p, g) in enumerate(zip(leaves, given, strict=True)):
            old = [s[k] for s in slots]
            if _is_float(p):
                decay = self.weight_decay if not self.decays or self.decays(paths[k], p) else 0.0
                q, new = self.leaf(p, g, old, decay, common)
                p = q.astype(p.dtype)
                old = [n.astype(o.dtype) for n, o in zip(new, old, strict=True)]
            new_leaves.append(p)
            for column, value in zip(new_slots, old, strict=True):
                column.append(value)
        return tree.unflatten(structure, new_leaves), {"step": step, **{
            name: tree.unflatten(structure, column)
            for name, column in zip(self.slots, new_slots, strict=True)}}

    def prepare(self, step: Array, rate: Any) -> Any:
        """What all leaves share in one step (the first has step 1)."""
        return rate

    def leaf(self, p: Array, g: Array, old: list[Array], decay: float, common: Any):
        """(the new leaf, its new slots)."""
        raise NotImplementedError


def _is_float(x: Any) -> bool:
    """Whether the leaf is a parameter; DTypeError where it is a complex one."""
    if isinstance(x, Array) and x.dtype.is_complex:
        raise DTypeError("an optimizer's parameters are real; keep real and imaginary parts as two "
                         "arrays and make lamella.complex(re, im) of them where it is needed")
    return isinstance(x, Array) and x.dtype.is_float


def _zeros(x: Any) -> Array:
    """State for a leaf: at least float32; a 0-d zero where there is nothing to keep."""
    if not _is_float(x):
        return F.zeros((), dtype=float32)
    return F.zeros(x.shape, dtype=promote(x.dtype, float32))


class SGD(Optimizer):
    """p - rate d, with d = g + weight_decay p, or by momentum m: d = m = momentum m + g.

    Nesterov's variant takes d = g + momentum m. The same as PyTorch's SGD without dampening.
    """

    def __init__(self, rate: Rate, *, momentum: float = 0.0, nesterov: bool = False,
                 weight_decay: float = 0.0, clip: float | None = None, decays=None):
        super().__init__(rate, weight_decay=weight_decay, clip=clip, decays=decays)
        if nesterov and not momentum:
            raise error(LamellaError, "SGD: nesterov needs momentum")
        self.momentum, self.nesterov = momentum, nesterov
        self.slots = ("momentum",) if momentum else ()

    def leaf(self, p, g, old, decay, rate):
        if decay:
            g = g + p * decay
        if not self.momentum:
            return p - g * rate, []
        m = old[0] * self.momentum + g
        return p - (g + m * self.momentum if self.nesterov else m) * rate, [m]


class Adam(Optimizer):
    """p - rate m' / (sqrt(v') + eps), m' and v' the running means of g and g^2, corrected for
    their start at zero; weight decay adds to the gradient. Kingma & Ba, arXiv 1412.6980."""

    slots = ("m", "v")
    decoupled = False

    def __init__(self, rate: Rate = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, clip: float | None = None,
                 decays=None):
        super().__init__(rate, weight_decay=weight_decay, clip=clip, decays=decays)
        if not all(0 < b < 1 for b in betas):
            raise error(LamellaError,
                f"{type(self).__name__}: betas {betas} must lie between 0 and 1")
        self.betas, self.eps = betas, eps

    def prepare(self, step, rate):
        """(rate, rate / (1 - b1^step), 1 / sqrt(1 - b2^step)); by expm1, exact for small steps."""
        t = step.astype(float32)
        first, second = (-F.expm1(t * math.log(b)) for b in self.betas)
        return rate, rate / first, F.rsqrt(second)

    def leaf(self, p, g, old, decay, common):
        rate, scaled, root = common
        b1, b2 = self.betas
        p, g = p.astype(old[0].dtype), g.astype(old[0].dtype)
        if decay and not self.decoupled:
            g = g + p * decay
        m = _one(MOVING_MEAN, old[0], g, keep=b1)
        v = _one(MOVING_SQUARE, old[1], g, keep=b2)
        shrink = 1 - rate * decay if self.decoupled else 1.0
        return _one(ADAM_STEP, p, m, v, scaled, root, shrink, eps=self.eps), [m, v]


def _one(op: Op, *args, **params) -> Array:
    """The op as one node, so that it is one pass over memory also where nothing is compiled."""
    return wrap(make(op, operands(op.name, args), params))


class AdamW(Adam):
    """Adam with decoupled weight decay, p (1 - rate weight_decay) before the step, as in PyTorch.

    Loshchilov & Hutter, arXiv 1711.05101.
    """

    decoupled = True

    def __init__(self, rate: Rate = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01, clip: float | None = None,
                 decays=None):
        super().__init__(rate, betas=betas, eps=eps, weight_decay=weight_decay, clip=clip,
                         decays=decays)


# ---- clipping -----------------------------------------------------------------------------------

def global_norm(grads: Any) -> Array:
    """The square root of the sum of squares of all floating leaves, 0-d float32 or wider."""
    total = F.zeros((), dtype=float32)
    for g in tree.leaves(grads):
        if _is_float(g):
            total = total + F.square(g.astype(promote(g.dtype, float32))).sum()
    return F.sqrt(total)


def clip_by_global_norm(grads: Any, most: float) -> tuple[Any, Array]:
    """(the gradients scaled so that their global norm is at most `most`, the norm before)."""
    norm = global_norm(grads)
    scale = F.where(norm > most, most / norm, 1.0)
    return tree.map(lambda g: (g * scale).astype(g.dtype) if _is_float(g) else g, grads), norm
