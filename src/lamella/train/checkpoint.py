"""A checkpoint: one safetensors file of named arrays with a JSON manifest among its metadata.

It is written beside its place and renamed, so that a reader, or a run that was stopped at any
moment, finds the old checkpoint or the whole new one.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save_file

from ..base.errors import FormatError
from ..base.events import span

_KEY, _FORMAT, _VERSION = "lamella", "lamella.checkpoint", 1


def write_checkpoint(path: str | os.PathLike, arrays: Mapping[str, np.ndarray],
                     manifest: Mapping[str, Any]) -> None:
    """Write the arrays and the manifest (JSON values) to one file, whole or not at all."""
    target = Path(path)
    text = json.dumps({"format": _FORMAT, "version": _VERSION, **manifest})
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        save_file({n: np.ascontiguousarray(a).reshape(a.shape) for n, a in arrays.items()},
                  temporary, {_KEY: text})
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


class Behind:
    """A context that writes checkpoints on a thread of its own, one at a time; leaving it waits for
    the last. What a write raised is raised at the next one, or on leaving."""

    def __init__(self) -> None:
        self._helper = ThreadPoolExecutor(1, "checkpoints")
        self._last: Future | None = None

    def write(self, path: str | os.PathLike, arrays: Mapping[str, np.ndarray],
              manifest: Mapping[str, Any]) -> None:
        """Begin to write copies of the arrays, which may change from here on."""
        self._wait()
        copies = {n: a.copy() for n, a in arrays.items()}
        self._last = self._helper.submit(self._write, path, copies, dict(manifest))

    @staticmethod
    def _write(path, arrays, manifest) -> None:
        with span("write a checkpoint"):
            write_checkpoint(path, arrays, manifest)

    def _wait(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._wait()
        finally:
            self._helper.shutdown()


def read_checkpoint(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays by name, manifest); raises FormatError for a file that is no checkpoint."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            manifest = json.loads((file.metadata() or {}).get(_KEY, "null"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, json.JSONDecodeError) as e:
        raise FormatError(f"{path}: no readable checkpoint: {e}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise FormatError(f"{path}: a safetensors file, but no checkpoint of a training run")
    if manifest.get("version") != _VERSION:
        raise FormatError(
            f"{path}: checkpoint version {manifest.get('version')}, this Lamella reads "
            f"{_VERSION}")
    return arrays, manifest
