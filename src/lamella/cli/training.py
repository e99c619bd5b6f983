"""`lamella train`: epochs over a loader, a checkpoint after each, and the model file at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..base.errors import LamellaError
from ..data import Loader
from ..formats.export import export
from ..train import Trainer
from . import build
from .recipe import Recipe


def train(recipe: Recipe, *, resume: bool = False, memory: int | None = None,
          say: Callable[[str], None] = print) -> Path:
    """Train as the recipe says and write its file; a run that Ctrl-C stops can be resumed."""
    target = Path(recipe.output.file)
    checkpoint = target.with_name(target.name + ".checkpoint")
    check_writable(target)
    x, y = build.arrays(recipe)
    loader = Loader((x, y), batch_size=recipe.train.batch_size, seed=recipe.train.seed)
    trainer = Trainer(build.model(recipe), build.optimizer(recipe), build.loss,
                      memory=recipe.budget if memory is None else memory,
                      seed=recipe.train.seed)
    if resume:
        if not checkpoint.exists():
            raise LamellaError(f"--resume: there is no {checkpoint}")
        trainer.restore(checkpoint, loader=loader)
    while loader.epoch < recipe.train.epochs:
        epoch = loader.epoch + 1
        loss = trainer.fit(loader, epoch, checkpoint=checkpoint, progress=False)
        shown = "" if loss is None else f": loss {float(loss):.4f}"
        say(f"epoch {epoch}/{recipe.train.epochs}{shown}")
    export(target, trainer.model, {"x": build.input_type(recipe, x)}, name=target.stem, batch="B",
           outputs=["y"], notes={"recipe": msgspec.json.encode(recipe).decode()})
    checkpoint.unlink(missing_ok=True)
    say(f"wrote {target} ({target.stat().st_size:,} bytes)")
    return target


def check_writable(target: Path) -> None:
    """Raise before an hour of training, not after it."""
    try:
        if target.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=target.parent):
            os.stat(target.parent)
    except OSError as e:
        raise LamellaError(f"cannot write {target}: {e.strerror}") from None
