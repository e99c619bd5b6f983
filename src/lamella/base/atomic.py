"""Writing a file so that readers see the old one or the whole new one, never a part."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary stream that becomes `path` when the block ends; after an error nothing stays, and an
    OSError names `path`."""
    target = Path(path)
    try:
        with _temporary(target) as stream:
            yield stream
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        raise OSError(e.errno, e.strerror, os.fspath(target)) from None


@contextmanager
def _temporary(target: Path) -> Iterator[BinaryIO]:
    """A file beside the target, which takes its place."""
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), 0o666 & ~_umask())
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def replace_text(path: str | os.PathLike, text: str) -> None:
    """Write the text as UTF-8, whole or not at all."""
    with replacing(path) as stream:
        stream.write(text.encode())


def _umask() -> int:
    """The process' mask, which can be read only by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
