"""Floor 5: every operator's whole story, one file per family, and the composites.

Purpose: the ops that Programs are made of; a new op is one statement in its family's file.
May import: base, ir, lang, transform.
Read first: `pointwise`, `reduce`, `contract`, `composite`.
"""

from . import (
    activation,
    attention,
    bisect,
    call,
    composite,
    contract,
    control,
    convolution,
    cumulative,
    determinant,
    effect,
    foreign,
    fourier,
    index,
    iota,
    loss,
    matrices,
    move,
    normalization,
    notation,
    order,
    pointwise,
    pooling,
    radix,
    random,
    recurrence,
    reduce,
    scan,
    search,
    softmax,
    sort,
    spectra,
    transfer,
    update,
    window,
)

__all__ = ["activation", "attention", "bisect", "call", "composite", "contract", "control",
           "convolution", "cumulative", "determinant", "effect", "foreign", "fourier", "index",
           "iota", "loss", "matrices", "move", "normalization", "notation", "pointwise",
           "pooling", "random", "recurrence", "reduce", "scan", "search", "softmax", "sort",
           "spectra", "transfer", "update", "window"]
