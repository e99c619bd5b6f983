"""Trainer: model, optimizer state, key and step behind `.step(x, y)`."""

from __future__ import annotations

import inspect
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

from ..api import namespace as F
from ..api.arrays.array import Array
from ..api.arrays.values import error, force
from ..api.randomness import random
from ..api.transforms.autocast import autocast as autocasting
from ..api.transforms.gradients import value_and_grad
from ..base import tree
from ..base.errors import FormatError, LamellaError
from ..base.events import span
from ..lang.order import VERSION as NUMERICS
from .checkpoint import Behind, read_checkpoint, write_checkpoint
from .progress import Progress


class Trainer:
    """Owns what a training step changes.

        trainer = Trainer(model, optim.AdamW(1e-3), loss_fn)
        for x, y in loader:
            loss = trainer.step(x, y)
        trainer.save("run.checkpoint", loader=loader)

    loss_fn(model, x, y) gives a 0-d loss. A parameter called `key` is given a fresh key in every
    step (for dropout); with one called `state` it gets `model.init_state()`, later what it
    returned, and gives (loss, new state) (for batch normalisation).

    memory: a budget in bytes (or "64 MiB") for the compiled step; spill: a folder (or True) in
    whose files values may rest to keep it. compiled=False runs it op by op, with the same bits;
    fast=True compiles it in `fast` mode, with others. autocast: the dtype of the loss's products
    and their gradients, "bfloat16" (`lamella.autocast`). device: where the model, the optimizer's
    state and the steps are ("cuda:0"); batches are copied there. The model that was passed in is
    donated: use `trainer.model`.
    """

    def __init__(self, model: Any, opt: Any, loss_fn: Callable, *, memory: int | str | None = None,
                 spill: bool | str = False, seed: int = 0, compiled: bool = True,
                 fast: bool = False, autocast: Any = None, device: Any = None):
        if fast and not compiled:
            raise error(LamellaError, "Trainer: a step that runs op by op is not fast; leave fast "
                                      "or compiled=False out")
        self.device = device
        model = self._there(model)
        self.model, self.opt = model, opt
        self.loss_fn = loss_fn if autocast is None else autocasting(loss_fn, autocast)
        names = inspect.signature(loss_fn).parameters
        self._wants_key, self._wants_state = "key" in names, "state" in names
        self.state = self._there({"optimizer": opt.init(model),
                                  "model": model.init_state() if self._wants_state else None})
        self.key = self._there(random.key(seed))
        self.steps = 0
        self.seconds: dict[int, float] = {}     # the least of a step, by the rows of its batch
        self.memory, self.spill, self.fast = memory, spill, fast
        self.compiled = compiled
        self._run: Any = self._compiled() if compiled else self._uncompiled

    def _there(self, x: Any) -> Any:
        """x where the steps run."""
        return x if self.device is None else F.to_device(x, self.device)

    def _compiled(self) -> Any:
        from ..api.programs.compile import compile

        return compile(self.train_step, donate=("model", "state"), memory=self.memory,
                       spill=self.spill, fast=self.fast, device=self.device)

    def plan(self, *batch) -> Any:
        """What a step on a batch of these types (arrays or specs) needs; nothing is compiled."""
        return self._compiled().plan(self.model, self.state, self.key, batch)

    def report(self) -> Any:
        """The plan of a step on the largest batch so far, with the least time of such steps as
        `run_seconds`; None before the first step, and where steps are not compiled."""
        found: list = self._run.reports() if self.compiled else []
        if not found:
            return None
        largest = max(found, key=lambda r: r.flops)
        largest.run_seconds = self.seconds[max(self.seconds)]
        return largest

    def train_step(self, model, state, key, batch):
        """The step as a pure function: (model, state, key, batch) -> (model, state, loss)."""
        extra = {}
        if self._wants_key:
            extra["key"] = random.fold_in(key, state["optimizer"]["step"])
        if self._wants_state:
            extra["state"] = state["model"]
        found, grads = value_and_grad(self.loss_fn, has_aux=self._wants_state)(
            model, *batch, **extra)
        loss, new = found if self._wants_state else (found, None)
        model, optimizer = self.opt.update(model, grads, state["optimizer"])
        return model, {"optimizer": optimizer, "model": new}, loss

    def _uncompiled(self, *args):
        result = self.train_step(*args)
        force([a.node for a in tree.leaves(result)])
        return result

    def step(self, *batch) -> Array:
        """One step on a batch (NumPy arrays or Arrays): the loss before it, a 0-d array."""
        arrays = tuple(self._there(F.asarray(b)) for b in batch)
        began = time.perf_counter()
        self.model, self.state, loss = self._run(self.model, self.state, self.key, arrays)
        spent = time.perf_counter() - began
        rows = arrays[0].shape[0] if arrays and arrays[0].shape else 0
        self.seconds[rows] = min(spent, self.seconds.get(rows, spent))
        self.steps += 1
        return loss

    # ---- checkpoints ----------------------------------------------------------------------------

    def save(self, path: str | os.PathLike, *, loader: Any = None) -> None:
        """Write all that is needed to go on with the same bits to one file, whole or not at all."""
        with span("write a checkpoint"):
            write_checkpoint(path, {n: a.numpy() for n, a in self._arrays().items()},
                             self._manifest(loader))

    def _manifest(self, loader: Any) -> dict[str, Any]:
        return {"steps": self.steps, "loader": None if loader is None else loader.state()}

    def restore(self, path: str | os.PathLike, *, loader: Any = None) -> None:
        """Go on where `save` stood; model and optimizer must be of the same make.

        Raises FormatError naming the array that is missing, left over, or of another type.
        """
        given, manifest = read_checkpoint(path)
        if manifest["numerics"] != NUMERICS:
            warnings.warn(f"{path}: was written with numerics version {manifest['numerics']}, this "
                          f"is {NUMERICS}; the run goes on, with other bits", stacklevel=2)
        mine = self._arrays()
        for name in sorted(set(given) ^ set(mine)):
            side = "the file" if name in given else "this trainer"
            raise FormatError(f"{path}: {name} is only in {side}; restore into an equal model and "
                              "optimizer")
        for name, a in mine.items():
            if given[name].shape != a.shape or given[name].dtype != a.dtype.numpy:
                raise FormatError(
                    f"{path}: {name} is {given[name].dtype}{list(given[name].shape)}, "
                    f"here {a.node.type}")
        if loader is not None:
            if manifest["loader"] is None:
                raise FormatError(f"{path}: was saved without a loader")
            loader.restore(manifest["loader"])
        whole = self._whole()
        leaves = self._there([F.asarray(given[n]) for n in mine])
        self.model, self.state, self.key = tree.unflatten(tree.flatten(whole)[1], leaves)
        self.steps = manifest["steps"]

    def _whole(self) -> tuple:
        return self.model, self.state, self.key

    def _arrays(self) -> dict[str, Array]:
        whole = self._whole()
        leaves, names = tree.leaves(whole), tree.paths(whole)
        roots = ("model", "state", "key")
        return {".".join((roots[int(n.partition(".")[0])], *n.split(".")[1:])): a
                for n, a in zip(names, leaves, strict=True)}

    # ---- the loop -------------------------------------------------------------------------------

    def fit(self, loader: Any, epochs: int, *, checkpoint: str | os.PathLike | None = None,
            progress: bool | None = None) -> Array | None:
        """Train until the loader has finished `epochs` epochs; the last loss.

        checkpoint: a file written after each epoch, of a copy, while the next one runs; and when
        Ctrl-C or SIGTERM stops the run after its step (a second one stops at once; the file is then
        the one before). progress: None shows it where there is a terminal.
        """
        if epochs < 0:
            raise error(LamellaError, f"fit: {epochs} epochs")
        loss = None
        total = max(epochs - loader.epoch, 0) * len(loader) - loader.position
        with Progress(max(total, 0), shown=progress) as bar, _Interrupts() as stop, \
                Behind() as behind:
            while loader.epoch < epochs:
                label = f"epoch {loader.epoch + 1}/{epochs}"
                for batch in loader:
                    loss = self.step(*batch)
                    bar.advance(len(batch[0]), loss, label)
                    if stop.asked:
                        break
                if checkpoint is not None:
                    arrays = {n: a.numpy() for n, a in self._arrays().items()}
                    behind.write(checkpoint, arrays, self._manifest(loader))
                stop.leave()
        return loss


class _Interrupts:
    """Turns the first Ctrl-C or SIGTERM into `asked`, and lets a second one through."""

    def __init__(self):
        self.asked = 0      # the signal's number
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._note)
                            for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def leave(self) -> None:
        """Raise what the signal that came stands for."""
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        if self.asked:
            raise SystemExit(128 + self.asked)

    def _note(self, number: int, _) -> None:
        before, self.asked = self.asked, number
        if before:
            self.leave()
