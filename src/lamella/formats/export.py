"""A model (a pytree of arrays that can be called) to a `.lamella` file of its inference program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from ..api.arrays.array import Array, asarray, wrap
from ..api.arrays.scope import Scope
from ..api.programs.closing import captured, mark
from ..api.programs.spec import Spec
from ..base import tree
from ..ir.node import Node, placeholder
from ..ir.program import Program
from ..ir.types import TensorType
from . import lamella_file


def inference(model, inputs: Mapping[str, TensorType | Spec],
              name: str = "main") -> tuple[Program, dict[str, np.ndarray]]:
    """The program of `model(*inputs)`, its leading inputs being the model's arrays and those
    that it captures from around it, and these."""
    leaves, structure = tree.flatten(model)
    nodes: list[Node] = []
    stand_ins: list = []
    weights: dict[str, np.ndarray] = {}
    for path, leaf in zip(tree.paths(model), leaves, strict=True):
        if isinstance(leaf, Array):
            nodes.append(placeholder(leaf.node.type.anywhere, path))
            weights[path] = leaf.numpy()
        stand_ins.append(wrap(nodes[-1]) if isinstance(leaf, Array) else leaf)
    given = [placeholder(t.type if isinstance(t, Spec) else t, n) for n, t in inputs.items()]
    since = mark()
    with Scope("compile", name):
        out = tree.unflatten(structure, stand_ins)(*map(wrap, given))
        outputs = [asarray(a).node for a in tree.leaves(out)]
    own, outputs, around = captured([*nodes, *given], outputs, since)
    for node, of in zip(own[len(own) - len(around):], around, strict=True):
        nodes.append(node)
        weights[node.params["name"]] = of.data.numpy()
    return Program([*nodes, *given], outputs, name).placeless(), weights


def export(path: str | os.PathLike, model, inputs: Mapping[str, TensorType | Spec], *,
           name: str = "model", batch: str = "", outputs: Sequence[str] = (),
           labels: Mapping[str, Sequence[str]] | None = None,
           notes: Mapping[str, str] | None = None) -> lamella_file.Manifest:
    """Write the model's inference program and weights; see `lamella_file.save`."""
    program, weights = inference(model, inputs, "main")
    return lamella_file.save(path, program, weights, name=name, batch=batch, outputs=outputs,
                             labels=labels, notes=notes)
