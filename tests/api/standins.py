"""Evaluation by each op's NumPy reference, for a tree without the engine; else the engine itself."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np


class Value:
    """A NumPy array in a buffer's clothes."""

    def __init__(self, array, type=None):
        self.array, self.type = array, type

    @classmethod
    def from_numpy(cls, array, copy=True):
        return cls(np.array(array) if copy else array)

    def numpy(self):
        return self.array


def evaluate(nodes):
    """Set `data` of each node, by references and expansions."""
    from lamella.ir.node import topological

    known: dict[int, np.ndarray] = {}

    def run(outputs):
        done = frozenset(n for n in topological(outputs) if n.data is not None)
        for n in topological(outputs, done):
            if id(n) in known:
                continue
            if n.data is not None:
                known[id(n)] = n.data.numpy()
            elif n.op.reference is not None:
                known[id(n)] = n.op.reference(n.params, *(known[id(i)] for i in n.inputs))
            else:
                body = n.op.expand(n.params, *n.inputs)
                keep.append(body)
                run([body])
                known[id(n)] = known[id(body)]

    keep: list = []
    run(nodes)
    for n in nodes:
        array = np.asarray(known[id(n)])
        assert array.dtype == n.dtype.numpy and array.shape == n.shape, (n, array.dtype, array.shape)
        n.data = Value(array.copy())


def install():
    """Make the stand-ins importable where the engine is not."""
    try:
        importlib.import_module("lamella.engine.eager")
    except ImportError:
        package = ModuleType("lamella.engine")
        package.__path__ = []
        for name, parts in (("eager", {"evaluate": evaluate}), ("value", {"Value": Value})):
            module = ModuleType(f"lamella.engine.{name}")
            module.__dict__.update(parts)
            setattr(package, name, module)
            sys.modules[f"lamella.engine.{name}"] = module
        sys.modules["lamella.engine"] = package


install()
