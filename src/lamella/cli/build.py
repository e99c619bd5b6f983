"""From a recipe to what trains: model, data, optimizer, loss."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, nn, optim
from ..api.randomness import random
from ..base.errors import RecipeError
from ..base.extents import symbol
from ..formats.export import inference
from ..ir.types import TensorType, tensor
from .recipe import ModelPart, Recipe


def model(recipe: Recipe) -> Any:
    """The model with fresh weights from the recipe's seed."""
    m, key = recipe.model, random.key(recipe.train.seed)
    if m.kind == "mlp":
        return nn.MLP(list(m.sizes), key=key)
    if m.kind == "gpt":
        return nn.GPT(vocabulary=m.vocabulary, context=m.context, layers=m.layers, heads=m.heads,
                      width=m.width, key=key)
    make = _from_file(m)
    try:
        inspect.signature(make).bind(key=key, **m.options)
    except TypeError as e:
        raise RecipeError(f"model.options: {m.kind} takes key and options: {e}") from None
    made = make(key=key, **m.options)
    if not callable(made):
        raise RecipeError(f"model.kind: {m.kind} gave {type(made).__name__}, not a model that can "
                          f"be called")
    return made


def _from_file(m: ModelPart) -> Callable:
    """The function of `file.py:function`: the one place where a recipe runs Python."""
    file, _, name = m.kind.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise RecipeError(f"model.kind: there is no file {file!r}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        raise RecipeError(f"model.kind: {file} has no function {name!r}")
    return found


def arrays(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Training rows and their labels."""
    d = recipe.data
    if d.name == "digits":
        x, y = data.load_digits("train")
    elif d.name == "mnist":
        x, y = data.load_mnist(d.folder, "train")
    else:
        return _text(d.file, recipe.model.context)
    return x.reshape(len(x), -1).astype(np.float32), y.astype(np.int32)


def _text(file: str, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Each window of bytes, and the same window one byte later."""
    try:
        raw = np.frombuffer(Path(file).read_bytes(), np.uint8).astype(np.int32)
    except OSError as e:
        raise RecipeError(f"data.file {file!r}: {e.strerror}") from None
    count = (len(raw) - 1) // context
    if count < 1:
        raise RecipeError(f"data.file {file!r}: {len(raw)} bytes; {context + 1} are needed")
    x = raw[:count * context].reshape(count, context)
    return x, raw[1:count * context + 1].reshape(count, context)


def optimizer(recipe: Recipe) -> Any:
    o = recipe.optim
    if o.kind == "adamw":
        return optim.AdamW(o.lr, weight_decay=o.weight_decay)
    return optim.SGD(o.lr, momentum=o.momentum)


def loss(model: Any, x: Any, y: Any) -> Any:
    """Mean cross-entropy of the model's logits."""
    return nn.losses.cross_entropy(model(x), y)


def check_labels(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    """RecipeError where the data has more classes than the model; a loss would not notice."""
    program, _ = inference(model, {"x": tensor(str(x.dtype), (1, *x.shape[1:]))})
    classes, needed = program.outputs[0].type.shape[-1], int(y.max()) + 1
    if classes < needed:
        raise RecipeError(f"the model tells {classes} classes apart, and the data has {needed}; "
                          f"change the end of model.sizes, or model.vocabulary")


def input_type(recipe: Recipe, x: np.ndarray) -> TensorType:
    """The type of a served input: as many rows as `output.rows` allows."""
    return tensor(str(x.dtype), (symbol("B", 1, recipe.output.rows), *x.shape[1:]))
