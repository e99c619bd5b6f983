"""Floor 13: the training loop and its checkpoints.

Purpose: one object that owns model, state, key and step, stops and resumes with the same bits.
May import: everything from base to api, nn, optim, data, formats.
Read first: `trainer.Trainer`.
"""

from .checkpoint import read_checkpoint, write_checkpoint
from .trainer import Trainer

__all__ = ["Trainer", "read_checkpoint", "write_checkpoint"]
