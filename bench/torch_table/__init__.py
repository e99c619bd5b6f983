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
from .excluded import CLASSES, EXCLUDED, LOOSER, RAW, SHAPE_ONLY

TABLE = {**pointwise.TABLE, **special.TABLE, **reductions.TABLE, **manipulation.TABLE,
         **creation.TABLE, **scatter.TABLE, **layers.TABLE, **losses.TABLE,
         **linear.TABLE}

# Entries that return a copy of what another returns a view of, and variants of one function.
TABLE |= {f"{name}_copy": TABLE[name] for name in (
    "alias", "diagonal", "expand", "narrow", "permute", "split_with_sizes", "squeeze", "t",
    "transpose", "unbind", "unfold", "unsqueeze", "view") if name in TABLE}
TABLE |= {name: TABLE[base] for name, base in (
    ("unsafe_chunk", "chunk"), ("unsafe_split", "split"), ("addmm/decomposed", "addmm"),
    ("alias_copy", "clone"), ("resolve_conj", "clone"), ("resolve_neg", "clone"),
    ("nn.functional.linear_cross_entropy/chunked", "nn.functional.linear_cross_entropy"),
    ("nn.functional.linear_cross_entropy/chunked_none", "nn.functional.linear_cross_entropy"))}

__all__ = ["CLASSES", "EXCLUDED", "LOOSER", "RAW", "SHAPE_ONLY", "TABLE"]
