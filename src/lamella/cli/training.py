"""`lamella train`: epochs over a loader, a checkpoint after each, and the model file at the end."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..base.errors import LamellaError
from ..data import Loader
from ..formats.export import export
from ..planner.memory.peak import bytes_text
from ..planner.report import Report, time_text
from ..train import Trainer
from . import build, signals
from .recipe import Recipe


def train(recipe: Recipe, *, resume: bool = False, memory: int | None = None, spill: str = "",
          say: Callable[[str], None] = print) -> Path:
    """Train as the recipe says and write its file; a run that Ctrl-C stops can be resumed."""
    target = Path(recipe.output.file)
    checkpoint = target.with_name(target.name + ".checkpoint")
    check_writable(target)
    x, y = build.arrays(recipe)
    loader = Loader((x, y), batch_size=recipe.train.batch_size, seed=recipe.train.seed)
    model = build.model(recipe)
    build.check_labels(model, x, y)
    trainer = Trainer(model, build.optimizer(recipe), build.loss,
                      memory=recipe.budget if memory is None else memory,
                      spill=spill or recipe.train.spill, seed=recipe.train.seed,
                      fast=recipe.train.fast, autocast=recipe.train.autocast or None,
                      device=recipe.train.device or None)
    if resume:
        if not checkpoint.exists():
            raise LamellaError(f"--resume: there is no {checkpoint}")
        trainer.restore(checkpoint, loader=loader)
    while loader.epoch < recipe.train.epochs:
        signals.check()
        epoch = loader.epoch + 1
        loss = trainer.fit(loader, epoch, checkpoint=checkpoint, progress=False)
        shown = "" if loss is None else f": loss {float(loss):.4f}"
        say(f"epoch {epoch}/{recipe.train.epochs}{shown}")
        if loss is not None and not math.isfinite(float(loss)):
            checkpoint.unlink(missing_ok=True)
            raise LamellaError(f"the loss is {float(loss)} after epoch {epoch}, and no file is "
                               f"written; train with an optim.lr below {recipe.optim.lr:g}")
    signals.check()
    export(target, trainer.model, {"x": build.input_type(recipe, x)}, name=_name(target), batch="B",
           outputs=["y"], notes={"recipe": msgspec.json.encode(recipe).decode()})
    checkpoint.unlink(missing_ok=True)
    say(_claims(trainer.report()))
    say(f"wrote {target} ({target.stat().st_size:,} bytes)")
    return target


def _claims(report: Report | None) -> str:
    """What the plan said of a step, and what a step took."""
    if report is None:
        return "no step was left to train"
    took = report.run_seconds
    return (f"a step: {bytes_text(report.peak)} planned; {time_text(report.seconds)} predicted, "
            f"{time_text(took)} at best ({report.seconds / took - 1:+.0%})")


def _name(target: Path) -> str:
    """The file's name, as one by which a server may call the model."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", target.stem).lstrip("._-")[:64] or "model"


def check_writable(path: str | os.PathLike) -> None:
    """Raise before an hour of training, not after it."""
    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=target.parent):
            os.stat(target.parent)
    except OSError as e:
        raise LamellaError(f"cannot write {target}: {e.strerror}") from None
