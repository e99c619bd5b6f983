"""What stands for an entry of PyTorch's operator database here: tables by family.

A callable gets the sample's arguments: arrays for tensors, names for dtypes. `common.Different` in
it says that this sample differs on purpose.
"""

from __future__ import annotations

from . import (
    creation,
    layers,
    linear,
    losses,
    manipulation,
    pointwise,
    reductions,
    scatter,
    special,
)
from .excluded import EXCLUDED, LOOSER, NO_GRADIENT, RAW, SHAPE_ONLY

TABLE = {**pointwise.TABLE, **special.TABLE, **reductions.TABLE, **manipulation.TABLE,
         **creation.TABLE, **scatter.TABLE, **layers.TABLE, **losses.TABLE,
         **linear.TABLE}

__all__ = ["EXCLUDED", "LOOSER", "NO_GRADIENT", "RAW", "SHAPE_ONLY", "TABLE"]
