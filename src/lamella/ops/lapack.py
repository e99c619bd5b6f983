"""What the ops that are LAPACK's share: types, workspaces, how derivatives are written, samples.

Derivatives are written for the gradients that descend (cotangents conjugated); `descending` makes
transposes of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..base.errors import DTypeError, ShapeError
from ..base.extents import Extent
from ..ir.node import Node, items, zeros_like
from ..ir.op import one_of
from ..ir.types import TensorType
from .matrix_algebra import conjugate

is_flag = one_of(True, False)


def require_matrix(name: str, t: TensorType, square: bool = False) -> None:
    """Raise unless t is [..., m, n] of float32, float64 or complex numbers."""
    if not t.dtype.is_inexact or t.dtype.bits < 32:
        raise DTypeError(f"{name}: takes float32, float64 or complex matrices, got {t.dtype}; cast "
                         f"with astype")
    if t.rank < 2:
        raise ShapeError(f"{name}: takes matrices [..., m, n], got shape {t.shape}")
    if square and t.shape[-1] != t.shape[-2]:
        raise ShapeError(f"{name}: takes square matrices, got shape {t.shape}")


def lapack_work(copies: int = 2) -> Callable:
    """A bound on LAPACK's workspace: some copies of one matrix of each operand."""
    def workspace(*types: TensorType, **options) -> Extent:
        total: Extent = 4096
        for t in types:
            m, n = t.shape[-2:] if t.rank > 1 else (1, 1)
            total = total + (m + 64) * (n + 64) * t.dtype.bytes * copies + t.bytes * 2
        return total
    return workspace


def several(f: Callable) -> Callable:
    """A rule that takes all cotangents, zeros where there are none."""
    def rule(node: Node, cotangents):
        out = items(node)
        return f(node, out, [zeros_like(o) if g is None else g
                             for o, g in zip(out, cotangents, strict=True)])
    return rule


def descending(rule: Callable) -> Callable:
    """The transposed rule (node, out, cotangents) of one for gradients that descend."""
    def transposed(node: Node, out, g):
        given = [conjugate(x) for x in g] if isinstance(g, list) else conjugate(g)
        return tuple(None if p is None else conjugate(p) for p in rule(node, out, given))
    return transposed


def single(rule: Callable) -> Callable:
    """The rule (node, cotangent) of an op with one result, of one that descends."""
    return lambda node, g: descending(rule)(node, node, g)


def normal(*shape: int, seed: int = 0, dtype=np.float32) -> np.ndarray:
    """A sample of normal numbers."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def positive(*shape: int, dtype=np.float32) -> np.ndarray:
    """A sample of positive definite matrices."""
    x = normal(*shape, dtype=dtype)
    return x @ np.conj(np.swapaxes(x, -1, -2)) + np.eye(shape[-1], dtype=dtype) * shape[-1]
