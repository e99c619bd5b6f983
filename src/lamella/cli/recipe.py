"""A TOML recipe as a typed structure: what to build, on which data, how to train it, where to.

    [model]
    kind = "mlp"             # mlp, gpt, or file.py:function
    sizes = [64, 256, 10]

    [data]
    name = "digits"          # digits, mnist, text

    [optim]
    kind = "adamw"
    lr = 1e-3

    [train]
    epochs = 10
    batch_size = 64
    seed = 0
    memory = "64 MiB"        # a budget for the step (none without this)
    spill = ""               # a folder: to keep the budget, values may also rest in a file there
    fast = false             # sums in whatever order is faster, with other bits
    autocast = ""            # "bfloat16": products are computed in it, all else in float32
    device = ""              # where it trains: cuda:0 (this machine without)

    [output]
    file = "digits.lamella"
"""

from __future__ import annotations

import difflib
import os
import tomllib
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from ..base.amounts import parse_bytes
from ..base.errors import LamellaError, RecipeError

Positive = Annotated[int, msgspec.Meta(gt=0)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class ModelPart(msgspec.Struct):
    """What is built. `sizes` are an mlp's; the other numbers a gpt's; `options` a function's."""

    kind: str
    sizes: list[Positive] = []
    vocabulary: Positive = 256
    context: Positive = 128
    layers: Positive = 2
    heads: Positive = 2
    width: Positive = 64
    options: dict[str, Any] = {}


class DataPart(msgspec.Struct):
    """What it learns from; `folder` is where mnist lies, `file` the text."""

    name: typing.Literal["digits", "mnist", "text"]
    folder: str = ""
    file: str = ""


class OptimPart(msgspec.Struct):
    """The optimizer and its rates."""

    kind: typing.Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 1e-3
    weight_decay: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 0.0
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0


class TrainPart(msgspec.Struct):
    """How long, in which batches, from which seed; `memory` is a budget for the step: "2GiB";
    for it values may rest in a file in the folder `spill`; `fast` compiles it in that mode;
    `autocast` is the dtype of products, where that is not float32; `device` is where it trains.
    """

    epochs: Positive = 10
    batch_size: Positive = 64
    seed: Seed = 0
    memory: str = ""
    spill: str = ""
    fast: bool = False
    autocast: Literal["", "bfloat16", "float16"] = ""
    device: str = ""


class OutputPart(msgspec.Struct):
    """The file that is written; the most rows of a request when it is served."""

    file: str = "model.lamella"
    rows: Positive = 256


class Recipe(msgspec.Struct):
    """A whole recipe."""

    model: ModelPart
    data: DataPart
    optim: OptimPart = msgspec.field(default_factory=OptimPart)
    train: TrainPart = msgspec.field(default_factory=TrainPart)
    output: OutputPart = msgspec.field(default_factory=OutputPart)

    @property
    def budget(self) -> int | None:
        """The memory budget of a training step in bytes; None where there is none."""
        return read_bytes(self.train.memory, "train.memory") if self.train.memory else None


def read(path: str | os.PathLike, changes: Sequence[str] = ()) -> Recipe:
    """The recipe in the file, with changes such as `optim.lr=3e-4`."""
    try:
        with open(path, "rb") as stream:
            raw = tomllib.load(stream)
    except OSError as e:
        raise RecipeError(f"{path}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise RecipeError(f"{path}: is no TOML: {e}") from None
    for change in changes:
        _change(raw, change)
    return check(raw, os.fspath(path))


def check(raw: dict, where: str = "recipe") -> Recipe:
    """The typed recipe; a wrong key is told with the nearest right one."""
    _check_keys(Recipe, raw, "", where)
    try:
        recipe = msgspec.convert(raw, Recipe)
    except msgspec.ValidationError as e:
        told = str(e).replace(" - at `$.", " - at `")
        raise RecipeError(f"{where}: {told}") from None
    kind = recipe.model.kind
    if kind not in ("mlp", "gpt") and ":" not in kind:
        near = _near(kind, ["mlp", "gpt"])
        raise RecipeError(f"{where}: model.kind is {kind!r}{near}; it is mlp, gpt, or "
                          f"file.py:function")
    needed = {"mnist": "folder", "text": "file"}.get(recipe.data.name)
    if needed and not getattr(recipe.data, needed):
        raise RecipeError(f"{where}: data.name {recipe.data.name!r} needs data.{needed}")
    if not os.path.basename(recipe.output.file):
        raise RecipeError(f"{where}: output.file {recipe.output.file!r} names no file")
    if recipe.train.memory:
        read_bytes(recipe.train.memory, f"{where}: train.memory")
    if kind == "mlp" and len(recipe.model.sizes) < 2:
        raise RecipeError(f"{where}: an mlp needs model.sizes, such as [64, 256, 10]")
    return recipe


def _check_keys(struct: type, raw: Any, prefix: str, where: str) -> None:
    fields = {f.name: f.type for f in msgspec.structs.fields(struct)}
    if not isinstance(raw, dict):
        raise RecipeError(f"{where}: {prefix.rstrip('.')} must be a table, not {raw!r}")
    for key, value in raw.items():
        if key not in fields:
            near = _near(key, list(fields)) or f"; known: {', '.join(fields)}"
            raise RecipeError(f"{where}: no key {prefix}{key}{near}")
        if isinstance(fields[key], type) and issubclass(fields[key], msgspec.Struct):
            _check_keys(fields[key], value, f"{prefix}{key}.", where)


def _near(word: str, known: list[str]) -> str:
    found = difflib.get_close_matches(word, known, 1, 0.5)
    return f"; did you mean {found[0]}?" if found else ""


def _change(raw: dict, change: str) -> None:
    """Apply `a.b=value`, the value as in TOML, or as plain text."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {change}: write it as key=value, such as optim.lr=3e-4")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *tables, last = key.strip().split(".")
    for name in tables:
        raw = raw.setdefault(name, {})
        if not isinstance(raw, dict):
            raise RecipeError(f"--set {change}: {name} is no table")
    raw[last] = value


def read_bytes(text: str, name: str = "--memory") -> int:
    """`64 MiB`, `2GiB` or `1000` as bytes; RecipeError, with the setting's name, for others."""
    try:
        size = parse_bytes(text)
    except LamellaError:
        size = 0
    if not size:
        raise RecipeError(f"{name} {text!r}: write it as 64MiB or 2GiB")
    return size
