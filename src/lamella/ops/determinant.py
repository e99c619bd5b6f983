"""Determinants whose derivative holds where a matrix is singular: the cofactors, from the factors
of a singular value decomposition, of which none is divided by."""

from __future__ import annotations

import numpy as np

from ..ir.node import Node
from ..ir.types import TensorType
from .contract import matmul
from .foreign import Foreign
from .lapack import lapack_work, require_matrix
from .matrices import SOLVE
from .matrix_algebra import eye_like, swapped
from .move import reshape
from .reduce import reduce


def _rule(a: TensorType) -> TensorType:
    require_matrix("det", a, square=True)
    return a.with_shape(a.shape[:-2])


def _cofactor_rule(a: TensorType) -> TensorType:
    require_matrix("cofactors", a, square=True)
    return a


def _cofactors(a: np.ndarray) -> np.ndarray:
    """det(A) A^-T = det(U) det(V^H) conj(U) P conj(V^H), P with the products of the other singular
    values."""
    u, s, vh = np.linalg.svd(a)
    ones = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    behind = np.cumprod(np.concatenate([ones, s[..., :0:-1]], -1), -1)[..., ::-1]
    turn = np.linalg.det(u) * np.linalg.det(vh)
    return ((turn[..., None, None] * np.conj(u) * (before * behind)[..., None, :])
            @ np.conj(vh)).astype(a.dtype)


def _cofactor_vjp(node: Node, h: Node):
    """With W = A^-T: W sum(h C) - C h^T W. The matrix must be regular here."""
    a, = node.inputs
    w = swapped(SOLVE(a, eye_like(a)))
    rank = a.type.rank
    total = reduce("sum", h * node, (rank - 2, rank - 1))
    return (w * reshape(total, (*total.shape, 1, 1)) - matmul(matmul(node, swapped(h)), w),)


def _samples():
    rng = np.random.default_rng(17)
    x = rng.standard_normal((2, 4, 4))
    both = (x + 1j * rng.standard_normal((2, 4, 4))).astype(np.complex64)
    return [({}, [a]) for a in (x.astype(np.float32), both, x[0, :1, :1].astype(np.float32),
                                x[:, :3, :3].astype(np.float64))]


COFACTORS = Foreign("cofactors", _cofactors, _cofactor_rule, vjp=_cofactor_vjp, batch="leading",
                    doc="The derivative of a determinant by its elements: det(A) A^-T.",
                    threads=None, workspace=lapack_work(6), samples=_samples)

DET = Foreign("det", np.linalg.det, _rule, doc="The determinant of square matrices.",
              vjp=lambda node, g: (COFACTORS(node.inputs[0])
                                   * reshape(g, (*g.shape, 1, 1)),),
              batch="leading", threads=None, workspace=lapack_work(), samples=_samples)
