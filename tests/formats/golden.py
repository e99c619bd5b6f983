"""The golden model: two layers over digits-like rows, with weights that are a formula.

`python tests/formats/golden.py PATH` writes it. A golden file is never written again once a release
holds it: it must load for ever.
"""

from __future__ import annotations

import sys

import numpy as np

from lamella.base.extents import symbol
from lamella.formats import lamella_file
from lamella.ir.node import make, placeholder
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.ops.activation import RELU
from lamella.ops.contract import matmul
from lamella.ops.softmax import SOFTMAX

SIZES = {"layers.0.weight": (8, 6), "layers.0.bias": (6,), "layers.1.weight": (6, 3),
         "layers.1.bias": (3,)}


def weights() -> dict[str, np.ndarray]:
    out = {}
    for k, (name, shape) in enumerate(SIZES.items()):
        steps = np.arange(np.prod(shape), dtype=np.float32)
        out[name] = ((steps * 7 + k) % 11 - 5).reshape(shape) / np.float32(8)
    return out


def program(bound: int = 64) -> Program:
    w = [placeholder(tensor("float32", shape), name) for name, shape in SIZES.items()]
    x = placeholder(tensor("float32", (symbol("B", 1, bound), 8)), "x")
    hidden = make(RELU, (matmul(x, w[0]) + w[1],), {})
    return Program([*w, x], [make(SOFTMAX, (matmul(hidden, w[2]) + w[3],), {"axis": 1})], "mlp")


def save(path, bound: int = 64):
    return lamella_file.save(
        path, program(bound), weights(), name="golden", batch="B", outputs=["kind"],
        labels={"kind": ["round", "flat", "tall"]}, notes={"recipe": "none"})


def rows(count: int) -> np.ndarray:
    return (np.arange(count * 8, dtype=np.float32).reshape(count, 8) % 5) / np.float32(4)


if __name__ == "__main__":
    save(sys.argv[1])
