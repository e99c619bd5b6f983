"""MNIST, and anything else in its file format (IDX, gzip or plain), from a folder."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from lamella.base.errors import FormatError, RecipeError, ShapeError

_PREFIX = {"train": "train", "test": "t10k"}
_UBYTE = 0x08
_MOST_BYTES = 1 << 30


def load_mnist(folder: str | os.PathLike, split: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """(images float32 [n, 28, 28] in 0..1, labels int32 [n]) from the usual four files.

    "train" reads train-images-idx3-ubyte and train-labels-idx1-ubyte, "test" the t10k-* ones,
    each with or without .gz.
    """
    if split not in _PREFIX:
        raise RecipeError(f"load_mnist: split {split!r}, expected train or test")
    prefix = _PREFIX[split]
    image_file = _find(folder, f"{prefix}-images-idx3-ubyte")
    label_file = _find(folder, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(image_file, rank=3), read_idx(label_file, rank=1)
    if len(images) != len(labels):
        raise ShapeError(
            f"load_mnist: {len(images)} images in {image_file.name} but "
            f"{len(labels)} labels in {label_file.name}"
        )
    return images.astype(np.float32) / np.float32(255), labels.astype(np.int32)


def read_idx(path: str | os.PathLike, rank: int) -> np.ndarray:
    """The uint8 array of `rank` axes in an IDX file; .gz is unpacked."""
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            extents = _read_extents(stream.read(4 + 4 * rank), rank, path)
            count = int(np.prod(extents, dtype=object))
            if count > _MOST_BYTES:
                raise FormatError(f"{path}: {extents} elements are more than {_MOST_BYTES} bytes")
            content = stream.read(count + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise FormatError(f"{path}: damaged gzip file ({e})") from None
    if len(content) != count:
        size = f"only {len(content)}" if len(content) < count else "more"
        raise FormatError(f"{path}: {extents} needs {count} bytes of data, the file has {size}")
    return np.frombuffer(content, np.uint8).reshape(extents)


def _read_extents(header: bytes, rank: int, path: Path) -> tuple[int, ...]:
    """IDX header: two zero bytes, the element type, the rank, then each extent big-endian."""
    if len(header) < 4 + 4 * rank:
        raise FormatError(f"{path}: {len(header)} bytes are too few for an IDX header")
    magic, expected = struct.unpack_from(">I", header)[0], _UBYTE << 8 | rank
    if magic != expected:
        raise FormatError(f"{path}: magic number {magic}, expected {expected} (uint8, rank {rank})")
    return struct.unpack_from(f">{rank}I", header, 4)


def _find(folder: str | os.PathLike, name: str) -> Path:
    """The file of this name, with .gz or without."""
    for file in (Path(folder) / f"{name}.gz", Path(folder) / name):
        if file.is_file():
            return file
    raise FileNotFoundError(f"load_mnist: neither {name}.gz nor {name} in {os.fspath(folder)}")
