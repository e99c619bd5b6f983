"""The models that a server holds, each with its executable, its batch axis and its bound."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np

from ..base.errors import LamellaError
from ..base.extents import Size
from ..formats.lamella_file import Model
from ..ir.interpret import interpret
from ..ir.program import Program

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
Run = Callable[[list[np.ndarray]], list[np.ndarray]]


class RequestError(LamellaError):
    """A request that cannot be answered; `status` is the HTTP status that says why."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Interpreted:
    """A program behind the executable's interface, run by the reference interpreter."""

    plan = None

    def __init__(self, program: Program):
        self.program = program

    def __call__(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        return interpret(self.program, arrays)


class Served:
    """One version of one model, ready to run."""

    def __init__(self, model: Model, run: Run, *, name: str = "", version: str = "1"):
        self.name, self.version = name or model.manifest.name, version
        for text in (self.name, self.version):
            if not _NAME.fullmatch(text):
                raise LamellaError(f"{text!r} cannot name a model or version: letters, digits, "
                                   f"'_', '.' and '-', at most 64")
        self.model, self.manifest, self.run = model, model.manifest, run
        self.inputs = [n.type for n in model.inputs]
        self.symbol = model.batch

    @property
    def bound(self) -> int:
        """The most rows of one run; 1 where requests cannot be joined."""
        return self.symbol.high if self.symbol else 1

    @property
    def plan(self):
        """The executable's plan, if it has one."""
        return getattr(self.run, "plan", None)

    def infer(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs for these inputs."""
        return self.run([*self.model.weights.values(), *inputs])

    def key(self, arrays: list[np.ndarray]) -> tuple:
        """What requests must share to run together; checks rank, dtype and fixed extents."""
        for spec, t, a in zip(self.manifest.inputs, self.inputs, arrays, strict=True):
            fits = a.dtype == t.dtype.numpy and a.ndim == t.rank and all(
                isinstance(e, Size) or e == n for e, n in zip(t.shape, a.shape, strict=True))
            if not fits:
                raise RequestError(400, f"input {spec.name!r}: {t} is needed, "
                                        f"{a.dtype}{list(a.shape)} was given")
        return tuple(a.shape[1:] if self.symbol else a.shape for a in arrays)

    def rows(self, arrays: list[np.ndarray]) -> int:
        """The request's extent of the batch axis, within the model's bounds."""
        if self.symbol is None:
            return 1
        counts = {a.shape[0] for a in arrays}
        if len(counts) > 1:
            raise RequestError(400, f"the inputs have {sorted(counts)} rows; they must agree")
        rows = counts.pop()
        if not max(self.symbol.low, 1) <= rows <= self.symbol.high:
            raise RequestError(400, f"{rows} rows; the model takes {max(self.symbol.low, 1)} to "
                                    f"{self.symbol.high}")
        return rows


class Registry:
    """Models by name, each with its versions in the order in which they came."""

    def __init__(self, models: Iterable[Served] = ()):
        self._models: dict[str, dict[str, Served]] = {}
        for m in models:
            self.add(m)

    def add(self, served: Served) -> None:
        versions = self._models.setdefault(served.name, {})
        if served.version in versions:
            raise LamellaError(f"{served.name} version {served.version} is served already")
        versions[served.version] = served

    def get(self, name: str, version: str | None = None) -> Served:
        """That version of the model; the newest where none is named."""
        versions = self._models.get(name)
        if versions is None:
            raise RequestError(404, f"no model is called {name!r}")
        if version is None:
            return next(reversed(versions.values()))
        if version not in versions:
            raise RequestError(404, f"{name} has no version {version!r}; "
                                    f"it has {', '.join(versions)}")
        return versions[version]

    def versions(self, name: str) -> list[str]:
        return list(self._models[name])

    def __iter__(self):
        return (m for versions in self._models.values() for m in versions.values())
