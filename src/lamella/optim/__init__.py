"""Floor 11: optimizers as pure functions over pytrees, and schedules of the learning rate.

Purpose: `state = opt.init(model)`, then `model, state = opt.update(model, grads, state)`.
May import: everything from base to api.
Read first: `optimizers.AdamW`.
"""

from .optimizers import SGD, Adam, AdamW, Optimizer, clip_by_global_norm, global_norm
from .schedules import constant, cosine, linear, warmup

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "clip_by_global_norm", "constant", "cosine",
           "global_norm", "linear", "warmup"]
