"""A checkpoint: one safetensors file of named arrays with a JSON manifest among its metadata.

It is written beside its place and renamed, so that a reader, or a run that was stopped at any
moment, finds the old checkpoint or the whole new one; a hash of all of it tells damage.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ..base.atomic import replacing
from ..base.errors import FormatError
from ..base.events import span
from ..formats import safetensors
from ..lang.order import VERSION as NUMERICS

_KEY, _FORMAT, _VERSION = "lamella", "lamella.checkpoint", 2


def write_checkpoint(path: str | os.PathLike, arrays: Mapping[str, np.ndarray],
                     manifest: Mapping[str, Any]) -> None:
    """Write the arrays and the manifest (JSON values) to one file, whole or not at all."""
    told = {"format": _FORMAT, "version": _VERSION, "numerics": NUMERICS, **manifest}
    told["sha256"] = _digest(arrays, told)
    with replacing(path) as stream:
        for piece in safetensors.chunks(arrays, {_KEY: json.dumps(told)}):
            stream.write(piece)


def _digest(arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> str:
    """A hash of the manifest, and of names and bytes of the arrays."""
    digest = sha256(json.dumps(manifest, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + b"\0")
        digest.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


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
    """(arrays by name, manifest); raises FormatError for a file that is no whole checkpoint."""
    try:
        arrays, notes = safetensors.read_all(Path(path).read_bytes())
        manifest = json.loads(notes.get(_KEY, "null"))
    except (FormatError, json.JSONDecodeError) as e:
        raise FormatError(f"{path}: no readable checkpoint: {e}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise FormatError(f"{path}: a safetensors file, but no checkpoint of a training run")
    if manifest.get("version") != _VERSION:
        raise FormatError(
            f"{path}: checkpoint version {manifest.get('version')}, this Lamella reads "
            f"{_VERSION}")
    if manifest.pop("sha256", None) != _digest(arrays, manifest):
        raise FormatError(f"{path}: the checkpoint is damaged: it has not the hash that it states")
    return arrays, manifest
